"""Branches on the engine: real clusters that share nothing but their past."""

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tenantry.local.clusters.processes import postmaster_of
from tests.plugins.engine import Api, Project, make_project


def test_a_new_branch_has_its_parents_rows_and_goes_its_own_way(project: Project):
    parent = project.fork()
    parent.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    child = project.fork(parent=parent)
    child.sql("INSERT INTO t VALUES (2)")
    parent.sql("INSERT INTO t VALUES (3)")

    assert child.sql("SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    assert parent.sql("SELECT a FROM t ORDER BY a") == [(1,), (3,)]


def test_a_branch_with_a_compute_answers_a_query_within_a_second_of_the_request(project: Project):
    parent = project.fork()
    parent.sql("CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 80000) AS i")
    took: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        child = project.fork(parent=parent)
        child.sql("SELECT count(*) FROM t")
        took.append(time.monotonic() - began)

    assert parent.sql("SELECT pg_database_size(current_database()) > 10e6") == [(True,)]
    assert min(took) < 1


def test_a_branch_is_made_with_neons_ids_and_operations(project: Project):
    branch = project.fork()

    assert re.fullmatch(r"br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+", branch.id)
    assert re.fullmatch(r"ep-[a-z]+-[a-z]+-[a-z0-9]{8}", branch.endpoint["id"])
    assert [(one["action"], one["status"]) for one in branch.body["operations"]] == [
        ("create_branch", "finished"),
        ("start_compute", "finished"),
    ]
    assert branch.body["branch"]["parent_id"] == project.main.id
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", branch.body["branch"]["parent_lsn"])


def test_a_branch_without_a_body_is_forked_from_the_default_branch_without_a_compute(api: Api, project: Project):
    made = api.post(f"{project.path}/branches", status=201)

    assert made["branch"]["name"] == made["branch"]["id"]
    assert made["branch"]["parent_id"] == project.main.id
    assert made["endpoints"] == []
    assert "connection_uris" not in made


def test_a_branch_of_a_branch_that_never_ran_has_its_rows(project: Project):
    parent = project.fork()
    parent.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    asleep = project.fork(parent=parent, compute=False)
    child = project.fork(parent=asleep)

    assert child.sql("SELECT a FROM t") == [(1,)]
    assert project.api.engine is not None
    (cluster,) = project.api.engine.computes.folder.glob(f"{asleep.id}.*")
    assert postmaster_of(cluster) is None


@pytest.mark.parametrize("name", ["x", "Ünïcödé ☃ 分支", "a/b?c=d#e", "x" * 256, "'; DROP TABLE t; --"])
def test_a_name_of_any_script_is_kept_as_it_is(project: Project, name: str):
    branch = project.fork(name, compute=False)

    assert branch.show()["name"] == name
    project.api.delete(branch.path)


@pytest.mark.parametrize("name", ["", " ", "x" * 257, "a\x00b"])
def test_a_name_that_cannot_be_is_refused(project: Project, name: str):
    body = project.api.post(f"{project.path}/branches", {"branch": {"name": name}}, status=400)

    assert body["message"].startswith("branch.name: ")


def test_a_name_that_is_taken_is_refused_in_neons_words(project: Project):
    branch = project.fork(compute=False)
    other = project.fork(compute=False)

    body = project.api.post(f"{project.path}/branches", {"branch": {"name": branch.name}}, status=409)
    project.api.patch(other.path, {"branch": {"name": branch.name}}, status=409)

    assert body["message"] == f'branch already exists; branch_name:"{branch.name}"'


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"parent_lsn": "0/1"}, 400),
        ({"parent_lsn": "FFFFFFFF/0"}, 400),
        ({"parent_lsn": "half past nine"}, 400),
        ({"parent_timestamp": "2026-01-01T00:00:00Z"}, 400),
        ({"parent_timestamp": "2926-01-01T00:00:00Z"}, 400),
        ({"parent_timestamp": "2026-01-01T00:00:00"}, 400),
        ({"init_source": "import"}, 501),
        ({"init_source": "grandparent-data"}, 400),
        ({"archived": True}, 501),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400),
        ({"expires_at": "2999-01-01T00:00:00Z"}, 400),
        ({"expires_at": "soon"}, 400),
        ({"protected": "yes"}, 400),
    ],
)
def test_a_branch_that_cannot_be_made_is_refused_and_not_there(
    project: Project, wanted: dict[str, object], status: int
):
    before = project.api.get(f"{project.path}/branches/count")["count"]

    project.api.post(f"{project.path}/branches", {"branch": wanted}, status=status)

    assert project.api.get(f"{project.path}/branches/count")["count"] == before


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([{"type": "read_write"}, {"type": "read_write"}], 400),
        ([{"type": "other"}], 400),
        ([{"type": "read_write", "autoscaling_limit_min_cu": 4, "autoscaling_limit_max_cu": 1}], 400),
        ([{"type": "read_write", "settings": {"pg_settings": {"work_mem": "1"}}}], 501),
    ],
)
def test_a_compute_that_cannot_be_made_leaves_no_branch(project: Project, options: list[object], status: int):
    before = project.api.get(f"{project.path}/branches/count")["count"]

    project.api.post(f"{project.path}/branches", {"endpoints": options}, status=status)

    assert project.api.get(f"{project.path}/branches/count")["count"] == before


