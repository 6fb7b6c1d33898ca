"""Neon's clients, npm's `@neon/sdk` and `@neondatabase/api-client` and PyPI's `neon-api`, on the local engine."""

from __future__ import annotations

import neon_api
import psycopg
import pytest
from neon_api.exceptions import NeonAPIError

from tests.plugins.tools import Tools


def database_of(uri: str) -> str:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT pg_catalog.current_database()").fetchone()
    assert row is not None
    return row[0]


def test_the_sdk_makes_a_project_and_a_branch_connects_pages_and_cleans_up(tools: Tools):
    said = tools.script("sdk.mjs")

    assert said["project"] == "sdk"
    assert said["main"] == "main"
    assert said["branches"] == ["child", "main"]
    assert said["projects"].count("sdk") == 1
    assert said["operations"] is True
    assert said["quick"] is True
    assert said["missing"] == ["not_found", 404]
    assert said["gone"] == "not_found"
    assert said["uri"] != said["childUri"]


def test_the_older_client_reaches_every_kind_of_resource(tools: Tools):
    said = tools.script("api_client.mjs")

    uri = said.pop("uri")
    statuses = set(said.pop("operations"))
    assert said == {
        "projects": said["projects"],
        "project": "api-client",
        "user": "local",
        "renamed": "renamed",
        "branches": ["child", "main"],
        "parent": True,
        "suspended": "idle",
        "started": "active",
        "databases": ["neondb", "shop"],
        "password": True,
        "schema": True,
        "diff": "",
        "restored": True,
        "missing": 404,
        "unserved": 501,
        "deleted": [200, 200],
    }
    assert "api-client" in said["projects"]
    assert statuses == {"finished"}
    assert uri.startswith("postgresql://reader:")


@pytest.fixture
def client(tools: Tools, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return neon_api.NeonAPI(tools.key, base_url=f"{tools.api}/")


def test_the_client_from_pypi_reads_what_the_engine_answers(client):
    project = client.project_create(project={"name": "neon-api"}).project.id
    [main] = [branch.id for branch in client.branches(project).branches]
    child = client.branch_create(project, branch={"name": "child"}, endpoints=[{"type": "read_write"}]).branch.id
    client.role_create(project, child, "reader")
    client.database_create(project, child, database={"name": "shop", "owner_name": "reader"})
    password = client.role_password_reveal(project, child, "reader").password
    client.branch_set_as_primary(project, child)
    uri = client.connection_uri(project, "shop", "reader").uri
    reached = database_of(uri)
    branches = {branch.name: branch.default for branch in client.branches(project).branches}
    [endpoint] = [one.id for one in client.endpoints(project).endpoints if one.branch_id == child]
    states = [client.endpoint_suspend(project, endpoint), client.endpoint_start(project, endpoint)]
    operations = client.operations(project).operations
    client.branch_set_as_primary(project, main)
    client.branch_delete(project, child)
    client.project_delete(project)

    assert client.me().plan == "local"
    assert len(password) > 15
    assert f"reader:{password}@" in uri
    assert reached == "shop"
    assert branches == {"main": False, "child": True}
    assert [one.endpoint.current_state.value for one in states] == ["idle", "active"]
    assert {operation.status.value for operation in operations} == {"finished"}
    with pytest.raises(NeonAPIError, match="not found"):
        client.project(project)
