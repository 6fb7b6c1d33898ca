"""Row security's policies: the expression that both read, as we write it and as the catalog spells it.

One bare equality on the column, with the context typed and read once a statement. A cast of the column, an OR or a
CASE would cost a hundred times as much, and each is a way past the wall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from tenantry.core.names import FLOOR_POLICY, TENANT_POLICY, TENANT_SETTING
from tenantry.ddl.catalog import Policy
from tenantry.ddl.changes import identifier
from tenantry.ddl.guard import context_function

if TYPE_CHECKING:
    from tenantry.core.layout import App, TenantType
    from tenantry.ddl.catalog import Column
    from tenantry.ddl.changes import Statement

__all__ = ["COLUMN_TYPES", "create_policy", "deparsed_context", "tenant_context", "wanted_policies"]

COLUMN_TYPES: dict[TenantType, frozenset[str]] = {
    "uuid": frozenset({"uuid"}),
    "text": frozenset({"text", "character varying"}),
    "bigint": frozenset({"bigint"}),
}
"""The types of a tenant column that are compared with the context without a cast that an index cannot follow."""

_CASTS: dict[TenantType, LiteralString] = {"uuid": "::uuid", "text": "", "bigint": "::bigint"}

_MODES: dict[bool, LiteralString] = {True: "PERMISSIVE", False: "RESTRICTIVE"}


def tenant_context(app: App) -> Statement:
    """The tenant of the transaction, or null where there is none: after a local setting its old value is `''`."""
    if app.context == "signed":
        return sql.SQL("{}()").format(identifier(app.guard_role, context_function(app)))
    return sql.SQL("NULLIF(pg_catalog.current_setting({}, true), ''){}").format(
        sql.Literal(TENANT_SETTING), sql.SQL(_CASTS[app.tenant_type])
    )


def deparsed_context(app: App) -> str:
    """`tenant_context` as the catalog spells it."""
    if app.context == "signed":
        return f"{app.guard_role}.{context_function(app)}()"
    bare = f"NULLIF(current_setting('{TENANT_SETTING}'::text, true), ''::text)"
    return bare if app.tenant_type == "text" else f"({bare})::{app.tenant_type}"


def wanted_policies(app: App, column: Column) -> tuple[Policy, Policy]:
    """The two policies of a tenant table, as the catalog spells them: the permissive one and the floor."""
    spelled = f"({column.quoted})::text" if column.type == "character varying" else column.quoted
    named = context_function(app) if app.context == "signed" else '"nullif"'
    expression = f"({spelled} = ( SELECT {deparsed_context(app)} AS {named}))"
    return (
        Policy(TENANT_POLICY, permissive=True, command="*", to_public=True, using=expression, check=expression),
        Policy(FLOOR_POLICY, permissive=False, command="*", to_public=True, using=expression, check=expression),
    )


def create_policy(policy: Policy, app: App, *, table: sql.Identifier, column: str) -> Statement:
    """The statement that makes *policy*, one of `wanted_policies`."""
    return sql.SQL(
        "CREATE POLICY {name} ON {table} AS {mode} FOR ALL TO PUBLIC USING ({test}) WITH CHECK ({test})"
    ).format(
        name=identifier(policy.name),
        table=table,
        mode=sql.SQL(_MODES[policy.permissive]),
        test=sql.SQL("{} = (SELECT {})").format(identifier(column), tenant_context(app)),
    )