def test_a_branch_with_children_a_protected_and_a_default_branch_cannot_be_deleted(own_project: Project):
    api = own_project.api
    parent = own_project.fork(compute=False)
    child = own_project.fork(compute=False, parent=parent)

    assert child.name in api.delete(parent.path, status=422)["message"]
    assert "default" in api.delete(own_project.main.path, status=422)["message"]
    api.patch(child.path, {"branch": {"protected": True}})
    assert "protected" in api.delete(child.path, status=422)["message"]
    assert "protected" in api.delete(own_project.path, status=422)["message"]
    api.patch(child.path, {"branch": {"protected": False}})
    api.delete(child.path, status=200)
    api.delete(parent.path, status=200)


def test_a_deleted_branch_takes_its_compute_and_its_data_with_it(project: Project):
    branch = project.fork()
    assert project.api.engine is not None
    clusters = project.api.engine.computes.folder
    assert list(clusters.glob(f"{branch.id}.*"))

    answer = project.api.delete(branch.path, status=200)

    assert [one["action"] for one in answer["operations"]] == ["suspend_compute", "delete_timeline"]
    assert not list(clusters.glob(f"{branch.id}.*"))
    with pytest.raises(psycopg.OperationalError):
        branch.sql("SELECT 1")
    project.api.get(branch.path, status=404)
    project.api.get(f"{project.path}/endpoints/{branch.endpoint['id']}", status=404)
    project.api.delete(branch.path, status=204)


def test_a_reset_drops_the_childs_own_rows_and_takes_the_parents(project: Project):
    parent = project.fork()
    parent.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    child = project.fork(parent=parent)
    child.sql("CREATE TABLE own (a int); INSERT INTO t VALUES (2)")
    parent.sql("ALTER TABLE t ADD b int DEFAULT 7; INSERT INTO t VALUES (3)")

    answer = project.api.post(f"{child.path}/restore", {"source_branch_id": parent.id}, status=200)

    assert child.sql("SELECT a, b FROM t ORDER BY a") == [(1, 7), (3, 7)]
    assert child.sql("SELECT to_regclass('own')") == [(None,)]
    assert answer["branch"]["id"] == child.id
    assert answer["branch"]["last_reset_at"]
    assert [one["action"] for one in answer["operations"]] == [
        "create_branch",
        "suspend_compute",
        "start_compute",
        "delete_timeline",
    ]
    (endpoint,) = project.api.get(f"{child.path}/endpoints")["endpoints"]
    assert (endpoint["id"], endpoint["host"]) == (child.endpoint["id"], child.endpoint["host"])
    assert project.api.engine is not None
    assert len(list(project.api.engine.computes.folder.glob(f"{child.id}.*"))) == 1


def test_a_reset_keeps_the_passwords_that_the_branch_had(project: Project):
    child = project.fork()
    new = project.api.post(f"{child.path}/roles/neondb_owner/reset_password")["role"]["password"]
    parent_password = project.main.body["roles"][0]["password"]

    project.api.post(f"{child.path}/restore", {"source_branch_id": project.main.id})

    assert project.api.get(f"{child.path}/roles/neondb_owner/reveal_password")["password"] == new
    assert child.sql("SELECT 1", child.uri.replace(parent_password, new)) == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        child.sql("SELECT 1")


