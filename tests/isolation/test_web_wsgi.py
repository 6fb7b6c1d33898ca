"""The tenant scope around WSGI apps: Flask and Django, on a real shop."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path as django_path
from flask import Flask, stream_with_context, url_for
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from werkzeug.test import EnvironBuilder

from tenantry import NoTenantError, current_tenant, tenant_scope
from tenantry.session.context import open_context
from tenantry.session.sqlalchemy import protect
from tenantry.web import FromPath
from tenantry.web.errors import GateAnswerError
from tenantry.web.wsgi import TenantMiddleware
from tests.plugins.shop import ACME, BOLT, Document, Shop
from tests.plugins.web import HOSTS, Register

TITLES = select(Document.title)
MEMBER_OF = {ACME: "ada", BOLT: "bob"}


class Rows:
    """Reads the shop, and notes whose scope it was in at the end of each stream."""

    def __init__(self, shop: Shop) -> None:
        self.engine = protect(create_engine(shop.database.url(shop.app, "psycopg"), pool_size=4))
        self.ended: list[str] = []

    def read(self) -> list[str]:
        with Session(self.engine) as session:
            return list(session.scalars(TITLES))

    def stream(self) -> Iterator[str]:
        try:
            for _ in range(3):
                yield f"{self.read()};"
        finally:
            self.ended.append(str(current_tenant()))


@pytest.fixture
def rows(shop: Shop) -> Iterator[Rows]:
    rows = Rows(shop)
    yield rows
    rows.engine.dispose()


def flask_app(rows: Rows) -> Callable[..., Any]:
    app = Flask(__name__)
    app.testing = False
    app.add_url_rule("/", "titles", rows.read)
    app.add_url_rule("/health", "health", rows.read)
    app.add_url_rule("/stream", "stream", lambda: (stream_with_context(rows.stream()), {"content-type": "text/plain"}))
    app.add_url_rule("/link", "link", lambda: url_for("titles"))
    return app.wsgi_app


class Urls:
    """Django reads its URLs from a module or any object that has them."""

    def __init__(self, rows: Rows) -> None:
        self.urlpatterns = [
            django_path("", lambda request: HttpResponse(f"{rows.read()}".encode()), name="titles"),
            django_path("health", lambda request: HttpResponse(f"{rows.read()}".encode())),
            django_path("stream", lambda request: StreamingHttpResponse(rows.stream())),
            django_path("link", lambda request: HttpResponse(request.path.encode())),
        ]


def django_app(rows: Rows) -> Callable[..., Any]:
    if not django_settings.configured:
        django_settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="not one", LOGGING_CONFIG=None, USE_TZ=True)
    application = get_wsgi_application()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        django_settings.ROOT_URLCONF = Urls(rows)
        return application(environ, start_response)

    return serve


FRAMEWORKS = {"flask": flask_app, "django": django_app}


class Answer:
    """What a WSGI server gets, chunk by chunk."""

    def __init__(self, app: Callable[..., Any], path: str = "/", tenant: Any = ACME, **options: Any) -> None:
        headers = {"Host": options.get("host", HOSTS.get(tenant, "any.test")), **options.get("headers", {})}
        user = options.get("user", MEMBER_OF.get(tenant))
        if user is not None:
            headers["Cookie"] = f"session={user}"
        builder = EnvironBuilder(path, headers=headers, method=options.get("method", "GET"))
        environ = {**builder.get_environ(), "SCRIPT_NAME": options.get("mount", ""), "PATH_INFO": path}
        self.chunks = app(environ, self.start)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        self.status, self.headers = int(status[:3]), headers
        return lambda chunk: None

    def all(self) -> str:
        try:
            return b"".join(self.chunks).decode()
        finally:
            getattr(self.chunks, "close", lambda: None)()


@pytest.fixture(params=FRAMEWORKS)
def inner(rows: Rows, request: pytest.FixtureRequest) -> Callable[..., Any]:
    return FRAMEWORKS[request.param](rows)


@pytest.fixture
def app(inner: Callable[..., Any], register: Register) -> TenantMiddleware:
    return TenantMiddleware(inner, register.gate())


def title(tenant: Any) -> str:
    return f"of {tenant}"


def test_threads_read_their_own_tenants_rows(app):
    tenants = [ACME, BOLT] * 10

    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda tenant: Answer(app, "/", tenant).all(), tenants))

    assert all(title(tenant) in body for tenant, body in zip(tenants, bodies, strict=True))
    assert not any(
        title(BOLT if tenant == ACME else ACME) in body for tenant, body in zip(tenants, bodies, strict=True)
    )


@pytest.fixture
def plain(rows: Rows, register: Register) -> TenantMiddleware:
    """Flask's own context does not stand two streams by turns in one thread, so this app is nobody's."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return (chunk.encode() for chunk in rows.stream())

    return TenantMiddleware(app, register.gate())


