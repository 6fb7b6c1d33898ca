"""The tenant scope: whose rows the current unit of work may see, held in a context variable."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.core.errors import NoTenantError, TenantChangedError
from tenantry.core.tenant import Tenant, TenantId
from tenantry.session.errors import UserChangedError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Context", "check_same", "current_context", "current_tenant", "current_user", "open_context", "tenant_scope"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a transaction carries: the tenant, and the user on whose behalf it acts."""

    tenant: Tenant
    user: str | None = None


class _Scope:
    """A scope and the one around it.

    Shared by all tasks and threads that copied it: its end ends it for all of them, in whatever order scopes end.
    """

    __slots__ = ("context", "open", "outer")

    def __init__(self, context: Context, outer: _Scope | None) -> None:
        self.context = context
        self.outer = outer
        self.open = True


_innermost: ContextVar[_Scope | None] = ContextVar("tenantry_scope", default=None)


def _open_scope() -> _Scope | None:
    scope = _innermost.get()
    while scope is not None and not scope.open:
        scope = scope.outer
    return scope


@contextmanager
def tenant_scope(tenant: Tenant | TenantId, *, user: object = None) -> Generator[Tenant]:
    """Do the work inside for *tenant*, and on behalf of *user* if one is given.

    Scopes nest: the inner one holds until it ends. A transaction belongs to the tenant it began for, so end it
    before its scope ends. Works the same in sync and async code, since tasks copy their context; but a scope that
    has ended has ended for the tasks that were started inside it, so work that outlives it opens a scope of its own.
    """
    entered = tenant if isinstance(tenant, Tenant) else Tenant(tenant)
    scope = _Scope(Context(entered, None if user is None else str(user)), _open_scope())
    _innermost.set(scope)
    try:
        yield entered
    finally:
        # Not ContextVar.reset: a generator may end its scope after a later one began, or in another context, and a
        # token would then bring back a tenant that is gone.
        scope.open = False
        _innermost.set(_open_scope())


def open_context() -> Context | None:
    """The tenant and user of the innermost scope, or None outside any."""
    scope = _open_scope()
    return None if scope is None else scope.context


def current_context() -> Context:
    """The tenant and user of the innermost scope. Raises `NoTenantError` outside any."""
    context = open_context()
    if context is None:
        raise NoTenantError
    return context


def current_tenant() -> Tenant:
    """The tenant of the innermost scope. Raises `NoTenantError` outside any."""
    return current_context().tenant


def current_user() -> str | None:
    """The user of the innermost scope, or None."""
    context = open_context()
    return None if context is None else context.user


def check_same(began_for: Context, now: Context) -> None:
    """Refuse a statement of the scope *now* in a transaction that *began_for* another.

    Raises `TenantChangedError` or `UserChangedError`.
    """
    if began_for is now:
        return
    if began_for.tenant != now.tenant:
        raise TenantChangedError(began_for=began_for.tenant, now=now.tenant)
    if began_for.user != now.user:
        raise UserChangedError(began_for=began_for.user, now=now.user)
