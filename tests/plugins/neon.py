"""A Neon that answers what a test tells it to, a clock that only sleeping moves, and a call of every method.

It stands in for the network alone: what Postgres does is tested on a real one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

from tenantry.neon import wire
from tenantry.neon.client import NeonClient
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


async def call(client: NeonClient, name: str, arguments: tuple[Any, ...]) -> Any:
    result = getattr(client, name)(*arguments)
    return await everything(result) if name.startswith("list_") else await result
