"""Computes sleep and wake at addresses that stay: through the relay, with real Postgres behind it."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from tenantry.local.clusters.binaries import Binaries
from tenantry.local.clusters.processes import postmaster_of
from tenantry.local.engine import Engine
from tenantry.local.state.records import BranchRecord
from tests.plugins.engine import Branch, InProcess, Project, Serving, make_project


@pytest.fixture
def branch(project: Project) -> Iterator[Branch]:
    made = project.fork()
    yield made
    made.api.delete(made.path)


def endpoint_path(branch: Branch) -> str:
    return f"/projects/{branch.project_id}/endpoints/{branch.endpoint['id']}"


def state_of(branch: Branch) -> str:
    return branch.api.get(endpoint_path(branch))["endpoint"]["current_state"]


def suspend(branch: Branch) -> None:
    branch.api.post(f"{endpoint_path(branch)}/suspend")


def operations_of(branch: Branch, action: str) -> list[dict[str, Any]]:
    found = branch.api.get(f"/projects/{branch.project_id}/operations?limit=100")["operations"]
    return [one for one in found if one["branch_id"] == branch.id and one["action"] == action]


def pid_of(branch: Branch) -> int:
    assert branch.api.engine is not None
    record = branch.api.engine.store.get(BranchRecord, id=branch.id)
    assert record is not None
    pid = postmaster_of(branch.api.engine.computes.folder / record.directory)
    assert pid is not None
    return pid


def until(holds: Callable[[], bool], *, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def answers(branch: Branch) -> bool:
    try:
        return branch.sql("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def test_a_connection_wakes_the_compute_as_an_operation_like_any_other(branch: Branch):
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    suspend(branch)
    before = len(operations_of(branch, "start_compute"))

    assert branch.sql("SELECT a FROM t") == [(1,)]

    assert state_of(branch) == "active"
    started = operations_of(branch, "start_compute")
    assert len(started) == before + 1
    assert (started[0]["status"], started[0]["endpoint_id"]) == ("finished", branch.endpoint["id"])


def test_twenty_at_once_are_all_held_and_wake_it_once(branch: Branch):
    suspend(branch)
    before = len(operations_of(branch, "start_compute"))
    answers: list[list[Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(branch.sql("SELECT 1"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert answers == [[(1,)]] * 20
    assert len(operations_of(branch, "start_compute")) == before + 1


def test_tls_and_channel_binding_end_at_postgres_itself(branch: Branch):
    suspend(branch)
    with psycopg.connect(branch.uri) as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()

    assert "channel_binding=require" in branch.uri
    assert row == (True,)


def test_a_query_is_cancelled_through_the_relay(branch: Branch):
    with psycopg.connect(branch.uri) as connection:
        # Not `cancel`: it blocks this process, the relay's, while it waits for the relay.
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")


def test_who_insists_on_tls_and_who_does_not_read_why_a_disabled_endpoint_is_shut(branch: Branch):
    branch.api.patch(endpoint_path(branch), {"endpoint": {"disabled": True}})

    for mode in ("require", "disable"):
        with pytest.raises(psycopg.OperationalError, match=r"The endpoint has been disabled\. Enable it"):
            psycopg.connect(conninfo.make_conninfo(branch.uri, sslmode=mode, channel_binding="prefer"))
    branch.api.patch(endpoint_path(branch), {"endpoint": {"disabled": False}})
    assert branch.sql("SELECT 1") == [(1,)]


def test_who_connects_to_an_endpoint_that_was_deleted_reads_so(project: Project):
    branch = project.fork()
    with psycopg.connect(branch.uri, autocommit=True) as connection:
        branch.api.delete(branch.path)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError, match="The requested endpoint could not be found"):
        branch.sql("SELECT 1")


def test_a_compute_that_cannot_start_says_so_and_its_operation_failed(branch: Branch):
    suspend(branch)
    assert branch.api.engine is not None
    record = branch.api.engine.store.get(BranchRecord, id=branch.id)
    assert record is not None
    control = branch.api.engine.computes.folder / record.directory / "global" / "pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"\0" * len(kept))

    with pytest.raises(psycopg.OperationalError, match="did not start"):
        branch.sql("SELECT 1")

    assert operations_of(branch, "start_compute")[0]["status"] == "failed"
    control.write_bytes(kept)
    assert branch.sql("SELECT 1") == [(1,)]


def test_a_compute_killed_under_a_client_closes_it_and_comes_back_with_all_committed_rows(branch: Branch):
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    with psycopg.connect(branch.uri, autocommit=True) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        os.kill(pid_of(branch), signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(10)")

    assert branch.sql("SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    assert state_of(branch) == "active"


def test_who_comes_during_a_change_is_held_until_it_ends(branch: Branch):
    assert branch.api.engine is not None
    suspend(branch)
    answers: list[list[Any]] = []
    with branch.api.engine.operations.mutation(branch.body["branch"]["project_id"]):
        thread = threading.Thread(target=lambda: answers.append(branch.sql("SELECT 1")))
        thread.start()
        time.sleep(0.5)
        assert answers == []
    thread.join(10)

    assert answers == [[(1,)]]


def test_a_reset_keeps_the_address_and_who_comes_meanwhile_waits(project: Project):
    branch = project.fork()
    branch.sql("CREATE TABLE own AS SELECT 1 AS a")
    done = threading.Event()
    problems: list[Exception] = []

    def come_and_go() -> None:
        while not done.is_set():
            try:
                branch.sql("SELECT 1")
            except psycopg.OperationalError as problem:
                problems.append(problem)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    branch.api.post(f"{branch.path}/restore", {"source_branch_id": project.main.id})
    done.set()
    thread.join(20)

    assert branch.sql("SELECT to_regclass('own')") == [(None,)]
    # One that was open when the old compute stopped may end; none hangs, is reset, or finds nobody there.
    assert len(problems) <= 1, problems


def test_an_idle_compute_is_suspended_and_a_busy_one_is_not(branch: Branch):
    branch.api.patch(endpoint_path(branch), {"endpoint": {"suspend_timeout_seconds": 2}})
    with psycopg.connect(branch.uri) as connection:
        connection.execute("SELECT 1")  # within a transaction, which is a use
        time.sleep(4)
        assert connection.execute("SELECT 2").fetchone() == (2,)
        connection.commit()

        assert until(lambda: state_of(branch) == "idle"), "one idle session kept it awake"
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    assert operations_of(branch, "suspend_compute")[0]["status"] == "finished"
    assert branch.sql("SELECT 1") == [(1,)]


def test_a_timeout_of_minus_one_keeps_it_awake_and_the_engines_own_is_for_those_without(
    data: Path, in_process: InProcess
):
    with Engine.open(data, suspend_timeout_seconds=1) as engine:
        project = make_project(in_process.api(engine), default_endpoint_settings={"suspend_timeout_seconds": -1})
        default = project.fork(compute=False)
        project.api.post(
            f"{project.path}/endpoints", {"endpoint": {"branch_id": default.id, "suspend_timeout_seconds": 0}}
        )

        def states() -> dict[str, str]:
            found = project.api.get(f"{project.path}/endpoints")["endpoints"]
            return {one["branch_id"]: one["current_state"] for one in found}

        assert until(lambda: states()[default.id] == "idle")
        assert states()[project.main.id] == "active"


def test_a_caller_gets_no_423_because_a_compute_wakes_by_itself(branch: Branch):
    suspend(branch)
    thread = threading.Thread(target=lambda: branch.sql("SELECT 1"))
    thread.start()
    until(lambda: bool(branch.api.engine and branch.api.engine.operations._busy), seconds=2)

    branch.api.patch(branch.path, {"branch": {"name": f"{branch.name}-renamed"}}, status=200)

    thread.join(10)


def test_the_socket_that_is_published_leads_straight_to_postgres(branch: Branch):
    shown = branch.api.get(endpoint_path(branch))["endpoint"]
    parts = conninfo.conninfo_to_dict(branch.uri)
    straight = conninfo.make_conninfo(
        host=shown["unix_socket_directory"],
        port=parts["port"],
        user=parts["user"],
        password=parts["password"],
        dbname=parts["dbname"],
    )

    assert branch.sql("SELECT inet_server_addr()", straight) == [(None,)]


def test_an_address_that_another_program_took_is_told_and_the_rest_works(data: Path, launch: Callable[..., Serving]):
    serving = launch(data)
    project = make_project(serving.api)
    other = project.fork()
    port = int(other.endpoint["host"].rpartition(":")[2])
    serving.stop()
    with socket.create_server(("127.0.0.1", port)):
        serving = launch(data)
        assert project.main.sql("SELECT 1") == [(1,)]
        answer = serving.api.post(f"{project.path}/endpoints/{other.endpoint['id']}/restart", status=500)
        operations = serving.api.get(f"{project.path}/operations")["operations"]

    assert f"port {port} on 127.0.0.1 is taken" in answer["message"]
    assert any(str(port) in one.get("error", "") for one in operations)
    assert until(lambda: answers(other)), "the address was not taken up when it was free again"


def test_psql_connects_with_the_uri_as_it_is(branch: Branch, binaries: Binaries):
    psql = binaries.program("psql")
    suspend(branch)

    done = subprocess.run([psql, branch.uri, "-Atc", "SELECT 42"], capture_output=True, text=True, check=True)

    assert done.stdout == "42\n"
