"""Endpoints, roles, databases and connection URIs on the engine."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from tenantry.local.clusters.ports import BEHIND
from tenantry.local.clusters.processes import postmaster_of
from tenantry.local.services import find
from tests.plugins.engine import Api, Branch, Project


@pytest.fixture
def branch(project: Project) -> Iterator[Branch]:
    made = project.fork()
    yield made
    project.api.delete(made.path)


def endpoint_path(branch: Branch) -> str:
    return f"/projects/{branch.project_id}/endpoints/{branch.endpoint['id']}"


def state(branch: Branch) -> str:
    return branch.api.get(endpoint_path(branch))["endpoint"]["current_state"]


def port_of(branch: Branch) -> int:
    return int(branch.endpoint["host"].rpartition(":")[2])


# --- endpoints


def test_an_endpoint_sleeps_and_wakes_at_the_same_address_with_the_same_rows(branch: Branch):
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")

    suspended = branch.api.post(f"{endpoint_path(branch)}/suspend")
    started = branch.api.post(f"{endpoint_path(branch)}/start")

    assert suspended["endpoint"]["current_state"] == "idle"
    assert [one["action"] for one in suspended["operations"]] == ["suspend_compute"]
    assert started["endpoint"]["current_state"] == "active"
    assert started["endpoint"]["host"] == branch.endpoint["host"]
    assert branch.sql("SELECT a FROM t") == [(1,)]


def test_starting_what_runs_and_suspending_what_sleeps_does_nothing(branch: Branch):
    assert branch.api.post(f"{endpoint_path(branch)}/start")["operations"] == []
    branch.api.post(f"{endpoint_path(branch)}/suspend")
    assert branch.api.post(f"{endpoint_path(branch)}/suspend")["operations"] == []


def test_a_restart_ends_connections_and_comes_back(branch: Branch):
    with psycopg.connect(branch.uri) as connection:
        connection.execute("SELECT 1")
        answer = branch.api.post(f"{endpoint_path(branch)}/restart")

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert [one["action"] for one in answer["operations"]] == ["suspend_compute", "start_compute"]
    assert branch.sql("SELECT 1") == [(1,)]


def test_a_branch_has_one_read_write_endpoint(branch: Branch):
    body = {"endpoint": {"branch_id": branch.id, "type": "read_write"}}

    answer = branch.api.post(f"/projects/{branch.project_id}/endpoints", body, status=409)

    assert answer["message"].startswith("read-write endpoint already exists")


def test_an_endpoint_is_added_to_a_branch_and_deleted_again_and_the_rows_stay(project: Project):
    branch = project.fork(compute=False)
    body = {"endpoint": {"branch_id": branch.id, "type": "read_write", "suspend_timeout_seconds": 600}}
    made = project.api.post(f"{project.path}/endpoints", body, status=201)
    query = f"database_name=neondb&role_name=neondb_owner&endpoint_id={made['endpoint']['id']}"
    uri = project.api.get(f"{project.path}/connection_uri?{query}")["uri"]
    branch.sql("CREATE TABLE t AS SELECT 1 AS a", uri)

    project.api.delete(f"{project.path}/endpoints/{made['endpoint']['id']}", status=200)
    again = project.api.post(f"{project.path}/endpoints", body, status=201)

    assert made["endpoint"]["suspend_timeout_seconds"] == 600
    uri = uri.replace(made["endpoint"]["host"], again["endpoint"]["host"])
    assert branch.sql("SELECT a FROM t", uri) == [(1,)]


def test_a_disabled_endpoint_sleeps_and_cannot_be_started(branch: Branch):
    disabled = branch.api.patch(endpoint_path(branch), {"endpoint": {"disabled": True, "name": "old"}})

    assert disabled["endpoint"]["current_state"] == "idle"
    assert disabled["endpoint"]["name"] == "old"
    branch.api.post(f"{endpoint_path(branch)}/start", status=422)
    branch.api.post(f"{endpoint_path(branch)}/restart", status=422)
    branch.api.patch(endpoint_path(branch), {"endpoint": {"disabled": False}})
    branch.api.post(f"{endpoint_path(branch)}/start")
    assert state(branch) == "active"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "read_write", "suspend_timeout_seconds": 604801}, 400),
        ({"type": "read_write", "name": "n" * 65}, 400),
        ({"type": "read_write", "name": 7}, 400),
        ({"type": "read_write", "disabled": "yes"}, 400),
        ({"type": "none"}, 400),
    ],
)
def test_an_endpoint_that_cannot_be_made_is_refused(project: Project, body: dict[str, object], status: int):
    branch = project.fork(compute=False)

    project.api.post(f"{project.path}/endpoints", {"endpoint": {"branch_id": branch.id} | body}, status=status)

    assert project.api.get(f"{branch.path}/endpoints")["endpoints"] == []


def test_the_endpoint_of_a_protected_branch_is_not_deleted(branch: Branch):
    branch.api.patch(branch.path, {"branch": {"protected": True}})

    branch.api.delete(endpoint_path(branch), status=422)

    branch.api.patch(branch.path, {"branch": {"protected": False}})
    assert branch.sql("SELECT 1") == [(1,)]


def test_a_port_that_was_taken_meanwhile_is_told_and_leaves_the_endpoint_asleep(branch: Branch):
    branch.api.post(f"{endpoint_path(branch)}/suspend")
    with socket.socket() as squatter:
        squatter.bind((BEHIND, port_of(branch)))
        squatter.listen()

        answer = branch.api.post(f"{endpoint_path(branch)}/start", status=500)

        assert str(port_of(branch)) in answer["message"]
        assert state(branch) == "idle"
    operation = branch.api.get(f"/projects/{branch.project_id}/operations?limit=1")["operations"][0]
    assert (operation["action"], operation["status"]) == ("start_compute", "failed")
    assert str(port_of(branch)) in operation["error"]
    branch.api.post(f"{endpoint_path(branch)}/start")
    assert branch.sql("SELECT 1") == [(1,)]


def test_a_postmaster_that_was_killed_shows_as_idle_and_can_be_started_again(branch: Branch):
    branch.sql("CREATE TABLE t AS SELECT 1 AS a")
    assert branch.api.engine is not None
    for cluster in branch.api.engine.computes.folder.glob(f"{branch.id}.*"):
        pid = postmaster_of(cluster)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while postmaster_of(cluster) is not None:  # the kernel takes a moment
            time.sleep(0.01)

    assert state(branch) == "idle"
    branch.api.post(f"{endpoint_path(branch)}/start")
    assert state(branch) == "active"
    assert branch.sql("SELECT a FROM t") == [(1,)]


# --- roles


def test_a_role_of_the_api_has_neons_attributes_and_its_password_works(branch: Branch):
    made = branch.api.post(f"{branch.path}/roles", {"role": {"name": "boss"}}, status=201)
    password = made["role"]["password"]
    owner_password = branch.body["connection_uris"][0]["connection_parameters"]["password"]
    uri = branch.uri.replace("neondb_owner", "boss", 1).replace(owner_password, password)

    attributes = branch.sql(
        "SELECT rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit, rolsuper, "
        "pg_has_role('boss', 'neon_superuser', 'member') FROM pg_roles WHERE rolname = 'boss'"
    )

    assert attributes == [(True, True, True, True, True, False, True)]
    assert branch.sql("SELECT current_user", uri) == [("boss",)]
    assert branch.api.get(f"{branch.path}/roles/boss/reveal_password") == {"password": password}
    assert "password" not in branch.api.get(f"{branch.path}/roles/boss")["role"]
    assert [one["name"] for one in branch.api.get(f"{branch.path}/roles")["roles"]] == ["boss", "neondb_owner"]


def test_a_role_without_login_has_no_password_to_reveal_or_reset(branch: Branch):
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "group", "no_login": True}}, status=201)

    branch.api.get(f"{branch.path}/roles/group/reveal_password", status=412)
    branch.api.post(f"{branch.path}/roles/group/reset_password", status=422)
    query = "database_name=neondb&role_name=group"
    branch.api.get(f"/projects/{branch.project_id}/connection_uri?{query}&branch_id={branch.id}", status=422)
    assert branch.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'group'") == [(False,)]


def test_a_reset_password_works_at_once_and_ends_the_sessions_of_the_old_one(branch: Branch):
    old = branch.body["connection_uris"][0]["connection_parameters"]["password"]
    with psycopg.connect(branch.uri) as connection:
        new = branch.api.post(f"{branch.path}/roles/neondb_owner/reset_password")["role"]["password"]

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="password"):
        branch.sql("SELECT 1")
    assert branch.sql("SELECT 1", branch.uri.replace(old, new)) == [(1,)]


def test_a_role_that_sql_dropped_is_not_found_where_its_password_is_reset(branch: Branch):
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "gone"}}, status=201)
    engine = branch.api.engine
    assert engine is not None
    record, project = find.branch(engine, branch.project_id, branch.id), find.project(engine, branch.project_id)
    with engine.computes.awake(project, record) as cluster, cluster.connect() as connection:
        connection.execute("DROP ROLE gone")

    answer = branch.api.post(f"{branch.path}/roles/gone/reset_password", status=404)
    unknown = branch.api.post(f"{branch.path}/roles/nobody/reset_password", status=404)

    assert answer["message"] == unknown["message"].replace("nobody", "gone")
    branch.api.delete(f"{branch.path}/roles/gone", status=200)
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "gone"}}, status=201)


def test_a_role_that_sql_made_is_not_taken_over(branch: Branch):
    branch.sql("CREATE ROLE app LOGIN PASSWORD 'a-password-of-60-bits' NOBYPASSRLS")

    answer = branch.api.post(f"{branch.path}/roles", {"role": {"name": "app"}}, status=409)

    assert "SQL" in answer["message"]
    assert branch.sql("SELECT rolbypassrls FROM pg_roles WHERE rolname = 'app'") == [(False,)]
    branch.api.get(f"{branch.path}/roles/app", status=404)


@pytest.mark.parametrize("name", ["", "pg_read_all_data", "neon_superuser", "cloud_admin", "x" * 64, "é" * 32, "a\x00"])
def test_a_role_name_that_cannot_be_is_refused(project: Project, name: str):
    body = project.api.post(f"{project.main.path}/roles", {"role": {"name": name}}, status=400)

    assert body["message"].startswith("role.name: ")


@pytest.mark.parametrize("name", ["O'Brien", 'say "hi"', "Ünïcödé", "a/b", "semi;colon", "per%cent"])
def test_a_strange_name_is_a_role_and_a_database_all_the_way(branch: Branch, name: str):
    role = branch.api.post(f"{branch.path}/roles", {"role": {"name": name}}, status=201)["role"]
    branch.api.post(f"{branch.path}/databases", {"database": {"name": name, "owner_name": name}}, status=201)

    query = f"database_name={quote(name, safe='')}&role_name={quote(name, safe='')}&branch_id={branch.id}"
    uri = branch.api.get(f"/projects/{branch.project_id}/connection_uri?{query}")["uri"]
    assert role["name"] == name
    assert branch.sql("SELECT current_user, current_database()", uri) == [(name, name)]
    quoted = quote(name, safe="")
    branch.api.delete(f"{branch.path}/databases/{quoted}", status=200)
    branch.api.delete(f"{branch.path}/roles/{quoted}", status=200)


def test_a_role_that_owns_a_database_stays_until_the_database_goes(branch: Branch):
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "boss"}})
    branch.api.post(f"{branch.path}/databases", {"database": {"name": "shop", "owner_name": "boss"}})

    assert "'shop'" in branch.api.delete(f"{branch.path}/roles/boss", status=422)["message"]
    branch.api.patch(f"{branch.path}/databases/shop", {"database": {"owner_name": "neondb_owner"}})
    branch.api.delete(f"{branch.path}/roles/boss", status=200)
    assert branch.sql("SELECT 1 FROM pg_roles WHERE rolname = 'boss'") == []


def test_a_role_is_made_on_a_branch_that_sleeps_and_it_sleeps_on(project: Project):
    branch = project.fork(compute=False)

    project.api.post(f"{branch.path}/roles", {"role": {"name": "boss"}}, status=201)

    assert project.api.engine is not None
    (cluster,) = project.api.engine.computes.folder.glob(f"{branch.id}.*")
    assert postmaster_of(cluster) is None
    child = project.fork(parent=branch)
    uri = child.api.get(f"{project.path}/connection_uri?database_name=neondb&role_name=boss&branch_id={child.id}")[
        "uri"
    ]
    assert child.sql("SELECT current_user", uri) == [("boss",)]


# --- databases


def test_a_database_is_made_renamed_and_dropped(branch: Branch):
    api, path = branch.api, f"{branch.path}/databases"
    made = api.post(path, {"database": {"name": "one", "owner_name": "neondb_owner"}}, status=201)
    api.post(path, {"database": {"name": "one", "owner_name": "neondb_owner"}}, status=409)
    api.patch(f"{path}/one", {"database": {"name": "neondb"}}, status=409)

    renamed = api.patch(f"{path}/one", {"database": {"name": "two"}}, status=200)

    assert renamed["database"]["id"] == made["database"]["id"]
    names = branch.sql("SELECT datname FROM pg_database WHERE datname IN ('one', 'two')")
    assert names == [("two",)]
    api.get(f"{path}/one", status=404)
    api.delete(f"{path}/two", status=200)
    assert branch.sql("SELECT 1 FROM pg_database WHERE datname = 'two'") == []


def test_a_database_that_sql_made_is_not_taken_over(branch: Branch):
    branch.sql("CREATE DATABASE mine")

    answer = branch.api.post(
        f"{branch.path}/databases", {"database": {"name": "mine", "owner_name": "neondb_owner"}}, status=409
    )

    assert "SQL" in answer["message"]
    assert branch.sql("SELECT 1 FROM pg_database WHERE datname = 'mine'") == [(1,)]


def test_a_database_is_dropped_from_under_its_sessions(branch: Branch):
    branch.api.post(f"{branch.path}/databases", {"database": {"name": "busy", "owner_name": "neondb_owner"}})

    with psycopg.connect(branch.uri.replace("/neondb?", "/busy?")) as connection:
        connection.execute("SELECT 1")
        branch.api.delete(f"{branch.path}/databases/busy", status=200)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


# --- connection URIs


def test_a_pooled_uri_binds_no_channel(api: Api, project: Project):
    query = "database_name=neondb&role_name=neondb_owner"

    direct = api.get(f"{project.path}/connection_uri?{query}")["uri"]
    pooled = api.get(f"{project.path}/connection_uri?{query}&pooled=true")["uri"]

    assert direct == project.main.uri
    assert "channel_binding=require" in direct
    assert "channel_binding" not in pooled
    assert project.main.sql("SELECT 1", pooled) == [(1,)]


def test_a_uri_is_asked_for_a_branch_and_an_endpoint_that_belong_together(project: Project, branch: Branch):
    query = "database_name=neondb&role_name=neondb_owner"
    path = f"{project.path}/connection_uri?{query}&branch_id={branch.id}"

    assert branch.endpoint["host"] in branch.api.get(path)["uri"]
    assert branch.endpoint["host"] in branch.api.get(f"{path}&endpoint_id={branch.endpoint['id']}")["uri"]
    branch.api.get(f"{path}&endpoint_id={project.main.endpoint['id']}", status=422)


def test_a_branch_without_a_compute_has_no_uri(project: Project):
    branch = project.fork(compute=False)
    query = f"database_name=neondb&role_name=neondb_owner&branch_id={branch.id}"

    answer = project.api.get(f"{project.path}/connection_uri?{query}", status=404)

    assert "endpoint" in answer["message"]
