"""The tenant scope around ASGI apps: Starlette and FastAPI, on a real shop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse as FastAPIStream
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tenantry import NoTenantError, current_tenant, current_user, tenant_scope
from tenantry.session.context import open_context
from tenantry.session.sqlalchemy import protect
from tenantry.web import SUSPENDED, FromPath
from tenantry.web.asgi import TenantMiddleware
from tenantry.web.fastapi import CurrentTenant, CurrentUser
from tests.plugins.shop import ACME, BOLT
from tests.plugins.web import HOSTS, TITLES, Exchange, Site


def title(tenant: Any) -> str:
    return f"of {tenant}"


@pytest.fixture
def site(web_site: Site) -> Site:
    return web_site


def test_each_request_reads_its_own_tenants_rows_however_many_run_at_once(site, loop):
    async def main():
        tenants = [ACME, BOLT] * 10
        return tenants, await asyncio.gather(*(site.get(path, tenant) for tenant in tenants for path in ("/", "/sync")))

    tenants, answers = loop.run(main())

    wanted = [f'["{title(tenant)}"]'.encode() for tenant in tenants for _ in range(2)]
    assert [answer.body for answer in answers] == wanted


def test_a_streamed_body_keeps_its_tenant_while_another_is_served_between_two_chunks(site, loop):
    async def main():
        exchange = Exchange(site.app, "/stream")

        async def meanwhile():
            assert (await site.get("/", BOLT)).body == f'["{title(BOLT)}"]'.encode()

        exchange.on_body = meanwhile
        return await exchange.run()

    answer = loop.run(main())

    assert answer.body == f"['{title(ACME)}'];".encode() * 3
    assert site.seen == [str(ACME)], "the end of the generator ran in the scope too"


def test_a_background_task_runs_in_the_scope_of_its_request(site, loop):
    loop.run(site.get("/background", BOLT))

    assert site.seen == [[title(BOLT)]]


def test_a_task_that_outlives_its_request_is_in_no_scope(site, loop):
    async def main():
        await site.get("/task")
        await site.seen[0]

    with pytest.raises(NoTenantError):
        loop.run(main())


def test_an_error_ends_the_scope_and_is_the_servers_to_answer(site, loop):
    async def main():
        exchange = Exchange(site.app, "/fails")
        with pytest.raises(LookupError):
            await exchange.run()
        return exchange.status, open_context()

    assert loop.run(main()) == (500, None)


def test_a_client_that_goes_away_ends_the_stream_inside_its_scope(site, loop):
    async def main():
        exchange = Exchange(site.app, "/stream")

        async def leave():
            raise OSError("gone")  # as servers of ASGI 2.4 do

        exchange.on_body = leave
        with pytest.raises(OSError, match="gone"):
            await exchange.run()
        cancelled = Exchange(site.app, "/stream")
        started = asyncio.Event()

        async def note():
            started.set()

        cancelled.on_body = note
        task = asyncio.create_task(cancelled.run())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return exchange

    exchange = loop.run(main())

    assert exchange.body.count(b";") < 3
    assert site.seen == [str(ACME), str(ACME)]


def socket(site: Site, **options: Any) -> Exchange:
    options = {"host": HOSTS[ACME], **options}
    return Exchange(site.app, "/ws", type="websocket", scheme="ws", subprotocols=[], **options)


def test_a_websocket_is_of_its_tenant_for_as_long_as_it_is_open(site, loop):
    async def main():
        exchange = socket(site)
        for message in ("connect", "receive", "receive", "disconnect"):
            extra = {"text": "?"} if message == "receive" else {"code": 1000} if message == "disconnect" else {}
            exchange.incoming.put_nowait({"type": f"websocket.{message}", **extra})
        return await exchange.run()

    sent = loop.run(main()).sent

    assert [m["text"] for m in sent if m["type"] == "websocket.send"] == [f'["{title(ACME)}"]'] * 2
    assert site.seen == [str(ACME)]


@pytest.mark.parametrize("host", ["nobody.app.example", HOSTS[BOLT], "evil.test"])
def test_a_websocket_is_refused_before_it_is_accepted(site, loop, host):
    async def main():
        plain, able = socket(site, host=host), socket(site, host=host, extensions={"websocket.http.response": {}})
        for exchange in (plain, able):
            exchange.incoming.put_nowait({"type": "websocket.connect"})
            await exchange.run()
        return plain, able

    plain, able = loop.run(main())

    assert plain.sent == [{"type": "websocket.close", "code": 1008}]
    assert able.status == 404
    assert able.body == b'{"detail":"Not Found"}'


def test_unknown_and_forbidden_are_the_same_messages_after_the_same_lookups(site, loop, register):
    async def main():
        hosts = ["nobody.app.example", HOSTS[BOLT], "idle.app.example"]
        return [
            await site.get("/", host=host, user="ada", method=method) for method in ("GET", "HEAD") for host in hosts
        ]

    answers = loop.run(main())

    assert answers[0].status == 404
    assert answers[0].sent == answers[1].sent == answers[2].sent
    assert answers[3].sent == answers[4].sent == answers[5].sent
    assert answers[3].body == b""
    assert answers[3].headers == answers[0].headers
    assert register.asked == [("ada", "nobody"), ("ada", "bolt"), ("ada", "idle")]


def test_a_header_that_the_client_writes_moves_nobody(site, loop):
    forged = [(name, b"bolt.app.example") for name in (b"x-forwarded-host", b"x-tenant", b"x-tenant-id", b"forwarded")]

    assert loop.run(site.get("/", headers=forged)).body == f'["{title(ACME)}"]'.encode()
    assert loop.run(site.get("/", headers=[(b"host", b"bolt.app.example")])).status == 404, "two Host headers"
    assert loop.run(site.get("/", user=None)).status == 401


def test_a_public_path_has_no_scope_even_where_the_server_runs_in_one(site, loop):
    async def main():
        exchange = Exchange(site.app, "/health", user=None)
        with tenant_scope(BOLT), pytest.raises(NoTenantError):
            await exchange.run()
        return exchange

    exchange = loop.run(main())
    assert exchange.status == 500
    assert str(BOLT).encode() not in exchange.body


def test_an_outer_scope_is_not_the_requests_and_comes_back_after_it(site, loop):
    async def main():
        with tenant_scope(BOLT):
            body = (await site.get("/", ACME)).body
            return body, str(current_tenant())

    assert loop.run(main()) == (f'["{title(ACME)}"]'.encode(), str(BOLT))


def test_lifespan_passes_untouched(site, loop, register):
    async def main():
        exchange = Exchange(site.app, type="lifespan")
        for message in ("startup", "shutdown"):
            exchange.incoming.put_nowait({"type": f"lifespan.{message}"})
        return await exchange.run()

    assert [m["type"] for m in loop.run(main()).sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert site.started == [None]
    assert register.asked == []


@pytest.mark.parametrize("outer", ["", "/outer"])
@pytest.mark.parametrize("full", [True, False], ids=["path-with-root", "path-without-root"])
def test_an_app_below_a_path_is_mounted_there(shop, register, loop, outer, full):
    site = Site(shop, register, tenant_from=FromPath("/t"))

    def at(path: str) -> Any:
        return site.get((outer if full else "") + path, root_path=outer, host="any.test", user="ada")

    async def main():
        answers = [
            await at(path) for path in ("/t/acme/", "/t/acme/link", "/t/acme/inner/", "/t/bolt/", "/t/nobody/", "/")
        ]
        await site.close()
        return answers

    own, link, inner, *refused = loop.run(main())

    assert own.body == f'["{title(ACME)}"]'.encode()
    assert link.body.decode().split() == [f"http://any.test{outer}/t/acme/", f"{outer}/t/acme"]
    assert inner.body.decode().split() == [f"http://any.test{outer}/t/acme/", f"{outer}/t/acme/inner"]
    assert [answer.status for answer in refused] == [404, 404, 404]
    assert refused[0].sent == refused[1].sent == refused[2].sent


def test_only_its_own_members_learn_of_a_suspension_where_the_gate_tells_them(shop, register, loop):
    site = Site(shop, register, suspended=SUSPENDED)

    async def main():
        answers = [(await site.get("/", host="idle.app.example", user=user)).status for user in ("ada", "bob")]
        await site.close()
        return answers

    assert loop.run(main()) == [403, 404]


def test_a_lookup_may_be_awaited_and_none_of_the_asked_runs_in_a_scope(shop, register, loop):
    scopes: list[object] = []

    async def authenticate(request):
        scopes.append(open_context())
        return register.authenticate(request)

    async def lookup(user, name):
        scopes.append(open_context())
        return register.lookup(user, name)

    site = Site(shop, register, authenticate=authenticate, lookup=lookup)

    async def main():
        with tenant_scope(BOLT):
            answer = await site.get()
        await site.close()
        return answer.body

    assert loop.run(main()) == f'["{title(ACME)}"]'.encode()
    assert scopes == [None, None]


def test_without_the_middleware_nothing_is_read(site, loop):
    site.app.user_middleware.pop(0)

    with pytest.raises(NoTenantError):
        loop.run(site.get())


def test_fastapi_dependencies_begin_and_end_inside_the_scope(shop, register, loop):
    engine = protect(create_async_engine(shop.database.url(shop.app, "asyncpg")))
    threads = protect(create_engine(shop.database.url(shop.app, "psycopg")))
    ends: list[tuple[str, str | None, list[str]]] = []

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session
            await session.commit()
            ends.append(("async", current_user(), list(await session.scalars(TITLES))))

    def sync_session() -> Iterator[Session]:
        with Session(threads) as session:
            yield session
            ends.append(("sync", current_user(), list(session.scalars(TITLES))))

    app = FastAPI()

    @app.get("/")
    async def both(
        tenant: CurrentTenant,
        user: CurrentUser,
        one: Annotated[AsyncSession, Depends(session)],
        other: Annotated[Session, Depends(sync_session)],
    ) -> list[str | None]:
        return [str(tenant), user, *(await one.scalars(TITLES)), *other.scalars(TITLES)]

    @app.get("/stream")
    async def stream(one: Annotated[AsyncSession, Depends(session)]) -> FastAPIStream:
        async def rows() -> AsyncIterator[str]:
            for _ in range(2):
                yield f"{list(await one.scalars(TITLES))}"

        return FastAPIStream(rows())

    @app.get("/health")
    async def health(tenant: CurrentTenant) -> str:
        return str(tenant)

    guarded = TenantMiddleware(app, register.gate())

    async def main():
        answers = [await Exchange(guarded, path, host=HOSTS[BOLT], user="bob").run() for path in ("/", "/stream")]
        with pytest.raises(NoTenantError):
            await Exchange(guarded, "/health", user=None).run()
        await engine.dispose()
        threads.dispose()
        return [answer.body.decode() for answer in answers]

    both_answer, streamed = loop.run(main())

    assert both_answer == f'["{BOLT}","bob","{title(BOLT)}","{title(BOLT)}"]'
    assert streamed == f"['{title(BOLT)}']" * 2
    own = [title(BOLT)]
    assert ends == [("sync", "bob", own), ("async", "bob", own), ("async", "bob", own)]


def test_the_gate_tells_what_a_request_entered_inside_its_scope(shop, register, loop):
    told: list[tuple[Any, Any]] = []
    site = Site(shop, register, entered=lambda context: told.append((context, open_context())))

    async def main():
        await site.get("/", BOLT)
        await site.get("/", host="nobody.app.example")
        with pytest.raises(NoTenantError):
            await site.get("/health")
        await site.close()

    loop.run(main())

    assert [(str(context.tenant), context.user) for context, _ in told] == [(str(BOLT), "bob")]
    assert told[0][0] == told[0][1]
