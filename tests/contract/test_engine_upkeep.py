"""Upkeep: what has expired goes, history is shortened to its window, and what is inside the window stays."""

import errno
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenantry.local.engine import Engine
from tenantry.local.history import keeping
from tenantry.local.services.upkeep import Upkeep
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    EndpointRecord,
    LineageRecord,
    ProjectRecord,
    SnapshotRecord,
)
from tests.contract.test_engine_history import moment, rows
from tests.plugins.engine import Branch, Project

NO_GRACE = timedelta(0)


def engine_of(project: Project) -> Engine:
    assert project.api.engine is not None
    return project.api.engine


def bases_of(engine: Engine, branch: Branch) -> list[BaseRecord]:
    return [
        base
        for lineage in engine.store.select(LineageRecord, branch_id=branch.id)
        for base in engine.store.select(BaseRecord, directory=lineage.directory)
    ]


def segments_of(engine: Engine, branch: Branch) -> set[str]:
    (pg_wal,) = engine.computes.folder.glob(f"{branch.id}.*/pg_wal")
    return {path.name for path in pg_wal.iterdir() if len(path.name) == 24}


def write_much(branch: Branch) -> None:
    branch.sql("CREATE TABLE IF NOT EXISTS much (a text)")
    branch.sql("INSERT INTO much SELECT repeat(md5(i::text), 30) FROM generate_series(1, 5000) i")


def test_branches_and_snapshots_past_their_time_are_deleted_as_an_operation(own_project: Project):
    engine, api = engine_of(own_project), own_project.api
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    branch, other = (own_project.fork(compute=False, expires_at=later) for _ in range(2))
    query = f"expires_at={later.replace('+00:00', 'Z')}"
    snapshot = api.post(f"{own_project.main.path}/snapshot?{query}")["snapshot"]
    upkeep = Upkeep(engine)
    upkeep.run()
    assert branch.show()
    with engine.store.write() as writer:
        for kind, identifier in ((BranchRecord, branch.id), (SnapshotRecord, snapshot["id"])):
            record = engine.store.get(kind, id=identifier)
            assert record is not None
            writer.update(replace(record, expires_at=datetime.now(UTC) - timedelta(seconds=1)))

    upkeep.run()

    api.get(branch.path, status=404)
    assert other.show()
    assert engine.store.get(SnapshotRecord, id=snapshot["id"]) is None
    operations = api.get(f"{own_project.path}/operations")["operations"]
    assert ("delete_timeline", branch.id, "finished") in [
        (one["action"], one.get("branch_id"), one["status"]) for one in operations
    ]


def test_what_no_moment_of_the_window_needs_is_dropped_and_the_rest_still_gives_its_moments(
    own_project: Project, monkeypatch: pytest.MonkeyPatch
):
    engine, api, main = engine_of(own_project), own_project.api, own_project.main
    monkeypatch.setattr(keeping, "LONGEST_REPLAY_BYTES", 2 << 20)
    upkeep = Upkeep(engine, grace=NO_GRACE)
    main.sql("CREATE TABLE t AS SELECT 1 AS a")
    gone = moment()
    write_much(main)
    before = segments_of(engine, main)
    upkeep.run()
    assert len(bases_of(engine, main)) == 2
    time.sleep(0.5)
    main.sql("INSERT INTO t VALUES (2)")
    kept = moment()
    main.sql("INSERT INTO t VALUES (3)")
    # The last checkpoint must be past what is dropped, or the server itself needs it.
    api.post(f"{own_project.path}/endpoints/{main.endpoint['id']}/suspend")
    api.post(f"{own_project.path}/endpoints/{main.endpoint['id']}/start")
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(kept)).total_seconds()) + 1
    time.sleep(seconds - (datetime.now(UTC) - datetime.fromisoformat(kept)).total_seconds() - 0.1)
    api.patch(own_project.path, {"project": {"history_retention_seconds": seconds}})

    upkeep.run()

    assert len(bases_of(engine, main)) == 1
    assert not before & segments_of(engine, main) - {max(before)}
    assert api.post(f"{own_project.path}/branches", {"branch": {"parent_timestamp": gone}}, status=400)[
        "message"
    ].startswith("branch.parent_timestamp")
    api.patch(own_project.path, {"project": {"history_retention_seconds": 3600}})
    assert rows(own_project.fork(parent_timestamp=kept)) == [1, 2]
    on_disk = {path.name for path in engine.computes.vault.folder.iterdir()}
    assert {base.id for base in bases_of(engine, main)} <= on_disk


def test_wal_that_a_replication_slot_needs_stays(own_project: Project):
    engine, api, main = engine_of(own_project), own_project.api, own_project.main
    directory = next(engine.computes.folder.glob(f"{main.id}.*"))
    project = engine.store.get(ProjectRecord, id=own_project.id)
    assert project is not None
    endpoint = engine.store.get(EndpointRecord, id=main.endpoint["id"])
    assert endpoint is not None
    cluster = engine.computes.cluster(project, directory.name, port=endpoint.port)
    with cluster.connect() as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('follower', true)")
    held = segments_of(engine, main)
    write_much(main)
    with cluster.connect() as connection:
        connection.execute("CHECKPOINT")
    time.sleep(1.1)
    api.patch(own_project.path, {"project": {"history_retention_seconds": 0}})
    (lineage,) = engine.store.select(LineageRecord, branch_id=main.id)
    base, _ = engine.computes.vault.take_base(cluster)
    with engine.store.write() as writer:
        writer.insert(base)
    time.sleep(0.1)

    Upkeep(engine, grace=NO_GRACE).run()

    assert max(held) in segments_of(engine, main)
    with cluster.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('follower')")
    Upkeep(engine, grace=NO_GRACE).run()
    assert max(held) not in segments_of(engine, main)
    assert lineage.ended_at is None


