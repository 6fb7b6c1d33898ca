"""Where in the WAL a time is: after the last commit of that time or before, as `pg_waldump` lists the commits."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tenantry.local.clusters.privileges import clean_environment
from tenantry.local.clusters.wal import format_lsn, parse_lsn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.history.moments import Moment
    from tenantry.local.state.records import BaseRecord

__all__ = ["last_commit", "stop_settings"]

_COMMIT = re.compile(
    r", lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), .*desc: COMMIT(?:_PREPARED \d+:)? "
    r"(?P<day>\d{4,}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?) (?:GMT|UTC)"
)


def last_commit(lines: Iterable[str], *, at: datetime, since: int) -> int | None:
    """Return where the last commit record is before the first that is later than *at*, or None if the first is.

    *lines* are `pg_waldump`'s; commits before the position *since* are not looked at.
    """
    last: int | None = None
    for line in lines:
        match = _COMMIT.search(line)
        if match is None:
            continue
        position = parse_lsn(match["lsn"])
        if position < since:
            continue
        if datetime.fromisoformat(f"{match['day']}T{match['time']}").replace(tzinfo=UTC) > at:
            break
        last = position
    return last


def stop_settings(cluster: Cluster, base: BaseRecord, moment: Moment) -> dict[str, str]:
    """What a server is told that replays to *moment*; the WAL from *base* on lies in the cluster's folder.

    Told a time, Postgres stops right before the first later commit, and what that transaction did outside of the
    rules of transactions is done by then: a database that it drops is gone. Told a position, it stops right after the
    last commit that is wanted. An installation without `pg_waldump` is told the time.
    """
    program = cluster.binaries.program("pg_waldump")
    if moment.at is None or not program.exists():
        return moment.settings()
    position = last_commit(_listed(cluster, base), at=moment.at, since=parse_lsn(base.end_lsn))
    if position is None:
        return {"recovery_target": "immediate"}
    return {"recovery_target_lsn": format_lsn(position), "recovery_target_inclusive": "on"}


def _listed(cluster: Cluster, base: BaseRecord) -> Iterator[str]:
    command = [
        str(cluster.binaries.program("pg_waldump")),
        f"--path={cluster.data / 'pg_wal'}",
        "--rmgr=Transaction",
        f"--start={base.start_lsn}",
    ]
    with subprocess.Popen(
        [*command, f"--timeline={base.timeline}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it says that the WAL ends
        text=True,
        cwd="/",
        env=clean_environment(),
        **cluster.runner.spawn(),
    ) as running:
        assert running.stdout is not None
        try:
            yield from running.stdout
        finally:
            running.kill()
