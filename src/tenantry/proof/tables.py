"""What there is to attack: the tables that carry a tenant, their columns and owners, read from the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantry.core.names import TENANT_COLUMN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

__all__ = ["AuthTable", "TenantTable", "read_auth_tables", "read_strong_roles", "read_tables"]

# Readable by every role, and the same for each: no tenant's row is among it.
_TABLES = """
SELECT c.relname,
       c.relkind IN ('r', 'p'),
       pg_catalog.pg_get_userbyid(c.relowner),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum),
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.pg_index i
             CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary
             ORDER BY k.place)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = %(tenant_column)s AND NOT a.attisdropped)
ORDER BY c.relname
"""

_AUTH_TABLES = """
SELECT c.relname,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p')
ORDER BY c.relname
"""

_STRONG_ROLES = """
SELECT r.rolname
FROM pg_catalog.pg_roles r
WHERE r.rolsuper OR r.rolbypassrls
   OR r.oid IN (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (%(schemas)s)
                UNION
                SELECT c.relowner FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY (%(schemas)s))
ORDER BY r.rolname
"""


@dataclass(frozen=True, slots=True)
class TenantTable:
    """A relation with a tenant column. `columns` are those that can be written, `key` those of its primary key.

    Views, materialized views and foreign tables are not `writable`: they are attacked by reading.
    """

    schema: str
    name: str
    tenant_column: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    owner: str
    writable: bool = True

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def harmless(self) -> str:
        """A column to assign to, best one that is neither key nor tenant."""
        return min(self.columns, key=lambda column: (column in self.key, column == self.tenant_column))


@dataclass(frozen=True, slots=True)
class AuthTable:
    """A table of the shared authentication schema."""

    schema: str
    name: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def read_tables(conn: Connection, schema: str, *, tenant_column: str = TENANT_COLUMN) -> tuple[TenantTable, ...]:
    """Every relation of *schema* that has *tenant_column*, in the order of their names."""
    return tuple(
        TenantTable(schema, name, tenant_column, tuple(columns), tuple(key), owner, writable)
        for name, writable, owner, columns, key in _rows(
            conn, _TABLES, {"schema": schema, "tenant_column": tenant_column}
        )
    )


def read_auth_tables(conn: Connection, schema: str) -> tuple[AuthTable, ...]:
    """Every table of *schema*; none where there is no such schema."""
    return tuple(
        AuthTable(schema, name, tuple(columns)) for name, columns in _rows(conn, _AUTH_TABLES, {"schema": schema})
    )


def read_strong_roles(conn: Connection, *schemas: str) -> tuple[str, ...]:
    """The roles that row security does not bind, or that own what stands in *schemas*."""
    return tuple(name for (name,) in _rows(conn, _STRONG_ROLES, {"schemas": list(schemas)}))


def _rows(conn: Connection, query: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in conn.exec_driver_sql(query, dict(params))]
