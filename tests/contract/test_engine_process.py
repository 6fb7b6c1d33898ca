"""The engine as a process: its port, its lock, and what is left when it or a postmaster is killed."""

import json
import os
import random
import shutil
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tenantry.local.clusters.processes import postmaster_of
from tenantry.local.engine import Engine, running_engine
from tenantry.local.errors import ClustersGoneError, EngineRunningError
from tenantry.local.state.store import Store
from tests.plugins.engine import Branch, InProcess, Project, Serving, check_whole, make_project

Launch = Callable[..., Serving]


def reopened(project: Project, serving: Serving) -> Project:
    """The same project, asked of another engine."""
    api = serving.api
    main = project.main
    return Project(api, project.id, project.body, Branch(api, project.id, main.id, main.name, main.body))


def directory_of(data: Path, branch: Branch) -> Path:
    (path,) = (data / "clusters").glob(f"{branch.id}.*")
    return path


def test_an_engine_serves_says_where_and_ends_on_a_signal(data: Path, launch: Launch):
    serving = launch(data)

    assert serving.note["data"] == str(data)
    assert serving.note["pid"] == serving.process.pid
    assert serving.api.get("/projects")["projects"] == []
    assert httpx2.get(f"{serving.note['api']}/projects").status_code == 401
    found = running_engine(data)
    assert found is not None
    assert (found.api, found.api_key, found.pid) == (serving.note["api"], serving.note["api_key"], serving.process.pid)
    assert found.api_key not in repr(found)
    assert serving.stop() == 0
    assert running_engine(data) is None
    assert not (data / "engine.json").exists()


def test_an_interrupt_ends_it_as_cleanly(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    directory = directory_of(data, project.main)

    serving.process.send_signal(signal.SIGINT)

    assert serving.process.wait(30) == 0
    assert postmaster_of(directory) is None


def test_a_port_that_is_taken_is_told_and_the_folder_let_go(data: Path, launch: Launch):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]

        with pytest.raises(RuntimeError, match=f"ApiPortTakenError: port {port}"):
            launch(data, port=port)
    assert running_engine(data) is None
    assert launch(data, port=port).note["api"] == f"http://127.0.0.1:{port}/api/v2"


