"""Who is let in to which tenant: a gate, and the steps of its judgement as values, without a request being sent."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantry.core.tenant import Tenant, TenantId
from tenantry.session.context import Context
from tenantry.session.jobs import TenantState
from tenantry.web.answers import NOT_FOUND, UNAUTHENTICATED, Answer
from tenantry.web.cache import Cache
from tenantry.web.errors import GateAnswerError, GateSettingError
from tenantry.web.naming import Claims, Named, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from tenantry.web.request import Request

__all__ = ["Ask", "Enter", "Gate", "NoScope", "Refuse", "Standing", "Verdict", "ask", "decide", "judge"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, init=False)
class Standing:
    """What the app's register says of a name: whose it is, in which state, and whether the user is a member."""

    tenant: Tenant
    member: bool
    state: TenantState = TenantState.ACTIVE

    def __init__(
        self, tenant: Tenant | TenantId, *, member: bool, state: TenantState | str = TenantState.ACTIVE
    ) -> None:
        object.__setattr__(self, "tenant", tenant if isinstance(tenant, Tenant) else Tenant(tenant))
        object.__setattr__(self, "member", member)
        object.__setattr__(self, "state", TenantState(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which requests enter which tenant. One gate serves both middlewares, ASGI and WSGI.

    `tenant_from` finds the tenant's name: `FromSession()`, `FromHost("app.example")`, `FromPath("/t")`, or a function
    of yours. `authenticate` answers with the `Claims` that it verified, or None; it must not block. `lookup` is asked
    with the user and the name, and answers with their `Standing`, or None where the name is nobody's; let it be one
    query, so that a name that is unknown takes as long as one that is forbidden. Both may be `async def` under ASGI;
    a `lookup` that is not runs in a thread there. Both run outside every scope.

    Paths in `public` (`/health`; `/static/` and all below it) have no scope: a query there raises `NoTenantError`.

    `unknown` answers alike where there is no such tenant, where the user is no member, where the session is bound to
    another, and where the tenant is not active; with `suspended`, that is told to its own members.

    A standing is kept for `cache_seconds`, at most `cache_size` of them, until `forget`.

    `entered` is called in each scope before the application, as OpenTelemetry's `mark_current_span` wants to be.

    Raises `GateSettingError`.
    """

    tenant_from: Source
    authenticate: Callable[[Request], Claims | Awaitable[Claims | None] | None]
    lookup: Callable[[str, str], Standing | Awaitable[Standing | None] | None]
    public: tuple[str, ...] = ()
    unknown: Answer = NOT_FOUND
    anonymous: Answer = UNAUTHENTICATED
    suspended: Answer | None = None
    cache_seconds: float = 2.0
    cache_size: int = 10_000
    entered: Callable[[Context], object] | None = None
    _cache: Cache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.public, str):
            raise GateSettingError(
                "public", self.public, why="is one text", way_out=f"write it as a tuple: ({self.public!r},)"
            )
        for path in self.public:
            if not path.startswith("/"):
                raise GateSettingError("the public path", path, why="does not begin with /", way_out=f"write /{path}")
        object.__setattr__(self, "_cache", Cache(seconds=self.cache_seconds, size=self.cache_size))

    def forget(self, *, user: str | None = None, tenant: Tenant | TenantId | None = None) -> None:
        """Look up again what concerns *user*, and what concerns *tenant*: call it when a membership or state changed.

        Everything where neither is given. Other processes have a cache of their own, and forget in `cache_seconds`.
        """
        wanted = tenant if tenant is None or isinstance(tenant, Tenant) else Tenant(tenant)
        self._cache.forget(user=user, tenant=wanted)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the app: `function(*arguments)`, whose answer is to be one of `kind` or None."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[object, ...]
    kind: type[object]
    may_block: bool

    def check(self, answer: object) -> object:
        """*answer*, if it is one. Raises `GateAnswerError`."""
        if answer is None or isinstance(answer, self.kind):
            return answer
        kind = self.kind.__name__
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            way_out = "WSGI cannot await: give it a plain function"
        else:
            way_out = f"let it return a {kind}, or None"
        raise GateAnswerError(f"`{self.name}`", answered=type(answer).__name__, way_out=way_out)


@dataclass(frozen=True, slots=True)
class NoScope:
    """The path is public: the app is called in no scope."""


@dataclass(frozen=True, slots=True)
class Enter:
    """The app is called in a scope of `context`, mounted at `named.mount`."""

    context: Context
    named: Named


@dataclass(frozen=True, slots=True)
class Refuse:
    """The app is not called, and `answer` is sent; `why` is for the log."""

    answer: Answer
    why: str


Verdict: TypeAlias = NoScope | Enter | Refuse


def judge(gate: Gate, request: Request) -> Generator[Ask, Any, Verdict]:
    """Judge *request*: yields what the app is to be asked, is sent the answer, and returns the verdict.

    Raises `GateAnswerError` where the app answers what it may not.
    """
    if any(request.path == path or (path.endswith("/") and request.path.startswith(path)) for path in gate.public):
        return NoScope()
    claims = yield Ask("authenticate", gate.authenticate, (request,), Claims, may_block=False)
    if claims is None:
        return _refuse(gate.anonymous, "nobody is signed in")
    named = gate.tenant_from(request, claims)
    if named is None:
        return _refuse(gate.unknown, "the request names no tenant")
    kept = gate._cache.get(claims.user, named.name)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - this module's
    if kept is not None:
        return decide(gate, claims, named, kept[0])
    ticket = gate._cache.ticket()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    standing = yield Ask("lookup", gate.lookup, (claims.user, named.name), Standing, may_block=True)
    gate._cache.put(claims.user, named.name, standing, ticket=ticket)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    return decide(gate, claims, named, standing)


def decide(gate: Gate, claims: Claims, named: Named, standing: Standing | None) -> Enter | Refuse:
    """Whether a verified user enters the tenant that the request named, given their standing."""
    if standing is None:
        return _refuse(gate.unknown, f"{named.name!r} is no tenant")
    tenant = standing.tenant
    if not standing.member:
        return _refuse(gate.unknown, f"user {claims.user!r} is no member of tenant {tenant}")
    if claims.tenant is not None and Tenant(claims.tenant) != tenant:
        return _refuse(gate.unknown, f"the session is bound to tenant {claims.tenant}, and {tenant} was named")
    if standing.state is TenantState.SUSPENDED:
        return _refuse(gate.suspended or gate.unknown, f"tenant {tenant} is suspended")
    if standing.state is not TenantState.ACTIVE:
        return _refuse(gate.unknown, f"tenant {tenant} is {standing.state}")
    return Enter(Context(tenant, claims.user), named)


def _refuse(answer: Answer, why: str) -> Refuse:
    _log.info("answered %s: %s", answer.status, why)
    return Refuse(answer, why)


def ask(gate: Gate, request: Request) -> Verdict:
    """Judge *request*, and ask the app where it stands: for WSGI, which cannot await."""
    steps = judge(gate, request)
    try:
        question = next(steps)
        while True:
            question = steps.send(question.check(question.function(*question.arguments)))
    except StopIteration as end:
        return end.value
