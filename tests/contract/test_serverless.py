"""`/sql` and `/v2` byte by byte: what Neon's driver does not show, and what somebody else may send."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import psycopg
import pytest
from anyio.from_thread import BlockingPortal
from websockets.sync.client import connect as connect_websocket

from tenantry.local.app import create_app
from tenantry.local.serverless import http, sql
from tests.plugins.engine import Branch, InProcess, Project, Serving, make_project

Send = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def branch(project: Project) -> Branch:
    branch = project.fork()
    branch.sql("CREATE TABLE t (a int PRIMARY KEY, UNIQUE (a) DEFERRABLE INITIALLY DEFERRED)")
    return branch


@pytest.fixture
def send(in_process: InProcess, branch: Branch) -> Send:
    """Post to `/sql` without an API key, as the owner of the branch unless another URI is given."""
    assert branch.api.engine is not None
    app = create_app(branch.api.engine)
    portal: BlockingPortal = in_process.portal

    async def post(body: bytes, headers: dict[str, str], method: str) -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://engine") as client:
            return await client.request(method, "/sql", content=body, headers=headers)

    def call(body: Any, uri: str | None = None, *, method: str = "POST", **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Neon-Connection-String": branch.uri if uri is None else uri} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return portal.call(post, content, named, method)

    return call


def test_values_are_typed_json_in_objects_unless_text_is_asked_for(send: Send):
    query = {
        "query": "SELECT $1::int AS i, $2::int8 AS big, true AS yes, 0.5::float8 AS f, 'NaN'::float8 AS nan, "
        "1.10::numeric AS n, '{\"a\": 1.10}'::json AS j, ARRAY[[1,NULL],[3,4]] AS grid, ARRAY['a\"b','NULL'] AS words, "
        "null AS nothing",
        "params": [7, "9007199254740993"],
    }
    typed, text = send(query), send(query, Neon_Raw_Text_Output="true", Neon_Array_Mode="true")

    assert typed.json()["rows"] == [
        {
            "i": 7,
            "big": "9007199254740993",
            "yes": True,
            "f": 0.5,
            "nan": "NaN",
            "n": "1.10",
            "j": {"a": 1.1},
            "grid": [[1, None], [3, 4]],
            "words": ['a"b', "NULL"],
            "nothing": None,
        }
    ]
    assert '"j":{"a": 1.10}' in typed.text
    assert text.json()["rows"] == [
        [
            "7",
            "9007199254740993",
            "t",
            "0.5",
            "NaN",
            "1.10",
            '{"a": 1.10}',
            "{{1,NULL},{3,4}}",
            '{"a\\"b","NULL"}',
            None,
        ]
    ]
    assert (text.json()["rowAsArray"], typed.json()["rowAsArray"]) == (True, False)


def test_a_field_says_where_its_column_stands(send: Send, branch: Branch):
    ((table, number),) = branch.sql(
        "SELECT attrelid::int, attnum FROM pg_attribute WHERE attname = 'a' AND attrelid = 't'::regclass"
    )

    (field,) = send({"query": "SELECT a FROM t"}).json()["fields"]

    assert field == {
        "name": "a",
        "dataTypeID": 23,
        "tableID": table,
        "columnID": number,
        "dataTypeSize": 4,
        "dataTypeModifier": -1,
        "format": "text",
    }


def test_a_batch_that_fails_as_it_commits_is_an_error_and_undone(send: Send, branch: Branch):
    queries = [{"query": "ALTER TABLE t DROP CONSTRAINT IF EXISTS t_pkey"}] + [
        {"query": "INSERT INTO t VALUES ($1)", "params": [8]} for _ in range(2)
    ]

    answer = send({"queries": queries})

    assert (answer.status_code, answer.json()["code"]) == (400, "23505")
    assert branch.sql("SELECT count(*) FROM t WHERE a = 8") == [(0,)]
    assert send({"queries": []}).json() == {"results": []}


def test_a_web_page_may_ask_from_any_origin(send: Send):
    allowed = send(b"", method="OPTIONS")

    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "*"
    for header in ("Neon-Connection-String", "Neon-Batch-Deferrable", "Neon-Array-Mode"):
        assert header in allowed.headers["Access-Control-Allow-Headers"]
    assert send({"query": "SELECT 1"}).headers["Access-Control-Allow-Origin"] == "*"
    assert send({"query": "SELECT 1/0"}).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "could not parse the HTTP request body"),
        (b"{", "could not parse the HTTP request body"),
        (b"[]", "could not parse the HTTP request body"),
        (b'{"query": 1}', "could not parse the HTTP request body: query"),
        (b'{"query": "SELECT $1", "params": [NaN]}', "could not parse the HTTP request body"),
        (b'{"query": "SELECT $1", "params": [' + b"[" * 100_000, "could not parse the HTTP request body"),
        (b'{"queries": [{"query": 1}]}', "could not parse the HTTP request body: queries.0.query"),
        (b'{"query": "SELECT 1 \\u0000; DROP TABLE t"}', "invalid byte sequence"),
        (b'{"query": "SELECT $1", "params": ["a\\u0000b"]}', "invalid byte sequence"),
        (b'{"query": "SELECT $1", "params": ["\\ud800"]}', "invalid byte sequence"),
        (b'{"query": "SELECT 1; SELECT 2"}', "cannot insert multiple commands"),
        (b'{"query": "COPY t TO STDOUT"}', "COPY cannot run over HTTP"),
        (b'{"query": "COPY t FROM STDIN"}', "COPY cannot run over HTTP"),
        (json.dumps({"query": "SELECT 1", "params": [1] * 65_536}).encode(), "65535 parameters"),
    ],
)
def test_a_body_that_cannot_be_run_is_refused(send: Send, body: bytes, message: str):
    answer = send(body)

    assert answer.status_code == 400, answer.text
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _uri: "", "incorrect scheme"),
        (lambda uri: uri.replace("postgresql:", "mysql:"), "incorrect scheme"),
        (lambda uri: uri.replace("/neondb", "/"), "missing database name"),
        (lambda uri: uri.replace("neondb_owner:", ":"), "missing username"),
        (lambda uri: uri.replace(uri.split("@")[0], "postgresql://neondb_owner"), "missing authentication credentials"),
        (lambda uri: uri.replace("@127.0.0.1:", "@127.0.0.1:9"), "invalid connection string"),
        (lambda uri: uri.replace("/neondb", "/neondb%00x"), "zero byte"),
        (lambda uri: uri.replace("@127.0.0.1", "@169.254.169.254"), "endpoint could not be found"),
        (lambda uri: uri + "&options=endpoint%3Dep-no-such-a1b2c3d4", "endpoint could not be found"),
    ],
)
def test_a_connection_string_that_names_no_compute_is_refused(
    send: Send, branch: Branch, change: Callable[[str], str], message: str
):
    password = branch.body["connection_uris"][0]["connection_parameters"]["password"]

    answer = send({"query": "SELECT 1"}, change(branch.uri))

    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert password not in answer.text


def test_an_endpoint_is_found_by_its_id_too(send: Send, branch: Branch):
    host, identifier = branch.endpoint["host"], branch.endpoint["id"]
    port = host.partition(":")[2]

    for uri in (
        branch.uri.replace(host, f"{identifier}.localtest.me"),
        branch.uri.replace(host, f"{identifier}-pooler.eu-central-1.aws.neon.tech"),
        branch.uri.replace(host, f"db.localtest.me:{port}"),
        branch.uri.replace(host, "localhost:1") + f"&options=endpoint%3D{identifier}%20-c%20work_mem%3D1234kB",
    ):
        assert send({"query": "SELECT 1 AS a"}, uri).json()["rows"] == [{"a": 1}]
    assert send({"query": "SHOW work_mem"}, uri).json()["rows"] == [{"work_mem": "1234kB"}]


def test_a_disabled_endpoint_is_told_from_one_that_is_not_there(send: Send, project: Project):
    branch = project.fork()
    path = f"/projects/{project.id}/endpoints/{branch.endpoint['id']}"

    branch.api.patch(path, {"endpoint": {"disabled": True}})

    assert "The endpoint has been disabled" in send({"query": "SELECT 1"}, branch.uri).json()["message"]


def test_a_compute_that_sleeps_wakes_for_a_statement(send: Send, project: Project):
    branch = project.fork()
    path = f"/projects/{project.id}/endpoints/{branch.endpoint['id']}"
    branch.api.post(f"{path}/suspend")

    assert send({"query": "SELECT 1 AS a"}, branch.uri).json()["rows"] == [{"a": 1}]
    assert branch.api.get(path)["endpoint"]["current_state"] == "active"


def test_what_is_too_large_is_refused(send: Send, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "LARGEST_REQUEST", 1000)
    monkeypatch.setattr(sql, "LARGEST_ANSWER", 1000)

    assert send({"query": "SELECT 1", "params": ["x" * 1000]}).status_code == 413
    assert send({"query": "SELECT repeat('x', 10) FROM generate_series(1, 100)"}).status_code == 507
    assert send({"queries": [{"query": "SELECT repeat('x', 400)"}] * 4}).status_code == 507


def test_an_isolation_level_that_does_not_exist_is_refused(send: Send):
    answer = send({"queries": []}, Neon_Batch_Isolation_Level="Snapshot")

    assert (answer.status_code, "'Snapshot'" in answer.json()["message"]) == (400, True)


@pytest.fixture(scope="module")
def served(module_served: Serving) -> Project:
    return make_project(module_served.api)


def address_of(serving: Serving) -> str:
    return serving.note["api"].removeprefix("http://").removesuffix("/api/v2")


def test_a_statement_ends_when_its_caller_goes_away(module_served: Serving, served: Project):
    url, headers = f"http://{address_of(module_served)}/sql", {"Neon-Connection-String": served.main.uri}

    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(url, json={"query": "SELECT pg_sleep(60) -- left"}, headers=headers, timeout=1)

    deadline = time.monotonic() + 10
    while served.main.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%-- left'") != []:
        assert time.monotonic() < deadline, "the statement runs on"
        time.sleep(0.05)


def test_a_compute_that_is_killed_under_a_statement_is_an_error(module_served: Serving, served: Project):
    branch = served.fork()
    url, headers = f"http://{address_of(module_served)}/sql", {"Neon-Connection-String": branch.uri}
    answers: list[httpx2.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(
            httpx2.post(url, json={"query": "SELECT pg_sleep(60)"}, headers=headers, timeout=30)
        )
    )
    asking.start()
    time.sleep(0.5)

    branch.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
    asking.join(20)

    (answer,) = answers
    assert (answer.status_code, answer.json()["code"]) == (400, "57P01")


@pytest.mark.parametrize(
    "query", ["", "?address=", "?address=127.0.0.1:22", "?address=example.com:5432", "?address=::::"]
)
def test_a_websocket_to_anything_else_gets_an_error_of_postgres(module_served: Serving, served: Project, query: str):
    with connect_websocket(f"ws://{address_of(module_served)}/v2{query}", proxy=None) as websocket:
        said = websocket.recv(timeout=10)

    assert isinstance(said, bytes)
    assert said[:1] == b"E"
    assert b"C08004\0" in said
    assert len(said) == 1 + int.from_bytes(said[1:5], "big")


def test_a_websocket_takes_binary_frames_only(module_served: Serving, served: Project):
    host = served.main.endpoint["host"]
    with connect_websocket(f"ws://{address_of(module_served)}/v2?address={host}", proxy=None) as websocket:
        websocket.send("SELECT 1")
        with pytest.raises(Exception, match="1003"):
            websocket.recv(timeout=10)


def test_a_websocket_elsewhere_is_closed(module_served: Serving):
    with pytest.raises(Exception, match="403"):
        connect_websocket(f"ws://{address_of(module_served)}/api/v2/projects", proxy=None)


def test_no_secret_is_logged_or_shown(send: Send, branch: Branch, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("DEBUG"):
        send({"query": "SELECT 1/0"})
        send({"query": "SELECT 1"}, branch.uri.replace("npg_", "npg_wrong"))

    password = branch.body["connection_uris"][0]["connection_parameters"]["password"]
    assert password not in caplog.text
    assert "npg_wrong" not in caplog.text
    with pytest.raises(psycopg.OperationalError):
        branch.sql("SELECT 1", branch.uri.replace("npg_", "npg_wrong"))
