"""The way through asyncpg: a pool of guarded connections."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tenantry.session.asyncpg import TenantConnection, create_pool
from tenantry.session.protection import DEFAULT
from tests.isolation.matrix.ways import ALL, Row, Way, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["AsyncpgWay"]


class _Careless(TenantConnection):
    """A connection that is given back as it was left."""

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's signature
        return None


class _Work(Work):
    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def rows(self, query: str) -> list[Row]:
        return [tuple(row) for row in await self.conn.fetch(query)]

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[object]:
        async with self.conn.transaction():
            yield

    async def half_read(self, query: str) -> list[Row]:
        self.unread = self.conn.cursor(query, prefetch=1)
        return [tuple(await anext(aiter(self.unread)))]


class AsyncpgWay(Way):
    """`create_pool` of asyncpg's own kind."""

    name = "asyncpg"

    async def open(self) -> None:
        self.pool = await create_pool(
            self.address.url(),
            protection=replace(DEFAULT, pooler_prepares=self.prepares),
            min_size=self.size,
            max_size=self.size,
            **({"connection_class": _Careless} if self.careless else {}),
        )

    async def close(self) -> None:
        self.pool.terminate()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        async with self.pool.acquire() as conn:
            if self.careless:
                if not conn.is_in_transaction():
                    await conn.transaction().start()
                yield _Work(conn)
                return
            async with conn.transaction():
                yield _Work(conn)

    async def single(self, query: str) -> list[Row]:
        return [tuple(row) for row in await self.pool.fetch(query)]

    async def own_probe(self, query: str) -> list[Row]:
        async with self.pool.acquire() as conn:
            with conn.unguarded():
                return [tuple(row) for row in await conn.fetch(query)]

    def paths(self) -> Mapping[str, Callable[[], Awaitable[list[Any]]]]:
        async def run(path: Callable[[Any], Awaitable[list[Any]]]) -> list[Any]:
            async with self.pool.acquire() as conn:
                return await path(conn)

        return {path.__name__: (lambda path=path: run(path)) for path in _PATHS}


async def fetched(conn: Any) -> list[Any]:
    return [row[0] for row in await conn.fetch(ALL)]


async def one_row(conn: Any) -> list[Any]:
    row = await conn.fetchrow(f"SELECT array_agg(tenant_id) FROM ({ALL}) AS found")
    return row[0] or []


async def one_value(conn: Any) -> list[Any]:
    return await conn.fetchval(f"SELECT array_agg(tenant_id) FROM ({ALL}) AS found") or []


async def prepared(conn: Any) -> list[Any]:
    statement = await conn.prepare(ALL)
    return [row[0] for row in await statement.fetch()]


async def by_cursor(conn: Any) -> list[Any]:
    async with conn.transaction():
        return [row[0] async for row in conn.cursor(ALL, prefetch=1)]


async def copied(conn: Any) -> list[Any]:
    found: list[bytes] = []

    async def keep(data: bytes) -> None:
        found.append(data)

    await conn.copy_from_query(ALL, output=keep)
    return b"".join(found).decode().split()


async def after_many(conn: Any) -> list[Any]:
    await conn.executemany("INSERT INTO shop.documents (title) VALUES ($1)", [("a",), ("b",)])
    return [row[0] for row in await conn.fetch(ALL)]


async def many_with_rows(conn: Any) -> list[Any]:
    rows = await conn.fetchmany(
        "INSERT INTO shop.documents (title) VALUES ($1)"
        " RETURNING (SELECT max(tenant_id::text)::uuid FROM shop.documents)",
        [("a",), ("b",)],
    )
    return [row[0] for row in rows]


_PATHS = [fetched, one_row, one_value, prepared, by_cursor, copied, after_many, many_with_rows]
