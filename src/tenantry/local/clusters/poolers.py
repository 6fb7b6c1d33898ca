"""PgBouncer before a compute, in transaction mode: found, told what to do, started and stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.local.clusters import processes, programs, roles, tls
from tenantry.local.clusters.ports import BEHIND_POOLER
from tenantry.local.clusters.privileges import check_reachable, clean_environment, give, make_folder
from tenantry.local.errors import PoolerError

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.clusters.privileges import Runner

__all__ = ["NO_POOLER", "PgBouncer", "Pooler", "configuration", "find_pgbouncer", "parse_version"]

NO_POOLER = (
    "PgBouncer is not installed on this machine, so this is the direct address: "
    "`apt-get install pgbouncer` and start the engine again for a pooled one"
)

_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")
_START_SECONDS = 10.0
_POLL_SECONDS = 0.002
_VERSION = re.compile(r"PgBouncer (\d+)\.(\d+)")

# A schema before pg_catalog in somebody's search path must not answer for it.
_AUTH_QUERY = (
    "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin"
)


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """A PgBouncer that is installed."""

    program: Path
    version: tuple[int, int]


def parse_version(text: str) -> tuple[int, int] | None:
    """Read what `pgbouncer --version` says."""
    match = _VERSION.search(text)
    return None if match is None else (int(match[1]), int(match[2]))


def find_pgbouncer() -> PgBouncer | None:
    """Return the PgBouncer of this machine. There are addresses for it on Linux alone."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path=os.pathsep.join(_PLACES))
    if program is None or sys.platform != "linux":
        return None
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env=clean_environment()
    )
    version = parse_version(answer.stdout)
    return None if version is None else PgBouncer(Path(program), version)


def configuration(cluster: Cluster, folder: Path, *, version: tuple[int, int]) -> str:
    """Return the `pgbouncer.ini` for *cluster*: Neon's settings, and passwords that Postgres itself is asked for."""
    settings = {
        "listen_addr": BEHIND_POOLER,
        "listen_port": cluster.port,
        "unix_socket_dir": "",
        "pool_mode": "transaction",
        "max_client_conn": 10_000,
        "default_pool_size": 90,  # nine tenths of max_connections
        "query_wait_timeout": 120,
        "ignore_startup_parameters": "extra_float_digits",
        "auth_type": "scram-sha-256",
        "auth_file": folder / "userlist.txt",
        "auth_user": roles.SUPERUSER,
        "auth_query": _AUTH_QUERY,
        "server_tls_sslmode": "disable",  # over the socket there is none
        "logfile": folder / "pgbouncer.log",
        "pidfile": folder / "pgbouncer.pid",
        "log_connections": 0,
        "log_disconnections": 0,
    }
    if cluster.binaries.tls:
        settings |= {
            "client_tls_sslmode": "allow",
            "client_tls_key_file": cluster.data / tls.KEY,
            "client_tls_cert_file": cluster.data / tls.CERTIFICATE,
        }
    if version >= (1, 21):
        settings["max_prepared_statements"] = 1000
    lines = [f"{name} = {value}" for name, value in settings.items()]
    servers = f"* = host={cluster.sockets} port={cluster.port}"
    return "\n".join(["[databases]", servers, "", "[pgbouncer]", *lines, ""])


class Pooler:
    """The PgBouncers before the computes of an engine: at most one an endpoint, started when it is first wanted."""

    def __init__(self, installed: PgBouncer, folder: Path, runner: Runner) -> None:
        self._installed = installed
        self._folder = folder
        self._runner = runner
        self._lock = threading.Lock()

    def start(self, cluster: Cluster) -> None:
        """Start the PgBouncer before *cluster*, unless it runs. Raises `PoolerError`."""
        with self._lock:
            if self._pid(cluster.port) is None:
                self._start(cluster)

    def stop(self, port: int) -> None:
        """Stop the PgBouncer before the compute at *port*, and end its clients. Does nothing where none runs."""
        with self._lock:
            pid = self._pid(port)
            if pid is None:
                return
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _START_SECONDS
            while processes.alive(pid):
                if time.monotonic() > deadline:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(_POLL_SECONDS)
            (self._place(port) / "pgbouncer.pid").unlink(missing_ok=True)

    def stop_all(self, *, besides: frozenset[int] = frozenset()) -> None:
        """Stop every PgBouncer but those before the ports *besides*."""
        if self._folder.exists():
            for place in self._folder.iterdir():
                if place.name.isdigit() and int(place.name) not in besides:
                    self.stop(int(place.name))

    def _place(self, port: int) -> Path:
        return self._folder / str(port)

    def _pid(self, port: int) -> int | None:
        """The process that runs, and not a stranger's with an old pid."""
        place = self._place(port)
        try:
            pid = int((place / "pgbouncer.pid").read_text())
            command = Path("/proc", str(pid), "cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(place / "pgbouncer.ini") in command and processes.alive(pid) else None

    def _start(self, cluster: Cluster) -> None:
        place = self._place(cluster.port)
        check_reachable(place / "pgbouncer.ini", self._runner)
        make_folder(self._folder, self._runner)
        make_folder(place, self._runner)
        ini = place / "pgbouncer.ini"
        _write(ini, configuration(cluster, place, version=self._installed.version), self._runner)
        # The one password that it cannot ask Postgres for: that with which it asks.
        _write(place / "userlist.txt", f'"{roles.SUPERUSER}" "{cluster.superuser_password}"\n', self._runner)
        log = place / "pgbouncer.log"
        offset = programs.size_of(log)
        answer = subprocess.run(
            [self._installed.program, "--daemon", "--quiet", ini],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            env=clean_environment(),
            start_new_session=True,
            **self._runner.spawn(),
        )
        deadline = time.monotonic() + _START_SECONDS
        while self._pid(cluster.port) is None:
            if answer.returncode != 0 or time.monotonic() > deadline:
                raise PoolerError(
                    place,
                    why="PgBouncer did not start",
                    way_out="mend what its log says, or use the direct address",
                    log=programs.last_words(log, since=offset) or answer.stderr.decode(errors="replace"),
                )
            time.sleep(_POLL_SECONDS)


def _write(path: Path, text: str, runner: Runner) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    give(path, runner)
