"""The files of history: bases taken, replayed, and dropped, and the WAL that is kept. Decisions are made elsewhere."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.local.clusters.cloning import CloneReport, clone_cluster
from tenantry.local.clusters.copying import Tree, copy_tree, read_tree, write_file
from tenantry.local.clusters.folders import make_data_folder
from tenantry.local.clusters.wal import SEGMENT_BYTES, parse_lsn, read_control, segments
from tenantry.local.errors import HistoryGoneError
from tenantry.local.history.commits import stop_settings
from tenantry.local.state.records import BaseRecord, now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.history.moments import Moment
    from tenantry.local.state.records import LineageRecord

__all__ = ["Mark", "Vault", "bytes_below", "mark", "needed_by_slots", "read_head", "switch_point"]

_REPLAY_SECONDS = 300
_WAL = "pg_wal"
_SEGMENT = "[0-9A-F]" * 24
_LABEL = "backup_label"
_AUTO_CONF = "postgresql.auto.conf"

_POSITION = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text"
# A transaction of its own, so that it commits, later than all that committed before.
_MARK = "SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry', 'moment')::text"
_SLOTS = "SELECT min(restart_lsn)::text FROM pg_catalog.pg_replication_slots WHERE wal_status <> 'lost'"
_FLUSHED = "SELECT pg_catalog.pg_current_wal_flush_lsn()::text"


@dataclass(frozen=True, slots=True)
class Mark:
    """A commit that ends what a replay may ask for: `head` is where it begins, `flushed` is past its end."""

    head: int
    flushed: int


def needed_by_slots(cluster: Cluster) -> int | None:
    """Return the position from which on the slots of a running cluster need its WAL; None if they need none."""
    with cluster.connect() as connection:
        row = connection.execute(_SLOTS).fetchone()
    return None if row is None or row[0] is None else parse_lsn(row[0])


def mark(cluster: Cluster) -> Mark:
    """Commit a mark, on disk when this returns.

    A replay to a time ends at the first commit after it, and fails where there is none: the mark is one.
    """
    with cluster.connect() as connection:
        head = connection.execute(_POSITION).fetchone()
        connection.execute(_MARK)
        flushed = connection.execute(_FLUSHED).fetchone()
    assert head is not None
    assert flushed is not None
    return Mark(parse_lsn(head[0]), parse_lsn(flushed[0]))


def switch_point(data: Path) -> str | None:
    """Return where the cluster in *data* left its timeline when a replay ended, or None if it never did."""
    histories = sorted((data / _WAL).glob("*.history"))
    if not histories:
        return None
    lines = [line.split() for line in histories[-1].read_text().splitlines() if line.strip()]
    return lines[-1][1] if lines else None


def read_head(data: Path) -> int:
    """Return about where the WAL of the cluster in *data* ends: the start of its last segment, whatever runs."""
    names = [path.name[8:] for path in (data / _WAL).glob(_SEGMENT)]
    per_file = 0x1_0000_0000 // SEGMENT_BYTES
    return max((int(name[:8], 16) * per_file + int(name[8:], 16) for name in names), default=0) * SEGMENT_BYTES


def bytes_below(folder: Path) -> int:
    """Return the bytes of the files in *folder* and below; none where it is not."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat(follow_symlinks=False).st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


