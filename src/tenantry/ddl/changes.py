"""A change to a database as a value, what stands in the way of one, and carrying changes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

__all__ = ["Change", "Finding", "Statement", "execute", "identifier", "once"]


Statement: TypeAlias = sql.SQL | sql.Composed
"""What psycopg executes."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not as wanted, and the statements that make it so. They can be run again."""

    text: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that tenantry does not change by itself: what it is, and the way out."""

    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.what}: {self.way_out}"


def execute(conn: psycopg.Connection[Any], changes: Iterable[Change]) -> None:
    """Carry *changes* out in order, in one transaction: all of them, or none."""
    with conn.transaction():
        for change in changes:
            for statement in change.statements:
                conn.execute(statement)


def identifier(*parts: str) -> sql.Identifier:
    """Quote a name, qualified by the parts before it."""
    return sql.Identifier(*parts)


def once(statement: Statement, condition: LiteralString) -> Statement:
    """Make *statement* harmless where it was carried out before: it then fails with *condition*, which is passed over.

    *condition* is a PL/pgSQL condition name such as `duplicate_object`.
    """
    return sql.SQL("DO {}").format(
        sql.Literal(
            sql.SQL("BEGIN {}; EXCEPTION WHEN {} THEN NULL; END").format(statement, sql.SQL(condition)).as_string()
        )
    )