def test_a_streamed_body_is_all_of_its_tenant_and_closed_in_its_scope(app, rows):
    assert Answer(app, "/stream", BOLT).all() == f"['{title(BOLT)}'];" * 3
    cut = Answer(app, "/stream")
    next(cut.chunks)
    cut.chunks.close()

    assert rows.ended == [str(BOLT), str(ACME)]
    assert open_context() is None


def test_a_streamed_body_keeps_its_tenant_while_its_thread_serves_another(plain, rows):
    own, other = Answer(plain, "/stream", ACME), Answer(plain, "/stream", BOLT)
    scopes = []
    read: dict[Any, list[bytes]] = {ACME: [], BOLT: []}
    for _ in range(3):
        for tenant, answer in ((ACME, own), (BOLT, other)):
            read[tenant].append(next(answer.chunks))
            scopes.append(open_context())
    assert [next(answer.chunks, None) for answer in (own, other)] == [None, None]

    assert read == {tenant: [f"['{title(tenant)}'];".encode()] * 3 for tenant in (ACME, BOLT)}
    assert scopes == [None] * 6
    assert rows.ended == [str(ACME), str(BOLT)], "closed in their scopes"


def test_another_thread_may_go_on_with_a_body(plain):
    answer = Answer(plain, "/stream", BOLT)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        chunks = [pool.submit(next, answer.chunks).result() for pool in (first, second, first)]
        second.submit(answer.chunks.close).result()

    assert chunks == [f"['{title(BOLT)}'];".encode()] * 3


def test_a_client_that_goes_away_closes_the_body_in_its_scope_and_ends_it(register):
    ended: list[Any] = []
    later: list[Callable[[], Any]] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"1"

        def close(self) -> None:
            ended.append(str(current_tenant()))

    def app(environ, start_response):
        start_response("200 OK", [])
        later.append(partial(copy_context().run, current_tenant))
        return Body()

    answer = Answer(TenantMiddleware(app, register.gate()))
    next(answer.chunks)
    assert later[0]() is not None
    answer.chunks.close()

    assert ended == [str(ACME)]
    with pytest.raises(NoTenantError):
        later[0]()


def test_an_app_that_raises_leaves_no_scope(register):
    def app(environ, start_response):
        raise LookupError(str(current_tenant()))

    with pytest.raises(LookupError, match=str(ACME)):
        Answer(TenantMiddleware(app, register.gate()))
    assert open_context() is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_unknown_and_forbidden_are_answered_alike_after_the_same_lookups(app, register, method):
    hosts = ["nobody.app.example", HOSTS[BOLT], "idle.app.example"]

    answers = [Answer(app, host=host, user="ada", method=method) for host in hosts]

    found = {(answer.status, tuple(answer.headers), answer.all()) for answer in answers}
    assert found == {(404, tuple(answers[0].headers), '{"detail":"Not Found"}' if method == "GET" else "")}
    assert ("content-length", "22") in answers[0].headers
    assert register.asked == [("ada", "nobody"), ("ada", "bolt"), ("ada", "idle")]


def test_a_header_that_the_client_writes_moves_nobody(app):
    forged = dict.fromkeys(("X-Forwarded-Host", "X-Tenant", "X-Tenant-Id", "Forwarded"), "bolt.app.example")

    assert title(ACME) in Answer(app, headers=forged).all()
    assert Answer(app, host="acme.app.example,bolt.app.example").status == 404
    assert Answer(app, user=None).status == 401


def test_a_public_path_has_no_scope_even_where_the_server_runs_in_one(app):
    with tenant_scope(BOLT):
        answer = Answer(app, "/health", user=None)

        assert answer.status == 500
        assert title(BOLT) not in answer.all()
        assert str(current_tenant()) == str(BOLT)


def test_an_app_below_a_path_is_mounted_there(inner, register):
    app = TenantMiddleware(inner, register.gate(tenant_from=FromPath("/t")))

    own, link = (Answer(app, path, host="any.test", mount="/outer") for path in ("/t/acme/", "/t/acme/link"))

    assert title(ACME) in own.all()
    assert link.all().startswith("/outer/t/acme/")
    for path in ("/t/bolt/", "/t/nobody/", "/"):
        assert Answer(app, path, user="ada").status == 404


def test_without_the_middleware_nothing_is_read(inner):
    assert Answer(inner).status == 500


def test_a_callable_that_has_to_be_awaited_is_refused(inner, register):
    async def lookup(user, name):
        return register.lookup(user, name)

    with pytest.raises(GateAnswerError, match="WSGI cannot await"):
        Answer(TenantMiddleware(inner, register.gate(lookup=lookup)))


def test_the_gate_tells_what_a_request_entered_inside_its_scope(inner, register):
    told: list[tuple[Any, Any]] = []
    app = TenantMiddleware(inner, register.gate(entered=lambda context: told.append((context, open_context()))))

    Answer(app, "/", BOLT).all()
    Answer(app, host="nobody.app.example", user="ada").all()

    assert [(str(context.tenant), context.user) for context, _ in told] == [(str(BOLT), "bob")]
    assert told[0][0] == told[0][1]
