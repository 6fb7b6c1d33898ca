from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tenantry.core.errors import InvalidNameError, SettingError
from tenantry.neon import wire
from tenantry.neon.client import NeonClient
from tenantry.neon.errors import (
    ConflictError,
    LimitExceededError,
    LockedError,
    NetworkError,
    OperationFailedError,
    OperationTimeoutError,
    RateLimitedError,
    ServerError,
    UnauthorizedError,
    UnreadableAnswerError,
)
from tenantry.neon.exchange import Pace
from tenantry.neon.retry import RetryPolicy

KEY = "napi_q7w3e5r1t9y2u4i6"
PASSWORD = "npg_Zx8CvB2nM4"
WHEN = "2026-11-24T12:00:00Z"


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self, **policy: Any) -> Pace:
        return Pace(policy=RetryPolicy(**policy), sleep=self.sleep, clock=lambda: self.now, draw=lambda: 1.0)


@dataclass
class Server:
    """Answers in turn, the last answer for ever, and keeps what it was sent."""

    answers: list[httpx2.Response | Exception]
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client_of(handler: Any, time: Time | None = None, **policy: Any) -> NeonClient:
    pace = (time or Time()).pace(**policy)
    return NeonClient(KEY, base_url="http://neon.test/api/v2", transport=httpx2.MockTransport(handler), pace=pace)


