"""Databases and schemas: who owns them, who enters them, and what future objects give to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from tenantry.ddl.catalog import PUBLIC, Grant
from tenantry.ddl.changes import Change, Finding, identifier
from tenantry.ddl.roles import PRESETS_OF_ANOTHERS_CONTEXT, acting_as

if TYPE_CHECKING:
    from tenantry.core.layout import App
    from tenantry.ddl.catalog import DatabaseState, DefaultPrivileges
    from tenantry.ddl.changes import Statement

__all__ = ["database_changes", "schema_changes", "schema_findings"]

_KINDS: dict[str, LiteralString] = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
}


def database_changes(state: DatabaseState) -> tuple[Change, ...]:
    """Return what closes the database and its schema `public` to everybody who was not let in."""
    changes: list[Change] = []
    database = identifier(state.name)
    open_to_all = sorted(grant.privilege for grant in state.grants if grant.grantee == PUBLIC)
    if open_to_all:
        revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
        changes.append(Change(f"take {', '.join(open_to_all)} on database {state.name} from PUBLIC", (revoke,)))
    public = state.schemas.get("public")
    if public is not None and Grant(PUBLIC, "CREATE") in public.grants:
        revoke = sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        changes.append(Change("take CREATE on schema public from PUBLIC", (revoke,)))
    for setting in sorted(state.settings & PRESETS_OF_ANOTHERS_CONTEXT):
        reset = sql.SQL("ALTER DATABASE {} RESET {}").format(database, identifier(*setting.split(".")))
        changes.append(Change(f"remove the preset of {setting} from database {state.name}", (reset,)))
    return tuple(changes)


def schema_changes(state: DatabaseState, app: App) -> tuple[Change, ...]:
    """Return what makes the schema of *app*, owned by its migrator, and lets the app role in and nobody else."""
    changes: list[Change] = []
    schema, migrator, role = identifier(app.schema), identifier(app.migrator_role), identifier(app.app_role)
    found = state.schemas.get(app.schema)
    if found is None:
        create = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(schema, migrator)
        changes.append(Change(f"create schema {app.schema} owned by {app.migrator_role}", (create,)))
    elif found.owner != app.migrator_role:
        alter = sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, migrator)
        changes.append(
            Change(
                f"give schema {app.schema} from {found.owner} to {app.migrator_role}",
                acting_as(state, found.owner, alter),
            )
        )
    for name in (app.migrator_role, app.app_role, *app.operator_roles):
        changes += _connect(state, name)
    given = frozenset[Grant]() if found is None else found.grants
    wanted = Grant(app.app_role, "USAGE")
    for grantee in sorted({grant.grantee for grant in given if grant.grantee in {app.app_role, PUBLIC}}):
        surplus = sorted(grant.privilege for grant in given if grant.grantee == grantee and grant != wanted)
        if surplus:
            who = sql.SQL("PUBLIC") if grantee == PUBLIC else role
            revoke = sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(schema, who)
            changes.append(Change(f"take {', '.join(surplus)} on schema {app.schema} from {grantee}", (revoke,)))
            given = frozenset(grant for grant in given if grant.grantee != grantee)
    if wanted not in given:
        grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role)
        changes.append(Change(f"let {app.app_role} use schema {app.schema}", (grant,)))
    changes += _default_privileges(state, app)
    return tuple(changes)


def schema_findings(state: DatabaseState, app: App) -> tuple[Finding, ...]:
    """Return who else was let into the schema of *app*."""
    found = state.schemas.get(app.schema)
    others = (
        set[str]()
        if found is None
        else {grant.grantee for grant in found.grants}
        - {app.app_role, PUBLIC, app.partner_role, app.platform_role, app.guard_role}
    )
    return tuple(
        Finding(
            f"{other} has rights on schema {app.schema}",
            f"if that is not meant, run REVOKE ALL ON SCHEMA {app.schema} FROM {other}",
        )
        for other in sorted(others)
    )


def _connect(state: DatabaseState, role: str) -> list[Change]:
    mine = {grant for grant in state.grants if grant.grantee == role}
    wanted = {Grant(role, "CONNECT")}
    if mine == wanted:
        return []
    database, who = identifier(state.name), identifier(role)
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, who)
    grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, who)
    surplus = sorted(grant.privilege for grant in mine - wanted)
    text = f"let {role} connect to database {state.name}" + (f", and not {', '.join(surplus)}" if surplus else "")
    return [Change(text, (revoke, grant))]


def _default_privileges(state: DatabaseState, app: App) -> list[Change]:
    """What the migrator makes is nobody else's until `tables` has looked at it; functions are PUBLIC's otherwise."""
    mine = [entry for entry in state.default_privileges if entry.role == app.migrator_role]
    changes: list[Change] = []
    if not any(entry.kind == "f" and entry.schema is None for entry in mine):
        changes.append(
            Change(
                f"keep future functions of {app.migrator_role} from PUBLIC",
                (_revoke_default(app.migrator_role, None, "FUNCTIONS", PUBLIC),),
            )
        )
    for entry in mine:
        changes += _close(entry)
    return changes


def _close(entry: DefaultPrivileges) -> list[Change]:
    kind = _KINDS.get(entry.kind)
    # A type says nothing of a tenant's rows, and everybody may use one by default.
    if kind is None or kind == "TYPES":
        return []
    return [
        Change(
            f"keep future {kind.lower()} of {entry.role} from {grantee}",
            (_revoke_default(entry.role, entry.schema, kind, grantee),),
        )
        for grantee in sorted({grant.grantee for grant in entry.grants})
    ]


def _revoke_default(role: str, schema: str | None, kind: LiteralString, grantee: str) -> Statement:
    return sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} {}REVOKE ALL ON {} FROM {}").format(
        identifier(role),
        sql.SQL("") if schema is None else sql.SQL("IN SCHEMA {} ").format(identifier(schema)),
        sql.SQL(kind),
        sql.SQL("PUBLIC") if grantee == PUBLIC else identifier(grantee),
    )
