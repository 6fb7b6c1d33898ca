"""What of the past is kept: which bases, WAL and ended lineages no moment of the window needs any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tenantry.local.clusters.wal import parse_lsn, segment_start
from tenantry.local.history.moments import Moment, chain, choose_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tenantry.local.state.records import BaseRecord, LineageRecord

__all__ = ["LONGEST_REPLAY_BYTES", "Clock", "Upkeep", "decide", "wants_base"]

LONGEST_REPLAY_BYTES = 64 << 20
"""A lineage that wrote more than this since its last base gets another."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time as history counts it: it never runs ahead of the time that really passed.

    A wall clock that jumps forward would make all history look old at once. What is counted is what a clock that
    cannot jump counted since, unless the wall clock says less.
    """

    wall: datetime
    steady: float

    def advance(self, *, wall: datetime, steady: float) -> Clock:
        """Return the clock as it stands when the wall clock shows *wall* and the steady one *steady* seconds."""
        passed = self.wall + timedelta(seconds=max(0.0, steady - self.steady))
        return Clock(min(wall, passed), steady)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What may go: ended lineages and bases by name, and of each directory's WAL what is before a position."""

    lineages: tuple[str, ...]
    bases: tuple[str, ...]
    floors: Mapping[str, int]


def decide(lineages: Sequence[LineageRecord], bases: Sequence[BaseRecord], *, window_start: datetime) -> Upkeep:
    """Keep what every moment from *window_start* on needs, for every lineage of a project; the rest may go."""
    by_directory = {one.directory: one for one in lineages}
    alive = [one for one in lineages if one.ended_at is None or one.ended_at >= window_start]
    kept: set[str] = set()
    floors: dict[str, int] = {}

    def keep_from(directory: str, position: int) -> None:
        floors[directory] = min(position, floors.get(directory, position))

    for one in alive:
        oldest = Moment("window", at=max(window_start, one.began_at))
        base = choose_base(oldest, one, by_directory, bases)
        if base is not None:
            kept.add(base.id)
        for owner in chain(one, by_directory):
            if base is not None and owner.directory == base.directory:
                keep_from(owner.directory, segment_start(parse_lsn(base.start_lsn)))
                break
            keep_from(owner.directory, segment_start(parse_lsn(owner.wal_from)))
        kept.update(
            other.id
            for other in bases
            if other.directory == one.directory and (base is None or parse_lsn(other.end_lsn) > parse_lsn(base.end_lsn))
        )
    return Upkeep(
        lineages=tuple(sorted(set(by_directory) - set(floors))),
        bases=tuple(sorted(base.id for base in bases if base.id not in kept)),
        floors=floors,
    )


def wants_base(
    lineage: LineageRecord,
    by_directory: Mapping[str, LineageRecord],
    bases: Sequence[BaseRecord],
    *,
    head: int,
    window_start: datetime,
) -> bool:
    """Whether another base of *lineage* is due: the replay is long, or an ancestor keeps old WAL for it alone."""
    latest = choose_base(Moment("head", lsn=head), lineage, by_directory, bases)
    if latest is None or head - parse_lsn(latest.end_lsn) > LONGEST_REPLAY_BYTES:
        return True
    return latest.directory != lineage.directory and lineage.began_at < window_start
