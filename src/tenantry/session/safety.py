"""Refuse to start unsafe: before anything of the application runs, a pool's role, server and pooler are checked.

`SafetyCheck` is what a driver's module keeps for each pool. What a check asks stands in `facts`, what it decides in
`judgement`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tenantry.core.errors import UsageError
from tenantry.session.errors import (
    UnsafeConnectionError,
    UnsafeRoleAndServerError,
    UnsafeRoleError,
    UnsafeServerError,
    UnsafeWarning,
)
from tenantry.session.facts import FACTS_QUERY, PROBE, Facts, parse_facts
from tenantry.session.judgement import CHECKS, Refusal, caution, judge, pooler_refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["AFTER", "BEGIN", "COMMIT", "ENTER", "Allowance", "SafetyCheck", "allowance", "examine", "refuse"]

Allowance: TypeAlias = tuple[tuple[str, str], ...]
"""Codes of refusals that are overridden, each with its reason. The code `*` stands for all."""

BEGIN: Final = "BEGIN"
COMMIT: Final = "COMMIT"

# Each name in FACTS_QUERY that is not qualified is Postgres's own from here, whatever the role's search_path.
ENTER: Final = (
    f"SELECT pg_catalog.set_config('{PROBE}', pg_catalog.md5(pg_catalog.random()::text), true), "
    "pg_catalog.set_config('search_path', 'pg_catalog', true)"
)
AFTER: Final = f"SELECT coalesce(pg_catalog.current_setting('{PROBE}', true), '')"

_PROTOCOL_VIOLATION: Final = "08P01"  # PgBouncer's answer to BEGIN where it pools statements

_log = logging.getLogger("tenantry")
_audit = logging.getLogger("tenantry.audit")


def allowance(allow_unsafe: str | Mapping[str, str] | None) -> Allowance:
    """What `protect(..., allow_unsafe=...)` was given, as a value.

    A text is the reason why whatever is found is let through; a mapping names the codes that are, each with its
    reason. Raises `UsageError` for an empty reason and for a code that no check has.
    """
    if allow_unsafe is None:
        return ()
    reasons = dict(allow_unsafe) if isinstance(allow_unsafe, Mapping) else {"*": allow_unsafe}
    for code, reason in reasons.items():
        if not reason.strip():
            raise UsageError(
                f"allow_unsafe has the reason {reason!r}: say why, as in `allow_unsafe=\"a copy without tenants' "
                'rows"`; it is written to the log at each start'
            )
        if code != "*" and code not in CHECKS:
            raise UsageError(f"allow_unsafe names {code!r}, which no check is called: use one of {', '.join(CHECKS)}")
    return tuple(sorted(reasons.items()))


def examine(*, begun: bool = False) -> Generator[str, Any, tuple[Facts, tuple[Refusal, ...]]]:
    """Yield the statements of a check, take the first value that each gives, and return what was found.

    The connection is in no transaction before and after, and nothing that is set outlasts the check. Where the driver
    begins each transaction by itself, as Python's DBAPI has it, it is *begun* without being asked.
    """
    if not begun:
        yield BEGIN
    token = yield ENTER
    facts = parse_facts((yield FACTS_QUERY))
    yield COMMIT
    after = yield AFTER
    if begun:
        yield COMMIT
    refusals = judge(facts)
    if facts.probe != token:
        refusals += (pooler_refusal("it was gone at the next statement"),)
    if after == token:
        refusals += (pooler_refusal("it was still there after COMMIT"),)
    return facts, refusals


def refuse(facts: Facts, refusals: tuple[Refusal, ...], allowed: Allowance) -> None:
    """Raise what stands in the way, all of it at once, but for what *allowed* names.

    Raises `UnsafeRoleError` or `UnsafeServerError`, or the error that is both. What is let through is said aloud, on
    the loggers `tenantry` and `tenantry.audit` and as an `UnsafeWarning`.
    """
    reasons = dict(allowed)
    left = tuple(one for one in refusals if "*" not in reasons and not set(one.codes) <= reasons.keys())
    if left:
        raise _error(left)(left)
    for sentence in caution(facts):
        _log.warning("%s", sentence)
    if not allowed:
        return
    why = "; ".join(reason if code == "*" else f"{code}: {reason}" for code, reason in allowed)
    who = f"role {facts.session_user} on database {facts.database}"
    what = "\n".join(f"- {refusal}" for refusal in refusals) or "- nothing: take allow_unsafe out"
    message = f"{who} runs unsafe, because: {why}\n{what}"
    _log.warning("%s", message)
    codes = ", ".join(code for refusal in refusals for code in refusal.codes) or "nothing"
    _audit.warning("allow_unsafe for %s, because: %s; let through: %s", who, why, codes)
    warnings.warn(message, UnsafeWarning, stacklevel=2)


def _error(refusals: tuple[Refusal, ...]) -> type[UnsafeConnectionError]:
    about_role = {refusal.about_role for refusal in refusals}
    if len(about_role) > 1:
        return UnsafeRoleAndServerError
    return UnsafeRoleError if about_role.pop() else UnsafeServerError


class _Talk:
    """A run of `examine`: the statement that it wants sent, and in the end what it found."""

    def __init__(self, *, begun: bool) -> None:
        self._steps = examine(begun=begun)
        self.statement: str | None = next(self._steps)
        self.found: tuple[Facts, tuple[Refusal, ...]] | None = None

    def answer(self, value: Any) -> None:
        """Take what the statement gave, and go on to the next."""
        try:
            self.statement = self._steps.send(value)
        except StopIteration as end:
            self.statement, self.found = None, end.value

    @contextmanager
    def errors(self) -> Generator[None]:
        """Let errors pass; but a pooler that takes no transaction is what a check is there to find."""
        try:
            yield
        except Exception as exc:
            # Drivers that begin a transaction by themselves send BEGIN with the statement after.
            if self.statement in {BEGIN, ENTER} and getattr(exc, "sqlstate", None) == _PROTOCOL_VIOLATION:
                raise UnsafeServerError((pooler_refusal("the pooler takes no transactions"),)) from exc
            raise


class SafetyCheck:
    """The check of one pool: whoever gets a connection runs it, until it has passed once and after each `forget`."""

    def __init__(self, allowed: Allowance = ()) -> None:
        self.allowed = allowed
        self.passed = False

    def forget(self, *_: object) -> None:
        """Have the next connection checked, as after a pool was disposed of."""
        self.passed = False

    def run(self, fetch: Callable[[str], Any], *, begun: bool = False) -> None:
        """Check a connection that is in no transaction: *fetch* sends a statement, and gives its first value or None.

        *begun* says that the driver sends BEGIN by itself. Raises `UnsafeRoleError` or `UnsafeServerError`, and
        whatever *fetch* raises; the connection is then to be closed.
        """
        talk = _Talk(begun=begun)
        with talk.errors():
            while talk.statement is not None:
                talk.answer(fetch(talk.statement))
        self._conclude(talk)

    async def run_async(self, fetch: Callable[[str], Awaitable[Any]], *, begun: bool = False) -> None:
        """`run` for a driver that is awaited. For asyncpg, *fetch* is the connection's own `fetchval`."""
        talk = _Talk(begun=begun)
        with talk.errors():
            while talk.statement is not None:
                talk.answer(await fetch(talk.statement))
        self._conclude(talk)

    def run_dbapi(self, connection: Any, *, autocommit: bool) -> None:
        """`run` for a connection of the DBAPI (PEP 249), such as psycopg's."""

        def fetch(statement: str) -> Any:
            if statement == COMMIT and not autocommit:
                return connection.commit()
            cursor = connection.cursor()
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            cursor.close()
            return row and row[0]

        self.run(fetch, begun=not autocommit)

    def _conclude(self, talk: _Talk) -> None:
        assert talk.found is not None
        refuse(*talk.found, self.allowed)
        self.passed = True
