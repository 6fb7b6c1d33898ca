"""A real Postgres for tests: one cluster a session, and a database of its own for each test that asks."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import pytest
from psycopg import conninfo, sql

from tenantry.local.clusters import processes
from tenantry.local.clusters.binaries import Binaries, find_binaries
from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.cluster import HOST, Cluster, free_port
from tenantry.local.clusters.privileges import Runner, choose_runner

MAJOR = 17
TEMPLATE = "tenantry_template"

_ROLES = "SELECT rolname FROM pg_catalog.pg_roles"


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a test's own. Its roles are named after it and dropped with it."""

    name: str
    cluster: Cluster
    passwords: dict[str, str]

    @property
    def admin_dsn(self) -> str:
        """The DSN of a superuser."""
        return self._dsn("cloud_admin", self.cluster.superuser_password)

    def role(self, suffix: str, *attributes: LiteralString) -> str:
        """Make a role that can log in, with *attributes* such as "NOBYPASSRLS", and return its name."""
        name = f"{self.name}_{suffix}"
        self.passwords[name] = secrets.token_urlsafe(16)
        with self.cluster.connect(self.name) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} {}").format(
                    sql.Identifier(name), sql.Literal(self.passwords[name]), sql.SQL(" ".join(attributes))
                )
            )
        return name

    def dsn(self, role: str) -> str:
        """The DSN of a role that `role` made."""
        return self._dsn(role, self.passwords[role])

    def url(self, role: str, driver: str) -> str:
        """The SQLAlchemy URL of a role that `role` made, e.g. for the driver "psycopg" or "asyncpg"."""
        password = quote(self.passwords[role], safe="")
        return f"postgresql+{driver}://{quote(role, safe='')}:{password}@{HOST}:{self.cluster.port}/{self.name}"

    def _dsn(self, role: str, password: str) -> str:
        return conninfo.make_conninfo(
            host=HOST, port=self.cluster.port, dbname=self.name, user=role, password=password, sslmode="disable"
        )


@pytest.fixture(scope="session")
def runner() -> Runner:
    """The user that Postgres runs as."""
    return choose_runner()


@pytest.fixture(scope="session")
def folder(runner: Runner) -> Iterator[Path]:
    """A folder that the user who runs Postgres can reach; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="tenantry-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def binaries(folder: Path, runner: Runner) -> Binaries:
    """The Postgres that the tests run."""
    return find_binaries(MAJOR, cache=folder / "cache", runner=runner)


@pytest.fixture(scope="session")
def postgres(folder: Path, binaries: Binaries, runner: Runner) -> Iterator[Cluster]:
    """A running cluster for the whole session. A test that kills or stops a cluster makes one of its own."""
    cluster = Cluster(
        data=folder / "session",
        port=free_port([]),
        binaries=binaries,
        runner=runner,
        sockets=folder / "sockets",
        superuser_password=secrets.token_urlsafe(16),
    )
    try:
        cluster.init()
        cluster.start()
        cluster.create_database(TEMPLATE, "cloud_admin")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def new_cluster(folder: Path, binaries: Binaries, runner: Runner) -> Iterator[Callable[[], Cluster]]:
    """Name clusters of the test's own. Nothing is made; what the test makes of them is removed."""
    named: list[Cluster] = []

    def name() -> Cluster:
        cluster = Cluster(
            data=folder / secrets.token_hex(5),
            port=free_port([cluster.port for cluster in named]),
            binaries=binaries,
            runner=runner,
            sockets=folder / "sockets",
            superuser_password=secrets.token_urlsafe(16),
        )
        named.append(cluster)
        return cluster

    yield name
    for cluster in named:
        cluster.remove()


@pytest.fixture
def cluster(postgres: Cluster, new_cluster: Callable[[], Cluster]) -> Cluster:
    """A running cluster of the test's own, to kill and stop: a clone of the session's, with its passwords."""
    mine = replace(new_cluster(), superuser_password=postgres.superuser_password)
    clone_cluster(postgres, mine.data)
    mine.start()
    return mine


@contextmanager
def fresh_database(postgres: Cluster) -> Iterator[Database]:
    """A database, dropped afterwards with every role that was made meanwhile, whoever made it."""
    name = f"t_{secrets.token_hex(5)}"
    with postgres.connect() as connection:
        before = {name for (name,) in connection.execute(_ROLES)}
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        )
    yield Database(name, postgres, {})
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        made = [name for (name,) in connection.execute(_ROLES) if name not in before]
        for role in made:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        for role in made:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def scalar(cluster: Cluster, query: LiteralString, *parameters: object, database: str = "postgres") -> Any:
    """The first value of the first row that a query gives, or None."""
    with cluster.connect(database) as connection:
        row = connection.execute(query, parameters).fetchone()
        return None if row is None else row[0]


def pid_of(cluster: Cluster) -> int:
    """The postmaster that runs a cluster."""
    pid = processes.postmaster_of(cluster.data)
    assert pid is not None
    return pid


@pytest.fixture
def child(cluster: Cluster, new_cluster: Callable[[], Cluster]) -> Cluster:
    """Where a clone of `cluster` may be made, with its parent's password."""
    return replace(new_cluster(), superuser_password=cluster.superuser_password)


def rows(cluster: Cluster, query: LiteralString = "SELECT a FROM t ORDER BY a") -> list[Any]:
    """The first column of what a query gives."""
    with cluster.connect() as connection:
        return [row[0] for row in connection.execute(query)]


def execute(cluster: Cluster, *statements: str) -> None:
    """Execute statements as the superuser, each in a transaction of its own."""
    with cluster.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def database(postgres: Cluster) -> Iterator[Database]:
    """A fresh database for one test."""
    with fresh_database(postgres) as made:
        yield made
