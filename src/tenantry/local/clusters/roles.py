"""SQL that gives a cluster Neon's roles and databases, as statements to execute. Nothing here connects.

The attributes are those of Neon's own `compute_ctl`. Roles that Neon's API makes have BYPASSRLS, and row security
does not hold them: the engine gives them the same, or what is refused here would be allowed in the cloud.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "NEON_SUPERUSER",
    "SUPERUSER",
    "alter_database_owner",
    "create_database",
    "drop_database",
    "drop_owned",
    "drop_role",
    "neon_roles",
    "prepare_database",
    "rename_database",
    "role",
    "role_password",
]

SUPERUSER = "cloud_admin"
"""Neon's name for the superuser of a compute. Only the engine logs in with it."""

NEON_SUPERUSER = "neon_superuser"

_ATTRIBUTES = sql.SQL("INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION")

FIND_ROLE = """
    SELECT pg_catalog.pg_has_role(oid, 'neon_superuser', 'member') FROM pg_catalog.pg_roles WHERE rolname = %s
"""
FIND_DATABASE = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
LIST_DATABASES = """
    SELECT datname, pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datallowconn ORDER BY datname
"""
# What of a cluster Neon's API shows: roles with Neon's attributes, and the databases that they own.
SHOWN_ROLES = """
    SELECT rolname, rolcanlogin FROM pg_catalog.pg_roles
    WHERE NOT rolsuper AND rolname <> 'neon_superuser' AND pg_catalog.pg_has_role(oid, 'neon_superuser', 'member')
    ORDER BY oid
"""
SHOWN_DATABASES = """
    SELECT datname, pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
    WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY oid
"""
END_SESSIONS = "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE datname = %s"


def neon_roles(major: int) -> Iterator[LiteralString]:
    """Make the role that every role of Neon's API is in."""
    yield (
        "CREATE ROLE neon_superuser CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS "
        "IN ROLE pg_read_all_data, pg_write_all_data"
    )
    yield "GRANT pg_monitor TO neon_superuser WITH ADMIN OPTION"
    yield "GRANT pg_signal_backend TO neon_superuser WITH ADMIN OPTION"
    if major >= 16:  # noqa: PLR2004 - the version that brought the role
        yield "GRANT pg_create_subscription TO neon_superuser"


def role(name: str, *, exists: bool, login: bool, verifier: str | None) -> sql.Composed:
    """Make a role as Neon's API does, or bring one that *exists* to the same attributes.

    *verifier* is what Postgres stores of a password, so that the password itself never reaches a log.
    """
    verb = sql.SQL("ALTER ROLE {} WITH") if exists else sql.SQL("CREATE ROLE {} WITH")
    parts: list[sql.Composable] = [
        verb.format(sql.Identifier(name)),
        sql.SQL("LOGIN" if login else "NOLOGIN"),
        _ATTRIBUTES,
        sql.SQL("PASSWORD {}").format(sql.Literal(verifier)),
    ]
    if not exists:
        parts.append(sql.SQL("IN ROLE neon_superuser"))
    return sql.SQL(" ").join(parts)


def role_password(name: str, verifier: str) -> sql.Composed:
    """Give a role another password."""
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))


def drop_owned(name: str, *, heir: str) -> Iterator[sql.Composed]:
    """In one database, give what a role owns to *heir* and take back what it was granted."""
    yield sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(name), sql.Identifier(heir))
    yield sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name))


def drop_role(name: str) -> sql.Composed:
    """Drop a role that owns nothing any more."""
    return sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))


def create_database(name: str, owner: str) -> sql.Composed:
    """Make a database. `prepare_database` follows, inside it."""
    return sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))


def prepare_database(owner: str) -> Iterator[sql.Composed]:
    """Inside a new database, give `public` to its owner, and Neon's default privileges there."""
    yield sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner))
    for kind in (sql.SQL("TABLES"), sql.SQL("SEQUENCES")):
        yield sql.SQL(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {} TO neon_superuser WITH GRANT OPTION"
        ).format(kind)


def alter_database_owner(name: str, owner: str) -> sql.Composed:
    """Give a database to another role."""
    return sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner))


def rename_database(name: str, new_name: str) -> sql.Composed:
    """Rename a database. Nobody may be connected to it."""
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name))


def drop_database(name: str) -> sql.Composed:
    """Drop a database and end the sessions in it."""
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
