"""The Neon client: a request an operationId, names in paths, and pages."""

from __future__ import annotations

import inspect
import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidNameError
from tenantry.neon.client import NeonClient
from tests.plugins.neon import (
    CALLS,
    CHANGED_ROLE,
    KEY,
    PASSWORD,
    Server,
    answer,
    branch,
    call,
    client_of,
    everything,
    project,
    role,
    run,
)

# These have tests of their own.
NOT_ONE_REQUEST = {"aclose", "wait_for_operations", "get_connection_uri"}
METHODS = {name for name, _ in inspect.getmembers(NeonClient, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row[0])
def test_a_method_sends_its_operations_request(row):
    name, arguments, method, path, sent, answered = row
    server = Server([answer(answered)])

    result = run(call(client_of(server), name, arguments))

    (request,) = server.requests
    assert (request.method, request.url.path) == (method, f"/api/v2{path}")
    assert (json.loads(request.content) if request.content else None) == sent
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert result


def test_every_method_has_a_row_in_the_table_above():
    assert {row[0] for row in CALLS} == METHODS - NOT_ONE_REQUEST


def test_a_connection_uri_is_asked_for_with_its_parts_and_comes_as_a_secret():
    uri = f"postgresql://r:{PASSWORD}@h/d"
    server = Server([answer({"uri": uri})])

    got = run(client_of(server).get_connection_uri("p", database_name="d", role_name="r ü", branch_id="b", pooled=True))

    assert dict(server.requests[0].url.params) == {
        "database_name": "d",
        "role_name": "r ü",
        "branch_id": "b",
        "pooled": "true",
    }
    assert got.get_secret_value() == uri
    assert PASSWORD not in repr(got)


def test_a_deletion_of_what_is_gone_already_answers_none():
    server = Server([httpx2.Response(204)])

    assert run(client_of(server).delete_project_branch("p", "b")) is None


@given(st.text(min_size=1).filter(lambda name: name.encode("utf-8", "ignore").decode() == name))
def test_a_role_of_any_name_is_one_part_of_the_path(name):
    server = Server([answer({"role": role()})])

    run(client_of(server).get_project_branch_role("p", "b", name))

    raw = server.requests[0].url.raw_path.decode()
    prefix, _, last = raw.rpartition("/")
    assert prefix == "/api/v2/projects/p/branches/b/roles"
    assert httpx2.URL(f"http://h/?q={last}").params["q"] == name


@pytest.mark.parametrize("name", [".", "..", "...", "a/../b", "?", "#", "%2e%2e"])
def test_no_name_leads_to_another_path(name):
    server = Server([answer(CHANGED_ROLE)])

    run(client_of(server).delete_project_branch_role("p", "b", name))

    assert server.requests[0].url.raw_path.decode().startswith("/api/v2/projects/p/branches/b/roles/")


def test_an_empty_id_is_refused_before_anything_is_sent():
    server = Server([answer({})])

    with pytest.raises(InvalidNameError, match="is empty: give the id or name"):
        run(client_of(server).delete_project(""))

    assert server.requests == []


def pages_of(total: int, size: int):
    def serve(request: httpx2.Request) -> httpx2.Response:
        start = int(request.url.params.get("cursor", "0"))
        items = [project(f"p{number}") for number in range(start, min(start + size, total))]
        return answer({"projects": items, "pagination": {"cursor": str(start + len(items))}})

    return serve


@given(total=st.integers(0, 25), size=st.integers(1, 10))
def test_a_listing_yields_every_item_of_every_page_once(total, size):
    projects = run(everything(client_of(pages_of(total, size)).list_projects()))

    assert [each.id for each in projects] == [f"p{number}" for number in range(total)]


def test_branches_follow_next_until_it_is_absent():
    server = Server(
        [
            answer({"branches": [branch("b1")], "pagination": {"next": "c", "sort_by": "x", "sort_order": "y"}}),
            answer({"branches": [branch("b2")], "pagination": {"sort_by": "x", "sort_order": "y"}}),
        ]
    )

    branches = run(everything(client_of(server).list_project_branches("p", search="x")))

    assert [each.id for each in branches] == ["b1", "b2"]
    assert [request.url.params.get("cursor") for request in server.requests] == [None, "c"]
    assert all(request.url.params["search"] == "x" for request in server.requests)


@pytest.mark.parametrize("cursor", ["same", None])
def test_a_server_that_ignores_the_cursor_does_not_make_a_listing_endless(cursor):
    calls = 0

    def serve(_: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        assert calls < 10
        return answer({"projects": [project()], "pagination": {"cursor": cursor or f"c{calls}"}})

    projects = run(everything(client_of(serve).list_projects()))

    assert [each.id for each in projects] == ["p"]
    assert calls == 2


def test_a_cursor_that_comes_again_ends_a_listing():
    calls = 0

    def serve(_: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        assert calls < 10
        return answer({"projects": [project(f"p{calls}")], "pagination": {"cursor": f"c{calls % 2}"}})

    run(everything(client_of(serve).list_projects()))

    assert calls == 3
