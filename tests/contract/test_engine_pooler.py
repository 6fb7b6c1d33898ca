"""The pooled address: a real PgBouncer in transaction mode, woken and put to sleep with its compute."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry.local.clusters.poolers import NO_POOLER, configuration, find_pgbouncer, parse_version
from tenantry.local.clusters.ports import POOLED
from tests.plugins.engine import Branch, Project, Serving, make_project

pooled = pytest.mark.skipif(find_pgbouncer() is None, reason="there is no PgBouncer")


@pytest.fixture
def branch(project: Project) -> Iterator[Branch]:
    made = project.fork()
    yield made
    made.api.delete(made.path)


def answer_of(branch: Branch) -> dict[str, Any]:
    query = f"branch_id={branch.id}&database_name=neondb&role_name=neondb_owner&pooled=true"
    return branch.api.get(f"/projects/{branch.project_id}/connection_uri?{query}")


def endpoint_path(branch: Branch) -> str:
    return f"/projects/{branch.project_id}/endpoints/{branch.endpoint['id']}"


@pooled
def test_a_pooled_address_leads_through_pgbouncer_over_tls(branch: Branch):
    answer = answer_of(branch)
    uri = answer["uri"]

    assert "channel_binding" not in uri
    assert "note" not in answer
    port = branch.endpoint["host"].rpartition(":")[2]
    assert branch.body["connection_uris"][0]["connection_parameters"]["pooler_host"] == f"{POOLED}:{port}"
    with psycopg.connect(uri, autocommit=True) as first, psycopg.connect(uri, autocommit=True) as second:
        assert first.pgconn.ssl_in_use
        pids = {each.execute("SELECT pg_backend_pid()").fetchone() for each in (first, second, first)}
    assert len(pids) == 1, "two clients that take turns have one server connection between them"


@pooled
def test_a_password_that_is_wrong_or_was_changed_is_refused(branch: Branch):
    uri = answer_of(branch)["uri"]
    assert branch.sql("SELECT 1", uri) == [(1,)]

    branch.api.post(f"{branch.path}/roles/neondb_owner/reset_password")

    with pytest.raises(psycopg.OperationalError, match=r"password|SASL"):
        branch.sql("SELECT 1", uri)
    assert branch.sql("SELECT 1", answer_of(branch)["uri"]) == [(1,)]


@pooled
def test_a_pooled_connection_wakes_the_compute_and_sleeps_with_it(branch: Branch):
    uri = answer_of(branch)["uri"]
    branch.api.post(f"{endpoint_path(branch)}/suspend")
    with psycopg.connect(uri, autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

        branch.api.post(f"{endpoint_path(branch)}/suspend")

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert branch.sql("SELECT 1", uri) == [(1,)]


@pooled
def test_its_files_are_its_users_alone_and_hold_no_roles_password(branch: Branch):
    uri = answer_of(branch)["uri"]
    branch.sql("SELECT 1", uri)
    assert branch.api.engine is not None
    place = branch.api.engine.data / "poolers" / branch.endpoint["host"].rpartition(":")[2]

    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "userlist.txt").stat().st_mode) == 0o600
    password = uri.partition("@")[0].rpartition(":")[2]
    assert not any(password in path.read_text() for path in place.iterdir())


@pooled
def test_a_deleted_branch_takes_its_pooler_with_it(project: Project):
    branch = project.fork()
    branch.sql("SELECT 1", answer_of(branch)["uri"])
    assert branch.api.engine is not None
    pid_file = branch.api.engine.data / "poolers" / branch.endpoint["host"].rpartition(":")[2] / "pgbouncer.pid"
    assert pid_file.exists()

    branch.api.delete(branch.path)

    assert not pid_file.exists()


@pooled
def test_a_killed_engines_pooler_is_taken_up_by_the_next(data: Path, launch: Callable[..., Serving]):
    serving = launch(data)
    project = make_project(serving.api)
    uri = answer_of(project.main)["uri"]
    assert project.main.sql("SELECT 1", uri) == [(1,)]
    (pid_file,) = (data / "poolers").glob("*/pgbouncer.pid")
    pid = pid_file.read_text()

    serving.kill()
    serving = launch(data)

    assert project.main.sql("SELECT 1", uri) == [(1,)]
    assert pid_file.read_text() == pid
    assert serving.stop() == 0
    assert not pid_file.exists()


def test_without_pgbouncer_the_answer_is_the_direct_address_and_says_why(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
):
    assert branch.api.engine is not None
    monkeypatch.setattr(branch.api.engine.computes, "pooler", None)

    answer = answer_of(branch)

    assert branch.endpoint["host"] in answer["uri"]
    assert answer["note"] == NO_POOLER
    assert branch.sql("SELECT 1", answer["uri"]) == [(1,)]
    body = {"endpoint": {"branch_id": branch.id, "type": "read_only", "pooler_enabled": True}}
    refused = branch.api.post(f"/projects/{branch.project_id}/endpoints", body, status=501)
    assert "apt-get install pgbouncer" in refused["message"]


@pytest.mark.parametrize(
    ("text", "version"),
    [("PgBouncer 1.18.0\nlibevent 2.1", (1, 18)), ("PgBouncer 1.25.1", (1, 25)), ("something else", None)],
)
def test_the_version_is_read_from_what_it_says(text: str, version: tuple[int, int] | None):
    assert parse_version(text) == version


@pytest.mark.parametrize(("version", "there"), [((1, 18), False), ((1, 21), True)])
def test_prepared_statements_are_counted_where_it_can(postgres: Any, version: tuple[int, int], *, there: bool):
    text = configuration(postgres, Path("/nowhere"), version=version)

    assert ("max_prepared_statements = 1000" in text) is there
    assert "pool_mode = transaction" in text
    assert postgres.superuser_password not in text
