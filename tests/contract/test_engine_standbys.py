"""read_only endpoints: hot standbys that follow their branch, refuse writes, sleep, wake, and go with it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from tenantry.local.clusters.processes import postmaster_of
from tests.plugins.engine import Branch, Project, Serving, make_project


def add_standby(branch: Branch) -> dict[str, Any]:
    body = {"endpoint": {"branch_id": branch.id, "type": "read_only"}}
    return branch.api.post(f"/projects/{branch.project_id}/endpoints", body, status=201)["endpoint"]


def uri_of(branch: Branch, endpoint: dict[str, Any]) -> str:
    return conninfo.make_conninfo(branch.uri, port=endpoint["host"].rpartition(":")[2])


def soon(branch: Branch, query: str, uri: str, wanted: list[Any]) -> bool:
    deadline = time.monotonic() + 10
    while branch.sql(query, uri) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clusters_of(branch: Branch) -> Path:
    assert branch.api.engine is not None
    return branch.api.engine.computes.folder


def test_standbys_follow_and_refuse_writes_and_go_with_their_branch(project: Project):
    branch = project.fork()
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    endpoints = [add_standby(branch), add_standby(branch)]
    uris = [uri_of(branch, endpoint) for endpoint in endpoints]

    branch.sql("INSERT INTO t VALUES (2)")

    for uri in uris:
        assert soon(branch, "SELECT a FROM t ORDER BY a", uri, [(1,), (2,)])
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            branch.sql("INSERT INTO t VALUES (3)", uri)
    shown = branch.api.get(f"{branch.path}/endpoints")["endpoints"]
    assert [(one["type"], one["current_state"]) for one in shown] == [
        ("read_write", "active"),
        ("read_only", "active"),
        ("read_only", "active"),
    ]
    branch.api.delete(branch.path, status=200)
    for endpoint in endpoints:
        assert not list(clusters_of(branch).glob(f"{endpoint['id']}*"))
    with pytest.raises(psycopg.OperationalError, match="could not be found"):
        branch.sql("SELECT 1", uris[0])


def test_a_standby_sleeps_without_data_and_wakes_with_that_of_now(project: Project):
    branch = project.fork()
    endpoint = add_standby(branch)
    uri = uri_of(branch, endpoint)
    branch.api.post(f"{project.path}/endpoints/{endpoint['id']}/suspend")
    slots = "SELECT count(*) FROM pg_replication_slots"
    assert branch.sql(slots) == [(0,)]
    assert not list(clusters_of(branch).glob(f"{endpoint['id']}*"))
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")

    assert branch.sql("SELECT a FROM t", uri) == [(1,)]

    assert branch.sql(slots) == [(1,)]
    branch.api.delete(branch.path)


def test_a_standby_of_a_branch_whose_compute_sleeps_serves_and_follows_when_it_wakes(project: Project):
    branch = project.fork()
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    branch.api.post(f"{project.path}/endpoints/{branch.endpoint['id']}/suspend")
    uri = uri_of(branch, add_standby(branch))
    assert branch.sql("SELECT a FROM t", uri) == [(1,)]
    assert branch.api.get(f"{project.path}/endpoints/{branch.endpoint['id']}")["endpoint"]["current_state"] == "idle"

    branch.sql("INSERT INTO t VALUES (2)")

    assert soon(branch, "SELECT a FROM t ORDER BY a", uri, [(1,), (2,)])
    branch.api.delete(branch.path)


def test_a_standby_follows_the_new_data_after_a_reset(project: Project):
    branch = project.fork()
    uri = uri_of(branch, add_standby(branch))
    branch.sql("CREATE TABLE own AS SELECT 1 AS a")
    assert soon(branch, "SELECT count(*) FROM pg_class WHERE relname = 'own'", uri, [(1,)])

    branch.api.post(f"{branch.path}/restore", {"source_branch_id": project.main.id})

    assert branch.sql("SELECT to_regclass('own')", uri) == [(None,)]
    branch.sql("CREATE TABLE newer AS SELECT 1 AS a")
    assert soon(branch, "SELECT count(*) FROM pg_class WHERE relname = 'newer'", uri, [(1,)])
    branch.api.delete(branch.path)


def test_a_branch_can_be_made_with_a_standby_alone_and_get_its_primary_later(project: Project):
    body = {"branch": {"name": "alone"}, "endpoints": [{"type": "read_only"}]}
    made = project.api.post(f"{project.path}/branches", body, status=201)
    branch = Branch(project.api, project.id, made["branch"]["id"], "alone", made)
    assert branch.sql("SELECT pg_is_in_recovery()") == [(True,)]

    primary = project.api.post(
        f"{project.path}/endpoints", {"endpoint": {"branch_id": branch.id, "type": "read_write"}}
    )
    branch.sql("CREATE TABLE t AS SELECT 1 AS a", uri_of(branch, primary["endpoint"]))

    assert soon(branch, "SELECT count(*) FROM pg_class WHERE relname = 't'", branch.uri, [(1,)])
    branch.api.delete(branch.path)


def test_a_killed_engines_standbys_are_adopted_and_dead_ones_started_again(data: Path, launch: Callable[..., Serving]):
    serving = launch(data)
    project = make_project(serving.api)
    lives, dies = add_standby(project.main), add_standby(project.main)
    paths = {each["id"]: next((data / "clusters").glob(f"{each['id']}.*")) for each in (lives, dies)}
    pid = postmaster_of(paths[lives["id"]])

    serving.kill()
    os.kill(postmaster_of(paths[dies["id"]]) or 0, signal.SIGKILL)
    launch(data)

    assert pid is not None
    assert postmaster_of(paths[lives["id"]]) == pid
    for endpoint in (lives, dies):
        assert project.main.sql("SELECT pg_is_in_recovery()", uri_of(project.main, endpoint)) == [(True,)]
