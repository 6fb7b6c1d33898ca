"""What one tenant tries on a table of another's, as values, and what their outcomes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantry.core.errors import TenantContextError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from tenantry.core.tenant import TenantId
    from tenantry.testing.tenants import Table

__all__ = ["Attempt", "Outcome", "attempts_on", "carry_out", "hole", "own_rows"]

_REFUSED = "42501"
"""insufficient_privilege: a policy's WITH CHECK, or no grant (Postgres docs: "PostgreSQL Error Codes")."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A statement, and what it would do to the other tenant if it worked."""

    table: str
    deed: str
    query: str
    parameters: Mapping[str, Any]
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many rows a statement read or wrote, or the SQLSTATE that it failed with."""

    rows: int = 0
    sqlstate: str | None = None


def _sql(query: str) -> str:
    # What the catalog quoted may have a colon in it, which `text` would take for a parameter; ours stand as @name.
    return (
        query.replace("\\", "\\\\")
        .replace(":", "\\:")
        .replace("@other", ":other")
        .replace("@own", ":own")
        .replace("@row", ":row")
    )


def own_rows(table: Table, own: TenantId) -> Attempt:
    """How many rows *own* sees of its own."""
    query = f"SELECT pg_catalog.count(*) FROM {table.name} WHERE CAST({table.column} AS text) = @own"  # noqa: S608 - quoted by the catalog
    return Attempt(table.name, "sees rows of its own", _sql(query), {"own": str(own)}, counts=True)


def attempts_on(table: Table, *, other: TenantId, row: str) -> tuple[Attempt, ...]:
    """What is tried on *other*; *row* is one of its rows as JSON."""
    name, column, columns = table.name, table.column, ", ".join(table.columns)
    others = f"CAST({column} AS text) = @other"
    populated = f"pg_catalog.jsonb_populate_record(CAST(NULL AS {name}), CAST(@row AS jsonb))"
    queries = {
        "reads": (f"SELECT pg_catalog.count(*) FROM {name} WHERE {others}", True),  # noqa: S608 - quoted by the catalog
        "changes": (f"UPDATE {name} SET {column} = {column} WHERE {others}", False),  # noqa: S608 - as above
        # Without WHERE, which would need SELECT, whose policy would then be asked of the new row as well.
        "gives its own to": (f"UPDATE {name} SET {column} = CAST(@other AS {table.type})", False),  # noqa: S608 - as above
        "writes one for": (
            f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {populated}",  # noqa: S608 - as above
            False,
        ),
        "deletes": (f"DELETE FROM {name} WHERE {others}", False),  # noqa: S608 - as above
    }
    values = {"other": str(other), "row": row}
    return tuple(
        Attempt(name, deed, _sql(query), {key: value for key, value in values.items() if f"@{key}" in query}, counts)
        for deed, (query, counts) in queries.items()
    )


def hole(attempt: Attempt, outcome: Outcome, *, own: TenantId, other: TenantId) -> str | None:
    """What got through, in one line, or None where nothing did.

    An error other than a refusal means that no policy stopped the statement: what did would not stop the next one.
    """
    whose = f"{attempt.table}: tenant {own} {attempt.deed} tenant {other}"
    if outcome.sqlstate is None:
        return f"{whose}: {outcome.rows} row{'' if outcome.rows == 1 else 's'}" if outcome.rows else None
    return None if outcome.sqlstate == _REFUSED else f"{whose}: only {outcome.sqlstate} stopped it, no policy"


def carry_out(session: Session | Connection, attempt: Attempt) -> Outcome:
    """Try it, and roll it back."""
    try:
        result: Any = session.execute(text(attempt.query), attempt.parameters)
        return Outcome(result.scalar_one() if attempt.counts else result.rowcount)
    except TenantContextError:
        return Outcome(sqlstate=_REFUSED)
    except DBAPIError as exc:
        return Outcome(sqlstate=getattr(exc.orig, "sqlstate", None) or "an error")
    finally:
        session.rollback()
