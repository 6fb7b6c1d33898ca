"""Snapshots: taken, listed, changed, deleted, and restored beside their branch or in its place."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.test_engine_history import moment, rows
from tests.plugins.engine import Branch, Project


def uri_of(project: Project, branch_id: str) -> str:
    query = f"branch_id={branch_id}&role_name=neondb_owner&database_name=neondb"
    return project.api.get(f"{project.path}/connection_uri?{query}")["uri"]


def test_a_snapshot_is_taken_listed_renamed_and_deleted(own_project: Project):
    api, main = own_project.api, own_project.main
    soon = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    made = api.post(f"{main.path}/snapshot?name=first&expires_at={soon}", status=200)

    snapshot = made["snapshot"]
    path = f"{own_project.path}/snapshots/{snapshot['id']}"
    assert (snapshot["name"], snapshot["source_branch_id"], snapshot["manual"]) == ("first", main.id, True)
    assert [one["action"] for one in made["operations"]] == ["create_branch", "timeline_archive"]
    assert api.get(f"{own_project.path}/snapshots")["snapshots"] == [snapshot]
    changed = api.patch(path, {"snapshot": {"name": "renamed", "expires_at": None}}, status=200)["snapshot"]
    assert changed["name"] == "renamed"
    assert "expires_at" not in changed
    assert api.engine is not None
    assert (api.engine.computes.vault.folder / snapshot["id"]).is_dir()
    api.delete(path, status=202)
    assert api.get(f"{own_project.path}/snapshots")["snapshots"] == []
    assert not (api.engine.computes.vault.folder / snapshot["id"]).exists()
    api.delete(path, status=404)


def test_a_snapshot_is_restored_beside_its_branch_and_then_in_its_place(own_project: Project):
    api, main = own_project.api, own_project.main
    main.sql("CREATE TABLE t AS SELECT 1 AS a")
    snapshot = api.post(f"{main.path}/snapshot")["snapshot"]
    main.sql("INSERT INTO t VALUES (2)")

    answer = api.post(f"{own_project.path}/snapshots/{snapshot['id']}/restore", {"name": "look"}, status=200)

    branch = answer["branch"]
    assert (branch["name"], branch["default"], branch.get("parent_id")) == ("look", False, None)
    assert rows(main) == [1, 2]

    final = api.post(f"{own_project.path}/branches/{branch['id']}/finalize_restore", {"name": "was"}, status=200)

    assert (final["branch"]["id"], final["branch"]["name"], final["branch"]["default"]) == (branch["id"], "main", True)
    # The compute moved: the connection string is that of before.
    assert uri_of(own_project, branch["id"]) == main.uri
    assert rows(main) == [1]
    assert main.show()["name"] == "was"
    api.post(f"{own_project.path}/branches/{branch['id']}/finalize_restore", status=422)


def test_a_snapshot_of_a_past_moment_is_restored_at_once(own_project: Project):
    api, main = own_project.api, own_project.main
    main.sql("CREATE TABLE t AS SELECT 1 AS a")
    at = moment().replace("+00:00", "Z")
    main.sql("INSERT INTO t VALUES (2)")
    snapshot = api.post(f"{main.path}/snapshot?timestamp={at}")["snapshot"]

    answer = api.post(f"{own_project.path}/snapshots/{snapshot['id']}/restore", {"finalize_restore": True}, status=200)

    assert rows(main) == [1]
    assert answer["branch"]["name"] == "main"
    main.sql("INSERT INTO t VALUES (3)")
    later = moment()
    main.sql("INSERT INTO t VALUES (4)")
    restored = Branch(api, own_project.id, answer["branch"]["id"], "main", {})
    assert rows(own_project.fork(parent=restored, parent_timestamp=later)) == [1, 3]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("timestamp=2926-01-01T00:00:00Z", 400),
        ("timestamp=2020-01-01T00:00:00Z", 400),
        ("timestamp=tomorrow", 400),
        ("timestamp=2026-01-01T00:00:00Z&lsn=0/1", 400),
        ("expires_at=2020-01-01T00:00:00Z", 400),
    ],
)
def test_a_snapshot_that_cannot_be_is_refused_and_not_there(project: Project, query: str, status: int):
    project.api.post(f"{project.main.path}/snapshot?{query}", status=status)

    assert project.api.get(f"{project.path}/snapshots")["snapshots"] == []


def test_a_child_has_no_snapshots_as_in_the_cloud(project: Project):
    child = project.fork(compute=False)

    assert "root" in project.api.post(f"{child.path}/snapshot", status=422)["message"]
