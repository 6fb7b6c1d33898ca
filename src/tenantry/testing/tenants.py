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

__all__ = ["Table", "TwoTenants", "read_tables"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a tenant column: its names as SQL writes them, the column's type, and the columns one can insert."""

    name: str
    column: str
    type: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TwoTenants:
    """Two tenants' ids, and where their rows are. It can be unpacked: `acme, bolt = two_tenants`.

    `may_be_empty` names tables (`schema.table`) that no test needs rows in.
    """

    a: TenantId
    b: TenantId
    admin_dsn: str = field(repr=False)
    tenant_column: str = TENANT_COLUMN
    may_be_empty: Collection[str] = ()

    def __iter__(self) -> Iterator[TenantId]:
        yield self.a
        yield self.b

    def tables(self) -> list[Table]:
        """Every table with the tenant column in which both have rows, but for those that may be empty.

        Raises `VacuousTestError` where one of them lacks rows, or where there is no such table.
        """
        with psycopg.connect(self.admin_dsn) as conn:
            tables = [table for table in read_tables(conn, self.tenant_column) if table.name not in self.may_be_empty]
            lacking = [
                f"{table.name} has no row of tenant {tenant}"
                for table in tables
                for tenant in self
                if not _has_rows(conn, table, tenant)
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


def read_tables(conn: psycopg.Connection[Any], tenant_column: str) -> list[Table]:
    """The tables and partitions that have *tenant_column*, by name."""
    rows = conn.execute(
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.quote_ident(a.attname),"
        " pg_catalog.format_type(a.atttypid, a.atttypmod),"
        " (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(every.attname) ORDER BY every.attnum)"
        "  FROM pg_catalog.pg_attribute every WHERE every.attrelid = c.oid AND every.attnum > 0"
        "  AND NOT every.attisdropped AND every.attgenerated = '')"
        " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE a.attname = %s AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'"
        " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%' ORDER BY 1",
        [tenant_column],
    )
    return [Table(name, column, type_, tuple(columns)) for name, column, type_, columns in rows]


def _has_rows(conn: psycopg.Connection[Any], table: Table, tenant: TenantId) -> bool:
    # Names come quoted from the catalog.
    query = f"SELECT EXISTS (SELECT FROM {table.name} WHERE {table.column}::text = %s)"  # noqa: S608 - see above
    found = conn.execute(sql.SQL(query), [str(tenant)]).fetchone()  # pyright: ignore[reportArgumentType] - as above
    return found is not None and bool(found[0])
