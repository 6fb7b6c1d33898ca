"""PgBouncer in transaction mode before the tests' Postgres."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo

from tenantry.local.clusters.cluster import HOST, Cluster, free_port
from tenantry.local.clusters.poolers import PgBouncer, find_pgbouncer
from tenantry.local.clusters.privileges import Runner, clean_environment, give, make_folder
from tests.plugins.postgres import Database

_AUTH_QUERY = (
    "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin"
)


@dataclass
class Bouncer:
    """A PgBouncer that runs. Each role has *pool_size* servers in each database."""

    installed: PgBouncer
    cluster: Cluster
    folder: Path
    runner: Runner
    port: int
    pool_size: int
    more: dict[str, object] = field(default_factory=dict[str, object])
    process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: Database, role: str) -> str:
        """The DSN through PgBouncer of a role that `database.role` made."""
        return conninfo.make_conninfo(database.dsn(role), port=self.port)

    def url(self, database: Database, role: str, driver: str) -> str:
        """The SQLAlchemy URL through PgBouncer, e.g. for the driver "psycopg" or "asyncpg"."""
        password = quote(database.passwords[role], safe="")
        return f"postgresql+{driver}://{quote(role, safe='')}:{password}@{HOST}:{self.port}/{database.name}"

    def start(self) -> None:
        make_folder(self.folder, self.runner)
        ini = self.folder / "pgbouncer.ini"
        self._write(ini, self._configuration())
        # The one password that it cannot ask Postgres for: that with which it asks.
        self._write(self.folder / "userlist.txt", f'"cloud_admin" "{self.cluster.superuser_password}"\n')
        self.process = subprocess.Popen(
            [self.installed.program, "--quiet", ini],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=clean_environment(),
            **self.runner.spawn(),
        )
        address: dict[str, Any] = {"host": HOST, "port": self.port, "dbname": "postgres", "user": "cloud_admin"}
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(**address, password=self.cluster.superuser_password, sslmode="disable").close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and its clients. `start` brings it back at the same port."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def _configuration(self) -> str:
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "max_client_conn": 500,
            "default_pool_size": self.pool_size,
            "query_wait_timeout": 30,
            "server_idle_timeout": 5,
            "ignore_startup_parameters": "extra_float_digits",
            "auth_type": "scram-sha-256",
            "auth_file": self.folder / "userlist.txt",
            "auth_user": "cloud_admin",
            "auth_query": _AUTH_QUERY,
            "server_tls_sslmode": "disable",
            "logfile": self.folder / "pgbouncer.log",
            "log_connections": 0,
            "log_disconnections": 0,
            **self.more,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        servers = f"* = host={self.cluster.sockets} port={self.cluster.port}"
        return "\n".join(["[databases]", servers, "", "[pgbouncer]", *lines, ""])

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        give(path, self.runner)


@pytest.fixture(scope="session")
def new_pgbouncer(postgres: Cluster, folder: Path, runner: Runner) -> Iterator[Callable[..., Bouncer]]:
    """Start PgBouncers with a pool of any size, and with further settings by name."""
    started: list[Bouncer] = []
    installed = find_pgbouncer()
    if installed is None:
        pytest.skip("there is no PgBouncer: apt-get install pgbouncer")

    def start(*, pool_size: int, **settings: object) -> Bouncer:
        port = free_port([bouncer.port for bouncer in started])
        place = folder / f"pgbouncer-{token_hex(4)}"
        bouncer = Bouncer(installed, postgres, place, runner, port, pool_size, settings)
        started.append(bouncer)
        bouncer.start()
        return bouncer

    yield start
    for bouncer in started:
        bouncer.stop()


@pytest.fixture(scope="session")
def pgbouncer(new_pgbouncer: Callable[..., Bouncer]) -> Bouncer:
    """PgBouncer with one server for each role and database: what one client leaves there is met by the next.

    So only one client at a time is in a transaction, and the others wait. `new_pgbouncer(pool_size=…)` has more.
    """
    return new_pgbouncer(pool_size=1)
