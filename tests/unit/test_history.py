"""Which base and which WAL give a moment, and what of the past can go: from records alone."""

from datetime import UTC, datetime, timedelta

import pytest

from tenantry.core.ids import BranchId, ProjectId
from tenantry.local.clusters.wal import SEGMENT_BYTES, format_lsn
from tenantry.local.history.commits import last_commit
from tenantry.local.history.keeping import LONGEST_REPLAY_BYTES, Clock, decide, wants_base
from tenantry.local.history.moments import Moment, find_lineage, plan_replay, read_moment
from tenantry.local.refusals import Refusal
from tenantry.local.state.records import BaseRecord, LineageRecord

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def lsn(segments: float) -> str:
    return format_lsn(int(segments * SEGMENT_BYTES))


def lineage(
    directory: str,
    *,
    since: float,
    start: float = 0,
    ancestor: str | None = None,
    ended: tuple[float, float] | None = None,
    timeline: int = 1,
) -> LineageRecord:
    """A lineage that began at minute *since*, in segment *start*, and ended at a minute and a segment."""
    return LineageRecord(
        directory=directory,
        project_id=ProjectId("p"),
        branch_id=BranchId("b"),
        ancestor=ancestor,
        timeline=timeline,
        wal_from=lsn(int(start)),
        began_at=at(since),
        began_lsn=lsn(start),
        ended_at=None if ended is None else at(ended[0]),
        ended_lsn=None if ended is None else lsn(ended[1]),
    )


def base(identifier: str, directory: str, *, taken: float, position: float) -> BaseRecord:
    return BaseRecord(
        id=identifier,
        directory=directory,
        timeline=1,
        start_lsn=lsn(position),
        end_lsn=lsn(position),
        taken_at=at(taken),
    )


def by_time(minutes: float) -> Moment:
    return Moment("parent_timestamp", at=at(minutes))


def by_position(segments: float) -> Moment:
    return Moment("parent_lsn", lsn=int(segments * SEGMENT_BYTES))


MAIN = lineage("main", since=0, start=2)
CHILD = lineage("child", since=30, start=10.5, ancestor="main")
BASES = [base("first", "main", taken=0, position=2), base("second", "main", taken=20, position=8)]


# --- whose moment it is


def test_a_moment_is_in_the_lineage_that_was_the_branch_then():
    old = lineage("old", since=0, ended=(10, 5))
    new = lineage("new", since=10, start=3)

    def found(moment: Moment) -> str:
        return find_lineage(moment, [old, new], window_start=at(-60), head=9 * SEGMENT_BYTES, label="branch").directory

    assert [found(by_time(minutes)) for minutes in (0, 9.99, 10, 99)] == ["old", "old", "new", "new"]
    # A position that both have had is that of the later one.
    assert [found(by_position(segment)) for segment in (2, 4, 9)] == ["old", "new", "new"]


def test_a_position_of_a_lineage_that_ended_before_the_window_is_refused():
    old = lineage("old", since=0, ended=(10, 5))
    new = lineage("new", since=10, start=4)

    def found(window_start: datetime) -> str:
        return find_lineage(
            by_position(3), [old, new], window_start=window_start, head=9 * SEGMENT_BYTES, label="branch"
        ).directory

    assert found(at(10)) == "old"
    with pytest.raises(Refusal):
        found(at(10.1))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (by_time(-0.01), "was made"),
        (by_time(-61), "history_retention_seconds"),
        (by_position(1.9), "less than"),
        (by_position(9.1), "in the future"),
    ],
)
def test_a_moment_outside_the_history_is_refused_by_its_field(moment: Moment, words: str):
    with pytest.raises(Refusal, match=words) as caught:
        find_lineage(moment, [MAIN], window_start=at(-60), head=9 * SEGMENT_BYTES, label="branch")

    assert caught.value.status == 400
    assert caught.value.message.startswith((moment.field, "parent_lsn"))


def test_a_request_names_one_moment_or_none():
    def read(timestamp: datetime | None, position: str | None) -> Moment | None:
        return read_moment(timestamp, position, timestamp_field="t", lsn_field="l", now=NOON)

    assert read(None, None) is None
    assert read(NOON, None) == Moment("t", at=NOON)
    assert read(None, "1/A") == Moment("l", lsn=(1 << 32) + 10)
    for timestamp, position in [
        (NOON, "0/1"),
        (NOON + timedelta(microseconds=1), None),
        (NOON.replace(tzinfo=None), None),
        (None, "0/"),
        (None, "0/1 '; drop"),
    ]:
        with pytest.raises(Refusal):
            read(timestamp, position)


# --- what gives it


def test_the_latest_base_before_the_moment_is_replayed():
    for moment, wanted in [
        (by_time(19.9), "first"),
        (by_time(20), "second"),
        (by_position(7.9), "first"),
        (by_position(8), "second"),
    ]:
        plan = plan_replay(moment, MAIN, [MAIN], BASES, head=12 * SEGMENT_BYTES, label="branch")
        assert plan.base.id == wanted