def answer(body: Any = None, status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def refusal(status: int, message: str = "no", code: str = "", **headers: str) -> httpx2.Response:
    return answer({"request_id": "r-1", "code": code, "message": message}, status, **headers)


def operation(status: str = "finished", id_: str = "op-1", **more: Any) -> dict[str, Any]:
    fields = {"id": id_, "project_id": "p", "action": "create_branch", "status": status, "failures_count": 0}
    return {**fields, "created_at": WHEN, "updated_at": WHEN, "total_duration_ms": 1, **more}


def database(name: str = "d") -> dict[str, Any]:
    return {"id": 1, "branch_id": "b", "name": name, "owner_name": "o", "created_at": WHEN, "updated_at": WHEN}


def role(name: str = "r", **more: Any) -> dict[str, Any]:
    return {"branch_id": "b", "name": name, "created_at": WHEN, "updated_at": WHEN, **more}


def branch(id_: str = "b") -> dict[str, Any]:
    return {
        "id": id_,
        "project_id": "p",
        "name": id_,
        "current_state": "ready",
        "state_changed_at": WHEN,
        "creation_source": "console",
        "created_at": WHEN,
        "updated_at": WHEN,
        "default": False,
        "protected": False,
    }


def endpoint() -> dict[str, Any]:
    return {
        "id": "e",
        "project_id": "p",
        "branch_id": "b",
        "host": "h",
        "type": "read_write",
        "region_id": "aws-us-east-2",
        "current_state": "active",
        "autoscaling_limit_min_cu": 0.25,
        "autoscaling_limit_max_cu": 0.25,
        "suspend_timeout_seconds": 0,
        "provisioner": "k8s-neonvm",
        "proxy_host": "h",
        "creation_source": "console",
        "created_at": WHEN,
        "updated_at": WHEN,
    }


def project(id_: str = "p") -> dict[str, Any]:
    return {
        "id": id_,
        "name": id_,
        "platform_id": "aws",
        "region_id": "aws-us-east-2",
        "pg_version": 17,
        "proxy_host": "h",
        "owner_id": "u",
        "store_passwords": True,
        "creation_source": "console",
        "history_retention_seconds": 0,
        "created_at": WHEN,
        "updated_at": WHEN,
        "consumption_period_start": WHEN,
        "consumption_period_end": WHEN,
    }


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def everything(listing: Any) -> list[Any]:
    return [item async for item in listing]


# --- a method an operationId ------------------------------------------------------------------------------------

B = "/projects/p/branches/b"
E = "/projects/p/endpoints/e"
CHANGED_BRANCH = {"branch": branch(), "operations": [operation()]}
CHANGED_ENDPOINT = {"endpoint": endpoint(), "operations": [operation()]}
CHANGED_ROLE = {"role": role(password=PASSWORD), "operations": [operation()]}
CHANGED_DATABASE = {"database": database(), "operations": [operation()]}

CALLS: list[tuple[str, tuple[Any, ...], str, str, Any, Any]] = [
    ("get_current_user_info", (), "GET", "/users/me", None, {"id": "u", "email": "a@b.c"}),
    (
        "get_current_user_organizations",
        (),
        "GET",
        "/users/me/organizations",
        None,
        {"organizations": [{"id": "org-1", "name": "o"}]},
    ),
    (
        "get_active_regions",
        (),
        "GET",
        "/regions",
        None,
        {"regions": [{"region_id": "aws-us-east-2", "name": "Ohio"}]},
    ),
    ("list_projects", (), "GET", "/projects", None, {"projects": [project()], "pagination": {"cursor": ""}}),
    (
        "create_project",
        (wire.ProjectCreate(name="n", pg_version=17),),
        "POST",
        "/projects",
        {"project": {"name": "n", "pg_version": 17}},
        {"project": project(), "branch": branch(), "operations": [operation()], "connection_uris": []},
    ),
    ("get_project", ("p",), "GET", "/projects/p", None, {"project": project()}),
    (
        "update_project",
        ("p", wire.ProjectUpdate(name="n")),
        "PATCH",
        "/projects/p",
        {"project": {"name": "n"}},
        {"project": project(), "operations": []},
    ),
    ("delete_project", ("p",), "DELETE", "/projects/p", None, {"project": project()}),
    ("list_project_operations", ("p",), "GET", "/projects/p/operations", None, {"operations": [operation()]}),
    ("get_project_operation", ("p", "op-1"), "GET", "/projects/p/operations/op-1", None, {"operation": operation()}),
    ("list_project_branches", ("p",), "GET", "/projects/p/branches", None, {"branches": [branch()], "annotations": {}}),
    ("count_project_branches", ("p",), "GET", "/projects/p/branches/count", None, {"count": 3}),
    ("create_project_branch", ("p",), "POST", "/projects/p/branches", {}, CHANGED_BRANCH),
    (
        "create_project_branch",
        (
            "p",
            wire.BranchCreateRequest(
                branch=wire.BranchCreate(name="n", expires_at=datetime(2026, 12, 1, tzinfo=UTC)),
                endpoints=[wire.EndpointOptions(type="read_write")],
            ),
        ),
        "POST",
        "/projects/p/branches",
        {"branch": {"name": "n", "expires_at": "2026-12-01T00:00:00Z"}, "endpoints": [{"type": "read_write"}]},
        CHANGED_BRANCH,
    ),
    ("get_project_branch", ("p", "b"), "GET", B, None, {"branch": branch(), "annotation": {"value": {"k": "v"}}}),
    (
        "update_project_branch",
        ("p", "b", wire.BranchUpdate(expires_at=None)),
        "PATCH",
        B,
        {"branch": {"expires_at": None}},
        CHANGED_BRANCH,
    ),
    ("delete_project_branch", ("p", "b"), "DELETE", B, None, CHANGED_BRANCH),
    (
        "restore_project_branch",
        ("p", "b", wire.BranchRestoreRequest(source_branch_id="a")),
        "POST",
        f"{B}/restore",
        {"source_branch_id": "a"},
        CHANGED_BRANCH,
    ),
    ("set_default_project_branch", ("p", "b"), "POST", f"{B}/set_as_default", None, CHANGED_BRANCH),
    ("list_project_endpoints", ("p",), "GET", "/projects/p/endpoints", None, {"endpoints": [endpoint()]}),
    ("list_project_branch_endpoints", ("p", "b"), "GET", f"{B}/endpoints", None, {"endpoints": [endpoint()]}),
    (
        "create_project_endpoint",
        ("p", wire.EndpointCreate(branch_id="b", type="read_only")),
        "POST",
        "/projects/p/endpoints",
        {"endpoint": {"branch_id": "b", "type": "read_only"}},
        CHANGED_ENDPOINT,
    ),
    ("get_project_endpoint", ("p", "e"), "GET", E, None, {"endpoint": endpoint()}),
    (
        "update_project_endpoint",
        ("p", "e", wire.EndpointUpdate(suspend_timeout_seconds=60)),
        "PATCH",
        E,
        {"endpoint": {"suspend_timeout_seconds": 60}},
        CHANGED_ENDPOINT,
    ),
    ("delete_project_endpoint", ("p", "e"), "DELETE", E, None, CHANGED_ENDPOINT),
    ("start_project_endpoint", ("p", "e"), "POST", f"{E}/start", None, CHANGED_ENDPOINT),
    ("suspend_project_endpoint", ("p", "e"), "POST", f"{E}/suspend", None, CHANGED_ENDPOINT),
    ("restart_project_endpoint", ("p", "e"), "POST", f"{E}/restart", None, CHANGED_ENDPOINT),
    ("list_project_branch_roles", ("p", "b"), "GET", f"{B}/roles", None, {"roles": [role()]}),
    (
        "create_project_branch_role",
        ("p", "b", wire.RoleCreate(name="r")),
        "POST",
        f"{B}/roles",
        {"role": {"name": "r"}},
        CHANGED_ROLE,
    ),
    ("get_project_branch_role", ("p", "b", "r"), "GET", f"{B}/roles/r", None, {"role": role()}),
    ("delete_project_branch_role", ("p", "b", "r"), "DELETE", f"{B}/roles/r", None, CHANGED_ROLE),
    (
        "get_project_branch_role_password",
        ("p", "b", "r"),
        "GET",
        f"{B}/roles/r/reveal_password",
        None,
        {"password": PASSWORD},
    ),
    (
        "reset_project_branch_role_password",
        ("p", "b", "r"),
        "POST",
        f"{B}/roles/r/reset_password",
        None,
        CHANGED_ROLE,
    ),
    ("list_project_branch_databases", ("p", "b"), "GET", f"{B}/databases", None, {"databases": [database()]}),
    (
        "create_project_branch_database",
        ("p", "b", wire.DatabaseCreate(name="d", owner_name="o")),
        "POST",
        f"{B}/databases",
        {"database": {"name": "d", "owner_name": "o"}},
        CHANGED_DATABASE,
    ),
    ("get_project_branch_database", ("p", "b", "d"), "GET", f"{B}/databases/d", None, {"database": database()}),
    (
        "update_project_branch_database",
        ("p", "b", "d", wire.DatabaseUpdate(owner_name="o2")),
        "PATCH",
        f"{B}/databases/d",
        {"database": {"owner_name": "o2"}},
        CHANGED_DATABASE,
    ),
    ("delete_project_branch_database", ("p", "b", "d"), "DELETE", f"{B}/databases/d", None, CHANGED_DATABASE),
]

# These have tests of their own below.
NOT_ONE_REQUEST = {"aclose", "wait_for_operations", "get_connection_uri"}
METHODS = {name for name, _ in inspect.getmembers(NeonClient, inspect.isfunction) if not name.startswith("_")}


async def call(client: NeonClient, name: str, arguments: tuple[Any, ...]) -> Any:
    result = getattr(client, name)(*arguments)
    return await everything(result) if name.startswith("list_") else await result


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


# --- pages ------------------------------------------------------------------------------------------------------


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


# --- retries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [423, 429, 503])
def test_a_mutation_that_was_refused_undone_is_sent_again_with_its_body(status):
    server = Server([refusal(status), refusal(status), answer(CHANGED_DATABASE, 201)])
    time = Time()

    run(client_of(server, time).create_project_branch_database("p", "b", wire.DatabaseCreate(name="d", owner_name="o")))

    assert len({request.content for request in server.requests}) == 1
    assert len(server.requests) == 3
    assert time.slept == [0.25, 0.5]


def test_a_retry_after_is_obeyed():
    server = Server([refusal(429, Retry_After="3"), answer({"count": 1})])
    time = Time()

    run(client_of(server, time).count_project_branches("p"))

    assert time.slept == [3]


@pytest.mark.parametrize("fault", [httpx2.ConnectError("x"), httpx2.ReadTimeout("x"), refusal(502), refusal(524)])
def test_a_get_is_sent_again_after_a_fault(fault):
    server = Server([fault, answer({"count": 1})])

    assert run(client_of(server).count_project_branches("p")) == 1


MUTATIONS = [row for row in CALLS if row[2] != "GET"]
FAULTS = [httpx2.ReadError("x"), httpx2.ConnectTimeout("x"), refusal(500), refusal(502), refusal(504), refusal(524)]


@given(row=st.sampled_from(MUTATIONS), fault=st.sampled_from(FAULTS), refused=st.integers(0, 4))
def test_no_mutation_is_sent_again_after_a_fault(row, fault, refused):
    server = Server([*[refusal(423)] * refused, fault, answer(row[5])])

    with pytest.raises((ServerError, NetworkError)):
        run(call(client_of(server), row[0], row[1]))

    assert len(server.requests) == refused + 1


def test_a_lock_that_does_not_end_is_raised_after_the_attempts():
    server = Server([refusal(423, "project already has running conflicting operations")])

    with pytest.raises(LockedError, match="running conflicting operations"):
        run(client_of(server, attempts=4).delete_project("p"))

    assert len(server.requests) == 4


def test_the_total_time_of_retries_is_bounded():
    time = Time()

    with pytest.raises(RateLimitedError):
        run(client_of(Server([refusal(429, Retry_After="50")]), time, total_seconds=120).get_project("p"))

    assert time.slept == [50, 50]


# --- errors -----------------------------------------------------------------------------------------------------


def test_an_error_carries_the_parts_of_the_answer():
    server = Server([refusal(409, "branch already exists", "EXISTS")])

    with pytest.raises(ConflictError) as caught:
        run(client_of(server).create_project_branch("p"))

    error = caught.value
    assert (error.status, error.code, error.message) == (409, "EXISTS", "branch already exists")
    assert (error.request_id, error.method, error.path) == ("r-1", "POST", "/projects/p/branches")


def test_a_limit_of_the_plan_is_told_by_its_code():
    server = Server([refusal(422, "branches limit exceeded", "BRANCHES_LIMIT_EXCEEDED")])

    with pytest.raises(LimitExceededError):
        run(client_of(server).create_project_branch("p"))


def test_the_request_id_is_taken_from_the_header_where_the_body_has_none():
    server = Server([httpx2.Response(500, text="<html>", headers={"X-Request-ID": "r-9"})])

    with pytest.raises(ServerError) as caught:
        run(client_of(server).create_project_branch("p"))

    assert caught.value.request_id == "r-9"


def test_a_wrong_key_names_the_setting():
    with pytest.raises(UnauthorizedError, match="set NEON_API_KEY"):
        run(client_of(Server([refusal(401)])).get_current_user_info())


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"", b"[]", b'{"uri": 7}'])
def test_a_success_that_cannot_be_read_is_an_error_that_does_not_quote_it(content):
    server = Server([httpx2.Response(200, content=content)])

    with pytest.raises(UnreadableAnswerError, match="ConnectionUriResponse") as caught:
        run(client_of(server).get_connection_uri("p", database_name="d", role_name="r"))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_redirect_is_not_followed():
    server = Server([httpx2.Response(302, headers={"Location": "http://elsewhere.test/"}), answer({"count": 1})])

    with pytest.raises(UnreadableAnswerError):
        run(client_of(server).count_project_branches("p"))

    assert len(server.requests) == 1


