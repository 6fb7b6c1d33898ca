"""A scope in the payload of a background job: a plain value that is queued, and entered again where the job runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import UUID

from tenantry.core.errors import UsageError
from tenantry.core.tenant import Tenant, TenantId
from tenantry.session.context import Context, current_context, enter_scope, leave_scope
from tenantry.session.errors import JobPayloadError, TenantNotActiveError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tenantry.session.context import Scope

__all__ = ["JobScope", "TenantState", "job_payload", "job_scope", "read_payload"]

VERSION = 1
"""Of the payload's form. A worker refuses a newer one, so workers are upgraded before what queues."""

_KINDS: dict[str, Callable[[str], TenantId]] = {"uuid": UUID, "text": str, "bigint": int}


class TenantState(StrEnum):
    """What an application's register says of a tenant. Only an active one's jobs run."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    UNKNOWN = "unknown"


Check: TypeAlias = "Callable[[Context], TenantState | Awaitable[TenantState]]"


def job_payload() -> dict[str, str | int | None]:
    """The tenant and user of the scope as a value for a job's payload, which JSON can hold; no secret is in it.

    An id comes back as what it was: a UUID, a text or an int. The value is not signed: who can write to the queue
    can name any tenant, as they can name any job. Raises `NoTenantError` outside any scope.
    """
    context = current_context()
    tenant = context.tenant.id
    kind = "uuid" if isinstance(tenant, UUID) else "bigint" if isinstance(tenant, int) else "text"
    # As text also where it is a number: JSON as many read it has no int beyond 2**53.
    return {"tenantry": VERSION, "tenant": str(tenant), "type": kind, "user": context.user}


def read_payload(payload: object) -> Context:
    """The tenant and user in *payload*, as `job_payload` gave it. Raises `JobPayloadError`."""
    if not isinstance(payload, Mapping):
        raise JobPayloadError(f"is {type(payload).__name__} and no mapping")
    fields = cast("Mapping[Any, Any]", payload)
    version = fields.get("tenantry")
    if type(version) is not int or version < 1:
        raise JobPayloadError(f"has {version!r} for its version 'tenantry'")
    if version > VERSION:
        raise JobPayloadError(f"is of version {version}, and this tenantry reads {VERSION}: upgrade the worker first")
    if set(fields) != {"tenantry", "tenant", "type", "user"}:
        raise JobPayloadError(f"has the keys {sorted(map(str, fields))}")
    tenant, kind, user = fields["tenant"], fields["type"], fields["user"]
    if not isinstance(tenant, str) or not isinstance(kind, str) or not (user is None or isinstance(user, str)):
        raise JobPayloadError(f"names tenant {tenant!r} of type {kind!r} and user {user!r}")
    try:
        found = Context(Tenant(_KINDS[kind](tenant)), user)
    except (KeyError, ValueError) as exc:
        raise JobPayloadError(f"names {tenant!r}, which is no {kind}") from exc
    if str(found.tenant) != tenant:  # int() reads "1_0" and " 10 " alike
        raise JobPayloadError(f"names {tenant!r}, where {str(found.tenant)!r} is meant")
    return found


class JobScope:
    """What `job_scope` returns: one block of `with`, or of `async with`."""

    __slots__ = ("_check", "_context", "_scope")

    def __init__(self, context: Context, check: Check) -> None:
        self._context = context
        self._check = check
        self._scope: Scope | None = None

    def __enter__(self) -> Tenant:
        state = self._check(self._context)
        if inspect.isawaitable(state):
            if inspect.iscoroutine(state):
                state.close()
            raise UsageError("this check has to be awaited: write `async with job_scope(payload, check=...):`")
        return self._enter(state)

    async def __aenter__(self) -> Tenant:
        state = self._check(self._context)
        return self._enter(await state if inspect.isawaitable(state) else state)

    def _enter(self, state: object) -> Tenant:
        if self._scope is not None:
            raise UsageError("this scope was entered before: call `job_scope(...)` again for each block")
        if not isinstance(state, TenantState):
            raise UsageError(
                f"the check answered {state!r}: let it return a TenantState, such as TenantState.ACTIVE or "
                "TenantState.UNKNOWN"
            )
        if state is not TenantState.ACTIVE:
            raise TenantNotActiveError(tenant=self._context.tenant, state=state.value)
        self._scope = enter_scope(self._context)
        return self._context.tenant

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._scope is not None:
            leave_scope(self._scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, tb)


def job_scope(payload: object, *, check: Check) -> JobScope:
    """Enter again the scope that `job_payload` put into a job's *payload*, in `with` or `async with`.

    Much may have happened since the job was queued, so *check* is asked each time, outside any new scope, with the
    tenant and user as `Context`; it answers with a `TenantState`, or with an awaitable of one. Only an active tenant's
    job runs.

    Raises `JobPayloadError` where the payload is none, `TenantNotActiveError` where the tenant was suspended or
    deleted or is unknown, and whatever *check* raises.
    """
    return JobScope(read_payload(payload), check)