def test_a_childs_wal_joins_its_parents_where_it_was_forked():
    plan = plan_replay(by_time(40), CHILD, [MAIN, CHILD], BASES, head=int(12.5 * SEGMENT_BYTES), label="branch")

    assert plan.base.id == "second"
    assert [(owner.directory, name) for owner, name in plan.segments] == [
        ("main", "000000010000000000000008"),
        ("main", "000000010000000000000009"),
        ("child", "00000001000000000000000A"),
        ("child", "00000001000000000000000B"),
        ("child", "00000001000000000000000C"),
    ]


def test_a_base_that_the_parent_took_after_the_fork_is_no_base_of_the_child():
    later = base("later", "main", taken=35, position=10.9)

    plan = plan_replay(by_time(40), CHILD, [MAIN, CHILD], [*BASES, later], head=12 * SEGMENT_BYTES, label="branch")

    assert plan.base.id == "second"


def test_history_that_hung_on_a_parent_that_is_gone_is_refused():
    with pytest.raises(Refusal, match="gone") as caught:
        plan_replay(by_time(40), CHILD, [CHILD], BASES, head=12 * SEGMENT_BYTES, label="branch")

    assert caught.value.status == 422


def test_the_record_that_begins_at_a_position_is_not_replayed_and_the_commit_of_a_time_is():
    assert by_position(1).settings() == {"recovery_target_lsn": "0/100000", "recovery_target_inclusive": "off"}
    assert by_time(0.5).settings() == {
        "recovery_target_time": "2026-11-24 12:00:30.000000+00",
        "recovery_target_inclusive": "on",
    }


# --- where a time is

_LINE = "rmgr: Transaction len: 34/34, tx: 7, lsn: {lsn}, prev 0/0, desc: {what} 2026-11-24 12:{minute}:00{rest}"


def _line(position: str, minute: int, *, what: str = "COMMIT", rest: str = ".000001 GMT; inval msgs") -> str:
    return _LINE.format(lsn=position, what=what, minute=f"{minute:02}", rest=rest)


def test_a_time_is_right_after_the_last_commit_that_is_not_later():
    lines = [
        "pg_waldump: first record is after 0/1",
        _line("0/10", 1),
        _line("0/20", 2, what="ABORT"),
        _line("0/30", 3, what="COMMIT_PREPARED 712:", rest=" GMT"),
        _line("0/40", 4),
        _line("0/50", 2),  # the clock was set back
    ]

    def found(minutes: float, since: int = 0) -> int | None:
        return last_commit(lines, at=at(minutes), since=since)

    assert [found(0.5), found(2.5), found(3), found(3.5)] == [None, 0x10, 0x30, 0x30]
    assert found(4) == 0x30  # a microsecond before the next
    assert found(5) == 0x50
    assert found(5, since=0x51) is None


# --- what can go


def test_all_that_the_window_needs_is_kept_and_no_more():
    due = decide([MAIN], BASES, window_start=at(25))

    assert due.bases == ("first",)
    assert due.floors == {"main": 8 * SEGMENT_BYTES}
    assert decide([MAIN], BASES, window_start=at(19)).bases == ()


def test_what_a_child_needs_of_its_parent_is_kept_as_long_as_the_child_needs_it():
    lately = base("lately", "main", taken=60, position=30)

    due = decide([MAIN, CHILD], [*BASES, lately], window_start=at(61))

    assert due.bases == ("first",)
    assert due.floors == {"main": 8 * SEGMENT_BYTES, "child": 10 * SEGMENT_BYTES}
    own = base("own", "child", taken=60, position=20)
    freed = decide([MAIN, CHILD], [*BASES, lately, own], window_start=at(61))
    assert freed.bases == ("first", "second")
    assert freed.floors == {"main": 30 * SEGMENT_BYTES, "child": 20 * SEGMENT_BYTES}


def test_a_lineage_that_ended_before_the_window_goes_unless_a_child_needs_it():
    old = lineage("old", since=0, start=2, ended=(10, 5))
    mine = [base("old-base", "old", taken=0, position=2)]
    child = lineage("child", since=5, start=4, ancestor="old")

    assert decide([old], mine, window_start=at(10)).lineages == ()
    assert decide([old], mine, window_start=at(10.1)).lineages == ("old",)
    assert decide([old, child], mine, window_start=at(11)).lineages == ()


def test_another_base_is_due_when_the_replay_is_long_or_an_ancestor_is_held():
    every = {"main": MAIN, "child": CHILD}
    near = 9 * SEGMENT_BYTES

    def due(one: LineageRecord, head: int, start: float) -> bool:
        return wants_base(one, every, BASES, head=head, window_start=at(start))

    assert not due(MAIN, near, 0)
    assert due(MAIN, 8 * SEGMENT_BYTES + LONGEST_REPLAY_BYTES + 1, 0)
    assert not due(CHILD, 11 * SEGMENT_BYTES, 30)
    assert due(CHILD, 11 * SEGMENT_BYTES, 30.1)


def test_the_clock_of_history_does_not_run_ahead_and_follows_one_that_is_set_back():
    clock = Clock(NOON, 100.0)

    ahead = clock.advance(wall=at(60 * 24), steady=160.0)
    back = ahead.advance(wall=at(-30), steady=220.0)

    assert ahead.wall == at(1)
    assert back.wall == at(-30)
    assert back.advance(wall=at(-29), steady=280.0).wall == at(-29)
