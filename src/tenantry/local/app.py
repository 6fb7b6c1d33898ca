"""The ASGI app: who may ask, which route answers, and Neon's error form for all else."""

from __future__ import annotations

import hmac
import re
import uuid
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import Mount, Router
from starlette.websockets import WebSocketClose

from tenantry.local.refusals import Refusal
from tenantry.local.routes import (
    absent,
    account,
    branches,
    databases,
    endpoints,
    operations,
    projects,
    roles,
    schemas,
    snapshots,
)
from tenantry.local.routes.calling import error_answer
from tenantry.local.routes.unserved import refusals
from tenantry.local.serverless import http, relay
from tenantry.local.serverless.http import SQL_PATH
from tenantry.local.services import upkeep

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tenantry.local.engine import Engine

__all__ = ["API_PATH", "ROUTES", "create_app"]

API_PATH = "/api/v2"

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


_RESOURCES = (projects, branches, endpoints, roles, databases, operations, schemas, snapshots, account, absent)

ROUTES = [route for resource in _RESOURCES for route in resource.ROUTES]
"""What is answered by more than a refusal. A role's or database's name may hold a slash, so refusals come last."""


def create_app(engine: Engine) -> ASGIApp:
    """Return the ASGI app that serves *engine*, which it neither opens nor closes; from now on it does its upkeep.

    Neon's API v2 is below `/api/v2`; beside it are `/sql` and `/v2`, for Neon's serverless driver.
    """
    api = Router([*ROUTES, *refusals(ROUTES)], redirect_slashes=False, default=_nothing_here)
    app = Starlette(routes=[Mount(API_PATH, api), *http.ROUTES, *relay.ROUTES])
    app.router.redirect_slashes = False
    app.router.default = _nothing_here
    app.state.engine = engine
    upkeep.attach(engine)
    return _Gate(app, engine.api_key)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    request = Request(scope)
    refusal = Refusal(404, f"{request.method} {request.url.path} is no route of this engine: see Neon's API v2")
    await error_answer(request, refusal)(scope, receive, send)


class _Gate:
    """Gives each request an id, and lets in only who has the key."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._wanted = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Whoever asks there has the password of a role, and Postgres sees to it.
        if scope["type"] != "http" or scope["path"] == SQL_PATH:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        scope["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        scheme, _, key = headers.get("authorization", "").partition(" ")
        offered = f"{scheme.capitalize()} {key.strip()}".encode()
        if not hmac.compare_digest(offered, self._wanted):
            refusal = Refusal(401, "supplied credentials do not pass authentication")
            await error_answer(Request(scope), refusal)(scope, receive, send_with_id)
            return
        await self._app(scope, receive, send_with_id)