def test_what_holds_secrets_is_readable_by_its_owner_alone(data: Path, launch: Launch):
    serving = launch(data)
    make_project(serving.api)

    for name in ("engine.db", "engine.db-wal", "engine.db-shm", "engine.json", "engine.lock"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name


def test_a_second_engine_on_the_folder_says_who_has_it(data: Path, launch: Launch):
    serving = launch(data)

    with pytest.raises(EngineRunningError, match=rf"pid {serving.process.pid}\b") as caught:
        Engine.open(data)
    with pytest.raises(RuntimeError, match=rf"EngineRunningError: .*pid {serving.process.pid}\b"):
        launch(data)

    assert caught.value.pid == serving.process.pid
    assert serving.api.get("/projects")["projects"] == []


def test_a_second_engine_in_the_same_process_is_refused_too(data: Path):
    with Engine.open(data), pytest.raises(EngineRunningError, match=f"pid {os.getpid()}"):
        Engine.open(data)


def test_a_key_is_made_once_and_kept_and_another_may_be_given(data: Path):
    with Engine.open(data) as engine:
        kept = engine.api_key
        assert kept not in repr(engine)
    with Engine.open(data, api_key="mine") as engine:
        assert engine.api_key == "mine"
    with Engine.open(data) as engine:
        assert engine.api_key == kept


def test_a_restart_keeps_rows_addresses_and_what_slept(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    branch, asleep = project.fork(), project.fork()
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    serving.api.post(f"{project.path}/endpoints/{asleep.endpoint['id']}/suspend")
    before = serving.api.get(f"{project.path}/endpoints")["endpoints"]
    directory = directory_of(data, branch)

    assert serving.stop() == 0
    assert postmaster_of(directory) is None
    project = reopened(project, launch(data))

    after = project.api.get(f"{project.path}/endpoints")["endpoints"]
    assert [(one["id"], one["host"], one["current_state"]) for one in after] == [
        (one["id"], one["host"], one["current_state"]) for one in before
    ]
    assert branch.sql("SELECT a FROM t") == [(1,)]
    check_whole(data, project)


def test_a_killed_engines_postmasters_run_on_and_are_adopted(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    pid = postmaster_of(directory_of(data, project.main))

    serving.kill()
    assert running_engine(data) is None
    assert postmaster_of(directory_of(data, project.main)) == pid
    project = reopened(project, launch(data))

    assert postmaster_of(directory_of(data, project.main)) == pid
    assert project.main.sql("SELECT 1") == [(1,)]
    check_whole(data, project)


def test_a_killed_postmaster_is_started_again_with_the_engine(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    project.main.sql("CREATE TABLE t AS SELECT 1 AS a")
    serving.kill()
    pid = postmaster_of(directory_of(data, project.main))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    project = reopened(project, launch(data))

    assert project.main.sql("SELECT a FROM t") == [(1,)]
    check_whole(data, project)


def test_an_engine_killed_while_it_makes_a_branch_leaves_a_whole_one_or_none(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    project.main.sql("CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) AS i")
    failed = 0
    for moment in range(8):
        name = f"cut-short-{moment}"
        project = reopened(project, serving)
        thread = threading.Thread(target=attempt, args=[lambda: project.fork(name)])  # noqa: B023 - joined below
        thread.start()
        time.sleep(0.01 + 0.03 * moment + random.uniform(0, 0.03))

        serving.kill()
        thread.join(30)
        serving = launch(data)
        project = reopened(project, serving)

        names = {one["name"] for one in check_whole(data, project)}
        operations = project.api.get(f"{project.path}/operations?limit=2")["operations"]
        if name not in names:
            failed += any("was undone" in one.get("error", "") for one in operations)
            project.fork(name)
        uri = uri_of(project, name)
        assert project.main.sql("SELECT count(*) FROM t", uri) == [(10000,)]
        project.api.delete(f"{project.path}/branches/{branch_named(project, name)['id']}", status=200)

    assert failed, "no kill came within the making of a branch"


def attempt(request: Callable[[], object]) -> None:
    """Send a request to an engine that is killed before it answers, or after."""
    with suppress(httpx2.HTTPError):
        request()


def branch_named(project: Project, name: str) -> dict[str, Any]:
    (found,) = project.api.get(f"{project.path}/branches?search={name}")["branches"]
    return found


def uri_of(project: Project, name: str) -> str:
    query = f"database_name=neondb&role_name=neondb_owner&branch_id={branch_named(project, name)['id']}"
    return project.api.get(f"{project.path}/connection_uri?{query}")["uri"]


@pytest.mark.parametrize("preserve", [None, "kept"])
def test_an_engine_killed_while_it_resets_a_branch_leaves_the_old_rows_or_the_new(
    data: Path, launch: Launch, preserve: str | None
):
    serving = launch(data)
    project = make_project(serving.api)
    project.main.sql("CREATE TABLE t AS SELECT 'new' AS a")
    branch = project.fork("reset-me")
    seen: set[str] = set()
    for moment in range(8):
        project = reopened(project, serving)
        branch.sql("UPDATE t SET a = 'old'")
        kept = f"{preserve}-{moment}"
        body = {"source_branch_id": project.main.id} | ({"preserve_under_name": kept} if preserve else {})
        path = f"{branch.path}/restore"
        thread = threading.Thread(target=attempt, args=[lambda: project.api.post(path, body)])  # noqa: B023 - joined
        thread.start()
        time.sleep(0.01 + 0.04 * moment + random.uniform(0, 0.04))

        serving.kill()
        thread.join(30)
        serving = launch(data)
        project = reopened(project, serving)

        names = {one["name"] for one in check_whole(data, project)}
        ((row,),) = branch.sql("SELECT a FROM t")
        assert row in {"old", "new"}
        assert (kept in names) == (preserve is not None and row == "new")
        seen.add(row)

    assert "old" in seen, "no kill came before the change"


def test_directories_without_rows_and_rows_without_directories_are_cleaned(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    lost = project.fork("lost", compute=False)
    child = project.fork("child", parent=lost)
    serving.stop()
    shutil.rmtree(directory_of(data, lost))
    (data / "clusters" / "br-half-made-a1b2c3d4.00000000" / "base").mkdir(parents=True)
    (data / "clusters" / ".password-left").write_text("x")

    project = reopened(project, launch(data))

    names = {one["name"] for one in check_whole(data, project)}
    assert names == {"main", "child"}
    assert project.api.get(child.path)["branch"]["parent_id"] == project.main.id
    assert child.sql("SELECT 1") == [(1,)]


def test_a_folder_without_any_data_is_refused_and_nothing_is_forgotten(data: Path, launch: Launch):
    serving = launch(data)
    project = make_project(serving.api)
    serving.stop()
    (data / "clusters").rename(data / "elsewhere")

    with pytest.raises(ClustersGoneError, match="none of the 1 branches"):
        Engine.open(data)
    (data / "clusters").rmdir()
    (data / "elsewhere").rename(data / "clusters")

    assert [branch["name"] for branch in check_whole(data, reopened(project, launch(data)))] == ["main"]


def test_postmasters_can_be_left_running_for_the_next_engine(data: Path, in_process: InProcess):
    engine = Engine.open(data)
    project = make_project(in_process.api(engine))
    directory = directory_of(data, project.main)

    engine.close(stop_computes=False)
    engine.close()

    assert postmaster_of(directory) is not None
    with Engine.open(data):
        assert project.main.sql("SELECT 1") == [(1,)]
    assert postmaster_of(directory) is None


def test_a_store_of_another_format_is_refused(data: Path):
    with Engine.open(data):
        pass
    store = Store.open(data / "engine.db")
    store._connection.execute("PRAGMA user_version = 99")
    store.close()

    with pytest.raises(Exception, match="has the format 99"):
        Engine.open(data)
    assert running_engine(data) is None


def test_a_file_that_is_no_store_is_refused(data: Path):
    data.mkdir()
    data.chmod(0o755)
    (data / "engine.db").write_bytes(b"not a store, and long enough to be read as one" * 50)

    with pytest.raises(Exception, match=r"engine\.db is not a store"):
        Engine.open(data)


def test_a_note_of_a_killed_engine_deceives_nobody(data: Path, launch: Launch):
    serving = launch(data)
    serving.kill()

    assert json.loads((data / "engine.json").read_text())["pid"] == serving.process.pid
    assert running_engine(data) is None
