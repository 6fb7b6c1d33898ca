"""Operators in the database: their roles, the audit log, and the functions that open rows to a use that is in it.

A partner sees its own tenants and the platform sees all, each logged in as a role of its own. No setting opens
anything: the functions look for the row of the audit log that the transaction names, written by the same login a
moment before the transaction began. A row of the transaction itself does not count, since it could be rolled back.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

from psycopg import sql

from tenantry.core.names import AUDIT_COLUMNS, AUDIT_SETTING, AUDIT_TABLE
from tenantry.ddl.catalog import PUBLIC, Grant
from tenantry.ddl.changes import Change, Finding, identifier
from tenantry.ddl.roles import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tenantry.core.layout import App
    from tenantry.ddl.catalog import DatabaseState, Function
    from tenantry.ddl.changes import Statement

__all__ = [
    "PLATFORM_FUNCTION",
    "SEARCH_PATH",
    "functions_of",
    "operator_changes",
    "operator_findings",
    "partner_function",
    "read_audit_log",
]

SEARCH_PATH = "search_path=pg_catalog, pg_temp"
PLATFORM_FUNCTION = "platform_open"

_PARTNER = cast("LiteralString", files("tenantry.ddl").joinpath("operator_partner.sql").read_text(encoding="utf-8"))
_PLATFORM = cast("LiteralString", files("tenantry.ddl").joinpath("operator_platform.sql").read_text(encoding="utf-8"))


def partner_function(app: App) -> str:
    """The name of the function that gives the tenants of the partner in whose scope a transaction is."""
    return f"partner_tenants_{app.tenant_type}"


def operator_changes(state: DatabaseState, app: App) -> Iterator[Change]:
    """Yield what opens *app* to its operators, once they and its guard are there, and closes it to former ones."""
    yield from _schema_grants(state, app)
    if app.operator_roles:
        yield from _audit_table(state, app)
        yield from functions_of(state, app, _functions(app))


def operator_findings(state: DatabaseState, app: App) -> Iterator[Finding]:
    """Yield the operators that are there and not wanted any more, and a table of partners that is not there."""
    for role in (app.partner_role, app.platform_role):
        if role in state.roles and role not in app.operator_roles:
            yield Finding(f"role {role} is no operator of the layout", f"run DROP OWNED BY {role} and DROP ROLE {role}")
    partners = app.operators.partners
    if partners is None:
        return
    found = state.relation(app.schema, partners.table)
    names = set[str]() if found is None else {column.name for column in found.columns}
    missing = [column for column in (partners.tenant, partners.partner) if column not in names]
    if missing:
        yield Finding(
            f"{app.schema}.{partners.table} has no column {' and no column '.join(missing)}, so no partner has tenants",
            "add it in a migration, or name another table under operators.partners",
        )


def read_audit_log(app: App, *, limit: int) -> Statement:
    """Ask for the latest uses of *app* by operators: rows of `AUDIT_COLUMNS` after when and as which login."""
    return sql.SQL("SELECT at, login, {} FROM {} ORDER BY at DESC LIMIT {}").format(
        sql.SQL(", ").join(map(identifier, AUDIT_COLUMNS)), identifier(app.guard_role, AUDIT_TABLE), sql.Literal(limit)
    )


def _schema_grants(state: DatabaseState, app: App) -> Iterator[Change]:
    """Let the operators, and no former ones, into both schemas, and the guard to the app's table of partners."""
    guests = {name: set(app.operator_roles) for name in (app.schema, app.guard_role)}
    if app.operators.partners is not None:
        guests[app.schema].add(app.guard_role)
    for name, let_in in guests.items():
        found = state.schemas.get(name)
        given = frozenset[Grant]() if found is None else found.grants
        for role in (app.partner_role, app.platform_role, app.guard_role):
            mine = {grant for grant in given if grant.grantee == role}
            wanted = {Grant(role, "USAGE")} if role in let_in else set[Grant]()
            schema, who = identifier(name), identifier(role)
            if mine - wanted:
                revoke = sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(schema, who)
                what = ", ".join(sorted(grant.privilege for grant in mine - wanted))
                yield Change(f"take {what} on schema {name} from {role}", (revoke,))
            if wanted and mine != wanted:
                use = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, who)
                yield Change(f"let {role} use schema {name}", (use,))


