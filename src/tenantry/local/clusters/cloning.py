"""A clone of a cluster: what was committed when it was asked for is in it, and the parent's sessions go on."""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from tenantry.local.clusters.cluster import hold
from tenantry.local.clusters.copying import Method, Tree, copy_tree, read_tree, sync, write_file
from tenantry.local.clusters.folders import make_data_folder
from tenantry.local.clusters.privileges import check_reachable
from tenantry.local.clusters.wal import BackupLabel, State, format_lsn, parse_lsn, read_control, segments
from tenantry.local.errors import CloneError, ClusterNotThereError, DiskFullError, FolderTakenError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tenantry.local.clusters.cluster import Cluster

__all__ = ["CloneReport", "clone_cluster"]

_SLOT = "SELECT pg_catalog.pg_create_physical_replication_slot(%s, true, true)"
_START = "SELECT pg_catalog.pg_backup_start(%s, true)"
_STOP = "SELECT lsn::text, labelfile FROM pg_catalog.pg_backup_stop(false)"
_SEGMENT_SIZE = "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'"


@dataclass(frozen=True, slots=True)
class CloneReport:
    """How a clone was made. `bytes` is what its files hold, shared with the parent or not; `lsn` where it forked.

    Its WAL is replayed from `start`, on `timeline`; from the segment of `start` on it has segments of its own.
    `backup_seconds` is what the parent took to enter and leave backup mode, `copy_seconds` what its files took.
    """

    method: Method
    files: int
    bytes: int
    backup_seconds: float
    copy_seconds: float
    start: str
    lsn: str
    timeline: int


def clone_cluster(parent: Cluster, target_data: Path, *, wake: bool = True) -> CloneReport:
    """Clone *parent* into the folder *target_data*, which may not exist. Start it as a `Cluster` of its own.

    What was committed before the call is in the clone, its roles and passwords too; slots are not. A running parent
    is cloned in backup mode while its sessions go on; a stopped one is held until the copy is done; a crashed one is
    started first, and then runs on; without *wake* it is refused. On any failure, an interruption too, nothing of the
    clone is left. Raises `FolderTakenError`, `DiskFullError`, `UnreachableFolderError`, `ClusterNotThereError` or
    `CloneError`.
    """
    if target_data.exists() or target_data.is_symlink():
        raise FolderTakenError(target_data)
    if not (parent.data / "global" / "pg_control").exists():
        raise ClusterNotThereError(parent.data)
    check_reachable(target_data / "PG_VERSION", parent.runner)
    try:
        make_data_folder(target_data, parent.runner)
        with hold(parent):
            if not parent.running and read_control(parent.data).state == State.SHUT_DOWN:
                return _clone_stopped(parent, target_data)
        if wake:
            parent.start()
        return _clone_running(parent, target_data)
    except BaseException as problem:
        shutil.rmtree(target_data, ignore_errors=True)
        if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
            free = shutil.disk_usage(target_data.parent).free
            raise DiskFullError(target_data, needed=read_tree(parent.data).room, free=free) from problem
        if isinstance(problem, (OSError, psycopg.Error)):
            raise CloneError(
                parent.data,
                why=f"cloning to {target_data} failed: {problem}",
                way_out="see that the parent runs, and clone it again",
            ) from problem
        raise


def _clone_stopped(parent: Cluster, target: Path) -> CloneReport:
    """Copy the files of a cluster that was shut down cleanly, with the WAL that holds its last checkpoint."""
    began = time.perf_counter()
    control = read_control(parent.data)
    tree = _tree_of(parent)
    method = copy_tree(tree, parent.data, target, parent.runner)
    wal = {path.name: path.stat().st_size for path in (parent.data / "pg_wal").glob("[0-9A-F]" * 24)}
    size = next(iter(wal.values()))
    # The checkpoint's record may go on in the next segment, if there is one.
    needed = segments(control.checkpoint, control.checkpoint + size + 1, timeline=control.timeline, size=size)
    _copy_wal(parent, target, [name for name in needed if name in wal])
    # A clone of a running parent is synced by the recovery at its start; this one starts without.
    sync(target)
    took = time.perf_counter() - began
    lsn = format_lsn(control.checkpoint)
    return CloneReport(
        method,
        files=len(tree.files),
        bytes=tree.bytes,
        backup_seconds=0.0,
        copy_seconds=took,
        start=lsn,
        lsn=lsn,
        timeline=control.timeline,
    )


def _clone_running(parent: Cluster, target: Path) -> CloneReport:
    """Copy the files of a running cluster between the start and the stop of a backup, with the WAL in between."""
    began = time.perf_counter()
    label = f"tenantry_{secrets.token_hex(8)}"
    with parent.connect() as connection:
        # Keeps the WAL that we are to copy; it ends with this session.
        connection.execute(_SLOT, [label])
        connection.execute(_START, [label])
        entered = time.perf_counter()
        tree = _tree_of(parent)
        method = copy_tree(tree, parent.data, target, parent.runner)
        copied = time.perf_counter()
        stopped = connection.execute(_STOP).fetchone()
        size = connection.execute(_SEGMENT_SIZE).fetchone()
        assert stopped is not None
        assert size is not None
        left = time.perf_counter()
        lsn, label_file = stopped
        start = BackupLabel.parse(label_file)
        _copy_wal(parent, target, segments(start.start, parse_lsn(lsn), timeline=start.timeline, size=size[0]))
    write_file(target / "backup_label", label_file.encode(), parent.runner)
    done = time.perf_counter()
    return CloneReport(
        method,
        files=len(tree.files),
        bytes=tree.bytes,
        backup_seconds=(entered - began) + (left - copied),
        copy_seconds=(copied - entered) + (done - left),
        start=format_lsn(start.start),
        lsn=lsn,
        timeline=start.timeline,
    )


def _tree_of(parent: Cluster) -> Tree:
    if any((parent.data / "pg_tblspc").iterdir()):
        raise CloneError(
            parent.data,
            why="the cluster has tablespaces, which a branch cannot have",
            way_out="move what they hold to pg_default (`ALTER TABLE … SET TABLESPACE pg_default`) and drop them",
        )
    return read_tree(parent.data)


def _copy_wal(parent: Cluster, target: Path, names: Iterable[str]) -> None:
    # On a page of WAL that an earlier timeline began a server needs to be told that it is an ancestor.
    histories = sorted(path.name for path in (parent.data / "pg_wal").glob("*.history"))
    paths = [f"pg_wal/{name}" for name in (*names, *histories)]
    files = tuple((path, (parent.data / path).stat().st_size) for path in paths)
    copy_tree(Tree((), files), parent.data, target, parent.runner)
