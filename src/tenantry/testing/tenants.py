"""Two tenants that both have rows in every table, as a test of isolation needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from tenantry.core.names import TENANT_COLUMN
from tenantry.testing.errors import VacuousTestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tenantry.core.tenant import TenantId

__all__ = ["Table", "TwoTenants", "read_tables", "row_of"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a tenant column: its names as SQL writes them, the column's type, and the columns one can insert."""

    name: str
    column: str
    type: str
    columns: tuple[str, ...]
    is_partition: bool = False


@dataclass(frozen=True, slots=True)
class TwoTenants:
    """Two tenants' ids, and where their rows are. It can be unpacked: `acme, bolt = two_tenants`.

    `may_be_empty` names tables (`schema.table`) that no test needs rows in. Tables on which *app_role* has no privilege
    are left out, where it is given.
    """

    a: TenantId
    b: TenantId
    admin_dsn: str = field(repr=False)
    tenant_column: str = TENANT_COLUMN
    may_be_empty: Collection[str] = ()
    app_role: str | None = None

    def __iter__(self) -> Iterator[TenantId]:
        yield self.a
        yield self.b

    def tables(self) -> list[Table]:
        """Every table with the tenant column in which both have rows, but for those that may be empty.

        Partitions are among them, and need no rows of both: one of them may be all a tenant's own.


        Raises `VacuousTestError` where one of them lacks rows, or where there is no such table.
        """
        with psycopg.connect(self.admin_dsn) as conn:
            found = read_tables(conn, self.tenant_column, app_role=self.app_role)
            tables = [table for table in found if table.name not in self.may_be_empty]
            lacking = [
                f"{table.name} has no row of tenant {tenant}"
                for table in tables
                for tenant in self
                if not table.is_partition and row_of(conn, table, tenant) is None
            ]
        if not tables:
            raise VacuousTestError(
                f"no table has a column {self.tenant_column!r}",
                way_out="let the fixture `tenantry_schema` make the application's tables",
            )
        if lacking:
            raise VacuousTestError(
                "; ".join(lacking),
                way_out="let the fixture `tenantry_rows` write one in each table, or name the table in "
                "`tenantry_may_be_empty`",
            )
        return tables


def read_tables(conn: psycopg.Connection[Any], tenant_column: str, *, app_role: str | None = None) -> list[Table]:
    """The tables and partitions that have *tenant_column* and that *app_role* may touch, by name."""
    rows = conn.execute(
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.quote_ident(a.attname),"
        " pg_catalog.format_type(a.atttypid, a.atttypmod),"
        " (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(every.attname) ORDER BY every.attnum)"
        "  FROM pg_catalog.pg_attribute every WHERE every.attrelid = c.oid AND every.attnum > 0"
        "  AND NOT every.attisdropped AND every.attgenerated = ''), c.relispartition"
        " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE a.attname = %(column)s AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'"
        " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'"
        " AND (%(role)s::text IS NULL OR pg_catalog.has_any_column_privilege(%(role)s, c.oid, 'SELECT, INSERT, UPDATE')"
        " OR pg_catalog.has_table_privilege(%(role)s, c.oid, 'DELETE')) ORDER BY 1",
        {"column": tenant_column, "role": app_role},
    )
    return [Table(name, column, type_, tuple(columns), child) for name, column, type_, columns, child in rows]


def row_of(conn: psycopg.Connection[Any], table: Table, tenant: TenantId) -> Any:
    """One of *tenant*'s rows as JSON has it, or None."""
    query = f"SELECT pg_catalog.to_jsonb(t) FROM {table.name} t WHERE {table.column}::text = %s LIMIT 1"  # noqa: S608 - quoted by the catalog
    found = conn.execute(sql.SQL(query), [str(tenant)]).fetchone()  # pyright: ignore[reportArgumentType] - as above
    return None if found is None else found[0]
