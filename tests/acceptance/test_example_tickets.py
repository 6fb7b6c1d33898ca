"""The example application over HTTP, in FastAPI and in Flask: what one customer sees, and what nobody learns."""

import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
import uvicorn
from psycopg import sql
from sqlalchemy import Engine, create_engine
from tickets import asgi, wsgi
from tickets.access import COOKIE, Access
from werkzeug.serving import make_server

from tests.plugins.postgres import Database

SCHEMA = Path(asgi.__file__).with_name("schema.sql")
ROWS = 30


@dataclass
class Site:
    """A running app: two customers of one member each, `bob` of both, and one that is suspended."""

    port: int
    database: Database
    access: Access
    tenants: dict[str, UUID]
    gate: Any

    def ask(self, host: str, path: str = "/tickets", user: str | None = "ada", **options: Any) -> httpx2.Response:
        headers = {"host": host if "." in host else f"{host}.tickets.example", **options.pop("headers", {})}
        if user is not None:
            headers["cookie"] = options.pop("cookie", f"{COOKIE}={self.access.cookie(user)}")
        method = options.pop("method", "GET")
        return httpx2.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, **options
        )

    def raw(self, host: str, path: str = "/tickets", method: str = "GET") -> bytes:
        """Every byte that comes back but the date."""
        with socket.create_connection(("127.0.0.1", self.port)) as conn:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Cookie: {COOKIE}={self.access.cookie('ada')}"]
            conn.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            answer = b"".join(iter(lambda: conn.recv(65536), b""))
        return re.sub(rb"(?i)date: [^\r]+\r\n", b"", answer)

    def admin(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.database.admin_dsn) as conn:
            cursor = conn.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def serve_asgi(url: str, gate: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(asgi.create_app(url, gate), port=0, log_level="error", loop="asyncio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serve_wsgi(url: str, gate: Any) -> Iterator[int]:
    app, engine = wsgi.create_app(url, gate)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        engine.dispose()


SERVERS = {"fastapi": (serve_asgi, "asyncpg"), "flask": (serve_wsgi, "psycopg")}


@pytest.fixture
def register(database: Database) -> Iterator[Engine]:
    app, register = database.role("app"), database.role("register")
    with psycopg.connect(database.admin_dsn) as conn:
        schema: Any = SCHEMA.read_text(encoding="utf-8")
        conn.execute(sql.SQL(schema).format(app=sql.Identifier(app), register=sql.Identifier(register)))
        for name, state, members in (
            ("acme", "active", ["ada", "bob"]),
            ("bolt", "active", ["bob"]),
            ("idle", "suspended", ["ada"]),
            ("gone", "deleted", ["ada"]),
        ):
            row = conn.execute(
                "INSERT INTO register.tenants (name, state) VALUES (%s, %s) RETURNING id", [name, state]
            ).fetchone()
            assert row is not None
            for member in members:
                conn.execute("INSERT INTO register.members VALUES (%s, %s)", [row[0], member])
            conn.execute(
                "INSERT INTO tickets.tickets (tenant_id, title, author)"
                " SELECT %s, %s || ' ' || n, 'seed' FROM pg_catalog.generate_series(10, %s) n",
                [row[0], name, 9 + ROWS],
            )
    engine = create_engine(database.url(register, "psycopg"))
    yield engine
    engine.dispose()


@pytest.fixture(params=SERVERS)
def site(database: Database, register: Engine, request: pytest.FixtureRequest) -> Iterator[Site]:
    serve, driver = SERVERS[request.param]
    access = Access(register, secret="not one")
    gate = access.gate("tickets.example", cache_seconds=0)
    with serve(database.url(f"{database.name}_app", driver), gate) as port:
        site = Site(port, database, access, {}, gate)
        site.tenants = dict(site.admin("SELECT name, id FROM register.tenants"))
        yield site


def own(name: str) -> list[str]:
    return [f"{name} {number}" for number in range(10, 10 + ROWS)]


def test_a_customers_day(site):
    listed = site.ask("acme").json()
    added = site.ask("acme", method="POST", json={"title": "acme 99"})
    key = added.json()
    bobs = site.ask("bolt", user="bob").json()

    assert listed == {"tenant": str(site.tenants["acme"]), "titles": own("acme")}
    assert bobs == {"tenant": str(site.tenants["bolt"]), "titles": own("bolt")}
    assert added.status_code == 200
    assert site.admin("SELECT tenant_id, author FROM tickets.tickets WHERE id = %s", UUID(key)) == [
        (site.tenants["acme"], "ada")
    ]
    assert site.ask("acme", f"/tickets/{key}").json() == "acme 99"
    assert site.ask("bolt", f"/tickets/{key}", user="bob").status_code == 404
    assert site.ask("ACME.tickets.example.:8080").json()["titles"] == [*own("acme"), "acme 99"]


def test_many_at_once_and_each_its_own(site):
    def both(turn: int) -> bool:
        name = ("acme", "bolt")[turn % 2]
        if turn % 4 < 2:
            return site.ask(name, user="bob").json()["titles"] == own(name)
        return site.ask(name, "/tickets.txt", user="bob").text.splitlines() == own(name)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(both, range(32)))


def test_unknown_and_forbidden_are_the_same_bytes(site):
    hosts = ["nobody.tickets.example", "bolt.tickets.example", "idle.tickets.example", "gone.tickets.example"]
    wrong = ["tickets.example", "acme.tickets.example.evil.test", "a.acme.tickets.example", "127.0.0.1"]

    answers = {site.raw(host, path) for host in hosts + wrong for path in ("/tickets", "/no/such/page")}
    heads = {site.raw(host, method="HEAD") for host in hosts}

    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 404 ")
    assert len(heads) == 1
    assert heads.pop().endswith(b"\r\n\r\n")
    assert site.raw("acme.tickets.example").startswith(b"HTTP/1.1 200 "), "and whoever may, is let in"


def test_unknown_and_forbidden_take_as_long(site):
    times: dict[str, list[float]] = {"nobody": [], "bolt": []}
    for _ in range(25):
        for name, taken in times.items():
            start = time.perf_counter()
            site.raw(f"{name}.tickets.example")
            taken.append(time.perf_counter() - start)

    ratio = statistics.median(times["nobody"]) / statistics.median(times["bolt"])
    assert 0.6 < ratio < 1.6


def test_a_forged_header_moves_nobody(site):
    bolt = str(site.tenants["bolt"])
    forged = {"x-tenant": "bolt", "x-tenant-id": bolt, "x-forwarded-host": "bolt.tickets.example", "x-user": "bob"}

    assert site.ask("acme", headers=forged).json()["titles"] == own("acme")
    assert site.ask("bolt", headers=forged).status_code == 404


@pytest.mark.parametrize("cookie", ["", "x", "{other}", "{good}x", "{good}; {good}"])
def test_a_cookie_that_we_did_not_sign_is_nobody(site, cookie):
    other = f"{COOKIE}={Access(site.access.register, secret='another').cookie('ada')}"
    good = f"{COOKIE}={site.access.cookie('ada')}"

    found = [site.ask(host, cookie=cookie.format(other=other, good=good)) for host in ("acme", "bolt", "nobody")]

    assert {answer.status_code for answer in found} == {401}
    assert len({answer.content for answer in found}) == 1


def test_a_member_who_is_put_out_is_out(site):
    assert site.ask("acme").status_code == 200
    site.admin("DELETE FROM register.members WHERE user_id = 'ada'")

    assert site.ask("acme").status_code == 404


def test_a_public_page_needs_nobody(site):
    assert site.ask("nobody", "/health", user=None).text.strip('"') == "ok"


def test_a_body_cannot_name_another_tenant(site):
    bolt = str(site.tenants["bolt"])
    added = site.ask("acme", method="POST", json={"title": "planted", "tenant_id": bolt})

    assert added.status_code == 200
    assert site.admin("SELECT tenant_id FROM tickets.tickets WHERE title = 'planted'") == [(site.tenants["acme"],)]
    assert site.ask("bolt", user="bob").json()["titles"] == own("bolt")
