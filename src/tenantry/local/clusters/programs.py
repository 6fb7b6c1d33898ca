"""Postgres's own programs on a cluster: `initdb`, and the server with what it is told at its start."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.core.names import LOCAL_CLUSTER
from tenantry.local.clusters import roles, tls
from tenantry.local.clusters.folders import LOG
from tenantry.local.clusters.ports import BEHIND
from tenantry.local.clusters.privileges import clean_environment, give, run
from tenantry.local.clusters.wal import SEGMENT_BYTES
from tenantry.local.errors import DiskFullError, InitError

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster

__all__ = ["LARGEST_LOG_BYTES", "cap_log", "last_words", "launch_server", "run_initdb", "server_settings", "size_of"]

_LOG_LINES = 20
LARGEST_LOG_BYTES = 10_000_000

_HBA = """\
# Written by tenantry. Every connection gives a password; nothing is trusted for where it comes from.
local all,replication all scram-sha-256
host all,replication all 127.0.0.1/32 scram-sha-256
""" + (f"host all,replication all {BEHIND}/128 scram-sha-256\n" if ":" in BEHIND else "")

# Starts a server that outlives us: in a session of its own (Popen sees to that), child of nobody, with none of our
# files. Prints its pid.
_LAUNCH = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


def server_settings(cluster: Cluster) -> dict[str, str]:
    """What a server is told on its command line, which nothing in its data folder can change.

    A clone thus has nothing of its parent's port, sockets or keys, whatever files it was cloned with.
    """
    settings = {
        "listen_addresses": cluster.host,
        "port": str(cluster.port),
        "cluster_name": LOCAL_CLUSTER,
        "unix_socket_directories": str(cluster.sockets),
        "hba_file": str(cluster.data / "pg_hba.conf"),
        "password_encryption": "scram-sha-256",
        "ssl": "on" if cluster.binaries.tls else "off",
        # Many clusters share the machine.
        "shared_buffers": "16MB",
        "max_connections": "100",
        "max_wal_size": "256MB",
        "min_wal_size": "5MB",
        "huge_pages": "off",
        "jit": "off",
        "wal_level": "replica",
        # WAL stays where it is written until history is dropped: there is no archiver that could lag behind, fail on
        # a full disk, or lose the last segment when all processes are killed. `history` removes what is too old. A
        # standby's is its primary's.
        "wal_keep_size": "0" if (cluster.data / "standby.signal").exists() else "2147483647MB",
        "max_slot_wal_keep_size": "1GB",  # what a standby that went away may cost
        "logging_collector": "off",
        "log_destination": "stderr",
        # Neon's own, and the only zone that Postgres knows where the system has no time zone files.
        "timezone": "GMT",
        "log_timezone": "GMT",
    }
    if cluster.binaries.tls:
        settings |= {"ssl_cert_file": tls.CERTIFICATE, "ssl_key_file": tls.KEY}
    if sys.platform == "linux":
        # One call a file system, where the default is one a file: a clone has a thousand.
        settings["recovery_init_sync_method"] = "syncfs"
    if cluster.binaries.major >= 18:  # noqa: PLR2004 - the version that brought it
        settings["io_method"] = "sync"  # else three processes more a branch
    return settings | dict(cluster.more_settings)


def run_initdb(cluster: Cluster) -> None:
    """Fill the cluster's empty data folder. Raises `InitError` or `DiskFullError`."""
    builtin_locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    descriptor, name = tempfile.mkstemp(prefix=".password-", dir=cluster.data.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{cluster.superuser_password}\n")
    password_file = Path(name)
    try:
        give(password_file, cluster.runner)
        answer = run(
            [
                cluster.binaries.program("initdb"),
                f"--pgdata={cluster.data}",
                f"--username={roles.SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                *(builtin_locale if cluster.binaries.major >= 17 else ()),  # noqa: PLR2004 - the version that has it
                f"--wal-segsize={SEGMENT_BYTES >> 20}",  # a clone takes whole segments
                "--data-checksums",
                "--no-sync",  # the server syncs what it needs; before that there is nothing to lose
                "--no-instructions",
            ],
            cluster.runner,
            timeout_seconds=120,
        )
    finally:
        password_file.unlink()
    if answer.returncode != 0:
        free = shutil.disk_usage(cluster.data).free
        if os.strerror(errno.ENOSPC) in answer.stderr:
            raise DiskFullError(cluster.data, needed=40_000_000, free=free)
        raise InitError(
            cluster.data,
            why="`initdb` failed",
            way_out="mend what it says, and try again",
            log=_last_lines(answer.stderr),
        )
    (cluster.data / "pg_hba.conf").write_text(_HBA)


def launch_server(cluster: Cluster) -> int:
    """Start the postmaster, which outlives us, and return its pid. It is not ready yet."""
    settings = [f"--{name}={value}" for name, value in server_settings(cluster).items()]
    postgres = [str(cluster.binaries.program("postgres")), "-D", str(cluster.data), *settings]
    launched = subprocess.run(
        ["/bin/sh", "-c", _LAUNCH, "sh", str(cluster.data / LOG), *postgres],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        cwd="/",
        env=clean_environment(),
        start_new_session=True,
        **cluster.runner.spawn(),
    )
    return int(launched.stdout)


def size_of(path: Path) -> int:
    """The bytes in a file; none where there is no file."""
    return path.stat().st_size if path.exists() else 0


def cap_log(path: Path, *, most: int = LARGEST_LOG_BYTES) -> None:
    """Leave the last quarter of *most* bytes of a log that has grown beyond it. A server may be writing to it.

    It appends, so it goes on at the new end; lines that it writes in this very moment may be lost.
    """
    if size_of(path) <= most:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)  # as in `last_words`
    with os.fdopen(descriptor, "r+b") as file:
        file.seek(-most // 4, os.SEEK_END)
        _, _, kept = file.read().partition(b"\n")
        file.truncate(0)
        file.write(kept)


def last_words(path: Path, *, since: int = 0) -> str:
    """The last lines of a log, of what was written after the first *since* bytes."""
    try:
        # The folder belongs to the user who runs Postgres: a link that it put there must not make root read elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(since, size_of(path) - 65_536))
        return _last_lines(file.read().decode(errors="replace"))


def _last_lines(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-_LOG_LINES:])
