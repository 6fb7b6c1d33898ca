"""The engine's memory, and the record of its mutations, without Postgres."""

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tenantry.core.errors import EnvironmentProblem
from tenantry.core.ids import BranchId, EndpointId, ProjectId
from tenantry.local.refusals import Refusal
from tenantry.local.state.operations import Operations, Step
from tenantry.local.state.records import (
    BranchRecord,
    DatabaseRecord,
    EndpointRecord,
    OperationRecord,
    ProjectRecord,
    RoleRecord,
)
from tenantry.local.state.store import Store
from tests.unit.test_engine_rules import branch

AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
P = ProjectId("p")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "engine.db")
    with opened.write() as writer:
        writer.insert(PROJECT)
    yield opened
    opened.close()


PROJECT = ProjectRecord(
    id=P,
    name="Ünï",
    pg_version=17,
    region_id="r",
    history_retention_seconds=1,
    settings={"a": [1, None]},
    default_endpoint_settings={},
    superuser_password="s",
    created_at=AT,
    updated_at=AT,
)


def test_every_kind_of_value_comes_back_as_it_was(store: Store):
    made = branch("main", annotation={"k": "v"}, expires_at=AT, protected=True, logical_size=7)
    role = RoleRecord(branch_id=made.id, name="r", password=None, created_at=AT, updated_at=AT)
    database = DatabaseRecord(branch_id=made.id, name="d", owner_name="r", created_at=AT, updated_at=AT)

    with store.write() as writer:
        for record in (made, role, database):
            writer.insert(record)

    assert store.get(ProjectRecord, id=P) == PROJECT
    assert store.get(BranchRecord, id=made.id) == made
    assert store.select(RoleRecord) == [role]
    assert store.select(DatabaseRecord) == [replace(database, id=1)]


def test_times_of_another_zone_come_back_as_the_same_moment(store: Store):
    zone = timezone(timedelta(hours=5, minutes=30))

    with store.write() as writer:
        writer.insert(branch("main", created_at=AT.astimezone(zone)))

    (found,) = store.select(BranchRecord)
    assert found.created_at == AT


