"""Guarded psycopg connections of every kind behind one face: sync and async, autocommit or not, direct or pooled."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, closing
from contextvars import copy_context
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pytest
from psycopg import AsyncConnection, sql

from tenantry.session.protection import DEFAULT, Protection
from tenantry.session.psycopg import AsyncTenantConnection, TenantConnection, unguarded
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.shop import Shop


async def awaited(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


async def fetched(cursor: Any) -> list[Any]:
    return await awaited(cursor.fetchall())


@dataclass
class Face:
    """A connection of either kind, awaited where it must be."""

    conn: Any

    @property
    def is_async(self) -> bool:
        return isinstance(self.conn, AsyncConnection)

    @property
    def state(self) -> tuple[str, int]:
        return self.conn.info.transaction_status.name, int(self.conn.pgconn.pipeline_status)

    async def cursor(self, query: Any, params: Any = None, **options: Any) -> Any:
        return await awaited(self.conn.execute(query, params, **options))

    async def rows(self, query: Any, params: Any = None, **options: Any) -> list[Any]:
        cursor = await self.cursor(query, params, **options)
        return await awaited(cursor.fetchall()) if cursor.description else []

    async def sets(self, query: Any) -> list[list[Any]]:
        """The rows of each statement of *query*."""
        cursor = await self.cursor(query)
        found = [await awaited(cursor.fetchall())]
        while cursor.nextset():
            found.append(await awaited(cursor.fetchall()))
        return found

    async def many(self, query: Any, rows: Any, *, returning: bool = False) -> list[Any]:
        cursor = self.conn.cursor()
        await awaited(cursor.executemany(query, rows, returning=returning))
        if not returning:
            return []
        found = list(await awaited(cursor.fetchall()))
        while cursor.nextset():
            found += await awaited(cursor.fetchall())
        return found

    async def stream(self, query: Any, *, first: Literal[1] | None = None) -> list[Any]:
        rows = self.conn.cursor().stream(query)
        if self.is_async:
            async with aclosing(rows):
                return [await anext(rows)] if first == 1 else [row async for row in rows]
        with closing(rows):
            return [next(rows)] if first == 1 else list(rows)

    async def copy_out(self, query: Any) -> list[Any]:
        if self.is_async:
            async with self.conn.cursor().copy(query) as copy:
                return [row[0] async for row in copy.rows()]
        with self.conn.cursor().copy(query) as copy:
            return [row[0] for row in copy.rows()]

    async def copy_in(self, query: Any, rows: Any) -> None:
        if self.is_async:
            async with self.conn.cursor().copy(query) as copy:
                for row in rows:
                    await copy.write_row(row)
        else:
            with self.conn.cursor().copy(query) as copy:
                for row in rows:
                    copy.write_row(row)

    async def server_side(self, query: Any, **options: Any) -> list[Any]:
        if self.is_async:
            async with self.conn.cursor("c", **options) as cursor:
                await cursor.execute(query)
                return await cursor.fetchmany(1) + [row async for row in cursor]
        with self.conn.cursor("c", **options) as cursor:
            cursor.execute(query)
            return cursor.fetchmany(1) + list(cursor)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        if self.is_async:
            async with self.conn.transaction():
                yield
        else:
            with self.conn.transaction():
                yield

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[None]:
        if self.is_async:
            async with self.conn.pipeline():
                yield
        else:
            with self.conn.pipeline():
                yield

    async def call(self, name: str, *args: Any) -> Any:
        return await awaited(getattr(self.conn, name)(*args))

    async def commit(self) -> None:
        await self.call("commit")

    async def rollback(self) -> None:
        await self.call("rollback")


LEFT = "SELECT coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.user_id', true), '')"


async def settings_left(face: Face) -> Any:
    """What the server still has of tenant and user, read round the guard."""
    await face.rollback()
    with unguarded(face.conn):
        found = await face.rows(LEFT)
        await face.rollback()
    return found


ALL = "SELECT tenant_id FROM shop.documents"


async def copied(face: Face) -> list[Any]:
    return [(row,) for row in await face.copy_out("COPY (SELECT tenant_id FROM shop.documents) TO STDOUT")]


async def server_side(face: Face) -> list[Any]:
    async with face.transaction():
        return await face.server_side(ALL)


async def batch(face: Face) -> list[Any]:
    return await face.many(f"{ALL} WHERE title <> %s", [("a",)], returning=True)


async def pipelined(face: Face) -> list[Any]:
    async with face.pipeline():
        first, second = await face.cursor(ALL), await face.cursor(ALL)
        found = [await fetched(first), await fetched(second)]
    assert found[0] == found[1]
    return found[0]


WAYS = {
    "one statement": lambda face: face.rows(ALL),
    "parameters": lambda face: face.rows(f"{ALL} WHERE title <> %s", ("x",)),
    "prepared": lambda face: face.rows(f"{ALL} WHERE title <> %s", ("x",), prepare=True),
    "binary": lambda face: face.rows(f"{ALL} WHERE title <> %s", ("x",), binary=True),
    "composed": lambda face: face.rows(sql.SQL("SELECT {} FROM shop.documents").format(sql.Identifier("tenant_id"))),
    "bytes": lambda face: face.rows(ALL.encode()),
    "stream": lambda face: face.stream(ALL),
    "copy": copied,
    "server-side cursor": server_side,
    "batch": batch,
    "pipeline": pipelined,
}

Work = Callable[[Face], Coroutine[Any, Any, Any]]

KINDS = tuple(product(("sync", "async"), (True, False), ("direct", "pooled")))


@dataclass
class OnEach:
    """Run a test's work on a connection of each kind, one after the other; with each it begins anew."""

    shop: Shop
    bouncer: Bouncer
    classes: tuple[Any, Any] = (TenantConnection, AsyncTenantConnection)

    def __call__(
        self,
        work: Work,
        *,
        autocommit: bool | None = None,
        protection: Protection = DEFAULT,
        kinds: tuple[str, ...] = ("direct", "pooled"),
        **options: Any,
    ) -> list[Any]:
        found: list[Any] = []
        for kind, commits, way in KINDS:
            if autocommit in {None, commits} and way in kinds:
                self.shop.start_again()
                try:
                    with asyncio.Runner() as runner:
                        told = options | {"autocommit": commits}
                        run = self._run(work, kind, self.dsn(way), protection, told)
                        found.append(runner.run(run, context=copy_context()))
                except BaseException as exc:
                    exc.add_note(f"on a {kind} connection, {way}, {'autocommit' if commits else 'in transactions'}")
                    raise
        return found

    def dsn(self, way: str) -> str:
        database, app = self.shop.database, self.shop.app
        return database.dsn(app) if way == "direct" else self.bouncer.dsn(database, app)

    async def _run(self, work: Work, kind: str, dsn: str, protection: Protection, options: dict[str, Any]) -> Any:
        conn = (
            self.classes[0].told(protection).connect(dsn, **options)
            if kind == "sync"
            else await self.classes[1].told(protection).connect(dsn, **options)
        )
        try:
            return await work(Face(conn))
        finally:
            await awaited(conn.close())


@pytest.fixture
def on_each(shop: Shop, pgbouncer: Bouncer) -> OnEach:
    return OnEach(shop, pgbouncer)
