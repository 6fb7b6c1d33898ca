"""Better Auth's tables: a role without login owns them, and an app role reads what is harmless of them."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

from psycopg import sql

from tenantry.ddl.catalog import PUBLIC, Grant
from tenantry.ddl.changes import Change, identifier, once

if TYPE_CHECKING:
    from tenantry.ddl.catalog import DatabaseState
    from tenantry.ddl.changes import Statement

__all__ = ["AUTH_TABLES", "READABLE", "auth_changes", "auth_grant_changes", "copied_sessions", "end_copied_sessions"]

AUTH_TABLES = ("user", "session", "account", "verification", "organization", "member", "invitation", "jwks")

READABLE = {
    "user": ("id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt", "role", "banned", "banExpires"),
    # Whoever reads `token` is that user: Better Auth stores it in plain text.
    "session": ("id", "expiresAt", "createdAt", "updatedAt", "userId", "activeOrganizationId", "impersonatedBy"),
    "organization": ("id", "name", "slug", "logo", "createdAt", "metadata"),
    "member": ("id", "organizationId", "userId", "role", "createdAt"),
    "jwks": ("id", "publicKey", "alg", "crv", "createdAt", "expiresAt"),
}
"""What an app role may read. By column, so that a column that a plugin adds later is not read by itself."""

_TABLES = cast("LiteralString", files("tenantry.ddl").joinpath("auth_tables.sql").read_text(encoding="utf-8"))


def auth_changes(state: DatabaseState, schema: str) -> tuple[Change, ...]:
    """Return what makes the tables in *schema*, which belong to a role of the same name without login.

    Tables that are there already, such as those of Better Auth's own migration, are left as they are.
    """
    present = {relation.name for relation in state.relations_of(schema)}
    missing = [table for table in AUTH_TABLES if table not in present]
    if not missing:
        return ()
    statements: list[Statement] = []
    found = state.schemas.get(schema)
    owner = schema if found is None else found.owner
    if owner not in state.roles:
        statements.append(once(sql.SQL("CREATE ROLE {} NOLOGIN").format(identifier(owner)), "duplicate_object"))
    if owner != state.reader and owner not in state.usable_roles:
        statements.append(sql.SQL("GRANT {} TO CURRENT_USER").format(identifier(owner)))
    statements += (
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(identifier(schema), identifier(owner)),
        sql.SQL("SET LOCAL ROLE {}").format(identifier(owner)),
        sql.SQL(_TABLES).format(schema=identifier(schema)),
        sql.SQL("RESET ROLE"),
    )
    return (Change(f"create {schema} with the tables {', '.join(missing)}", tuple(statements)),)


def auth_grant_changes(state: DatabaseState, schema: str, role: str) -> tuple[Change, ...]:
    """Return what lets *role* read `READABLE` of *schema*, and takes everything else of it from *role* and PUBLIC."""
    changes: list[Change] = []
    found = state.schemas.get(schema)
    if found is None or Grant(role, "USAGE") not in found.grants:
        statement = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(identifier(schema), identifier(role))
        changes.append(Change(f"let {role} use schema {schema}", (statement,)))
    for table in sorted({*AUTH_TABLES, *(r.name for r in state.relations_of(schema) if r.kind != "S")}):
        changes += _table_grants(state, schema, table, role)
    return tuple(changes)


def _table_grants(state: DatabaseState, schema: str, table: str, role: str) -> list[Change]:
    relation = state.relation(schema, table)
    columns = READABLE.get(table, ())
    if relation is not None:
        there = {column.name for column in relation.columns}
        columns = tuple(column for column in columns if column in there)
    wanted = {Grant(role, "SELECT", column=column) for column in columns}
    given = frozenset[Grant]() if relation is None else relation.grants
    surplus = {grant for grant in given if grant.grantee in {role, PUBLIC}} - wanted
    where = identifier(schema, table)
    changes: list[Change] = []
    if surplus:
        grantees = sorted({grant.grantee for grant in surplus})
        # Taking a privilege on the table takes it on every column with it, so what is wanted is given again below.
        revoke = [
            sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(where, sql.SQL("PUBLIC") if g == PUBLIC else identifier(g))
            for g in grantees
        ]
        what = ", ".join(sorted({f"{grant.privilege} from {grant.grantee}" for grant in surplus}))
        changes.append(Change(f"take {what} on {schema}.{table}", tuple(revoke)))
    if columns and (surplus or not wanted <= given):
        names = sql.SQL(", ").join(identifier(column) for column in columns)
        grant = sql.SQL("GRANT SELECT ({}) ON TABLE {} TO {}").format(names, where, identifier(role))
        changes.append(Change(f"let {role} read {len(columns)} columns of {schema}.{table}", (grant,)))
    return changes


def copied_sessions(schema: str) -> Statement:
    """Ask whether *schema* holds anything that a copy of it could log in with: one row with one boolean."""
    return sql.SQL(
        'SELECT EXISTS (SELECT FROM {schema}."session") OR EXISTS (SELECT FROM {schema}."verification")'
        ' OR EXISTS (SELECT FROM {schema}."account" WHERE coalesce("accessToken", "refreshToken", "idToken",'
        ' "password") IS NOT NULL) OR EXISTS (SELECT FROM {schema}."jwks")'
    ).format(schema=identifier(schema))


def end_copied_sessions(schema: str) -> tuple[Statement, ...]:
    """Make worthless what a branch's copy of *schema* could be logged in with. Only ever run on a child branch.

    Users, organizations and members stay, since the app reads them. Signing keys go: whoever read a copy could
    sign for the original.
    """
    texts: tuple[LiteralString, ...] = (
        'DELETE FROM {schema}."session"',
        'DELETE FROM {schema}."verification"',
        'DELETE FROM {schema}."jwks"',
        """UPDATE {schema}."account" SET "accessToken" = NULL, "refreshToken" = NULL, "idToken" = NULL,
        "password" = NULL WHERE coalesce("accessToken", "refreshToken", "idToken", "password") IS NOT NULL""",
    )
    return tuple(sql.SQL(text).format(schema=identifier(schema)) for text in texts)
