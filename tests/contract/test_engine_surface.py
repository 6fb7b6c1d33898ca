"""Schemas and their diffs, and what the engine answers where it has nothing."""

from __future__ import annotations

import threading
import time
from datetime import UTC

import pytest

from tenantry.local.state.records import BranchRecord
from tests.plugins.engine import Api, Project, make_project

TABLES = """
    CREATE TABLE "Notes" (
        id int PRIMARY KEY,
        body text NOT NULL,
        loud text GENERATED ALWAYS AS (pg_catalog.upper(body)) STORED
    );
    CREATE SCHEMA side;
    CREATE TABLE side.answers (note int REFERENCES "Notes" (id), place numeric(8, 2), UNIQUE (note, place));
    INSERT INTO "Notes" VALUES (1, 'a row')
"""


@pytest.fixture
def changed(project: Project):
    """A branch whose schema has more than its parent's."""
    made = project.fork()
    made.sql(TABLES)
    yield made
    made.api.delete(made.path)


def test_the_schema_as_sql_makes_the_objects_and_no_rows(changed):
    sql = changed.api.get(f"{changed.path}/schema?db_name=neondb")["sql"]
    again = changed.api.get(f"{changed.path}/schema?db_name=neondb&format=sql")["sql"]

    assert 'CREATE TABLE public."Notes"' in sql
    assert 'ALTER TABLE public."Notes" OWNER TO neondb_owner;' in sql
    assert "a row" not in sql
    assert sql == again


def test_the_schema_as_json_names_columns_and_constraints(changed):
    body = changed.api.get(f"{changed.path}/schema?db_name=neondb&format=json")

    notes, answers = body["json"]["tables"]
    assert set(body) == {"json"}
    assert notes == {
        "schema": "public",
        "name": "Notes",
        "columns": [
            {"name": "id", "type": "integer", "nullable": False, "generated": False},
            {"name": "body", "type": "text", "nullable": False, "generated": False},
            {"name": "loud", "type": "text", "nullable": True, "generated": True},
        ],
        "constraints": [{"type": "primary_key", "columns": ["id"], "name": "Notes_pkey"}],
    }
    assert answers["columns"][1]["type"] == "numeric(8,2)"
    assert answers["constraints"] == [
        {"type": "unique", "columns": ["note", "place"], "name": "answers_note_place_key"},
        {
            "type": "foreign_key",
            "columns": ["note"],
            "name": "answers_note_fkey",
            "referenced_table": {"schema": "public", "table": "Notes", "columns": ["id"]},
        },
    ]


def test_a_branch_is_compared_with_its_parent_unless_another_is_named(changed, project: Project):
    path = f"{changed.path}/compare_schema?db_name=neondb"
    with_parent = changed.api.get(path)["diff"]
    named = changed.api.get(f"{path}&base_branch_id={project.main.id}")["diff"]
    with_itself = changed.api.get(f"{path}&base_branch_id={changed.id}")["diff"]
    turned = changed.api.get(f"{project.main.path}/compare_schema?db_name=neondb&base_branch_id={changed.id}")["diff"]

    assert with_parent.startswith("--- a/neondb\n+++ b/neondb\n")
    assert '\n+CREATE TABLE public."Notes" (\n' in with_parent
    assert named == with_parent
    assert with_itself == ""
    assert '\n-CREATE TABLE public."Notes" (\n' in turned


def test_the_schema_of_a_branch_without_a_compute_is_read_and_it_sleeps_again(project: Project):
    bare = project.fork(compute=False)

    sql = bare.api.get(f"{bare.path}/schema?db_name=neondb")["sql"]

    assert "PostgreSQL database dump" in sql
    assert bare.api.get(f"{bare.path}/endpoints")["endpoints"] == []
    assert bare.api.engine is not None
    record = bare.api.engine.store.select(BranchRecord, id=bare.id)[0]
    assert not bare.api.engine.computes.serves(record)


def test_a_database_with_a_name_like_a_connection_string_is_dumped_itself(project: Project):
    own = project.fork()
    name = "host=elsewhere 'x' \\"
    own.api.post(f"{own.path}/databases", {"database": {"name": name, "owner_name": "neondb_owner"}}, status=201)

    answer = own.api.send("GET", f"{own.path}/schema", params={"db_name": name})

    assert answer.status_code == 200, answer.text
    assert "PostgreSQL database dump" in answer.json()["sql"]


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("schema", 400, "db_name"),
        ("schema?db_name=nowhere", 404, "nowhere"),
        ("schema?db_name=neondb&format=xml", 400, "format"),
        ("schema?db_name=neondb&lsn=0/1&timestamp=2026-01-01T00:00:00Z", 400, "lsn"),
        ("schema?db_name=neondb&timestamp=yesterday", 400, "timestamp"),
        ("schema?db_name=neondb&timestamp=2026-01-01T00:00:00", 400, "time zone"),
        ("compare_schema", 400, "db_name"),
        ("compare_schema?db_name=neondb", 400, "base_branch_id"),
        ("compare_schema?db_name=nowhere&base_branch_id={main}", 404, "nowhere"),
        ("compare_schema?db_name=neondb&base_branch_id=br-not-there-00000000", 404, "br-not-there-00000000"),
        ("compare_schema?db_name=neondb&base_lsn=0/1&base_timestamp=2026-01-01T00:00:00Z", 400, "base_lsn"),
    ],
)
def test_a_schema_that_cannot_be_read_is_refused_by_name(project: Project, query, status, named):
    path = f"{project.main.path}/{query.format(main=project.main.id)}"

    assert named in project.api.call("GET", path, status=status)["message"]


