"""`POST /sql`: SQL over HTTP, with the credentials of a role in place of an API key."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tenantry.local.serverless.problems import SqlRefusal, error_body
from tenantry.local.serverless.requests import read_request
from tenantry.local.serverless.sql import answer
from tenantry.local.serverless.target import find_endpoint, read_connection_string
from tenantry.local.services.views import HOST
from tenantry.local.state.records import EndpointRecord

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tenantry.local.engine import Engine

__all__ = ["LARGEST_REQUEST", "ROUTES", "SQL_PATH"]

SQL_PATH = "/sql"
LARGEST_REQUEST = 64 * 1024 * 1024

_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = _ANY_ORIGIN | {
    "Allow": "OPTIONS, POST",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, "
        "Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level, Neon-Batch-Deferrable"
    ),
    "Access-Control-Max-Age": "86400",
}
_ECHOED = ("neon-batch-isolation-level", "neon-batch-read-only", "neon-batch-deferrable")


async def _preflight(_request: Request) -> Response:
    return Response(headers=_PREFLIGHT)


async def _sql(request: Request) -> Response:
    try:
        body = await _read_body(request)
        login = read_connection_string(request.headers.get("neon-connection-string", ""))
        ask = read_request(body, request.headers)
        engine: Engine = request.app.state.engine
        endpoint = find_endpoint(
            engine.store.select(EndpointRecord), host=login.host, port=login.port, named=login.endpoint
        )
        text = await _unless_gone(request, answer(login, HOST, endpoint.port, ask))
    except ClientDisconnect:
        return Response(status_code=400)
    except SqlRefusal as refusal:
        return Response(
            json.dumps(error_body(refusal), ensure_ascii=False),
            status_code=refusal.status,
            media_type="application/json",
            headers=_ANY_ORIGIN,
        )
    echoed = {} if ask.begin is None else {name: request.headers[name] for name in _ECHOED if name in request.headers}
    return Response(text, media_type="application/json", headers=_ANY_ORIGIN | echoed)


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_REQUEST:
            raise SqlRefusal(f"request is too large (max is {LARGEST_REQUEST} bytes)", status=413)
        parts.append(part)
    return b"".join(parts)


async def _unless_gone(request: Request, work: Coroutine[None, None, str]) -> str:
    """Return what *work* gives, and cancel it, down to the statement in Postgres, if the caller goes away."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    # A task of asyncio is cancelled once, which leaves psycopg the time to cancel the statement; anyio's scopes would
    # cancel that too.
    working, watching = asyncio.create_task(work), asyncio.create_task(watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait({working, watching})


ROUTES: list[Route] = [
    Route(SQL_PATH, _sql, methods=["POST"]),
    Route(SQL_PATH, _preflight, methods=["OPTIONS"]),
]
