"""Roles that row security does not bind, and engines that are to refuse them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, create_engine

from tenantry.session.sqlalchemy import protect
from tests.plugins.postgres import Database

# {app} is the role, {boss} another, {db} the database. The admin runs them, who is a superuser.
UNSAFE = {
    "a superuser": ("superuser", "ALTER ROLE {app} SUPERUSER"),
    "BYPASSRLS": ("bypassrls", "ALTER ROLE {app} BYPASSRLS"),
    "CREATEROLE": ("createrole", "ALTER ROLE {app} CREATEROLE"),
    "REPLICATION": ("replication", "ALTER ROLE {app} REPLICATION"),
    "owns a schema": ("owner", "CREATE SCHEMA mine AUTHORIZATION {app}"),
    "owns a table": ("owner", "CREATE TABLE mine (); ALTER TABLE mine OWNER TO {app}"),
    "owns a view": ("owner", "CREATE VIEW mine AS SELECT 1 AS n; ALTER VIEW mine OWNER TO {app}"),
    "owns a sequence": ("owner", "CREATE SEQUENCE mine; ALTER SEQUENCE mine OWNER TO {app}"),
    "owns a type": ("owner", "CREATE TYPE mine AS ENUM ('a'); ALTER TYPE mine OWNER TO {app}"),
    "owns a function": (
        "owner",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1; ALTER FUNCTION mine OWNER TO {app}",
    ),
    "owns a large object": ("owner", "SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO {app}"),
    "owns the database": ("owner", "ALTER DATABASE {db} OWNER TO {app}"),
    "may become who bypasses": ("membership", "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app}"),
    "may become who replicates": ("membership", "ALTER ROLE {boss} REPLICATION; GRANT {boss} TO {app}"),
    "may become a superuser": ("membership", "ALTER ROLE {boss} SUPERUSER; GRANT {boss} TO {app}"),
    "may become who makes roles": ("membership", "ALTER ROLE {boss} CREATEROLE; GRANT {boss} TO {app}"),
    "may become an owner": ("membership", "CREATE SCHEMA theirs AUTHORIZATION {boss}; GRANT {boss} TO {app}"),
    "may let itself in": (
        "membership",
        "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
    ),
    "inherits from an owner": (
        "membership",
        "CREATE SCHEMA theirs AUTHORIZATION {boss}; GRANT {boss} TO {app} WITH INHERIT TRUE, SET FALSE",
    ),
    "inherits from a superuser": (
        "membership",
        "ALTER ROLE {boss} SUPERUSER; GRANT {boss} TO {app} WITH INHERIT TRUE, SET FALSE",
    ),
    "by two steps": (
        "membership",
        "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {team}; GRANT {team} TO {app}",
    ),
    "by a step that it can make": (
        "membership",
        """ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {team} WITH ADMIN TRUE, SET FALSE, INHERIT FALSE;
        GRANT {team} TO {app} WITH INHERIT TRUE, SET FALSE""",
    ),
    "reads all data": ("membership", "GRANT pg_read_all_data TO {app}"),
    "writes all data": ("membership", "GRANT pg_write_all_data TO {app}"),
    "reads files": ("membership", "GRANT pg_read_server_files TO {app}"),
    "writes files": ("membership", "GRANT pg_write_server_files TO {app}"),
    "runs programs": ("membership", "GRANT pg_execute_server_program TO {app}"),
    "row_security of the role": ("row_security", "ALTER ROLE {app} SET row_security = off"),
    "row_security of the database": ("row_security", "ALTER DATABASE {db} SET row_security = off"),
    "row_security of both": ("row_security", "ALTER ROLE {app} IN DATABASE {db} SET row_security = off"),
    "triggers rest": ("session_replication_role", "ALTER ROLE {app} SET session_replication_role = replica"),
}


@pytest.fixture
def roles(database: Database) -> dict[str, str]:
    return {name: database.role(name, "NOSUPERUSER") for name in ("app", "boss", "team")}


def as_admin(database: Database, query: str, roles: dict[str, str], dsn: str | None = None) -> None:
    names = {name: sql.Identifier(role) for name, role in roles.items()} | {"db": sql.Identifier(database.name)}
    with psycopg.connect(dsn or database.admin_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL(query).format(**names))  # type: ignore[arg-type] - the tests' own text


@contextmanager
def engine_of(database: Database, role: str, **options: Any) -> Iterator[Engine]:
    engine = create_engine(database.url(role, "psycopg"), **options)
    yield protect(engine)
    engine.dispose()