# --- secrets ----------------------------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    texts = ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    each: BaseException | None = error
    while each is not None:
        texts += [str(each), repr(each), repr(vars(each))]
        each = each.__cause__ or each.__context__
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("no route"),
        refusal(401, f"bad header Authorization: Bearer {KEY}", code=KEY, X_Request_ID=KEY),
        refusal(400, f"bad key {KEY}"),
        httpx2.Response(500, text=f"Authorization: Bearer {KEY}"),
        httpx2.Response(200, text=f'{{"key": "{KEY}"}}'),
    ],
)
def test_the_key_shows_in_no_error(fault):
    client = client_of(Server([fault]))

    with pytest.raises(Exception) as caught:
        run(client.get_project("p"))

    assert KEY not in shown(caught.value)


def test_the_key_shows_in_no_repr_of_the_client_or_of_what_it_holds():
    client = client_of(Server([answer()]))

    assert KEY not in "".join(map(repr, [client, vars(client), vars(client._exchange), vars(client._exchange._http)]))


def test_neither_key_nor_password_is_logged(caplog):
    server = Server([refusal(423, KEY), answer(CHANGED_ROLE, 201)])

    with caplog.at_level(logging.DEBUG):
        made = run(client_of(server).create_project_branch_role("p", "b", wire.RoleCreate(name="r")))

    assert made.role.password.get_secret_value() == PASSWORD
    assert "POST /projects/p/branches/b/roles: 201" in caplog.text
    assert KEY not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("key", ["", "napi with space", "napi_line\n", "napi_\r\nX-Evil: 1", "napi_é", "napi_\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(SettingError, match="NEON_API_KEY") as caught:
        NeonClient(key)

    assert not key or key not in str(caught.value)


def test_a_key_may_be_given_as_a_secret():
    assert NeonClient(SecretStr(KEY))


@pytest.mark.parametrize(
    "url", ["", "neon.test", "ftp://neon.test", "https://", "https://user:hunter2@neon.test", "http://[::"]
)
def test_an_address_that_is_not_an_apis_is_refused_without_showing_it(url):
    with pytest.raises(SettingError, match="base_url") as caught:
        NeonClient(KEY, base_url=url)

    assert "hunter2" not in str(caught.value)


# --- one mutation of a project at a time --------------------------------------------------------------------------


class Busy:
    """Counts the requests that it holds at a time, in all and a project."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most_of_a_project = 0
        self.most = 0
        self.order: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        found = re.search(r"/projects/(\w+)", request.url.path)
        assert found
        key = found[1]
        self.now[key] = self.now.get(key, 0) + 1
        self.most_of_a_project = max(self.most_of_a_project, self.now[key])
        self.most = max(self.most, sum(self.now.values()))
        self.order.append(request.url.path)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now[key] -= 1
        return answer(CHANGED_BRANCH if request.method != "GET" else {"count": 1})


def test_mutations_of_one_project_are_sent_one_at_a_time_and_in_order():
    busy = Busy()

    async def work() -> None:
        async with client_of(busy) as client:
            await asyncio.gather(*(client.set_default_project_branch("p", f"b{number}") for number in range(8)))

    run(work())

    assert busy.most_of_a_project == 1
    assert busy.order == [f"/api/v2/projects/p/branches/b{number}/set_as_default" for number in range(8)]


def test_mutations_of_several_projects_and_reads_are_sent_side_by_side():
    mutations, reads = Busy(), Busy()

    async def work() -> None:
        async with client_of(mutations) as client:
            await asyncio.gather(*(client.create_project_branch(f"p{number}") for number in range(6)))
        async with client_of(reads) as client:
            await asyncio.gather(*(client.count_project_branches("p") for _ in range(6)))

    run(work())

    assert mutations.most == 6
    assert reads.most_of_a_project == 6


def test_a_mutation_that_fails_or_is_cancelled_lets_the_next_one_through():
    async def work() -> Any:
        async with client_of(Server([refusal(400), httpx2.ReadError("x"), answer(CHANGED_BRANCH)])) as client:
            results = await asyncio.gather(
                *(client.create_project_branch("p") for _ in range(3)), return_exceptions=True
            )
            waiting = asyncio.create_task(client.create_project_branch("p"))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return [*results, await client.create_project_branch("p"), dict(client._exchange._locks)]

    *results, last, locks = run(work())

    assert [type(each).__name__ for each in results] == ["NeonError", "NetworkError", "CreatedBranch"]
    assert last.branch.id == "b"
    assert locks == {}


# --- waiting for operations ---------------------------------------------------------------------------------------


def operations(*statuses: str) -> list[wire.Operation]:
    return [wire.Operation.model_validate(operation(status, f"op-{number}")) for number, status in enumerate(statuses)]


def stages(**of: list[str]):
    """A server that shows each operation in its stages, the last for ever."""
    seen: dict[str, int] = {}

    def serve(request: httpx2.Request) -> httpx2.Response:
        id_ = request.url.path.rpartition("/")[2]
        at = seen[id_] = seen.get(id_, -1) + 1
        steps = of[id_.replace("-", "_")]
        return answer({"operation": operation(steps[min(at, len(steps) - 1)], id_, error="out of room")})

    return serve


def test_operations_that_have_ended_are_not_looked_at():
    server = Server([refusal(500)])

    ended = run(client_of(server).wait_for_operations(operations("finished", "skipped")))

    assert [each.status for each in ended] == ["finished", "skipped"]
    assert server.requests == []
    assert run(client_of(server).wait_for_operations([])) == []


def test_operations_are_looked_at_until_each_has_ended():
    time = Time()
    serve = stages(op_0=["running", "finished"], op_1=["scheduling", "a word we do not know", "skipped"])

    ended = run(client_of(serve, time).wait_for_operations(operations("running", "scheduling")))

    assert [(each.id, each.status) for each in ended] == [("op-0", "finished"), ("op-1", "skipped")]
    assert time.slept == [0.1, 0.2, 0.4]


def test_a_request_waits_for_the_network_as_long_as_is_said_and_for_a_free_connection_for_ever():
    server = Server([answer({"count": 1})])
    client = NeonClient(KEY, base_url="http://neon.test", transport=httpx2.MockTransport(server), timeout_seconds=7)

    run(client.count_project_branches("p"))

    assert server.requests[0].extensions["timeout"] == {"connect": 7, "read": 7, "write": 7, "pool": None}


@pytest.mark.parametrize("status", ["failed", "error", "cancelled"])
def test_an_operation_that_ends_badly_is_raised_with_its_reason(status):
    serve = stages(op_0=["running"], op_1=[status])

    with pytest.raises(OperationFailedError, match=f"op-1.* is {status}: out of room") as caught:
        run(client_of(serve).wait_for_operations(operations("running", "running")))

    assert [each.id for each in caught.value.operations] == ["op-1"]


def test_an_operation_that_had_failed_already_is_raised_without_looking():
    with pytest.raises(OperationFailedError):
        run(client_of(Server([refusal(500)])).wait_for_operations(operations("failed", "running")))


def test_operations_that_do_not_end_in_time_are_named():
    time = Time()
    serve = stages(op_0=["finished"], op_1=["cancelling"])

    with pytest.raises(OperationTimeoutError, match=r"op-1.* is cancelling: not ended after 7\.25 s") as caught:
        run(client_of(serve, time).wait_for_operations(operations("running", "running"), timeout_seconds=7.25))

    assert [each.id for each in caught.value.operations] == ["op-1"]
    assert sum(time.slept) == pytest.approx(7.25)
    assert max(time.slept) == 1