def test_a_transaction_that_raises_leaves_nothing(store: Store):
    def work() -> None:
        with store.write() as writer:
            writer.insert(branch("main"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()

    assert store.select(BranchRecord) == []


def test_a_reader_never_sees_half_of_a_transaction(store: Store):
    seen: list[int] = []
    with store.write() as writer:
        writer.insert(branch("main"))
        reader = threading.Thread(target=lambda: seen.append(len(store.select(BranchRecord))))
        reader.start()
        reader.join(0.1)
        assert seen == []
        writer.insert(branch("one", parent="main"))
    reader.join(5)

    assert seen == [2]


def test_a_parent_cannot_go_from_under_its_child(store: Store):
    with store.write() as writer:
        writer.insert(branch("main"))
        writer.insert(branch("one", parent="main"))

    with pytest.raises(sqlite3.IntegrityError), store.write() as writer:
        writer.delete(BranchRecord, id="br-main")

    assert len(store.select(BranchRecord)) == 2


def test_a_project_goes_with_all_its_branches(store: Store):
    with store.write() as writer:
        writer.insert(branch("main"))
        writer.insert(branch("one", parent="main"))
        writer.insert(RoleRecord(branch_id=BranchId("br-one"), name="r", password="x", created_at=AT, updated_at=AT))

    with store.write() as writer:
        writer.delete(ProjectRecord, id=P)

    assert store.select(BranchRecord) == []
    assert store.select(RoleRecord) == []


@pytest.mark.parametrize(
    "second",
    [
        branch("main", id=BranchId("br-2"), directory="x", is_default=False),
        branch("two", directory="br-main.0", is_default=False),
        branch("two"),
    ],
    ids=["a name", "a directory", "a default"],
)
def test_what_is_one_of_its_kind_is_kept_by_the_store_itself(store: Store, second: BranchRecord):
    with store.write() as writer:
        writer.insert(branch("main"))

    with pytest.raises(sqlite3.IntegrityError), store.write() as writer:
        writer.insert(second)


def test_the_file_is_its_owners_alone_whatever_the_umask_and_what_it_was_before(tmp_path: Path):
    path = tmp_path / "engine.db"
    path.touch(0o644)

    Store.open(path).close()

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_store_is_refused(tmp_path: Path):
    (tmp_path / "engine.db").write_bytes(b"no store" * 1000)

    with pytest.raises(EnvironmentProblem, match="is not a store"):
        Store.open(tmp_path / "engine.db")


# --- mutations


def finish(operations: Operations) -> tuple[OperationRecord, ...]:
    with operations.mutation(P) as mutation:
        mutation.plan([Step("create_branch", BranchId("br-main"))])
        with mutation.step():
            pass
        with mutation.commit() as writer:
            writer.insert(branch("main"))
    return mutation.operations


def test_a_mutation_and_its_rows_end_in_one_transaction(store: Store):
    made = finish(Operations(store))

    assert [one.status for one in made] == ["finished"]
    assert store.select(OperationRecord) == list(made)
    assert len(store.select(BranchRecord)) == 1


def test_until_its_commit_a_mutation_is_unfinished_in_the_store(store: Store):
    with Operations(store).mutation(P) as mutation:
        mutation.plan([Step("create_branch"), Step("start_compute")])
        with mutation.step():
            assert [one.status for one in store.select(OperationRecord)] == ["running", "scheduling"]
        with mutation.step():
            assert [one.status for one in store.select(OperationRecord)] == ["running", "running"]
            assert len(store.unfinished_operations()) == 2
        with mutation.commit():
            pass

    assert store.unfinished_operations() == []


def test_a_mutation_that_fails_undoes_itself_last_first_and_says_why(store: Store):
    undone: list[str] = []

    def work() -> None:
        with Operations(store).mutation(P) as mutation:
            mutation.plan([Step("create_branch"), Step("start_compute"), Step("delete_timeline")])
            mutation.undo(lambda: undone.append("clone"))
            with mutation.step():
                pass
            mutation.undo(lambda: undone.append("compute"))
            with mutation.step():
                raise EnvironmentProblem("no port", way_out="stop something")

    with pytest.raises(EnvironmentProblem):
        work()

    assert undone == ["compute", "clone"]
    found = store.select(OperationRecord)
    assert [(one.status, one.error) for one in found] == [
        ("cancelled", None),
        ("failed", "no port: stop something"),
        ("cancelled", None),
    ]


def test_a_failure_after_the_commit_undoes_nothing(store: Store):
    undone: list[str] = []

    def work() -> None:
        with Operations(store).mutation(P) as mutation:
            mutation.plan([Step("create_branch")])
            mutation.undo(lambda: undone.append("clone"))
            with mutation.step():
                pass
            with mutation.commit():
                pass
            raise OSError("late")

    with pytest.raises(OSError, match="late"):
        work()

    assert undone == []
    assert [one.status for one in store.select(OperationRecord)] == ["finished"]


def test_a_commit_that_fails_undoes_the_mutation(store: Store):
    undone: list[str] = []
    finish(Operations(store))

    def work() -> None:
        with Operations(store).mutation(P) as mutation:
            mutation.plan([Step("create_branch")])
            mutation.undo(lambda: undone.append("clone"))
            with mutation.step():
                pass
            with mutation.commit() as writer:
                writer.insert(branch("main"))

    with pytest.raises(sqlite3.IntegrityError):
        work()

    assert undone == ["clone"]
    assert [one.status for one in store.select(OperationRecord)] == ["finished", "failed"]


def test_an_undo_that_fails_does_not_keep_the_others_from_running(store: Store):
    undone: list[str] = []

    def fail() -> None:
        raise OSError("disk")

    def work() -> None:
        with Operations(store).mutation(P) as mutation:
            mutation.plan([Step("create_branch")])
            mutation.undo(lambda: undone.append("first"))
            mutation.undo(fail)
            with mutation.step():
                raise EnvironmentProblem("no port", way_out="stop something")

    with pytest.raises(EnvironmentProblem):
        work()

    assert undone == ["first"]
    assert [one.status for one in store.select(OperationRecord)] == ["failed"]


def test_a_project_is_free_again_after_a_mutation_however_it_ended(store: Store):
    operations = Operations(store)
    with pytest.raises(ZeroDivisionError), operations.mutation(P):
        raise ZeroDivisionError

    with operations.mutation(P), pytest.raises(Refusal) as caught, operations.mutation(P):
        pass
    with operations.mutation(P), operations.mutation(ProjectId("other")):
        pass

    assert caught.value.status == 423


def test_an_endpoints_port_belongs_to_it_alone(store: Store):
    endpoint = EndpointRecord(
        id=EndpointId("ep-1"),
        project_id=P,
        branch_id=BranchId("br-main"),
        name=None,
        type="read_write",
        port=1,
        active=True,
        disabled=False,
        autoscaling_limit_min_cu=0.25,
        autoscaling_limit_max_cu=0.25,
        suspend_timeout_seconds=0,
        settings={},
        started_at=None,
        suspended_at=None,
        created_at=AT,
        updated_at=AT,
    )
    with store.write() as writer:
        writer.insert(branch("main"))
        writer.insert(branch("one", parent="main"))
        writer.insert(endpoint)

    with pytest.raises(sqlite3.IntegrityError), store.write() as writer:
        writer.insert(replace(endpoint, id=EndpointId("ep-2"), branch_id=BranchId("br-one")))
    with pytest.raises(sqlite3.IntegrityError), store.write() as writer:
        writer.insert(replace(endpoint, id=EndpointId("ep-2"), port=2))


def test_a_change_is_undone_even_where_its_failure_cannot_be_recorded(store: Store):
    undone: list[str] = []

    def work() -> None:
        with Operations(store).mutation(P) as mutation:
            mutation.plan([Step("create_branch")])
            mutation.undo(lambda: undone.append("clone"))
            with mutation.step():
                store._connection.execute("PRAGMA query_only = ON")
                raise EnvironmentProblem("no room", way_out="make some")

    with pytest.raises(EnvironmentProblem, match="no room"):
        work()

    assert undone == ["clone"]
