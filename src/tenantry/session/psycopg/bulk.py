"""Many rows into a table under row security, where Postgres has no COPY FROM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tenantry.session.context import current_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection, Connection

__all__ = ["async_copy_rows", "copy_rows"]

_MAY_STAGE: Final = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP')"


def copy_rows(conn: Connection[Any], table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Any]) -> int:
    """Write *rows*, each a sequence of values for *columns*, into *table* for the tenant of the scope; return how many.

    *table* is a name, or schema and name. The rows go by COPY into a temporary table of this transaction and from there
    by INSERT, so that the table's defaults, triggers and policies see to each; leave the tenant's column out. Where the
    role may make no temporary table (`GRANT TEMP ON DATABASE … TO …`), they go by a pipeline of INSERTs.

    All are written or none: in a transaction of its own, or in a savepoint of the one that is open. *conn* is a
    `TenantConnection`, or inside `tenant_transaction`. Raises `NoTenantError`, and what Postgres refuses.
    """
    current_context()
    steps = _Steps(table, columns)
    with conn.transaction(), conn.cursor() as cursor:
        found: Any = cursor.execute(_MAY_STAGE).fetchone()
        if not _first(found):
            cursor.executemany(steps.insert, rows)
            return cursor.rowcount
        cursor.execute(steps.make)
        with cursor.copy(steps.copy) as copy:
            for row in rows:
                copy.write_row(row)
        count = cursor.execute(steps.move).rowcount
        cursor.execute(steps.drop)
        return count


async def async_copy_rows(
    conn: AsyncConnection[Any], table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Any]
) -> int:
    """`copy_rows` for an `AsyncConnection`."""
    current_context()
    steps = _Steps(table, columns)
    async with conn.transaction(), conn.cursor() as cursor:
        found: Any = await (await cursor.execute(_MAY_STAGE)).fetchone()
        if not _first(found):
            await cursor.executemany(steps.insert, rows)
            return cursor.rowcount
        await cursor.execute(steps.make)
        async with cursor.copy(steps.copy) as copy:
            for row in rows:
                await copy.write_row(row)
        count = (await cursor.execute(steps.move)).rowcount
        await cursor.execute(steps.drop)
        return count


def _first(row: Any) -> Any:
    """The only value of *row*, whatever the connection's row factory makes of rows."""
    return next(iter(row.values())) if isinstance(row, dict) else row[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of any type


class _Steps:
    """The statements, for rows of *columns* into *table*."""

    __slots__ = ("copy", "drop", "insert", "make", "move")

    def __init__(self, table: str | tuple[str, ...], columns: Sequence[str]) -> None:
        names = {
            "table": sql.Identifier(*((table,) if isinstance(table, str) else table)),
            "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
            "values": sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            "staging": sql.Identifier("pg_temp", "tenantry_rows"),
        }
        self.insert = sql.SQL("INSERT INTO {table} ({columns}) VALUES ({values})").format(**names)
        self.make = sql.SQL(
            "CREATE TEMP TABLE tenantry_rows ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
        ).format(**names)
        self.copy = sql.SQL("COPY {staging} ({columns}) FROM STDIN").format(**names)
        self.move = sql.SQL("INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging}").format(**names)
        self.drop = sql.SQL("DROP TABLE {staging}").format(**names)