def test_a_restore_from_another_branch_makes_that_the_parent(project: Project):
    one, other = project.fork(), project.fork()
    other.sql("CREATE TABLE t AS SELECT 5 AS a")

    answer = project.api.post(f"{one.path}/restore", {"source_branch_id": other.id})

    assert one.sql("SELECT a FROM t") == [(5,)]
    assert answer["branch"]["parent_id"] == other.id
    project.api.delete(other.path, status=422)


def test_a_reset_with_a_name_to_preserve_keeps_the_old_rows_there_and_moves_the_children(own_project: Project):
    api = own_project.api
    branch = own_project.fork()
    branch.sql("CREATE TABLE own AS SELECT 1 AS a")
    child = own_project.fork(parent=branch, compute=False)
    assert (
        "preserve_under_name"
        in api.post(f"{branch.path}/restore", {"source_branch_id": own_project.main.id}, status=422)["message"]
    )

    api.post(f"{branch.path}/restore", {"source_branch_id": own_project.main.id, "preserve_under_name": "kept"})

    (kept,) = api.get(f"{own_project.path}/branches?search=kept")["branches"]
    assert api.get(child.path)["branch"]["parent_id"] == kept["id"]
    assert branch.sql("SELECT to_regclass('own')") == [(None,)]
    api.post(f"{own_project.path}/endpoints", {"endpoint": {"branch_id": kept["id"], "type": "read_write"}})
    query = f"database_name=neondb&role_name=neondb_owner&branch_id={kept['id']}"
    uri = api.get(f"{own_project.path}/connection_uri?{query}")["uri"]
    assert branch.sql("SELECT a FROM own", uri) == [(1,)]


def test_the_default_branch_is_restored_from_its_child(own_project: Project):
    child = own_project.fork()
    child.sql("CREATE TABLE t AS SELECT 1 AS a")

    answer = own_project.api.post(
        f"{own_project.main.path}/restore", {"source_branch_id": child.id, "preserve_under_name": "before"}
    )

    assert own_project.main.sql("SELECT a FROM t") == [(1,)]
    assert answer["branch"]["default"] is True
    assert answer["branch"]["parent_id"] == child.id
    (before,) = own_project.api.get(f"{own_project.path}/branches?search=before")["branches"]
    assert child.show()["parent_id"] == before["id"]
    assert "parent_id" not in before


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 400, "source_branch_id"),
        ({"source_branch_id": "{self}"}, 400, "preserve_under_name"),
        ({"source_branch_id": "{self}", "preserve_under_name": "x"}, 400, "source_timestamp"),
        ({"source_branch_id": "{self}", "preserve_under_name": "x", "source_lsn": "0/1"}, 422, "root"),
        ({"source_branch_id": "{main}", "source_timestamp": "2026-01-01T00:00:00Z"}, 422, "root"),
        ({"source_branch_id": "{main}", "preserve_under_name": "main"}, 409, "main"),
    ],
)
def test_a_restore_that_cannot_be_is_refused_and_changes_nothing(
    project: Project, body: dict[str, str], status: int, named: str
):
    branch = project.fork(compute=False)
    body = {key: value.format(self=branch.id, main=project.main.id) for key, value in body.items()}

    answer = project.api.post(f"{branch.path}/restore", body, status=status)

    assert named in answer["message"]
    assert branch.show() == branch.body["branch"]


def test_a_protected_branch_is_not_reset(project: Project):
    branch = project.fork(compute=False, protected=True)

    answer = project.api.post(f"{branch.path}/restore", {"source_branch_id": project.main.id}, status=422)

    assert "protected" in answer["message"]
    project.api.patch(branch.path, {"branch": {"protected": False}})


