"""One Postgres cluster: its data folder, its postmaster, its roles and databases."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg import conninfo, sql

from tenantry.local.clusters import processes, programs, roles, tls
from tenantry.local.clusters.folders import LOCK, LOG, make_data_folder
from tenantry.local.clusters.ports import HOST, free_port, is_free
from tenantry.local.clusters.privileges import Runner, check_reachable, make_folder
from tenantry.local.clusters.wal import State, read_control
from tenantry.local.errors import (
    ClusterNotThereError,
    FolderTakenError,
    ForeignRoleError,
    PortTakenError,
    SocketPathError,
    StartError,
    StopError,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from tenantry.local.clusters.binaries import Binaries

__all__ = ["HOST", "LOG", "Cluster", "free_port", "hold"]

_SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103
_POLL_SECONDS = 0.002
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Postgres cluster on this machine. The value says where it is; whether it runs is asked of the system.

    `data` may be shared with nobody; `sockets` may, its path is short. `superuser_password` is that of `cloud_admin`,
    the role that only the engine logs in with. `host` is where it listens for TCP; `more_settings` the server is told
    beside ours. A postmaster outlives the process that started it, and any `Cluster` of the same values takes it up
    again.
    """

    data: Path
    port: int
    binaries: Binaries
    runner: Runner
    sockets: Path
    superuser_password: str = field(repr=False)
    host: str = HOST
    more_settings: tuple[tuple[str, str], ...] = ()

    # ---- life

    def init(self) -> None:
        """Make the cluster, with Neon's roles in it, and leave it stopped.

        Raises `FolderTakenError` if `data` exists, `InitError` and the errors of `start`; nothing is left then.
        """
        if self.data.exists():
            raise FolderTakenError(self.data)
        check_reachable(self.data / "PG_VERSION", self.runner)
        make_data_folder(self.data, self.runner)
        try:
            programs.run_initdb(self)
            self.start()
            with self.connect() as connection:
                for statement in roles.neon_roles(self.binaries.major):
                    connection.execute(statement)
            self.stop()
        except BaseException:
            self.remove()
            raise

    def start(self, *, timeout_seconds: float = 30) -> None:
        """Start the postmaster, and return when it takes connections. Safe to repeat, from several threads too.

        What a crash left behind is cleared away first. Raises `PortTakenError`, or `StartError`, which carries the
        last lines of the server's log; a server that still recovers after *timeout_seconds* goes on doing so, and
        starting again waits for it.
        """
        deadline = time.monotonic() + timeout_seconds
        with hold(self):
            pid = processes.postmaster_of(self.data)
            found = processes.read_pid_file(self.data)
            if pid is not None and found is not None and found.port not in {None, self.port}:
                self.stop()
                pid = None
            offset = 0
            if pid is None or not self._answers(pid, deadline=deadline):
                self._clear_stale_files()
                self._begin_first_recovery_anew()
                self._check_port()
                make_folder_for_sockets(self)
                if self.binaries.tls:
                    tls.ensure_key_pair(self.data, self.runner)
                offset = programs.size_of(self.data / LOG)
                pid = programs.launch_server(self)
            self._wait_until_ready(pid, deadline=deadline, timeout_seconds=timeout_seconds, log_offset=offset)

    def _answers(self, pid: int, *, deadline: float) -> bool:
        """Whether a postmaster that runs goes on running: one that was just killed still has its pid for a moment."""
        address = conninfo.make_conninfo(host=str(self.sockets), port=self.port, connect_timeout=5).encode()
        while processes.alive(pid) and time.monotonic() < deadline:
            found = processes.read_pid_file(self.data)
            if found is not None and not found.ready:
                return True  # it is coming up, and has no socket yet
            if psycopg.pq.PGconn.ping(address) != psycopg.pq.Ping.NO_RESPONSE:
                return True
            time.sleep(_POLL_SECONDS)
        return processes.alive(pid)

    def _wait_until_ready(self, pid: int, *, deadline: float, timeout_seconds: float, log_offset: int) -> None:
        while time.monotonic() < deadline:
            found = processes.read_pid_file(self.data)
            if found is not None and found.pid == pid and found.ready:
                return
            if not processes.alive(pid):
                # Somebody may have taken the port between our look and the server's.
                self._check_port()
                raise StartError(
                    self.data,
                    why="the server ended while it started",
                    way_out="mend what its log says, and start it again",
                    log=programs.last_words(self.data / LOG, since=log_offset),
                )
            time.sleep(_POLL_SECONDS)
        raise StartError(
            self.data,
            why=f"the server takes no connections after {timeout_seconds:g} s, and goes on starting",
            way_out="start it again to wait longer",
            log=programs.last_words(self.data / LOG, since=log_offset),
        )

    def _clear_stale_files(self) -> None:
        # Postgres takes a pid file for its own as long as any process has that pid, even another program.
        processes.kill_all(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        lock = self.sockets / f".s.PGSQL.{self.port}.lock"
        try:
            found = processes.parse_pid_file(lock.read_text())
        except FileNotFoundError:
            return
        if found is not None and processes.postmaster_of(Path(found.data)) == found.pid:
            raise PortTakenError(self.port)
        lock.with_suffix("").unlink(missing_ok=True)
        lock.unlink(missing_ok=True)

    def _begin_first_recovery_anew(self) -> None:
        # Postgres puts the label of a clone aside when its first recovery begins. If that is killed, the next would
        # not know that it has a backup to finish, and end with "WAL ends before end of online backup". A standby and
        # a recovery to a point in time say by their signal files that they go on.
        aside = self.data / "backup_label.old"
        signalled = any((self.data / name).exists() for name in ("recovery.signal", "standby.signal"))
        if aside.exists() and not signalled and read_control(self.data).state == State.IN_ARCHIVE_RECOVERY:
            aside.rename(self.data / "backup_label")

    def _check_port(self) -> None:
        if not is_free(self.port, self.host):
            raise PortTakenError(self.port, host=self.host)

    def stop(self, *, mode: Literal["smart", "fast", "immediate"] = "fast", timeout_seconds: float = 30) -> None:
        """Stop the postmaster and wait until it is gone. Does nothing where none runs. Raises `StopError`."""
        pid = processes.postmaster_of(self.data)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, _SIGNALS[mode])
        deadline = time.monotonic() + timeout_seconds
        while processes.alive(pid):
            if time.monotonic() > deadline:
                raise StopError(
                    self.data,
                    why=f"the server did not stop within {timeout_seconds:g} s",
                    way_out='wait and stop it again, or use mode "immediate", which loses nothing that was committed',
                    log=programs.last_words(self.data / LOG),
                )
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End every process of the cluster with SIGKILL and remove their shared memory. Safe to repeat."""
        processes.kill_all(self.data)

    def remove(self) -> None:
        """Kill the cluster and delete its data folder. Safe to repeat."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        # A file written while the tree was being removed makes the first pass fail.
        if self.data.exists():
            shutil.rmtree(self.data)

    @property
    def running(self) -> bool:
        """Whether a postmaster runs on `data` now."""
        return processes.postmaster_of(self.data) is not None

    # ---- use

    def connect(self, database: str = "postgres", *, timeout_seconds: float = 10) -> psycopg.Connection:
        """Connect as `cloud_admin`, over the Unix socket, with autocommit."""
        return psycopg.connect(
            host=str(self.sockets),
            port=self.port,
            dbname=database,
            user=roles.SUPERUSER,
            password=self.superuser_password,
            # Whoever else sits on this socket gets no password out of us.
            require_auth="scram-sha-256",
            connect_timeout=max(2, round(timeout_seconds)),
            application_name="tenantry",
            # What fails here may hold a verifier of a password, and is not for the log.
            options="-c log_min_error_statement=panic -c log_statement=none",
            autocommit=True,
        )

    def ensure_role(self, name: str, password: str | None, *, no_login: bool = False) -> None:
        """Make a role with the attributes of one that Neon's API made, or give it them and *password* again.

        Raises `ForeignRoleError` where a role of that name was made by SQL: it must not come to bypass row security.
        """
        with self.connect() as connection:
            found = connection.execute(roles.FIND_ROLE, [name]).fetchone()
            if found is not None and not found[0]:
                raise ForeignRoleError(name)
            verifier = None if password is None else _verifier(connection, name, password)
            connection.execute(roles.role(name, exists=found is not None, login=not no_login, verifier=verifier))

    def set_role_password(self, name: str, password: str) -> None:
        """Give a role another password. Sessions that are open stay."""
        with self.connect() as connection:
            connection.execute(roles.role_password(name, _verifier(connection, name, password)))

    def drop_role(self, name: str) -> None:
        """Drop a role; what it owns goes to the owner of the database it is in. Does nothing where there is none."""
        with self.connect() as connection:
            if connection.execute(roles.FIND_ROLE, [name]).fetchone() is None:
                return
            databases = connection.execute(roles.LIST_DATABASES).fetchall()
            for database, owner in databases:
                heir = roles.SUPERUSER if owner == name else owner
                with self.connect(database) as inside:
                    for statement in roles.drop_owned(name, heir=heir):
                        inside.execute(statement)
            connection.execute(roles.drop_role(name))

    def shown_roles(self) -> list[tuple[str, bool]]:
        """The roles that Neon's API shows, and whether each can log in."""
        with self.connect() as connection:
            return [(name, can_login) for name, can_login in connection.execute(roles.SHOWN_ROLES)]

    def shown_databases(self) -> list[tuple[str, str]]:
        """The databases that Neon's API shows, and the owner of each."""
        with self.connect() as connection:
            return [(name, owner) for name, owner in connection.execute(roles.SHOWN_DATABASES)]

    def create_database(self, name: str, owner: str) -> None:
        """Make a database whose `public` schema is its owner's. Finishes one that was cut short; safe to repeat."""
        with self.connect() as connection:
            if connection.execute(roles.FIND_DATABASE, [name]).fetchone() is None:
                connection.execute(roles.create_database(name, owner))
        with self.connect(name) as connection:
            for statement in roles.prepare_database(owner):
                connection.execute(statement)

    def alter_database_owner(self, name: str, owner: str) -> None:
        """Give a database to another role."""
        self._execute(roles.alter_database_owner(name, owner))

    def rename_database(self, name: str, new_name: str) -> None:
        """Rename a database. Sessions in it are ended."""
        with self.connect() as connection:
            connection.execute(roles.END_SESSIONS, [name])
            connection.execute(roles.rename_database(name, new_name))

    def drop_database(self, name: str) -> None:
        """Drop a database and end the sessions in it. Does nothing where there is none."""
        self._execute(roles.drop_database(name))

    def _execute(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)


@contextlib.contextmanager
def hold(cluster: Cluster) -> Generator[None]:
    """Let nobody else start the cluster, or clone it while it is stopped, until the block ends."""
    try:
        descriptor = os.open(cluster.data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise ClusterNotThereError(cluster.data) from problem
    try:
        if cluster.runner.drops:
            # `pg_basebackup` reads every file of the folder, as the user who runs Postgres.
            os.fchown(descriptor, cluster.runner.uid, cluster.runner.gid)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder_for_sockets(cluster: Cluster) -> None:
    """Make the folder for sockets, unless it is there. Raises `SocketPathError` if its path is too long."""
    path = cluster.sockets / f".s.PGSQL.{cluster.port}"
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        raise SocketPathError(path, limit=_SOCKET_PATH_LIMIT)
    check_reachable(path, cluster.runner)
    if not cluster.sockets.exists():
        make_folder(cluster.sockets, cluster.runner, mode=0o755)


def _verifier(connection: psycopg.Connection, name: str, password: str) -> str:
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return verifier.decode()
