"""A Drizzle application on Neon's serverless driver, over HTTP and over WebSockets, against a local branch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.plugins.engine import Project, Serving, make_project
from tests.plugins.node import Node

HERE = Path(__file__).parent

SCHEMA = """
CREATE TABLE notes (id serial PRIMARY KEY, tenant text NOT NULL, body text NOT NULL CONSTRAINT one_body UNIQUE);
CREATE TABLE kinds (key uuid PRIMARY KEY, fact jsonb, words text[], grid int[][], raw bytea, price numeric,
                    at timestamptz, flag boolean, ratio float8, nothing text);
CREATE ROLE app LOGIN PASSWORD 'a pass:word/of@ours' NOBYPASSRLS;
GRANT ALL ON notes, kinds, notes_id_seq TO app;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON notes TO app USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant));
"""


@pytest.fixture(scope="module")
def project(module_served: Serving) -> Project:
    return make_project(module_served.api)


@pytest.fixture(scope="module")
def node(npm: Callable[[Path], Node]) -> Node:
    return npm(HERE)


@pytest.fixture(scope="module", params=["http", "websocket"])
def told(request: pytest.FixtureRequest, module_served: Serving, project: Project, node: Node) -> dict[str, Any]:
    """What the application told of its steps, on a branch of its own, as a role that row security binds."""
    branch = project.fork()
    branch.sql(SCHEMA)
    host = branch.endpoint["host"]
    uri = f"postgresql://app:{quote('a pass:word/of@ours', safe='')}@{host}/neondb?sslmode=require"
    engine = module_served.note["api"].removeprefix("http://").removesuffix("/api/v2")
    return {"driver": request.param} | json.loads(node.run(HERE / "app.mjs", request.param, engine, uri))


def test_rows_are_inserted_selected_and_updated(told: dict[str, Any]):
    assert told["inserted"] == [{"id": 1, "tenant": "a", "body": "one"}, {"id": 2, "tenant": "b", "body": "two"}]
    assert told["selected"] == [{"body": "one"}, {"body": "two"}]
    assert told["updated"] == 1


def test_values_of_every_type_come_back_as_they_went(told: dict[str, Any]):
    assert told["kinds"] == {
        "key": "7f1d2c3e-0000-4000-8000-0123456789ab",
        "fact": {"deep": [1, "two", None, {"ключ": '"quoted"\\'}]},
        "words": ["plain", 'with "quotes"', "back\\slash", "", "NULL", "comma, brace }"],
        "grid": [[1, 2], [3, 4]],
        "raw": "0001feff",
        "price": "12345678901234567890.123456789",
        "at": "2026-02-03T04:05:06.789Z",
        "flag": True,
        "ratio": 0.1,
        "nothing": None,
    }


def test_an_error_has_the_fields_of_postgres(told: dict[str, Any]):
    duplicate = told["duplicate"]["error"]

    assert duplicate == {
        "code": "23505",
        "message": 'duplicate key value violates unique constraint "one_body"',
        "severity": "ERROR",
        "detail": None,  # row security keeps other tenants' keys to itself
        "constraint": "one_body",
        "table": "notes",
        "position": None,
    }
    assert told["sameKey"]["error"]["detail"] == "Key (key)=(7f1d2c3e-0000-4000-8000-0123456789ab) already exists."
    assert told["division"]["error"]["code"] == "22012"
    assert (told["syntax"]["error"]["code"], told["syntax"]["error"]["position"]) == ("42601", "10")


def test_the_tenant_of_a_transaction_sees_its_rows_only(told: dict[str, Any]):
    assert told["asTenantA"] == [{"body": "uno"}]
    assert [row["body"] for row in told["after"]] == ["uno", "two", "three", "four"]


def test_a_transaction_is_done_whole_or_not_at_all(told: dict[str, Any]):
    assert [row["body"] for row in told["batch"]["value"]] == ["uno", "two", "three", "four"]
    assert told["undone"]["error"]["code"] == "23505"
    assert "never" not in {row["body"] for row in told["after"]}


def test_who_may_not_log_in_gets_an_error_and_no_hang(told: dict[str, Any]):
    assert "password authentication failed for user" in told["wrongPassword"]["error"]["message"]
    assert 'database "nowhere" does not exist' in told["unknownDatabase"]["error"]["message"]


@pytest.mark.parametrize("step", ["unknownPort", "foreignHost"])
def test_nothing_but_a_compute_of_the_engine_is_reached(told: dict[str, Any], step: str):
    assert "The requested endpoint could not be found" in told[step]["error"]["message"]


def test_a_batch_has_the_isolation_that_it_asks_for(told: dict[str, Any]):
    if told["driver"] == "http":
        assert told["levels"] == [
            {"level": level, "ro": "on", "def": "on"}
            for level in ("read uncommitted", "read committed", "repeatable read", "serializable")
        ]
        assert told["plain"] == {"level": "read committed", "ro": "off", "def": "off"}
    else:
        assert told["savepoint"] == [{"body": "outer"}]


def test_full_results_and_large_ones_arrive(told: dict[str, Any]):
    if told["driver"] == "http":
        full = told["full"]
        assert (full["command"], full["rowCount"], full["rows"]) == ("SELECT", 1, [{"a": 2, "b": "x"}])
        assert [(one["name"], one["dataTypeID"], one["format"]) for one in full["fields"]] == [
            ("a", 23, "text"),
            ("a", 23, "text"),
            ("b", 25, "text"),
        ]
        assert told["several"]["error"]["code"] == "42601"
    else:
        assert (told["large"], told["answer"]) == (3_000_000, 3_000_000)