def test_a_child_has_its_parents_passwords_unless_the_parent_is_protected(project: Project):
    api = project.api
    parent = project.fork(protected=True)
    plain = project.fork()
    guarded = project.fork(parent=parent)

    def password(branch):
        return api.get(f"{branch.path}/roles/neondb_owner/reveal_password")["password"]

    assert password(plain) == password(project.main)
    assert password(guarded) != password(parent)
    assert guarded.sql("SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        guarded.sql("SELECT 1", guarded.uri.replace(password(guarded), password(parent)))
    api.patch(parent.path, {"branch": {"protected": False}})


def test_connection_uris_are_left_out_where_there_are_two_databases_or_roles(project: Project):
    parent = project.fork()
    project.api.post(f"{parent.path}/databases", {"database": {"name": "two", "owner_name": "neondb_owner"}})

    child = project.fork(parent=parent)

    assert "connection_uris" not in child.body
    assert [one["name"] for one in child.body["databases"]] == ["neondb", "two"]


def test_another_branch_becomes_the_default_and_the_old_one_stops_being_it(own_project: Project):
    branch = own_project.fork(compute=False)

    own_project.api.post(f"{branch.path}/set_as_default", status=200)

    branches = own_project.api.get(f"{own_project.path}/branches")["branches"]
    assert [one["id"] for one in branches if one["default"]] == [branch.id]


def test_a_branch_expires_only_within_30_days_and_only_if_nothing_hangs_on_it(own_project: Project):
    api = own_project.api
    soon = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    late = (datetime.now(UTC) + timedelta(days=31)).isoformat()
    branch = own_project.fork(compute=False, expires_at=soon)

    assert branch.show()["expires_at"].startswith(soon[:19])
    assert api.patch(branch.path, {"branch": {"expires_at": None}})["branch"].get("expires_at") is None
    api.patch(branch.path, {"branch": {"expires_at": late}}, status=400)
    api.patch(branch.path, {"branch": {"expires_at": soon[:19]}}, status=400)
    api.patch(own_project.main.path, {"branch": {"expires_at": soon}}, status=422)
    api.patch(branch.path, {"branch": {"expires_at": soon, "protected": True}}, status=422)
    api.patch(branch.path, {"branch": {"expires_at": soon}})
    api.patch(branch.path, {"branch": {"protected": True}}, status=422)
    api.post(f"{own_project.path}/branches", {"branch": {"parent_id": branch.id}}, status=422)
    api.post(f"{branch.path}/set_as_default", status=422)


def test_annotations_come_back_on_the_branch_and_in_the_listing(project: Project):
    made = project.api.post(f"{project.path}/branches", {"annotation_value": {"pull": "12"}, "branch": {}}, status=201)
    identifier = made["branch"]["id"]

    assert project.api.get(f"{project.path}/branches/{identifier}")["annotation"]["value"] == {"pull": "12"}
    assert project.api.get(f"{project.path}/branches")["annotations"][identifier]["value"] == {"pull": "12"}
    project.api.post(f"{project.path}/branches", {"annotation_value": {"a": 1}}, status=400)


def test_psql_gets_through_with_the_uri_as_it_stands(project: Project):
    assert project.api.engine is not None
    psql = project.api.engine.computes.binaries(17).program("psql")

    answer = subprocess.run(
        [
            psql,
            "--no-psqlrc",
            "-Atc",
            "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            project.main.uri,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (answer.stdout, answer.stderr) == ("neondb_owner|t\n", "")
    assert project.main.uri.endswith("?sslmode=require&channel_binding=require")


def test_a_project_is_made_with_neons_defaults_and_can_be_changed_and_deleted(api: Api):
    made = make_project(api, name="a project", region_id="aws-eu-central-1", branch={"database_name": "shop"})

    assert made.main.name == "main"
    assert [one["name"] for one in made.body["databases"]] == ["shop"]
    assert [one["name"] for one in made.body["roles"]] == ["shop_owner"]
    assert [one["action"] for one in made.body["operations"]] == ["create_timeline", "start_compute"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]{8}", made.id)
    assert made.body["endpoints"][0]["region_id"] == "aws-eu-central-1"
    assert api.patch(made.path, {"project": {"name": "neu"}})["project"]["name"] == "neu"
    api.delete(made.path, status=200)
    api.get(made.path, status=404)
    with pytest.raises(psycopg.OperationalError):
        made.main.sql("SELECT 1")