def test_the_wal_that_only_a_child_needs_is_kept_until_it_has_a_base_of_its_own(own_project: Project):
    engine, api, main = engine_of(own_project), own_project.api, own_project.main
    upkeep = Upkeep(engine, grace=NO_GRACE)
    main.sql("CREATE TABLE t AS SELECT 1 AS a")
    child = own_project.fork()
    child.sql("INSERT INTO t VALUES (2)")
    time.sleep(1.1)
    api.patch(own_project.path, {"project": {"history_retention_seconds": 1}})
    upkeep.run()
    assert len(bases_of(engine, child)) == 1
    at = moment()
    child.sql("INSERT INTO t VALUES (3)")

    upkeep.run()

    api.patch(own_project.path, {"project": {"history_retention_seconds": 3600}})
    assert len(bases_of(engine, child)) == 1
    assert rows(own_project.fork(parent=child, parent_timestamp=at)) == [1, 2]


def test_a_child_that_never_ran_gets_its_base_too(own_project: Project):
    engine, api = engine_of(own_project), own_project.api
    own_project.main.sql("CREATE TABLE t AS SELECT 1 AS a")
    child = own_project.fork(compute=False)
    time.sleep(1.1)
    api.patch(own_project.path, {"project": {"history_retention_seconds": 1}})

    Upkeep(engine, grace=NO_GRACE).run()

    assert len(bases_of(engine, child)) == 1
    assert rows(own_project.fork(parent=child)) == [1]


def test_the_history_of_before_a_reset_goes_when_the_window_has_passed_it(own_project: Project):
    engine, api = engine_of(own_project), own_project.api
    child = own_project.fork()
    api.post(f"{child.path}/restore", {"source_branch_id": own_project.main.id})
    (ended,) = [one for one in engine.store.select(LineageRecord, branch_id=child.id) if one.ended_at is not None]
    assert (engine.computes.vault.folder / ended.directory).is_dir()
    Upkeep(engine, grace=NO_GRACE).run()
    assert engine.store.get(LineageRecord, directory=ended.directory) is not None
    time.sleep(1.1)
    api.patch(own_project.path, {"project": {"history_retention_seconds": 1}})

    Upkeep(engine, grace=NO_GRACE).run()

    assert engine.store.get(LineageRecord, directory=ended.directory) is None
    assert not (engine.computes.vault.folder / ended.directory).exists()


def test_a_disk_too_full_for_a_base_is_told_and_the_server_goes_on(
    own_project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    engine, main = engine_of(own_project), own_project.main
    monkeypatch.setattr(keeping, "LONGEST_REPLAY_BYTES", 0)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", full)
    main.sql("CREATE TABLE t AS SELECT 1 AS a")
    write_much(main)
    before = bases_of(engine, main)

    Upkeep(engine).run()

    monkeypatch.undo()
    assert "no room" in caplog.text
    assert bases_of(engine, main) == before
    assert rows(main) == [1]
    names = {path.name for path in engine.computes.vault.folder.glob("base-*")}
    assert names <= {base.id for base in engine.store.select(BaseRecord)}


def test_a_clock_that_jumps_ahead_deletes_nothing(own_project: Project, monkeypatch: pytest.MonkeyPatch):
    engine, main = engine_of(own_project), own_project.main
    branch = own_project.fork(compute=False, expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    upkeep = Upkeep(engine, grace=NO_GRACE)
    monkeypatch.setattr("tenantry.local.services.upkeep.now", lambda: datetime.now(UTC) + timedelta(days=20))
    before = segments_of(engine, main)

    upkeep.run()

    assert engine.store.get(BranchRecord, id=branch.id) is not None
    assert segments_of(engine, main) >= before


def test_the_room_that_history_takes_is_told(own_project: Project):
    api, main = own_project.api, own_project.main
    before = api.get(f"{main.path}/history")["history"]

    write_much(main)

    after = api.get(f"{main.path}/history")["history"]
    assert after["wal_bytes"] > before["wal_bytes"]
    assert after["base_bytes"] == before["base_bytes"] > 10_000_000
    assert after["data_bytes"] > before["data_bytes"]
    assert before["bases"] == 1
    assert datetime.fromisoformat(before["begins_at"]) <= datetime.now(UTC)


def test_what_no_record_names_is_removed_from_the_vault_on_open(data: Path):
    with Engine.open(data) as engine:
        stray = engine.computes.vault.folder / "base-0123456789abcdef"
        stray.mkdir()
        (stray / "PG_VERSION").write_text("17\n")

    with Engine.open(data):
        assert not stray.exists()


def test_a_log_that_grew_keeps_its_end_and_goes_on(own_project: Project, monkeypatch):
    engine, main = engine_of(own_project), own_project.main
    (log,) = engine.computes.folder.glob(f"{main.id}.*/server.log")
    with log.open("a") as file:
        file.writelines(f"line {number}\n" for number in range(1_000_000))
    main.sql("DO $$ BEGIN RAISE LOG 'the last before'; END $$")

    Upkeep(engine).run()
    main.sql("DO $$ BEGIN RAISE LOG 'the first after'; END $$")

    text = log.read_text()
    assert 2_000_000 < len(text) < 2_600_000
    assert text.startswith("line ")
    assert "the last before" in text
    assert text.rindex("the first after") > text.rindex("the last before")
