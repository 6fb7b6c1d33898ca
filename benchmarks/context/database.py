"""The database that the ways of `context` read: one table for each of them, the same rows in all."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString
from uuid import UUID

from psycopg import sql

from benchmarks.branch_create import temporary_folder
from benchmarks.context import network, peers
from tenantry import ddl
from tenantry.core.layout import App, Environment, Layout, ProjectSpec
from tenantry.local.clusters.binaries import find_binaries
from tenantry.local.clusters.cluster import Cluster, free_port
from tenantry.local.clusters.poolers import Pooler, find_pgbouncer
from tenantry.local.clusters.ports import BEHIND_POOLER
from tenantry.local.clusters.privileges import choose_runner, make_folder
from tenantry.session.signing import ContextKey

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import psycopg

__all__ = ["KEY", "OURS", "SIGNED", "TENANT", "TENANTS", "Database", "Url", "open_database"]

TENANTS = tuple(UUID(int=(0x1000 << 112) + number) for number in range(10))
TENANT = TENANTS[0]
"""Who asks: every tenth row is this tenant's."""

DELAY_MS = 1

_ROLES = """
CREATE ROLE bench_app LOGIN PASSWORD {password};
CREATE ROLE bench_switching LOGIN NOINHERIT PASSWORD {password};
CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO bench_app;
"""

OURS = App("ours", "bench_ours", (Environment("ours", "prod"),))
SIGNED = App("signed", "bench_signed", (Environment("signed", "prod"),), context="signed")
KEY = ContextKey(f"postgres/{SIGNED.schema}", secrets.token_bytes(32))

_FILL = """
CREATE TABLE {table} (id int PRIMARY KEY, {column} {type} NOT NULL, title text NOT NULL);
INSERT INTO {table}
    SELECT number, ({tenants}::uuid[])[1 + number % 10], 'number ' || number
    FROM pg_catalog.generate_series(1, {rows}) AS number;
CREATE INDEX ON {table} ({column});
"""

_GRANT = """
GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO bench_app;
"""

_PROTECT = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
"""


@dataclass(frozen=True, slots=True)
class Url:
    """Where a way connects, and as whom. *pooled* says that PgBouncer is in between, *slow* that 1 ms is."""

    host: str
    port: int
    password: str
    user: str = "bench_app"
    pooled: bool = False
    slow: bool = False

    def __str__(self) -> str:
        return self.dsn()

    def dsn(self) -> str:
        """What libpq and asyncpg read."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/postgres"

    def of(self, app: App) -> Url:
        """The same for the role of *app*."""
        return replace(self, user=app.app_role)

    def sqlalchemy(self, driver: str) -> str:
        """What `create_engine` reads."""
        return self.dsn().replace("postgresql", f"postgresql+{driver}", 1)


@dataclass(frozen=True, slots=True)
class Database:
    """A running cluster with the tables in its database `postgres`."""

    cluster: Cluster
    url: Url
    pooled: Url | None
    slow: Url

    def networks(self) -> Iterator[tuple[str, Url]]:
        """Every way to the database, with its name."""
        yield "on loopback", self.url
        if self.pooled is not None:
            yield "through PgBouncer", self.pooled
        yield f"with {DELAY_MS} ms of network", self.slow


@contextlib.contextmanager
def open_database(*, rows: int) -> Generator[Database]:
    """Make a cluster with *rows* rows in each table, PgBouncer before it if there is one, and the longer network."""
    with temporary_folder() as folder, _cluster(folder) as cluster, contextlib.ExitStack() as stack:
        password = secrets.token_hex(12)
        _fill(cluster, rows=rows, password=password)
        url = Url("127.0.0.1", cluster.port, password)
        pooled = None
        installed = find_pgbouncer()
        if installed is not None:
            place = folder / "pooler"
            make_folder(place, cluster.runner)
            pooler = Pooler(installed, place, cluster.runner)
            pooler.start(cluster)
            stack.callback(pooler.stop_all)
            pooled = Url(BEHIND_POOLER, cluster.port, password, pooled=True)
        port = stack.enter_context(_longer_network(url))
        yield Database(cluster, url, pooled, Url(url.host, port, password, slow=True))


@contextlib.contextmanager
def _cluster(folder: Path) -> Generator[Cluster]:
    runner = choose_runner()
    cluster = Cluster(
        data=folder / "data",
        port=free_port([]),
        binaries=find_binaries(17, cache=Path(tempfile.gettempdir()) / "tenantry-bench-postgres", runner=runner),
        runner=runner,
        sockets=folder / "s",
        superuser_password=secrets.token_urlsafe(16),
    )
    try:
        cluster.init()
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def _fill(cluster: Cluster, *, rows: int, password: str) -> None:
    with cluster.connect() as connection:
        for statement in _ROLES.strip().splitlines():
            connection.execute(sql.SQL(statement).format(password=sql.Literal(password)))
        _make(connection, "bench", "items_bare", _FILL + _GRANT, rows=rows)
        for peer in peers.installed():
            text = _FILL + _GRANT + _PROTECT
            _make(connection, "bench", f"items_{peer.table}", text, rows=rows, kind=peer.kind, column=peer.column)
            for statement in peer.statements(TENANTS):
                connection.execute(statement.encode())
        _make_ours(connection, rows=rows, password=password)
        connection.execute("GRANT CONNECT ON DATABASE postgres TO bench_app, bench_switching")
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


def _make_ours(connection: psycopg.Connection, *, rows: int, password: str) -> None:
    """Make the tables of ours as `tenantry apply` does."""
    apps = (OURS, SIGNED)
    layout = Layout(ProjectSpec("bench"), apps=apps)
    state = ddl.read_database(connection, **ddl.wanted_names(layout, apps))
    ddl.execute(connection, ddl.prepare_changes(state, layout, apps))
    for app in apps:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(app.migrator_role)))
            _make(connection, app.schema, "items", _FILL, rows=rows)
    state = ddl.read_database(connection, **ddl.wanted_names(layout, apps))
    for app in apps:
        ddl.execute(connection, ddl.review_tables(state, app).changes)
        with connection.transaction():
            connection.execute("SELECT set_config('tenantry.password', %s, true)", (password,))
            for statement in ddl.set_password(app.app_role):
                connection.execute(statement)
    _, insert = ddl.replace_context_keys(SIGNED)
    connection.execute(insert, (KEY.id, *KEY.pads, KEY.id))


def _make(
    connection: psycopg.Connection,
    schema: str,
    table: str,
    text: LiteralString,
    *,
    rows: int,
    kind: LiteralString = "uuid",
    column: str = "tenant_id",
) -> None:
    for statement in text.split(";\n"):
        if statement.strip():
            connection.execute(
                sql.SQL(statement).format(
                    table=sql.Identifier(schema, table),
                    column=sql.Identifier(column),
                    type=sql.SQL(kind),
                    tenants=sql.Literal([str(tenant) for tenant in TENANTS]),
                    rows=sql.Literal(rows),
                )
            )


@contextlib.contextmanager
def _longer_network(url: Url) -> Generator[int]:
    command = [sys.executable, network.__file__, url.host, str(url.port), str(DELAY_MS / 1000)]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout is not None
        yield int(relay.stdout.readline())
    finally:
        relay.kill()
        relay.communicate()