def _audit_table(state: DatabaseState, app: App) -> Iterator[Change]:
    table, shown = identifier(app.guard_role, AUDIT_TABLE), f"{app.guard_role}.{AUDIT_TABLE}"
    found = state.relation(app.guard_role, AUDIT_TABLE)
    if found is None:
        # Whoever writes a row says neither when nor as whom: the server does.
        create = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (id uuid PRIMARY KEY,"
            " at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), login name NOT NULL DEFAULT SESSION_USER,"
            " scope text NOT NULL, subject text NOT NULL, acting_user text NOT NULL, action text NOT NULL,"
            " reason text NOT NULL)"
        ).format(table)
        yield Change(f"create table {shown}", _as_guard(app, create))
    elif found.owner != app.guard_role:
        alter = sql.SQL("ALTER TABLE {} OWNER TO {}").format(table, identifier(app.guard_role))
        yield Change(f"give {shown} from {found.owner} to {app.guard_role}", acting_as(state, found.owner, alter))
    given = frozenset[Grant]() if found is None else found.grants
    wanted = {Grant(role, "INSERT", column=column) for role in app.operator_roles for column in AUDIT_COLUMNS}
    surplus = sorted({grant.grantee for grant in given - wanted})
    for grantee in surplus:
        who = sql.SQL("PUBLIC") if grantee == PUBLIC else identifier(grantee)
        what = ", ".join(sorted({grant.privilege for grant in given - wanted if grant.grantee == grantee}))
        revoke = sql.SQL("REVOKE ALL ON {} FROM {} CASCADE").format(table, who)
        yield Change(f"take {what} on {shown} from {grantee}", _as_guard(app, revoke))
    columns = sql.SQL(", ").join(map(identifier, AUDIT_COLUMNS))
    for role in app.operator_roles:
        if role in surplus or not {grant for grant in wanted if grant.grantee == role} <= given:
            grant = sql.SQL("GRANT INSERT ({}) ON {} TO {}").format(columns, table, identifier(role))
            yield Change(f"let {role} write rows of {shown}", _as_guard(app, grant))


def _functions(app: App) -> Iterator[tuple[str, LiteralString, str, str]]:
    """The functions that open rows: name, what each returns, its body, and who may execute it."""
    audit = {"audit": identifier(app.guard_role, AUDIT_TABLE), "setting": sql.Literal(AUDIT_SETTING)}
    partners = app.operators.partners
    if partners is not None:
        body = sql.SQL(_PARTNER).format(
            **audit,
            partners=identifier(app.schema, partners.table),
            tenant=identifier(partners.tenant),
            partner=identifier(partners.partner),
            type=sql.SQL(app.tenant_type),
        )
        yield partner_function(app), f"SETOF {app.tenant_type}", body.as_string(), app.partner_role
    if app.operators.platform:
        yield PLATFORM_FUNCTION, "boolean", sql.SQL(_PLATFORM).format(**audit).as_string(), app.platform_role


def functions_of(
    state: DatabaseState, app: App, functions: Iterable[tuple[str, LiteralString, str, str]]
) -> Iterator[Change]:
    """Yield what makes *functions* in the guard's schema, each executed by one role and nobody else."""
    for name, returns, body, role in functions:
        where = sql.SQL("FUNCTION {}()").format(identifier(app.guard_role, name))
        shown = f"{app.guard_role}.{name}()"
        found = next((each for each in state.functions if (each.schema, each.name) == (app.guard_role, name)), None)
        if found is not None and found.owner != app.guard_role:
            alter = sql.SQL("ALTER {} OWNER TO {}").format(where, identifier(app.guard_role))
            yield Change(f"give {shown} from {found.owner} to {app.guard_role}", acting_as(state, found.owner, alter))
        wanted = frozenset({Grant(role, "EXECUTE")})
        if found is not None and _is_as_wanted(found, body) and found.grants == wanted:
            continue
        create = sql.SQL(
            "CREATE OR REPLACE {} RETURNS {} LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE"
            " SET search_path = pg_catalog, pg_temp AS {}"
        ).format(where, sql.SQL(returns), sql.Literal(body))
        others = set[str]() if found is None else {grant.grantee for grant in found.grants} - {role, PUBLIC}
        revokes = [sql.SQL("REVOKE ALL ON {} FROM {} CASCADE").format(where, identifier(each)) for each in others]
        revokes.append(sql.SQL("REVOKE ALL ON {} FROM PUBLIC").format(where))
        grant = sql.SQL("GRANT EXECUTE ON {} TO {}").format(where, identifier(role))
        yield Change(f"make {shown}, which {role} alone executes", _as_guard(app, create, *revokes, grant))


def _is_as_wanted(found: Function, body: str) -> bool:
    return (found.definer, found.volatility, found.settings, found.source) == (
        True,
        "s",
        frozenset({SEARCH_PATH}),
        body,
    )


def _as_guard(app: App, *statements: Statement) -> tuple[Statement, ...]:
    return (sql.SQL("SET LOCAL ROLE {}").format(identifier(app.guard_role)), *statements, sql.SQL("RESET ROLE"))
