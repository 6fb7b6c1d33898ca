"""The roles of an app: one owns its objects and migrates them, one is what the application logs in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from tenantry.core.names import AUDIT_SETTING, TENANT_SETTING, TOKEN_SETTING, USER_SETTING
from tenantry.ddl.changes import Change, identifier, once

if TYPE_CHECKING:
    from tenantry.core.layout import App
    from tenantry.ddl.catalog import DatabaseState, Role
    from tenantry.ddl.changes import Statement

__all__ = ["PRESETS_OF_ANOTHERS_CONTEXT", "acting_as", "plain_role", "role_changes", "set_password"]

PRESETS_OF_ANOTHERS_CONTEXT = frozenset(
    {TENANT_SETTING, TOKEN_SETTING, USER_SETTING, AUDIT_SETTING, "role", "row_security", "session_replication_role"}
)
"""Settings that, preset for a role or a database, would give a session a tenant that nobody chose, or no wall."""

_ATTRIBUTES: tuple[tuple[str, LiteralString, bool], ...] = (
    ("superuser", "NOSUPERUSER", False),
    ("bypass_rls", "NOBYPASSRLS", False),
    ("inherit", "NOINHERIT", False),
    ("create_role", "NOCREATEROLE", False),
    ("create_database", "NOCREATEDB", False),
    ("replication", "NOREPLICATION", False),
)


def role_changes(state: DatabaseState, app: App) -> tuple[Change, ...]:
    """Return what makes the roles of *app*, without passwords, and takes from them what they should not have.

    Both are made by SQL: a role that Neon's API makes has BYPASSRLS, and no row security binds it.
    """
    changes: list[Change] = []
    for name in (app.migrator_role, app.app_role, *app.operator_roles):
        role = state.roles.get(name)
        changes += [_create(name)] if role is None else _mend(role, state)
    changes += _use(state, app.migrator_role)
    return tuple(changes)


def plain_role(state: DatabaseState, name: str, *, login: bool) -> tuple[Change, ...]:
    """Return what makes a role that has nothing but its name, and one without *login* usable by the reader.

    It loses what it should not have.
    """
    role = state.roles.get(name)
    changes = [_create(name, login=login)] if role is None else _mend(role, state, login=login)
    return (*changes, *([] if login else _use(state, name)))


def _attributes(*, login: bool) -> tuple[tuple[str, LiteralString, bool], ...]:
    return (("login", "LOGIN" if login else "NOLOGIN", login), *_ATTRIBUTES)


def _create(name: str, *, login: bool = True) -> Change:
    attributes = sql.SQL(" ").join(sql.SQL(words) for _, words, _ in _attributes(login=login))
    create = sql.SQL("CREATE ROLE {} {}").format(identifier(name), attributes)
    return Change(f"create role {name}", (once(create, "duplicate_object"),))


def _mend(role: Role, state: DatabaseState, *, login: bool = True) -> list[Change]:
    changes: list[Change] = []
    wrong: list[LiteralString] = [
        words for attribute, words, wanted in _attributes(login=login) if getattr(role, attribute) is not wanted
    ]
    if wrong:
        attributes = sql.SQL(" ").join(sql.SQL(words) for words in wrong)
        alter = sql.SQL("ALTER ROLE {} {}").format(identifier(role.name), attributes)
        changes.append(Change(f"make role {role.name} {' '.join(wrong)}", (alter,)))
    for parent in sorted(role.member_of):
        revoke = sql.SQL("REVOKE {} FROM {}").format(identifier(parent), identifier(role.name))
        changes.append(Change(f"take role {parent} from {role.name}", (revoke,)))
    for setting in sorted(role.settings & PRESETS_OF_ANOTHERS_CONTEXT):
        reset = (
            sql.SQL("ALTER ROLE {} RESET {}").format(identifier(role.name), identifier(*setting.split("."))),
            sql.SQL("ALTER ROLE {} IN DATABASE {} RESET {}").format(
                identifier(role.name), identifier(state.name), identifier(*setting.split("."))
            ),
        )
        changes.append(Change(f"remove the preset of {setting} from role {role.name}", reset))
    return changes


def _use(state: DatabaseState, name: str) -> list[Change]:
    # Since Postgres 16, who makes a role may administer it, but not act as it.
    if name in state.usable_roles:
        return []
    grant = sql.SQL("GRANT {} TO CURRENT_USER").format(identifier(name))
    return [Change(f"let {state.reader} act as {name}", (grant,))]


def acting_as(state: DatabaseState, role: str, statement: Statement) -> tuple[Statement, ...]:
    """Run *statement* with the rights of *role*, and have them no longer than that."""
    if role == state.reader or role in state.usable_roles:
        return (statement,)
    grant = sql.SQL("GRANT {} TO CURRENT_USER").format(identifier(role))
    revoke = sql.SQL("REVOKE {} FROM CURRENT_USER").format(identifier(role))
    return (grant, statement, revoke)


def set_password(role: str) -> tuple[Statement, ...]:
    """Set a role's password to that of the setting `tenantry.password`, in which it is a parameter.

    So the password stands in no statement's text, which Postgres writes into its log and shows in
    `pg_stat_activity`. In plain text, since Neon takes no other (it stores a verifier).
    """
    body = sql.SQL(
        "BEGIN EXECUTE pg_catalog.format('ALTER ROLE %I PASSWORD %L', {},"
        " pg_catalog.current_setting('tenantry.password')); END"
    ).format(sql.Literal(role))
    return (
        sql.SQL("DO {}").format(sql.Literal(body.as_string())),
        sql.SQL("SELECT pg_catalog.set_config('tenantry.password', '', true)"),
    )
