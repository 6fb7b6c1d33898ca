"""Neon's command line, npm's `neon` and `neonctl`, as a person uses it on the local engine."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.plugins.tools import CLIS, ToolProject, Tools


def at_once(*calls):
    """Run commands that do not wait for each other, side by side."""
    with ThreadPoolExecutor(3) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def names(project: ToolProject) -> set[str]:
    return {branch["name"] for branch in project.ask("branches", "list")}


@pytest.mark.parametrize("tool", CLIS)
def test_a_project_is_created_listed_got_and_deleted(tools: Tools, tool: str):
    made = tools.ask("projects", "create", "--name", f"made by {tool}", tool=tool)["project"]
    listed, got, me = at_once(
        lambda: tools.ask("projects", "list", tool=tool)["projects"],
        lambda: tools.ask("projects", "get", made["id"], tool=tool),
        lambda: tools.ask("me", tool=tool),
    )
    deleted = tools.ask("projects", "delete", made["id"], tool=tool)
    again = tools.cli("projects", "get", made["id"], tool=tool)

    assert made["id"] in {project["id"] for project in listed}
    assert got["name"] == deleted["name"] == f"made by {tool}"
    assert me["email"]
    assert again.status == 1
    assert "not found" in again.err


def test_branches_are_made_listed_got_renamed_and_deleted(tool_project: ToolProject):
    ask = tool_project.ask
    soon = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)
    plain = ask("branches", "create", "--name", "plain")
    expiring = ask(
        "branches",
        "create",
        "--name",
        "expiring",
        "--parent",
        "plain",
        "--no-compute",
        "--expires-at",
        soon.isoformat(),
    )
    renamed = ask("branches", "rename", "plain", "ünï/côde")
    listed, got = at_once(
        lambda: ask("branches", "list"),
        lambda: ask("branches", "get", "expiring"),
    )
    kept = tool_project.cli("branches", "delete", "ünï/côde")
    never = ask("branches", "set-expiration", "expiring")
    gone = ask("branches", "delete", "expiring")
    gone_too = ask("branches", "delete", "ünï/côde")

    assert len(plain["endpoints"]) == 1
    assert not expiring.get("endpoints")
    assert datetime.fromisoformat(got["expires_at"]) == soon
    assert got["parent_id"] == plain["branch"]["id"]
    assert renamed["id"] == plain["branch"]["id"]
    assert {branch["name"] for branch in listed} >= {"main", "ünï/côde", "expiring"}
    assert kept.status == 1
    assert "has children" in kept.err
    assert "expires_at" not in never
    assert (gone["name"], gone_too["name"]) == ("expiring", "ünï/côde")
    assert {"expiring", "ünï/côde"} & names(tool_project) == set()


def test_a_branch_is_used_through_its_connection_string_then_reset_and_restored(tool_project: ToolProject):
    ask, sql = tool_project.ask, tool_project.sql
    uri = ask("branches", "create", "--name", "work")["connection_uris"][0]["connection_uri"]
    sql(uri, "CREATE TABLE notes (body text); INSERT INTO notes VALUES ('mine')")
    said = tool_project.cli("connection-string", "work").out.strip()
    through_psql = tool_project.cli("psql", "work", "--", "-XAtc", "SELECT body FROM notes")
    diff = tool_project.cli("branches", "schema-diff", "main", "work")
    restored = tool_project.cli("branches", "restore", "work", "main", "--preserve-under-name", "work-before")
    kept = ask("branches", "get", "work-before")
    rows = sql(said, "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'notes'")
    sql(said, "CREATE TABLE more ()")
    ask("branches", "reset", "work", "--parent")
    after = sql(said, "SELECT count(*) FROM pg_catalog.pg_class WHERE relname IN ('notes', 'more')")

    assert said.partition("?")[0] == uri.partition("?")[0]
    assert said.endswith("?sslmode=require&channel_binding=require")
    assert (through_psql.status, through_psql.out) == (0, "mine\n"), through_psql.err
    assert "+CREATE TABLE public.notes (" in diff.out
    assert restored.status == 0, restored.err
    assert kept["parent_id"] != kept["id"]
    assert (rows, after) == ("0", "0")
    assert {"work", "work-before"} <= names(tool_project)


def test_another_branch_becomes_the_default(tool_project: ToolProject):
    tool_project.ask("branches", "create", "--name", "next", "--no-compute")
    set_as_default = tool_project.ask("branches", "set-default", "next")
    refused = tool_project.cli("branches", "delete", "next")
    listed = tool_project.ask("branches", "list")
    tool_project.ask("branches", "set-default", "main")

    assert set_as_default["default"]
    assert [branch["name"] for branch in listed if branch["default"]] == ["next"]
    assert refused.status == 1
    assert "is the default branch" in refused.err


def test_databases_and_roles_are_made_listed_and_deleted(tool_project: ToolProject):
    ask = tool_project.ask
    role = ask("roles", "create", "--name", "Read Only")
    silent = ask("roles", "create", "--name", "silent", "--no-login")
    database = ask("databases", "create", "--name", "shop", "--owner-name", "Read Only")
    roles, databases = at_once(lambda: ask("roles", "list"), lambda: ask("databases", "list"))
    uri = tool_project.cli("connection-string", "main", "--database-name", "shop", "--role-name", "Read Only").out
    who = tool_project.sql(uri.strip(), "SELECT current_user || ' in ' || current_database()")
    ask("databases", "delete", "shop")
    ask("roles", "delete", "Read Only")
    ask("roles", "delete", "silent")
    left = at_once(lambda: ask("roles", "list"), lambda: ask("databases", "list"))

    assert (role["name"], silent["name"], database["name"]) == ("Read Only", "silent", "shop")
    assert {one["name"] for one in roles} == {"neondb_owner", "Read Only", "silent"}
    assert {one["name"] for one in databases} == {"neondb", "shop"}
    assert who == "Read Only in shop"
    assert [[one["name"] for one in some] for some in left] == [["neondb_owner"], ["neondb"]]


def test_operations_are_listed(tool_project: ToolProject):
    operations = tool_project.ask("operations", "list")

    assert {operation["action"] for operation in operations} >= {"create_timeline", "start_compute"}
    assert {operation["status"] for operation in operations} == {"finished"}


def test_an_application_is_linked_checked_out_and_given_its_environment(tool_project: ToolProject):
    tools, app = tool_project.tools, tool_project.tools.folder / "app"
    app.mkdir()
    tool_project.ask("branches", "create", "--name", "feature")
    link = tools.cli("link", "--project-id", tool_project.id, "--branch", "main", folder=app)
    checkout = tools.cli("checkout", "feature", folder=app)
    pull = tools.cli("env", "pull", folder=app)
    status = tools.cli("status", folder=app)
    lines = (app / ".env.local").read_text().splitlines()
    environ = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}

    assert [done.status for done in (link, checkout, pull, status)] == [0, 0, 0, 0], pull.err + status.err
    assert json.loads((app / ".neon").read_text())["branch"] == "feature"
    assert environ["NEON_BRANCH"] == "feature"
    assert '"name":"feature"' in status.out
    for name in ("DATABASE_URL", "DATABASE_URL_UNPOOLED"):
        assert tool_project.sql(environ[name], "SELECT current_database()") == "neondb"


def test_a_branch_is_made_of_a_past_moment_or_of_the_schema_alone(tool_project: ToolProject):
    ask, sql = tool_project.ask, tool_project.sql
    uri = tool_project.cli("connection-string", "main", "--database-name", "neondb").out.strip()
    sql(uri, "CREATE TABLE days (day text); INSERT INTO days VALUES ('first')")
    time.sleep(1.1)
    then = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    time.sleep(0.1)
    sql(uri, "INSERT INTO days VALUES ('second')")
    past = ask("branches", "create", "--name", "past", "--parent", then)["connection_uris"][0]["connection_uri"]
    bare = ask("branches", "create", "--name", "bare", "--schema-only")["connection_uris"][0]["connection_uri"]

    assert sql(past, "SELECT day FROM days") == "first"
    assert sql(bare, "SELECT count(*) FROM days") == "0"
    assert sql(uri, "SELECT count(*) FROM days") == "2"


def test_a_snapshot_is_made_listed_and_restored_and_a_reader_is_added(tool_project: ToolProject):
    ask = tool_project.ask
    made = ask("snapshots", "create", "--branch", "main", "--name", "kept")
    listed = ask("snapshots", "list")
    restored = tool_project.cli("snapshots", "restore", "kept", "--name", "from-kept")
    reader = ask("branches", "add-compute", "main")

    assert "kept" in json.dumps(made)
    assert "kept" in json.dumps(listed)
    assert restored.status == 0, restored.err
    assert "from-kept" in names(tool_project)
    assert reader["type"] == "read_only"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("branches", "create", "--name", "main"), "already exists"),
        (("branches", "create", "--name", "late", "--expires-at", "2020-01-01T00:00:00Z"), "expires_at"),
        (("branches", "restore", "main", "^self"), "preserve"),
        (("databases", "create", "--name", "postgres", "--owner-name", "neondb_owner"), "reserved"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_what_the_cloud_refuses_is_refused_in_words(tool_project: ToolProject, arguments, said):
    done = tool_project.cli(*arguments)

    assert done.status == 1
    assert said in done.err
