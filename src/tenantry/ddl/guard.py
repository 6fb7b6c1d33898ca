"""What checks a signed context in the database: a schema of its own with the keys, and the function that reads them.

Only that function reaches the keys, with the rights of a role that nobody logs in as. The app role may not even name
it: a policy and a column's default keep hold of it, and no other way leads there.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

from psycopg import sql

from tenantry.core.names import TOKEN_SETTING
from tenantry.ddl.catalog import Grant
from tenantry.ddl.changes import Change, Finding, identifier
from tenantry.ddl.operators import SEARCH_PATH, operator_changes, operator_findings
from tenantry.ddl.roles import acting_as, plain_role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.core.layout import App
    from tenantry.ddl.catalog import DatabaseState, Function, Relation
    from tenantry.ddl.changes import Statement

__all__ = [
    "KEY_TABLE",
    "context_function",
    "guard_changes",
    "guard_findings",
    "has_context_keys",
    "read_context_keys",
    "replace_context_keys",
]

KEY_TABLE = "context_key"

_BODY = cast("LiteralString", files("tenantry.ddl").joinpath("guard_tenant.sql").read_text(encoding="utf-8"))


def context_function(app: App) -> str:
    """The name of the function that gives the tenant of a signed context, or null. Named after the type it returns."""
    return f"tenant_{app.tenant_type}"


def guard_changes(state: DatabaseState, app: App) -> tuple[Change, ...]:
    """Return what makes the guard of *app*, without keys, and closes it to whoever was let in.

    An app has one if its context is signed, or if it has operators.
    """
    signed = app.context == "signed"
    base = (*plain_role(state, app.guard_role, login=False), *_schema(state, app))
    return (
        *(base if signed or app.operator_roles else ()),
        *((*_key_table(state, app), *_function(state, app)) if signed else ()),
        *operator_changes(state, app),
    )


def guard_findings(state: DatabaseState, app: App) -> tuple[Finding, ...]:
    """Return what is left of a guard or an operator that the layout has no more."""
    found = tuple(operator_findings(state, app))
    if app.context == "signed" or app.operator_roles or app.guard_role not in state.schemas:
        return found
    return (
        *found,
        Finding(
            f"schema {app.guard_role} guards nothing any more, and holds keys or an audit log",
            f"run DROP SCHEMA {app.guard_role} CASCADE and DROP ROLE {app.guard_role}",
        ),
    )


def _schema(state: DatabaseState, app: App) -> Iterable[Change]:
    name, owner = identifier(app.guard_role), app.guard_role
    found = state.schemas.get(app.guard_role)
    if found is None:
        create = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, name)
        yield Change(f"create schema {app.guard_role}, which checks the signed context of {app.name}", (create,))
        return
    if found.owner != owner:
        alter = sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(name, name)
        yield Change(f"give schema {owner} from {found.owner} to {owner}", acting_as(state, found.owner, alter))
    others = frozenset(each for each in found.grants if each.grantee not in {app.partner_role, app.platform_role})
    yield from _closed(sql.SQL("SCHEMA {}").format(name), f"schema {owner}", others, app)


def _key_table(state: DatabaseState, app: App) -> Iterable[Change]:
    table, shown = identifier(app.guard_role, KEY_TABLE), f"{app.guard_role}.{KEY_TABLE}"
    found: Relation | None = state.relation(app.guard_role, KEY_TABLE)
    if found is None:
        # The two blocks of HMAC, so that no key itself is stored and SQL needs `sha256` alone. No index: there are one
        # or two rows, and each query would open it.
        create = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (id text NOT NULL,"
            " inner_pad bytea NOT NULL CHECK (pg_catalog.octet_length(inner_pad) = 64),"
            " outer_pad bytea NOT NULL CHECK (pg_catalog.octet_length(outer_pad) = 64))"
        ).format(table)
        yield Change(f"create table {shown}", _as_guard(app, create))
        return
    if found.owner != app.guard_role:
        alter = sql.SQL("ALTER TABLE {} OWNER TO {}").format(table, identifier(app.guard_role))
        yield Change(f"give {shown} from {found.owner} to {app.guard_role}", acting_as(state, found.owner, alter))
    yield from _closed(sql.SQL("TABLE {}").format(table), shown, found.grants, app)


def _function(state: DatabaseState, app: App) -> Iterable[Change]:
    name, shown = context_function(app), f"{app.guard_role}.{context_function(app)}()"
    wanted = {Grant(role, "EXECUTE") for role in (app.app_role, app.migrator_role)}
    found = next((each for each in state.functions if (each.schema, each.name) == (app.guard_role, name)), None)
    if found is not None and found.owner != app.guard_role:
        alter = sql.SQL("ALTER FUNCTION {}() OWNER TO {}").format(
            identifier(app.guard_role, name), identifier(app.guard_role)
        )
        yield Change(f"give {shown} from {found.owner} to {app.guard_role}", acting_as(state, found.owner, alter))
    if found is None or not _is_as_wanted(found, app):
        yield Change(f"make {shown}, which reads the signed tenant", _as_guard(app, *_create_function(app)))
        return
    surplus = found.grants - wanted
    where = sql.SQL("FUNCTION {}()").format(identifier(app.guard_role, name))
    if surplus:
        yield from _closed(where, shown, surplus, app)
    if surplus or not wanted <= found.grants:
        yield Change(f"let {app.app_role} and {app.migrator_role} execute {shown}", _as_guard(app, _grant(app, where)))


def _is_as_wanted(found: Function, app: App) -> bool:
    return (found.definer, found.volatility, found.settings, found.source) == (
        True,
        "s",
        frozenset({SEARCH_PATH}),
        _body(app),
    )


def _body(app: App) -> str:
    return (
        sql.SQL(_BODY)
        .format(
            setting=sql.Literal(TOKEN_SETTING),
            schema=sql.Literal(f"/{app.schema}"),
            keys=identifier(app.guard_role, KEY_TABLE),
            type=identifier("pg_catalog", "int8" if app.tenant_type == "bigint" else app.tenant_type),
        )
        .as_string()
    )


def _create_function(app: App) -> tuple[Statement, ...]:
    name = identifier(app.guard_role, context_function(app))
    create = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS {} LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE"
        " SET search_path = pg_catalog, pg_temp AS {}"
    ).format(name, sql.SQL(app.tenant_type), sql.Literal(_body(app)))
    where = sql.SQL("FUNCTION {}()").format(name)
    return create, sql.SQL("REVOKE ALL ON {} FROM PUBLIC").format(where), _grant(app, where)


def _grant(app: App, where: Statement) -> Statement:
    return sql.SQL("GRANT EXECUTE ON {} TO {}, {}").format(
        where, identifier(app.app_role), identifier(app.migrator_role)
    )


def _closed(where: Statement, shown: str, grants: frozenset[Grant], app: App) -> Iterable[Change]:
    for grantee in sorted({grant.grantee for grant in grants}):
        what = ", ".join(sorted({grant.privilege for grant in grants if grant.grantee == grantee}))
        who = sql.SQL("PUBLIC") if grantee == "PUBLIC" else identifier(grantee)
        revoke = sql.SQL("REVOKE ALL ON {} FROM {} CASCADE").format(where, who)
        yield Change(f"take {what} on {shown} from {grantee}", _as_guard(app, revoke))


def _as_guard(app: App, *statements: Statement) -> tuple[Statement, ...]:
    return (sql.SQL("SET LOCAL ROLE {}").format(identifier(app.guard_role)), *statements, sql.SQL("RESET ROLE"))


def has_context_keys(state: DatabaseState, app: App) -> bool:
    """Whether the table of keys is there."""
    return state.relation(app.guard_role, KEY_TABLE) is not None


def read_context_keys(app: App) -> Statement:
    """Ask for the ids of the keys that open *app*: rows of one text. Nothing else of a key is ever read."""
    return sql.SQL("SELECT id FROM {}").format(identifier(app.guard_role, KEY_TABLE))


def replace_context_keys(app: App) -> tuple[Statement, Statement]:
    """Let exactly some keys open *app*, in one transaction: the first removes, the second is run for each.

    Parameters: the first takes an array of the ids that stay; the second an id, its inner and outer block, and the id
    again. A key that is there already stays, so that no token is refused meanwhile.
    """
    table = identifier(app.guard_role, KEY_TABLE)
    return (
        sql.SQL("DELETE FROM {} WHERE id <> ALL (%s)").format(table),
        sql.SQL(
            "INSERT INTO {} (id, inner_pad, outer_pad)"
            " SELECT %s, %s, %s WHERE NOT EXISTS (SELECT FROM {} WHERE id = %s)"
        ).format(table, table),
    )
