"""How a request becomes a call and a value becomes an answer: parsing, threads, printing and errors, for all routes."""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import anyio
import anyio.to_thread
import psycopg
from anyio.lowlevel import RunVar
from pydantic import BaseModel, SecretStr, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.refusals import Refusal, bad_field
from tenantry.neon.wire import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Scope

    from tenantry.local.engine import Engine

__all__ = ["Answer", "Call", "error_answer", "mutating", "reading"]

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

LARGEST_BODY = 1_000_000
_MUTATING_THREADS = 64

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("tenantry_mutations")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read: a route takes its parts by name, and a part that cannot be used is a 400 that names it."""

    engine: Engine
    path: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes = field(repr=False)

    @property
    def project_id(self) -> str:
        """The project in the path."""
        return self.path["project_id"]

    @property
    def branch_id(self) -> str:
        """The branch in the path."""
        return self.path["branch_id"]

    @property
    def endpoint_id(self) -> str:
        """The endpoint in the path."""
        return self.path["endpoint_id"]

    @property
    def name(self) -> str:
        """The name of the role or database in the path."""
        return self.path["name"]

    def body(self, kind: type[M], *, optional: bool = False) -> M:
        """Return the body as *kind*. An *optional* one may be absent."""
        raw = self.raw.strip() or (b"{}" if optional else b"")
        if not raw:
            raise bad_field("body", f"there is none: send JSON with {', '.join(kind.model_fields)}")
        try:
            return kind.model_validate_json(raw, strict=True)
        except ValidationError as exc:
            first = exc.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise bad_field(where, first["msg"]) from exc

    def text(self, name: str) -> str | None:
        """Return a parameter of the query. An empty one is as good as absent."""
        return self.query.get(name) or None

    def needed(self, name: str) -> str:
        """Return a parameter of the query that must be there."""
        value = self.text(name)
        if value is None:
            raise bad_field(name, "it is missing from the query")
        return value

    def number(self, name: str, *, default: int, highest: int) -> int:
        """Return a parameter of the query as a number from 1 to *highest*."""
        value = self.text(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not 1 <= int(value[:12]) <= highest:
            raise bad_field(name, f"{value!r} is not a whole number from 1 to {highest}")
        return int(value)

    def time(self, name: str) -> datetime | None:
        """Return a parameter of the query as a time."""
        value = self.text(name)
        if value is None:
            return None
        try:
            # A `+` that was not escaped arrives as a space.
            return datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        except ValueError as exc:
            raise bad_field(name, f"{value!r} is not a time such as 2026-01-31T12:00:00Z") from exc

    def flag(self, name: str) -> bool:
        """Return a parameter of the query as a yes or no; absent is no."""
        return self.choice(name, {"true": True, "false": False}, default="false")

    def choice(self, name: str, options: Mapping[str, T], *, default: str) -> T:
        """Return what *options* has for a parameter of the query."""
        value = (self.text(name) or default).lower()
        if value not in options:
            raise bad_field(name, f"{value!r} is not one of {', '.join(options)}")
        return options[value]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, or none."""

    status: int
    body: BaseModel | Mapping[str, Any] | None = None

    @classmethod
    def gone_or(cls, body: BaseModel | None) -> Answer:
        """200 with *body*, or 204 where there was nothing to delete."""
        return cls(204) if body is None else cls(200, body)


def reading(path: str, route: Callable[[Call], Answer]) -> Route:
    """Make a GET route. It runs beside mutations and never waits for one."""
    return _route(path, "GET", route, mutates=False)


def mutating(method: str, path: str, route: Callable[[Call], Answer]) -> Route:
    """Make a route that changes something. Its threads are not those of readers."""
    return _route(path, method, route, mutates=True)


def _route(path: str, method: str, route: Callable[[Call], Answer], *, mutates: bool) -> Route:
    async def serve(request: Request) -> Response:
        try:
            raw = await _read_body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Refusal as refusal:
            return error_answer(request, refusal)
        call = Call(request.app.state.engine, request.path_params, request.query_params, raw)
        try:
            # A mutation that began goes to its end, even if the caller does not wait.
            answer = await anyio.to_thread.run_sync(route, call, limiter=_threads() if mutates else None)
        except Exception as exc:  # noqa: BLE001 - every failure has an answer, and an unforeseen one its traceback below
            return error_answer(request, exc)
        return _print(answer)

    served = _ExactRoute(path, serve, methods=[method])
    # Starlette adds HEAD to every GET; Neon has none.
    served.methods = {method}
    return served


class _ExactRoute(Route):
    """A route that is none for another method: all that is not served gets the same 404."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


def _threads() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_MUTATING_THREADS)
        _limiter.set(limiter)
        return limiter


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise Refusal(413, f"body: it is longer than {LARGEST_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def _print(answer: Answer) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status)
    body = answer.body.model_dump(exclude_none=True) if isinstance(answer.body, BaseModel) else answer.body
    text = json.dumps(body, default=_encode, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status_code=answer.status, media_type="application/json")


def _encode(value: object) -> str:
    match value:
        case SecretStr():
            # The one place where a secret leaves: the caller has the key.
            return value.get_secret_value()
        case datetime():
            moment = value if value.tzinfo is UTC else value.astimezone(UTC)
            return moment.isoformat().removesuffix("+00:00") + "Z"
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def error_answer(request: Request, exc: Exception) -> Response:
    """Return Neon's error body for *exc*. What nobody foresaw is a 500 whose traceback is in the log."""
    request_id = request.scope.get("request_id")
    match exc:
        case Refusal():
            status, code, message = exc.status, exc.code, exc.message
        case EnvironmentProblem():
            status, code, message = 500, "", str(exc)
            log.warning("request %s failed: %s", request_id, exc)
        case sqlite3.Error():
            status, code = 500, ""
            message = f"the engine's store refused the change ({exc}): see that its disk has room, and try again"
            log.warning("request %s failed: %s", request_id, message)
        case psycopg.Error():
            status, code = 500, ""
            message = f"Postgres refused the change: {exc.diag.message_primary or exc}"
            log.warning("request %s failed: %s", request_id, message)
        case _:
            status, code = 500, ""
            message = f"the engine failed ({type(exc).__name__}: {exc}): its log has the traceback of this request_id"
            log.error("request %s failed", request_id, exc_info=exc)
    body = ErrorBody(request_id=request_id, code=code, message=message)
    return _print(Answer(status, body))
