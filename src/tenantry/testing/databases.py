"""Databases for an application's tests: a server, a template that is laid once, and a copy of it for each test."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Database", "Template", "local_server", "template"]

MAJOR = 17


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and the role that the application logs in with: it owns nothing, and row security binds it.

    `admin_dsn` is of the role that made both, whom no policy should bind: for DDL, and to see what is really there.
    """

    name: str
    app_role: str
    admin_dsn: str = field(repr=False)
    dsn: str = field(repr=False)

    def url(self, driver: str = "psycopg") -> str:
        """The application's URL for SQLAlchemy, over `psycopg` or `asyncpg`."""
        parts = conninfo.conninfo_to_dict(self.dsn)
        user, password = (quote(str(parts[key]), safe="") for key in ("user", "password"))
        host, port = parts.get("host", "localhost"), parts.get("port", 5432)
        return f"postgresql+{driver}://{user}:{password}@{host}:{port}/{quote(self.name, safe='')}"

    def admin(self) -> psycopg.Connection[Any]:
        """A connection by `admin_dsn` that commits each statement."""
        return psycopg.connect(self.admin_dsn, autocommit=True)


@contextmanager
def local_server() -> Generator[str]:
    """Run a Postgres of this machine's own, in a folder that goes with it, and yield a superuser's DSN.

    Needs `tenantry[local]` or an installed Postgres. Raises `EnvironmentProblem` where there is none.
    """
    from tenantry.local.clusters.binaries import find_binaries  # noqa: PLC0415 - only who has no server needs these
    from tenantry.local.clusters.cluster import HOST, Cluster, free_port  # noqa: PLC0415 - as above
    from tenantry.local.clusters.privileges import choose_runner  # noqa: PLC0415 - as above

    folder = Path(tempfile.mkdtemp(prefix="tenantry-testing-"))
    folder.chmod(0o755)  # Postgres may run as another user, since it never runs as root
    try:
        runner = choose_runner()
        cluster = Cluster(
            data=folder / "data",
            port=free_port([]),
            binaries=find_binaries(MAJOR, cache=folder / "cache", runner=runner),
            runner=runner,
            sockets=folder / "sockets",
            superuser_password=secrets.token_urlsafe(16),
        )
        try:
            cluster.init()
            cluster.start()
            yield conninfo.make_conninfo(
                host=HOST,
                port=cluster.port,
                dbname="postgres",
                user="cloud_admin",
                password=cluster.superuser_password,
                sslmode="disable",
            )
        finally:
            cluster.remove()
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Template:
    """A database that was laid once, and is copied for each test."""

    database: Database
    server_dsn: str = field(repr=False)

    @contextmanager
    def copy(self) -> Generator[Database]:
        """A database of a test's own, dropped when the block ends, whoever is still connected."""
        name = f"{self.database.name}_{secrets.token_hex(4)}"
        with _made(self.server_dsn, name, of=self.database.name):
            yield Database(
                name,
                self.database.app_role,
                conninfo.make_conninfo(self.database.admin_dsn, dbname=name),
                conninfo.make_conninfo(self.database.dsn, dbname=name),
            )


@contextmanager
def template(server_dsn: str, lay: Callable[[Database], object]) -> Generator[Template]:
    """Make a role for the application and a database that *lay* makes the tables in; both go when the block ends.

    Their names are random, so that any number of test runs and workers share a server.
    """
    name = f"tenantry_test_{secrets.token_hex(5)}"
    role, password = f"{name}_app", secrets.token_urlsafe(16)
    app = conninfo.make_conninfo(server_dsn, dbname=name, user=role, password=password)
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(
            sql.SQL(
                "CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOINHERIT PASSWORD {}"
            ).format(sql.Identifier(role), sql.Literal(password))
        )
    try:
        with _made(server_dsn, name):
            database = Database(name, role, conninfo.make_conninfo(server_dsn, dbname=name), app)
            lay(database)
            yield Template(database, server_dsn)
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@contextmanager
def _made(server_dsn: str, name: str, *, of: str | None = None) -> Generator[None]:
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        if of is not None:  # Postgres copies no database that somebody is connected to
            conn.execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = %s", [of]
            )
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(of or "template1"))
        )
    try:
        yield
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
