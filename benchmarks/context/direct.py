"""One statement through the drivers themselves: bare, with a tenant as it is commonly done, and ours."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg

from benchmarks.context import database
from benchmarks.context.database import KEY, SIGNED, TENANT, Url
from benchmarks.context.timing import AsyncWay, Contest, Way
from tenantry import tenant_scope
from tenantry.session import asyncpg as ours_asyncpg
from tenantry.session.protection import Protection
from tenantry.session.psycopg import AsyncTenantConnection, TenantConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["signed", "single_statement", "single_statement_async", "single_statement_asyncpg"]

_BARE = "SELECT id, title FROM bench.items_bare WHERE id = %s"
_OURS = "SELECT id, title FROM bench_ours.items WHERE id = %s"
_SIGNED = "SELECT id, title FROM bench_signed.items WHERE id = %s"
_SET = "SELECT set_config('app.tenant_id', %s, true)"

OURS = "tenantry"
BARE = "bare, in autocommit"
NAIVE = "BEGIN, set_config, the statement, COMMIT"


def _prepares(url: Url) -> dict[str, Any]:
    """Beside PgBouncer before 1.21 a driver may prepare nothing; ours finds that out by itself."""
    return {"prepare_threshold": None} if url.pooled else {}


def single_statement(network: str, url: Url) -> Contest:
    """Read one row with psycopg."""

    @contextlib.contextmanager
    def bare() -> Generator[Way]:
        with psycopg.connect(url.dsn(), autocommit=True, **_prepares(url)) as conn:
            yield Way(lambda number: _id(conn.execute(_BARE, (number,)).fetchone()))

    @contextlib.contextmanager
    def naive() -> Generator[Way]:
        with psycopg.connect(url.of(database.OURS).dsn(), **_prepares(url)) as conn:

            def read(number: int) -> int:
                conn.execute(_SET, (str(TENANT),))
                found = _id(conn.execute(_OURS, (number,)).fetchone())
                conn.commit()
                return found

            yield Way(read)

    @contextlib.contextmanager
    def ours() -> Generator[Way]:
        with TenantConnection.connect(url.of(database.OURS).dsn(), autocommit=True) as conn, tenant_scope(TENANT):
            yield Way(lambda number: _id(conn.execute(_OURS, (number,)).fetchone()))

    return Contest(
        f"One statement, psycopg, {network}",
        OURS,
        {BARE: bare, OURS: ours, NAIVE: naive},
        {BARE: 1.15 if url.pooled else 1.05},
        slow=url.slow,
    )


def single_statement_async(network: str, url: Url) -> Contest:
    """Read one row with psycopg in asyncio."""

    @contextlib.contextmanager
    def bare() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner:
            conn = runner.run(psycopg.AsyncConnection.connect(url.dsn(), autocommit=True, **_prepares(url)))

            async def read(number: int) -> int:
                return _id(await (await conn.execute(_BARE, (number,))).fetchone())

            yield AsyncWay(read, runner.run)
            runner.run(conn.close())

    @contextlib.contextmanager
    def ours() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner, tenant_scope(TENANT):
            conn = runner.run(AsyncTenantConnection.connect(url.of(database.OURS).dsn(), autocommit=True))

            async def read(number: int) -> int:
                return _id(await (await conn.execute(_OURS, (number,))).fetchone())

            yield AsyncWay(read, _in_scope(runner))
            runner.run(conn.close())

    return Contest(
        f"One statement, psycopg in asyncio, {network}",
        OURS,
        {BARE: bare, OURS: ours},
        {BARE: 1.15 if url.pooled else 1.05},
        slow=url.slow,
    )


def single_statement_asyncpg(network: str, url: Url) -> Contest:
    """Read one row with asyncpg, which can send one message at a time."""
    settings: dict[str, Any] = {"statement_cache_size": 0} if url.pooled else {}

    async def fetch(conn: Any, query: str, number: int) -> int:
        return _id(await conn.fetchrow(query.replace("%s", "$1"), number))

    @contextlib.contextmanager
    def bare() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner:
            conn = runner.run(asyncpg.connect(url.dsn(), **settings))
            yield AsyncWay(lambda number: fetch(conn, _BARE, number), runner.run)
            runner.run(conn.close())

    @contextlib.contextmanager
    def transaction() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner:
            conn = runner.run(asyncpg.connect(url.dsn(), **settings))

            async def read(number: int) -> int:
                async with conn.transaction():
                    return await fetch(conn, _BARE, number)

            yield AsyncWay(read, runner.run)
            runner.run(conn.close())

    @contextlib.contextmanager
    def ours() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner, tenant_scope(TENANT):
            conn = runner.run(
                asyncpg.connect(url.of(database.OURS).dsn(), connection_class=ours_asyncpg.TenantConnection)
            )
            yield AsyncWay(lambda number: fetch(conn, _OURS, number), _in_scope(runner))
            runner.run(conn.close())

    return Contest(
        f"One statement, asyncpg, {network}",
        OURS,
        {BARE: bare, OURS: ours, "its transaction() without a tenant": transaction},
        {"its transaction() without a tenant": 1.05},
        slow=url.slow,
    )


def signed(network: str, url: Url) -> Contest:
    """Read one row by its key, with the tenant's id as the context and with a token."""

    @contextlib.contextmanager
    def plain() -> Generator[Way]:
        with TenantConnection.connect(url.of(database.OURS).dsn(), autocommit=True) as conn, tenant_scope(TENANT):
            yield Way(lambda number: _id(conn.execute(_OURS, (number,)).fetchone()))

    @contextlib.contextmanager
    def with_token() -> Generator[Way]:
        kind = TenantConnection.told(Protection(key=KEY))
        with kind.connect(url.of(SIGNED).dsn(), autocommit=True) as conn, tenant_scope(TENANT):
            yield Way(lambda number: _id(conn.execute(_SIGNED, (number,)).fetchone()))

    return Contest(
        f"A row by its key, psycopg, {network}",
        "a signed context",
        {"a context that is not signed": plain, "a signed context": with_token},
        {"a context that is not signed": 1.15},
    )


def _id(row: Any) -> int:
    return row[0]


def _in_scope(runner: asyncio.Runner) -> Callable[[Any], list[float]]:
    """Run a coroutine with the tenant of the scope: a `Runner` keeps the context that it was made in."""

    async def scoped(work: Awaitable[list[float]]) -> list[float]:
        with tenant_scope(TENANT):
            return await work

    return lambda work: runner.run(scoped(work))
