"""A hot standby: a clone that follows its primary over the Unix socket, and that nobody can write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import conninfo

from tenantry.local.clusters import roles
from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.copying import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.local.clusters.cluster import Cluster

__all__ = ["drop_slot", "make_standby", "standby_settings"]

_PASSWORDS = "tenantry.pgpass"

_CREATE_SLOT = "SELECT pg_catalog.pg_create_physical_replication_slot(%s, true)"
_DROP_SLOT = """
    SELECT pg_catalog.pg_drop_replication_slot(slot_name)
      FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND NOT active
"""


def standby_settings(standby: Path, *, sockets: Path, port: int, slot: str) -> tuple[tuple[str, str], ...]:
    """Return what the server in *standby* is told so that it follows the primary at *port* of *sockets*.

    The slot keeps the primary's WAL for it. It is also a guard: a clone has no slots, so that a standby never follows
    another cluster that came to the same address with another history.
    """
    primary = conninfo.make_conninfo(
        host=str(sockets),
        port=port,
        user=roles.SUPERUSER,
        passfile=str(standby / _PASSWORDS),  # a command line is for everybody to read
        application_name=slot,
    )
    return (
        ("primary_conninfo", primary),
        ("primary_slot_name", slot),
        ("hot_standby", "on"),
        ("wal_keep_size", "0"),  # the primary keeps the past
        ("wal_retrieve_retry_interval", "500ms"),
    )


def make_standby(primary: Cluster, data: Path, *, slot: str) -> None:
    """Clone *primary*, which runs, to *data*, where a server with `standby_settings` then follows it."""
    with primary.connect() as connection:
        connection.execute(_DROP_SLOT, [slot])
        # Before the clone, so that no WAL is missing between the two.
        connection.execute(_CREATE_SLOT, [slot])
    clone_cluster(primary, data)
    line = f"*:*:*:{roles.SUPERUSER}:{_escape(primary.superuser_password)}\n"
    write_file(data / _PASSWORDS, line.encode(), primary.runner)
    write_file(data / "standby.signal", b"", primary.runner)


def drop_slot(primary: Cluster, slot: str) -> None:
    """Let *primary*, which runs, keep no more WAL for a standby that is gone. Safe to repeat."""
    with primary.connect() as connection:
        connection.execute(_DROP_SLOT, [slot])


def _escape(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")
