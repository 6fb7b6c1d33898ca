"""A moment of the past, and what gives it: whose history it is in, the base before it, and the WAL up to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tenantry.local.clusters.wal import (
    SEGMENT_BYTES,
    format_lsn,
    is_lsn,
    parse_lsn,
    segment_start,
    segments,
)
from tenantry.local.refusals import bad_field, not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tenantry.local.state.records import BaseRecord, LineageRecord

__all__ = ["Moment", "Replay", "chain", "choose_base", "find_lineage", "plan_replay", "read_moment"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time or a position in the WAL, and the *field* of the request that named it."""

    field: str
    at: datetime | None = None
    lsn: int | None = None

    def __str__(self) -> str:
        if self.at is not None:
            return self.at.isoformat().replace("+00:00", "Z")
        assert self.lsn is not None
        return format_lsn(self.lsn)

    def is_after(self, base: BaseRecord) -> bool:
        """Whether *base* was complete then."""
        if self.at is not None:
            return base.taken_at <= self.at
        assert self.lsn is not None
        return parse_lsn(base.end_lsn) <= self.lsn

    def settings(self) -> dict[str, str]:
        """What a server that replays is told.

        Every transaction that committed at the time or before is in. A position is where the next record begins, as
        `pg_current_wal_lsn()` tells it, so the record that begins there is not.
        """
        if self.at is not None:
            target = {"recovery_target_time": self.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")}
            return target | {"recovery_target_inclusive": "on"}
        assert self.lsn is not None
        return {"recovery_target_lsn": format_lsn(self.lsn), "recovery_target_inclusive": "off"}


def read_moment(
    timestamp: datetime | None, lsn: str | None, *, timestamp_field: str, lsn_field: str, now: datetime
) -> Moment | None:
    """Return the moment that a request names, or None for the head."""
    if timestamp is not None and lsn:
        raise bad_field(timestamp_field, f"it cannot be used together with {lsn_field}: give one of them")
    if timestamp is not None:
        if timestamp.tzinfo is None:
            raise bad_field(timestamp_field, f"{timestamp.isoformat()} has no time zone: end it with Z")
        moment = Moment(timestamp_field, at=timestamp.astimezone(UTC))
        if timestamp > now:
            raise bad_field(timestamp_field, f"{moment} is in the future: now is {now.isoformat()}")
        return moment
    if lsn:
        if not is_lsn(lsn):
            raise bad_field(lsn_field, f"{lsn!r} is not an LSN such as 0/1A2B3C4D")
        return Moment(lsn_field, lsn=parse_lsn(lsn))
    return None


def find_lineage(
    moment: Moment,
    lineages: Sequence[LineageRecord],
    *,
    window_start: datetime,
    head: int,
    label: str,
) -> LineageRecord:
    """Return the one of a branch's *lineages* that the moment is in.

    *head* is the end of the WAL of the one that has not ended. A branch that was reset has one that has ended for
    each reset; where an LSN is in several, the latest is meant.
    """
    latest_first = sorted(lineages, key=lambda one: (one.ended_at is None, one.began_at), reverse=True)
    if moment.at is not None:
        if moment.at < window_start:
            raise bad_field(
                moment.field,
                f"{moment} is before the history of {label}, which begins at {window_start.isoformat()}: "
                "choose a later moment, or raise the project's history_retention_seconds for the next time",
            )
        found = next((one for one in latest_first if one.began_at <= moment.at), None)
        if found is None:
            raise bad_field(
                moment.field,
                f"{moment} is before {label} was made, at {latest_first[-1].began_at.isoformat()}: "
                "choose a later moment, or ask its parent for this one",
            )
        return found
    assert moment.lsn is not None
    if moment.lsn > head:
        raise bad_field(moment.field, f"{moment} is in the future: {label} has written up to {format_lsn(head)}")
    for one in latest_first:
        end = head if one.ended_lsn is None else parse_lsn(one.ended_lsn)
        in_window = one.ended_at is None or one.ended_at >= window_start
        if in_window and parse_lsn(one.began_lsn) <= moment.lsn <= end:
            return one
    first = min(parse_lsn(one.began_lsn) for one in lineages)
    raise bad_field(
        moment.field,
        f"invalid branch start lsn: {moment} is less than {format_lsn(first)}, where {label} begins: "
        "choose a later one, or ask its parent for this one",
    )


def chain(lineage: LineageRecord, by_directory: Mapping[str, LineageRecord]) -> Iterator[LineageRecord]:
    """Yield *lineage*, the one it was forked from, and so on: their WAL joins without a seam."""
    seen: set[str] = set()
    current: LineageRecord | None = lineage
    while current is not None and current.directory not in seen:
        yield current
        seen.add(current.directory)
        ancestor = None if current.ancestor is None else by_directory.get(current.ancestor)
        current = ancestor if ancestor is not None and ancestor.timeline == current.timeline else None


def choose_base(
    moment: Moment,
    lineage: LineageRecord,
    by_directory: Mapping[str, LineageRecord],
    bases: Iterable[BaseRecord],
) -> BaseRecord | None:
    """Return the latest base that a replay to *moment* can begin with: the least WAL is left to replay."""
    usable = [base for base in bases if moment.is_after(base)]
    forked_at: int | None = None
    for one in chain(lineage, by_directory):
        mine = [
            base
            for base in usable
            if base.directory == one.directory and (forked_at is None or parse_lsn(base.end_lsn) <= forked_at)
        ]
        if mine:
            return max(mine, key=lambda base: parse_lsn(base.end_lsn))
        forked_at = min(parse_lsn(one.began_lsn), forked_at if forked_at is not None else 1 << 64)
    return None


@dataclass(frozen=True, slots=True)
class Replay:
    """What gives a moment: a base, and segments of WAL, each with the lineage whose it is."""

    base: BaseRecord
    segments: tuple[tuple[LineageRecord, str], ...]
    moment: Moment


def plan_replay(
    moment: Moment,
    lineage: LineageRecord,
    lineages: Iterable[LineageRecord],
    bases: Iterable[BaseRecord],
    *,
    head: int,
    label: str,
) -> Replay:
    """Say how *lineage* is brought to *moment*; its WAL goes up to *head*."""
    by_directory = {one.directory: one for one in lineages}
    base = choose_base(moment, lineage, by_directory, bases)
    if base is None:
        raise not_allowed(
            f"{moment.field}: the history of {label} at {moment} is gone with the branch that it was forked from: "
            "choose a later moment"
        )
    owners = list(chain(lineage, by_directory))
    start = parse_lsn(base.start_lsn)
    found: list[tuple[LineageRecord, str]] = []
    for position in range(segment_start(start), head + 1, SEGMENT_BYTES):
        owner = next((one for one in owners if segment_start(parse_lsn(one.wal_from)) <= position), owners[-1])
        (name,) = segments(position, position + 1, timeline=lineage.timeline, size=SEGMENT_BYTES)
        found.append((owner, name))
    return Replay(base, tuple(found), moment)