def test_a_branch_of_another_project_has_no_schema_here(project: Project, own_project: Project):
    path = f"{own_project.path}/branches/{project.main.id}"

    for query in ("schema?db_name=neondb", "compare_schema?db_name=neondb"):
        assert project.main.id in own_project.api.call("GET", f"{path}/{query}", status=404)["message"]


def test_the_schema_of_a_past_moment_is_that_of_the_moment_and_leaves_nothing_behind(own_project: Project):
    main = own_project.main
    main.sql("CREATE TABLE early ()")
    time.sleep(0.1)
    [[at]] = main.sql("SELECT pg_catalog.clock_timestamp()")
    [[lsn]] = main.sql("SELECT pg_catalog.pg_current_wal_insert_lsn()::text")
    time.sleep(0.1)
    main.sql("CREATE TABLE late ()")
    assert main.api.engine is not None
    folder = main.api.engine.computes.folder
    before = {path.name for path in folder.iterdir()}
    zulu = at.astimezone(UTC).isoformat().replace("+00:00", "Z")

    by_time = main.api.get(f"{main.path}/schema?db_name=neondb&timestamp={zulu}")["sql"]
    by_lsn = main.api.get(f"{main.path}/schema?db_name=neondb&format=json&lsn={lsn}")["json"]["tables"]
    diff = main.api.get(f"{main.path}/compare_schema?db_name=neondb&base_branch_id={main.id}&base_timestamp={zulu}")[
        "diff"
    ]
    unknown = main.api.call("GET", f"{main.path}/schema?db_name=nowhere&timestamp={zulu}", status=404)

    assert "CREATE TABLE public.early" in by_time
    assert "CREATE TABLE public.late" not in by_time
    assert [table["name"] for table in by_lsn] == ["early"]
    assert "+CREATE TABLE public.late (" in diff
    assert "nowhere" in unknown["message"]
    assert {path.name for path in folder.iterdir()} == before


# --- what there is none of


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("{branch}/buckets", "buckets"),
        ("{branch}/functions", "functions"),
        ("{project}/permissions", "project_permissions"),
        ("{project}/jwks", "jwks"),
        ("/consumption_history/v2/branches", "branches"),
        ("/consumption_history/projects", "projects"),
    ],
)
def test_what_there_is_none_of_is_an_empty_list(api: Api, project: Project, path, key):
    assert api.get(path.format(branch=project.main.path, project=project.path))[key] == []


@pytest.mark.parametrize("path", ["credentials", "auth", "data-api/neondb"])
def test_what_is_off_is_a_404(project: Project, path):
    assert project.api.call("GET", f"{project.main.path}/{path}", status=404)["message"].endswith("does not have it")


@pytest.mark.parametrize("path", ["buckets", "functions", "credentials", "auth"])
def test_even_an_empty_list_belongs_to_a_branch_that_is_there(project: Project, path):
    gone = f"{project.path}/branches/br-not-there-00000000/{path}"

    assert "br-not-there-00000000" in project.api.call("GET", gone, status=404)["message"]


def test_nothing_is_recovered_neither_what_is_there_nor_what_is_gone(own_project: Project):
    api = own_project.api
    bare = own_project.fork(compute=False)
    there = [api.post(f"{path}/recover", status=422)["message"] for path in (own_project.path, bare.path)]
    api.delete(bare.path)

    assert all("is not deleted" in message for message in there)
    assert bare.id in api.post(f"{bare.path}/recover", status=404)["message"]
    assert "gone-project-1" in api.post("/projects/gone-project-1/recover", status=404)["message"]


def test_the_one_organization_and_the_one_user_are_found(api: Api):
    [organization] = api.get("/users/me/organizations")["organizations"]
    auth = api.get("/auth")

    assert api.get(f"/organizations/{organization['id']}") == organization
    assert "org-else-1" in api.call("GET", "/organizations/org-else-1", status=404)["message"]
    assert auth == {"account_id": api.get("/users/me")["id"], "auth_method": "api_key_user"}


def test_two_mutations_of_a_project_at_once_one_is_locked_out_and_does_nothing(api: Api):
    own = make_project(api)
    statuses: list[int] = []

    def create(number):
        answer = api.send("POST", f"{own.path}/branches", json={"branch": {"name": f"b-{number}"}})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {branch["name"] for branch in api.get(f"{own.path}/branches")["branches"]}
    api.delete(own.path)

    assert set(statuses) == {201, 423}
    assert len(names) == 1 + statuses.count(201)


def test_a_null_among_a_projects_settings_is_as_good_as_absent(own_project: Project):
    api = own_project.api
    api.patch(own_project.path, {"project": {"default_endpoint_settings": {"suspend_timeout_seconds": 120}}})
    nothing = {"suspend_timeout_seconds": None, "autoscaling_limit_max_cu": None, "pg_settings": None}
    wanted = {"default_endpoint_settings": nothing, "settings": {"quota": None, "hipaa": False}}

    changed = api.patch(own_project.path, {"project": wanted})["project"]
    made = make_project(api, **wanted)
    api.delete(made.path)

    assert changed["default_endpoint_settings"] == {"suspend_timeout_seconds": 120}
    assert changed["settings"] == {"hipaa": False}
    assert made.body["project"]["default_endpoint_settings"] == {}
    assert made.main.endpoint["suspend_timeout_seconds"] == 0


@pytest.mark.parametrize("path", ["ai_gateway", "storage"])
def test_two_things_that_are_off_say_why_in_their_own_shape(project: Project, path):
    here = project.api.call("GET", f"{project.main.path}/{path}", status=404)
    gone = project.api.call("GET", f"{project.path}/branches/br-not-there-00000000/{path}", status=404)

    assert here["code"] == gone["code"] != ""
    assert here["reason"] != gone["reason"] == "branch_not_found"
