"""A gate to the shop, whose register is a dictionary, a Starlette app on it, and a client that shows every message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from tenantry import current_tenant
from tenantry.session.context import open_context
from tenantry.session.sqlalchemy import protect
from tenantry.web import Claims, FromHost, Gate, Request, Standing
from tenantry.web.asgi import TenantMiddleware
from tests.plugins.shop import ACME, BOLT, Document, Shop

HOSTS = {ACME: "acme.app.example", BOLT: "bolt.app.example"}
MEMBER_OF = {ACME: "ada", BOLT: "bob"}
TITLES = select(Document.title)
MEMBERS = {("ada", "acme"), ("bob", "bolt"), ("ada", "idle")}


class Register:
    """Two tenants of one member each, a suspended one, and who asked. The session cookie is the user's bare name."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.tenants = {"acme": Standing(ACME, member=False), "bolt": Standing(BOLT, member=False)}
        self.tenants["idle"] = Standing(UUID(int=7), member=False, state="suspended")

    def authenticate(self, request: Request) -> Claims | None:
        user = request.cookie("session")
        return None if user is None else Claims(user)

    def lookup(self, user: str, name: str) -> Standing | None:
        self.asked.append((user, name))
        found = self.tenants.get(name)
        return found and Standing(found.tenant, member=(user, name) in MEMBERS, state=found.state)

    def gate(self, **settings: Any) -> Gate:
        return Gate(
            **{
                "tenant_from": FromHost("app.example"),
                "authenticate": self.authenticate,
                "lookup": self.lookup,
                "public": ("/health",),
                "suspended": None,
                **settings,
            }
        )


@pytest.fixture
def register() -> Register:
    return Register()


class Exchange:
    """One connection to an ASGI app: what it is sent, and what it sent, in order."""

    def __init__(self, app: Callable[..., Any], path: str = "/", **scope: Any) -> None:
        headers = [(b"host", scope.pop("host", "acme.app.example").encode())]
        user = scope.pop("user", "ada")
        if user is not None:
            headers.append((b"cookie", f"session={user}".encode()))
        headers += scope.pop("headers", [])
        self.app = app
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            **scope,
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.on_body: Callable[[], Any] | None = None

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"].endswith(".body") and self.on_body is not None:
            await self.on_body()

    async def run(self) -> "Exchange":
        if self.scope["type"] == "http":
            self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await self.app(self.scope, self.incoming.get, self.send)
        return self

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Site:
    """A Starlette app on the shop, each of whose routes reads through a protected engine."""

    def __init__(self, shop: Shop, register: Register, **settings: Any) -> None:
        self.engine = protect(create_async_engine(shop.database.url(shop.app, "psycopg"), pool_size=2))
        self.threads = protect(create_engine(shop.database.url(shop.app, "psycopg"), pool_size=2))
        self.seen: list[Any] = []
        self.started: list[object] = []
        self.gate = register.gate(**settings)
        routes = [
            Route("/", self.titles, name="titles"),
            Route("/health", self.titles),
            Route("/sync", self.titles_in_thread),
            Route("/stream", self.stream),
            Route("/background", self.background),
            Route("/fails", self.fails),
            Route("/task", self.task),
            Route("/link", self.link),
            Mount("/inner", routes=[Route("/", self.link)]),
            WebSocketRoute("/ws", self.socket),
        ]
        # BaseHTTPMiddleware runs what is below it in a task of its own.
        self.app = Starlette(
            routes=routes,
            lifespan=self.lifespan,
            middleware=[Middleware(TenantMiddleware, gate=self.gate), Middleware(BaseHTTPMiddleware, self.pass_on)],
        )

    async def pass_on(self, request, call_next):
        return await call_next(request)

    @asynccontextmanager
    async def lifespan(self, app):
        self.started.append(open_context())
        yield

    async def read(self) -> list[str]:
        async with AsyncSession(self.engine) as session:
            return list(await session.scalars(TITLES))

    async def titles(self, request):
        return JSONResponse(await self.read())

    def titles_in_thread(self, request):
        with Session(self.threads) as session:
            return JSONResponse(list(session.scalars(TITLES)))

    async def stream(self, request):
        async def rows() -> AsyncIterator[str]:
            try:
                for _ in range(3):
                    yield f"{await self.read()};"
                    await asyncio.sleep(0.005)
            finally:
                self.seen.append(str(current_tenant()))

        return StreamingResponse(rows())

    async def background(self, request):
        async def later() -> None:
            self.seen.append(await self.read())

        return PlainTextResponse("", background=BackgroundTask(later))

    async def fails(self, request):
        await self.read()
        raise LookupError

    async def task(self, request):
        async def outlive() -> None:
            await asyncio.sleep(0.02)
            await self.read()

        self.seen.append(asyncio.create_task(outlive()))
        return PlainTextResponse("")

    async def link(self, request):
        where = str(request.url_for("titles"))
        return PlainTextResponse(f"{where} {request.scope['root_path']}")

    async def socket(self, websocket):
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_json(await self.read())
        self.seen.append(str(current_tenant()))

    async def get(self, path: str = "/", tenant: Any = ACME, **options: Any) -> Exchange:
        options.setdefault("host", HOSTS.get(tenant, tenant))
        options.setdefault("user", MEMBER_OF.get(tenant, "ada"))
        return await Exchange(self.app, path, **options).run()

    async def close(self) -> None:
        await self.engine.dispose()
        self.threads.dispose()


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def web_site(shop: Shop, register: Register, loop: asyncio.Runner) -> Iterator[Site]:
    site = Site(shop, register)
    yield site
    loop.run(site.close())
