"""The guards that attacks are stopped by, and how each is taken out to see the attack succeed."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tenantry.core.tenant import Tenant
from tenantry.session import context, leftovers, orm, statements
from tenantry.session.asyncpg import carrier as asyncpg_carrier
from tests.plugins.shop import ACME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.isolation.matrix.arena import Arena

__all__ = [
    "CAREFUL",
    "CLEANING",
    "CONTEXT",
    "CONTROL",
    "ENDED",
    "LOCAL",
    "NEEDED",
    "OBJECTS",
    "PREPARES",
    "QUOTING",
    "SAME",
    "STABLE",
    "UNSET",
    "WALL",
    "Guard",
]


@dataclass(frozen=True, slots=True)
class Guard:
    """What stops an attack, and what takes it out for as long as a block runs.

    With `careless`, the way keeps what was begun when it gives a connection back. With `prepares`, it uses prepared
    statements through any pooler.
    """

    what: str
    take_out: Callable[[Arena], AbstractContextManager[Any]]
    careless: bool = False
    prepares: bool = False


@contextmanager
def _patched(*patches: tuple[Any, str, Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for target, name, value in patches:
            patch.setattr(target, name, value)
        yield


@contextmanager
def _emptied() -> Iterator[None]:
    """Let what was decided before the block be decided anew, and again after it."""
    from tests.isolation.matrix import caches  # noqa: PLC0415 - of the drivers that are there

    caches.clear()
    try:
        yield
    finally:
        caches.clear()


@contextmanager
def _dirty(arena: Arena) -> Iterator[None]:
    with _patched((leftovers, "_undo", lambda left: ())), _emptied():
        yield


@contextmanager
def _uncontrolled(arena: Arena) -> Iterator[None]:
    with _patched((leftovers, "_control", lambda statement: None)), _emptied():
        yield


def _code(function: Any, other: Any) -> tuple[Any, str, Any]:
    """The patch of *function* for all who imported it by name."""
    return function, "__code__", other.__code__


def _quoted(value: str) -> str:
    return f"'{value}'"


def _interpolated(settings: Any, *, numeric: bool = False) -> Any:
    calls = (f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in settings)
    return f"SELECT {', '.join(calls)}", ()


def _for_the_session(names: Any, numeric: bool) -> str:  # noqa: FBT001 - the signature of what it stands for
    calls = (f"pg_catalog.set_config('{n}', {f'${i}' if numeric else '%s'}, false)" for i, n in enumerate(names, 1))
    return f"SELECT {', '.join(calls)}"


def _literals_for_the_session(settings: Any) -> str:
    calls = (f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in settings)
    return f"SELECT {', '.join(calls)}"


def _unchecked(began_for: Any, now: Any) -> None:
    return None


def _unchecked_objects(held: Any, tenant: Any) -> None:
    return None


def _kept(connection: Any) -> bool:
    connection.let_pass(passing=True)
    return True


_DEFAULT = context.Scope(context.Context(Tenant(ACME)), None)

CLEANING = Guard(
    "a transaction that may leave something on its connection ends with what removes it",
    _dirty,
)
LOCAL = Guard(
    "the context is set for the transaction and ends with it",
    lambda arena: _patched(
        (statements, "_text", _for_the_session), _code(statements.set_locally_with_literals, _literals_for_the_session)
    ),
)
CONTEXT = Guard(
    "every transaction, and every statement outside one, begins with the context",
    lambda arena: _patched((statements, "TENANT_SETTING", "app.nobody")),
)
SAME = Guard(
    "a transaction belongs to the scope that it began in", lambda arena: _patched(_code(context.check_same, _unchecked))
)
NEEDED = Guard(
    "without a scope nothing is sent",
    lambda arena: _patched((context, "_open_scope", lambda: _DEFAULT)),
)
ENDED = Guard(
    "a scope that has ended has ended for every task and thread that copied it",
    lambda arena: _patched((context, "_open_scope", context._innermost.get)),
)
OBJECTS = Guard(
    "a session's objects are given to their own tenant only",
    lambda arena: _patched(_code(orm.check_objects, _unchecked_objects)),
)
CONTROL = Guard("text that would end the transaction is refused, or begins the next with its context", _uncontrolled)
QUOTING = Guard(
    "the tenant is a parameter, or an escaped literal, and never a part of a connection's address",
    lambda arena: _patched(
        (statements, "_literal", _quoted), (statements.set_locally, "__code__", _interpolated.__code__)
    ),
)
WALL = Guard("row security", lambda arena: arena.without_wall())
UNSET = Guard(
    "the policy takes an empty setting for no tenant",
    lambda arena: arena.with_policy(
        "COALESCE(current_setting('app.tenant_id', true), '') = ''"
        " OR tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid"
    ),
)
STABLE = Guard(
    "the policy reads the setting by a function that Postgres does not evaluate beforehand",
    lambda arena: arena.with_policy("tenant_id = shop.tenant_once()"),
)
CAREFUL = Guard(
    "what a connection was left in is rolled back before anyone else has it",
    lambda arena: _patched((asyncpg_carrier, "rest", _kept)),
    careless=True,
)
PREPARES = Guard(
    "prepared statements are off where the pooler cannot hold them",
    lambda arena: nullcontext(),
    prepares=True,
)