class Vault:
    """The folder that holds bases, snapshots, and the WAL of lineages that have ended, beside the clusters."""

    def __init__(self, folder: Path, clusters: Path) -> None:
        self.folder = folder
        self._clusters = clusters

    def wal_of(self, lineage: LineageRecord) -> Path:
        """Return the folder with the segments of *lineage*."""
        if lineage.ended_at is not None:
            return self.folder / lineage.directory
        return self._clusters / lineage.directory / _WAL

    def new_name(self, kind: str) -> str:
        """Return a name that was never used."""
        return f"{kind}-{secrets.token_hex(8)}"

    def take_base(self, cluster: Cluster, *, wake: bool = True) -> tuple[BaseRecord, CloneReport]:
        """Copy *cluster* to a new base, which is nobody's until its record is kept."""
        name = self.new_name("base")
        report = self.take_copy(cluster, name, wake=wake)
        base = BaseRecord(
            id=name,
            directory=cluster.data.name,
            timeline=report.timeline,
            start_lsn=report.start,
            end_lsn=report.lsn,
            taken_at=now(),
        )
        return base, report

    def take_copy(self, cluster: Cluster, name: str, *, wake: bool = True) -> CloneReport:
        """Copy *cluster* to the folder *name*, whole enough to be started."""
        return clone_cluster(cluster, self.folder / name, wake=wake)

    def unpack(self, name: str, target: Cluster) -> int:
        """Copy a snapshot to a cluster, which can be started then, and return the bytes of its files."""
        source = self.folder / name
        wal = [path for path in (source / _WAL).iterdir() if path.is_file()]
        return self._lay(source, wal, target)

    def replay(
        self,
        base: BaseRecord,
        wal: Iterable[tuple[LineageRecord, str]],
        target: Cluster,
        moment: Moment,
    ) -> int:
        """Bring *base* to *moment*, in a new cluster that runs then; return its bytes."""
        paths = [self.wal_of(lineage) / name for lineage, name in wal]
        missing = [path for path in paths if not path.exists()]
        source = self.folder / base.id
        if missing or not source.is_dir():
            raise HistoryGoneError(missing[0] if missing else source)
        # What the base's timeline descends from.
        size = self._lay(source, [*paths, *(source / _WAL).glob("*.history")], target)
        conf = target.data / _AUTO_CONF
        kept = conf.read_bytes()
        told = {
            **stop_settings(target, base, moment),
            "restore_command": "false",  # all that is needed lies in pg_wal
            "recovery_target_action": "promote",
            "recovery_target_timeline": "current",
            "hot_standby": "off",  # so that it takes connections only when it is there
            "fsync": "off",  # the file system is synced as a whole when its base is taken
        }
        with conf.open("ab") as file:
            file.write("".join(f"\n{name} = '{value}'" for name, value in told.items()).encode() + b"\n")
        write_file(target.data / "recovery.signal", b"", target.runner)
        target.start(timeout_seconds=_REPLAY_SECONDS)
        conf.write_bytes(kept)  # it has read them
        return size

    def _lay(self, source: Path, wal: Iterable[Path], target: Cluster) -> int:
        make_data_folder(target.data, target.runner)
        tree = read_tree(source)
        copy_tree(tree, source, target.data, target.runner)
        label = source / _LABEL
        if label.exists():
            write_file(target.data / _LABEL, label.read_bytes(), target.runner)
        by_folder: dict[Path, list[tuple[str, int]]] = {}
        for path in wal:
            by_folder.setdefault(path.parent, []).append((path.name, path.stat().st_size))
        for folder, files in by_folder.items():
            copy_wal(folder, tuple(files), target)
        return tree.bytes

    def retire(self, directory: str) -> None:
        """Keep of a cluster that is stopped nothing but its WAL. The rest is removed by who names it garbage."""
        (self._clusters / directory / _WAL).rename(self.folder / directory)

    def has_slots(self, lineage: LineageRecord) -> bool:
        """Whether replication slots may need old WAL of *lineage*."""
        folder = self.wal_of(lineage).parent / "pg_replslot"
        return lineage.ended_at is None and folder.is_dir() and any(folder.iterdir())

    def drop_wal(self, lineage: LineageRecord, *, before: int) -> int:
        """Remove the segments of *lineage* before the position *before*, and return how many.

        A server needs nothing before its last checkpoint, which is looked up here. What replication slots need is
        the caller's to ask.
        """
        folder = self.wal_of(lineage)
        if lineage.ended_at is None:
            data = folder.parent
            try:
                before = min(before, read_control(data).redo)
            except FileNotFoundError:
                return 0
        if before < SEGMENT_BYTES:
            return 0
        # The number of a segment says where it is, whatever its timeline.
        (limit,) = segments(before, before + 1, timeline=lineage.timeline, size=SEGMENT_BYTES)
        dropped = 0
        for path in folder.glob(_SEGMENT):
            if path.name[8:] < limit[8:]:
                path.unlink(missing_ok=True)
                dropped += 1
        return dropped

    def remove(self, name: str) -> None:
        """Delete a base, a snapshot or an ended lineage's WAL. Safe to repeat."""
        shutil.rmtree(self.folder / name, ignore_errors=True)


def copy_wal(folder: Path, files: tuple[tuple[str, int], ...], target: Cluster) -> None:
    """Copy segments from *folder* into *target*."""
    copy_tree(Tree((), files), folder, target.data / _WAL, target.runner)
