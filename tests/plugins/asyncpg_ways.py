"""Ways to the shop for plain asyncpg: direct, without prepared statements, through PgBouncer, by documented API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

import asyncpg
import pytest

from tenantry.session.asyncpg import TenantConnection, create_pool
from tenantry.session.asyncpg.documented import DocumentedConnection
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.shop import Shop


class Way:
    """A way to the shop, and asyncpg connections on it."""

    def __init__(
        self, shop: Shop, url: str, *, prepares: bool = True, connection_class: Any = TenantConnection
    ) -> None:
        self.shop = shop
        self.connection_class = connection_class
        self.url = url.replace("+asyncpg", "")
        self.options: dict[str, Any] = {} if prepares else {"statement_cache_size": 0}

    @asynccontextmanager
    async def connected(self, connection_class: Any = None, **options: Any) -> AsyncIterator[Any]:
        chosen = connection_class or self.connection_class
        conn = await asyncpg.connect(self.url, connection_class=chosen, **{**self.options, **options})
        try:
            yield conn
        finally:
            await conn.close(timeout=5)

    def run(self, work: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
        async def connected() -> Any:
            async with self.connected(**options) as conn:
                return await work(conn)

        with asyncio.Runner() as runner:
            return runner.run(connected(), context=copy_context())


GUARDED = ["direct", "direct without a statement cache", "pgbouncer"]


@pytest.fixture(params=[*GUARDED, "documented API alone"])
def way(shop: Shop, request: pytest.FixtureRequest) -> Way:
    url = shop.database.url(shop.app, "asyncpg")
    if request.param == "pgbouncer":
        bouncer: Bouncer = request.getfixturevalue("pgbouncer")
        return Way(shop, bouncer.url(shop.database, shop.app, "asyncpg"), prepares=False)
    if request.param == "documented API alone":
        return Way(shop, url, connection_class=DocumentedConnection)
    return Way(shop, url, prepares=request.param == "direct")


@pytest.fixture
def direct(shop: Shop) -> Way:
    return Way(shop, shop.database.url(shop.app, "asyncpg"))


class Pools:
    """Pools of one connection to one server, so that what a tenant leaves is met by the next."""

    def __init__(self, shop: Shop, url: str, **options: Any) -> None:
        self.shop = shop
        self.url = url.replace("+asyncpg", "")
        self.options = {"min_size": 1, "max_size": 1, **options}

    @asynccontextmanager
    async def made(self, **options: Any) -> AsyncIterator[Any]:
        async with create_pool(self.url, **{**self.options, **options}) as pool:
            yield pool

    def run(self, work: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
        async def pooled() -> Any:
            async with self.made(**options) as pool:
                return await work(pool)

        with asyncio.Runner() as runner:
            return runner.run(pooled(), context=copy_context())


@pytest.fixture(params=["direct", "pgbouncer", "documented API alone"])
def pools(shop: Shop, request: pytest.FixtureRequest) -> Pools:
    if request.param == "pgbouncer":
        bouncer: Bouncer = request.getfixturevalue("pgbouncer")
        return Pools(shop, bouncer.url(shop.database, shop.app, "asyncpg"))
    options = {"connection_class": DocumentedConnection} if request.param == "documented API alone" else {}
    return Pools(shop, shop.database.url(shop.app, "asyncpg"), **options)
