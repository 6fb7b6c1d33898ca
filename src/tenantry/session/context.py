"""The tenant scope: whose rows the current unit of work may see, held in a context variable."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeAlias, TypeVar

from tenantry.core.errors import NoTenantError, TenantChangedError, UsageError
from tenantry.core.tenant import Tenant, TenantId
from tenantry.session.errors import OperatorScopeError, UserChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

__all__ = [
    "Argument",
    "Context",
    "Operator",
    "OperatorKind",
    "Scope",
    "Steps",
    "TenantScope",
    "argument",
    "check_same",
    "current_context",
    "current_tenant",
    "current_user",
    "enter_scope",
    "innermost",
    "leave_scope",
    "open_context",
    "outside_scopes",
    "tenant_scope",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Context:
    """What a transaction carries: the tenant, and the user on whose behalf it acts."""

    tenant: Tenant
    user: str | None = None

    @property
    def kind(self) -> str:
        """What the scope is of, in words."""
        return "tenant"


OperatorKind: TypeAlias = Literal["partner", "platform"]


@dataclass(frozen=True, slots=True)
class Operator:
    """Who works across tenants: for the tenants of the partner *subject*, or for all. `operators` opens its scope."""

    kind: OperatorKind
    subject: str
    user: str
    reason: str
    write: bool = False


class Scope:
    """A scope and the one around it.

    Shared by all tasks and threads that copied it: its end ends it for all of them, in whatever order scopes end.
    """

    __slots__ = ("context", "open", "outer")

    def __init__(self, context: Context | Operator, outer: Scope | None) -> None:
        self.context = context
        self.outer = outer
        self.open = True


_innermost: ContextVar[Scope | None] = ContextVar("tenantry_scope", default=None)


def _open_scope() -> Scope | None:
    scope = _innermost.get()
    while scope is not None and not scope.open:
        scope = scope.outer
    return scope


def enter_scope(context: Context | Operator) -> Scope:
    """Begin a scope of *context* inside the one that is open, and return it for `leave_scope`."""
    scope = Scope(context, _open_scope())
    _innermost.set(scope)
    return scope


def leave_scope(scope: Scope) -> None:
    """End *scope* for everyone who copied it, in whatever order scopes end. Again changes nothing."""
    # Not ContextVar.reset: a generator may end its scope after a later one began, or in another context, and a
    # token would then bring back a tenant that is gone.
    scope.open = False
    _innermost.set(_open_scope())


class Steps:
    """A scope of its own that holds only while a step of some work runs, as a generator does between two yields.

    Scopes that the work itself opened are kept from step to step; whoever runs the steps keeps its own.
    """

    __slots__ = ("_inside", "_scope")

    def __init__(self, context: Context) -> None:
        self._scope = Scope(context, None)
        self._inside: Scope | None = self._scope

    @contextmanager
    def step(self) -> Generator[None]:
        """Let the scope hold until the block ends."""
        outside = _innermost.get()
        _innermost.set(self._inside)
        try:
            yield
        finally:
            self._inside = _innermost.get()
            _innermost.set(outside)

    def end(self) -> None:
        """End the scope for everyone who copied it."""
        self._scope.open = False


@contextmanager
def outside_scopes() -> Generator[None]:
    """Let the block run in no scope, whatever is open around it."""
    outside = _innermost.get()
    _innermost.set(None)
    try:
        yield
    finally:
        _innermost.set(outside)


@dataclass(frozen=True, slots=True)
class Argument:
    """The argument of a decorated function that says whose scope each call runs in."""

    name: str


def argument(name: str) -> Argument:
    """Take the tenant, or the user, of a decorator `@tenant_scope(...)` from the argument called *name*."""
    return Argument(name)


class TenantScope:
    """What `tenant_scope` returns: one block of `with`, or a decorator for any number of calls."""

    __slots__ = ("_scope", "_tenant", "_user")

    def __init__(self, tenant: Tenant | TenantId | Argument, user: object) -> None:
        self._tenant = tenant if isinstance(tenant, (Tenant, Argument)) else Tenant(tenant)
        self._user = user if user is None or isinstance(user, Argument) else str(user)
        self._scope: Scope | None = None

    def __enter__(self) -> Tenant:
        if self._scope is not None:
            raise UsageError("this scope was entered before: call `tenant_scope(...)` again for each block")
        if isinstance(self._tenant, Argument) or isinstance(self._user, Argument):
            name = (self._tenant if isinstance(self._tenant, Argument) else self._user).name  # type: ignore[union-attr]
            raise UsageError(
                f"argument({name!r}) is for a decorator `@tenant_scope(...)`, which has a call to take it from: "
                "give `with tenant_scope(...)` the tenant itself"
            )
        self._scope = enter_scope(Context(self._tenant, self._user))
        return self._tenant

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._scope is not None:
            leave_scope(self._scope)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Make *function* run in this scope, each call in one of its own.

        A function, a coroutine function, a generator or an async generator. In a generator the scope holds while its
        code runs, and not in the code that iterates over it. Raises `UsageError` where an `argument` is none of
        *function*'s.
        """
        from tenantry.session.scoped import by_arguments, scoped  # noqa: PLC0415 - it loads `inspect`, which is slow

        return scoped(function, by_arguments(function, self._tenant, self._user))


def tenant_scope(tenant: Tenant | TenantId | Argument, *, user: object = None) -> TenantScope:
    """Do the work inside for *tenant*, and on behalf of *user* if one is given.

    `with tenant_scope(tenant):` holds until the block ends, and `@tenant_scope(tenant)` for each call of a function,
    coroutine function, generator or async generator; there `argument("tenant_id")` takes it from the call.

    Scopes nest: the inner one holds until it ends. A transaction belongs to the tenant it began for, so end it
    before its scope ends. Works the same in sync and async code, since tasks copy their context; but a scope that
    has ended has ended for the tasks that were started inside it, so work that outlives it is wrapped in `in_scope`,
    and a background job is entered again by `job_scope`.
    """
    return TenantScope(tenant, user)


def innermost() -> Context | Operator | None:
    """What the innermost scope is of, a tenant or an operator, or None outside any."""
    scope = _open_scope()
    return None if scope is None else scope.context


def open_context() -> Context | None:
    """The tenant and user of the innermost scope, or None outside any and in that of an operator."""
    found = innermost()
    return found if isinstance(found, Context) else None


def current_context() -> Context:
    """The tenant and user of the innermost scope.

    Raises `NoTenantError` outside any, and `OperatorScopeError` in that of an operator.
    """
    context = innermost()
    if isinstance(context, Context):
        return context
    if context is not None:
        raise OperatorScopeError(engine="tenant", now=context.kind)
    ended = _innermost.get()
    left = None if ended is None else ended.context
    raise NoTenantError(ended=left.tenant if isinstance(left, Context) else None)


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
