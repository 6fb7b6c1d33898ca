"""Row security's policies: the expression that both read, as we write it and as the catalog spells it.

One bare equality on the column, with the context typed and read once a statement. A cast of the column, an OR or a
CASE would cost a hundred times as much, and each is a way past the wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from tenantry.core.names import (
    FLOOR_POLICY,
    LOOKUP_POLICY,
    PARTNER_FLOOR_POLICY,
    PARTNER_POLICY,
    PLATFORM_POLICY,
    ROLES_POLICY,
    TENANT_POLICY,
    TENANT_SETTING,
)
from tenantry.ddl.catalog import PUBLIC, Policy
from tenantry.ddl.changes import identifier
from tenantry.ddl.guard import context_function
from tenantry.ddl.operators import PLATFORM_FUNCTION, partner_function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantry.core.layout import App, TenantType
    from tenantry.ddl.catalog import Column
    from tenantry.ddl.changes import Statement

__all__ = ["COLUMN_TYPES", "OUR_POLICIES", "create_policy", "deparsed_context", "tenant_context", "wanted_policies"]

COLUMN_TYPES: dict[TenantType, frozenset[str]] = {
    "uuid": frozenset({"uuid"}),
    "text": frozenset({"text", "character varying"}),
    "bigint": frozenset({"bigint"}),
}
"""The types of a tenant column that are compared with the context without a cast that an index cannot follow."""

_CASTS: dict[TenantType, LiteralString] = {"uuid": "::uuid", "text": "", "bigint": "::bigint"}

_COMMANDS: dict[str, LiteralString] = {"*": "ALL", "r": "SELECT"}

OUR_POLICIES = frozenset({
    TENANT_POLICY, FLOOR_POLICY, PARTNER_POLICY, PARTNER_FLOOR_POLICY, PLATFORM_POLICY, ROLES_POLICY, LOOKUP_POLICY,
})  # fmt: skip
"""The names of policies that tenantry makes, and drops where they are not wanted."""

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


@dataclass(frozen=True, slots=True)
class WantedPolicy:
    """A policy as the catalog spells it, and its test as we write it."""

    policy: Policy
    test: Statement


def wanted_policies(app: App, table: str, column: Column) -> tuple[WantedPolicy, ...]:
    """The policies of a tenant table: the permissive one and the floor, and for operators theirs beside them.

    Without operators both are for PUBLIC. With them each role has its own, and every other role none.
    """
    spelled = f"({column.quoted})::text" if column.type == "character varying" else column.quoted
    named = context_function(app) if app.context == "signed" else '"nullif"'
    expression = f"({spelled} = ( SELECT {deparsed_context(app)} AS {named}))"
    test = sql.SQL("{} = (SELECT {})").format(identifier(column.name), tenant_context(app))
    own = frozenset({app.app_role, app.migrator_role}) if app.operator_roles else frozenset({PUBLIC})
    return (
        _policy(TENANT_POLICY, expression, test, roles=own),
        _policy(FLOOR_POLICY, expression, test, roles=own, permissive=False),
        *_partner_policies(app, column, spelled),
        *_platform_policies(app),
        *_roles_policies(app, table),
    )


def _policy(
    name: str, expression: str, test: Statement, *, roles: frozenset[str], permissive: bool = True, command: str = "*"
) -> WantedPolicy:
    check = expression if command == "*" else None
    return WantedPolicy(Policy(name, permissive, command, roles, using=expression, check=check), test)


def _partner_policies(app: App, column: Column, spelled: str) -> Iterator[WantedPolicy]:
    if app.operators.partners is None:
        return
    function = partner_function(app)
    expression = f"({spelled} = ANY (ARRAY( SELECT {app.guard_role}.{function}() AS {function})))"
    test = sql.SQL("{} = ANY (ARRAY(SELECT {}()))").format(
        identifier(column.name), identifier(app.guard_role, function)
    )
    roles = frozenset({app.partner_role})
    yield _policy(PARTNER_POLICY, expression, test, roles=roles, command="*" if app.operators.write else "r")
    yield _policy(PARTNER_FLOOR_POLICY, expression, test, roles=roles, permissive=False)


def _platform_policies(app: App) -> Iterator[WantedPolicy]:
    if not app.operators.platform:
        return
    expression = f"( SELECT {app.guard_role}.{PLATFORM_FUNCTION}() AS {PLATFORM_FUNCTION})"
    test = sql.SQL("(SELECT {}())").format(identifier(app.guard_role, PLATFORM_FUNCTION))
    command = "*" if app.operators.write else "r"
    yield _policy(PLATFORM_POLICY, expression, test, roles=frozenset({app.platform_role}), command=command)


def _roles_policies(app: App, table: str) -> Iterator[WantedPolicy]:
    if not app.operator_roles:
        return
    partners = app.operators.partners
    known = (app.app_role, app.migrator_role, *app.operator_roles, app.guard_role)
    listed = ", ".join(f"'{role}'::name" for role in known)
    test = sql.SQL("CURRENT_USER = ANY (ARRAY[{}])").format(
        sql.SQL(", ").join(sql.SQL("{}::pg_catalog.name").format(sql.Literal(role)) for role in known)
    )
    expression = f"(CURRENT_USER = ANY (ARRAY[{listed}]))"
    yield _policy(ROLES_POLICY, expression, test, roles=frozenset({PUBLIC}), permissive=False)
    if partners is not None and table == partners.table:
        yield _policy(LOOKUP_POLICY, "true", sql.SQL("true"), roles=frozenset({app.guard_role}), command="r")


def create_policy(wanted: WantedPolicy, *, table: sql.Identifier) -> Statement:
    """The statement that makes *wanted*, one of `wanted_policies`."""
    policy = wanted.policy
    roles = (sql.SQL("PUBLIC") if role == PUBLIC else identifier(role) for role in sorted(policy.roles))
    check = sql.SQL("") if policy.check is None else sql.SQL(" WITH CHECK ({})").format(wanted.test)
    return sql.SQL("CREATE POLICY {name} ON {table} AS {mode} FOR {command} TO {roles} USING ({test}){check}").format(
        name=identifier(policy.name),
        table=table,
        mode=sql.SQL(_MODES[policy.permissive]),
        command=sql.SQL(_COMMANDS[policy.command]),
        roles=sql.SQL(", ").join(roles),
        test=wanted.test,
        check=check,
    )
