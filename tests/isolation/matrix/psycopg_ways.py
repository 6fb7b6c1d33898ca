"""The ways through psycopg: guarded connections, sync and async, and `tenant_transaction` on ordinary ones."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, Connection, errors
from psycopg.pq import TransactionStatus

from tenantry.session.protection import DEFAULT
from tenantry.session.psycopg import AsyncTenantConnection, TenantConnection, unguarded
from tests.isolation.matrix.ways import ALL, Row, Way, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["AsyncPsycopgWay", "PsycopgWay"]


class _SyncConnection:
    """A `Connection` behind the verbs of an async one, so that a way is written once."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn = conn

    async def rows(self, query: Any, **options: Any) -> list[Row]:
        cursor = self.conn.execute(query, **options)
        return cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[object]:
        with self.conn.transaction() as transaction:
            yield transaction

    async def commit(self) -> None:
        self.conn.commit()

    async def rollback(self) -> None:
        self.conn.rollback()

    async def close(self) -> None:
        self.conn.close()

    async def first(self, query: Any) -> list[Row]:
        self.unread: Any = self.conn.cursor("unread")
        self.unread.execute(query)
        self.unread.fetchone()
        return [next(self.conn.cursor().stream(query))]  # psycopg cancels the rest when the generator goes

    async def several(self, query: Any) -> list[Row]:
        cursor = self.conn.execute(query)
        assert cursor.nextset()
        return cursor.fetchall()

    async def stream(self, query: Any) -> list[Row]:
        return list(self.conn.cursor().stream(query))

    async def server_side(self, query: Any) -> list[Row]:
        with self.conn.transaction(), self.conn.cursor("tenants") as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    async def copied(self, query: Any) -> list[Row]:
        with self.conn.cursor().copy(query) as copy:
            copy.set_types(["uuid"])
            return list(copy.rows())

    async def many(self, query: Any) -> list[Row]:
        cursor = self.conn.cursor()
        cursor.executemany(query, [("a",), ("b",)], returning=True)
        found = cursor.fetchall()
        while cursor.nextset():
            found += cursor.fetchall()
        return found

    async def piped(self, query: Any) -> list[Row]:
        with self.conn.pipeline():
            first, second = self.conn.execute(query), self.conn.execute(query)
            return [*first.fetchall(), *second.fetchall()]


class _AsyncConnection(_SyncConnection):
    conn: Any

    async def rows(self, query: Any, **options: Any) -> list[Row]:
        cursor = await self.conn.execute(query, **options)
        return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[object]:
        async with self.conn.transaction() as transaction:
            yield transaction

    async def commit(self) -> None:
        await self.conn.commit()

    async def rollback(self) -> None:
        await self.conn.rollback()

    async def close(self) -> None:
        await self.conn.close()

    async def first(self, query: Any) -> list[Row]:
        self.unread = self.conn.cursor("unread")
        await self.unread.execute(query)
        return [await self.unread.fetchone()]

    async def several(self, query: Any) -> list[Row]:
        cursor = await self.conn.execute(query)
        assert cursor.nextset()
        return await cursor.fetchall()

    async def stream(self, query: Any) -> list[Row]:
        return [row async for row in self.conn.cursor().stream(query)]

    async def server_side(self, query: Any) -> list[Row]:
        async with self.conn.transaction(), self.conn.cursor("tenants") as cursor:
            await cursor.execute(query)
            return await cursor.fetchall()

    async def copied(self, query: Any) -> list[Row]:
        async with self.conn.cursor().copy(query) as copy:
            copy.set_types(["uuid"])
            return [row async for row in copy.rows()]

    async def many(self, query: Any) -> list[Row]:
        cursor = self.conn.cursor()
        await cursor.executemany(query, [("a",), ("b",)], returning=True)
        found = await cursor.fetchall()
        while cursor.nextset():
            found += await cursor.fetchall()
        return found

    async def piped(self, query: Any) -> list[Row]:
        async with self.conn.pipeline():
            first, second = await self.conn.execute(query), await self.conn.execute(query)
            return [*await first.fetchall(), *await second.fetchall()]


class _Work(Work):
    def __init__(self, conn: _SyncConnection) -> None:
        self.conn = conn

    async def rows(self, query: str) -> list[Row]:
        return await self.conn.rows(query)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[object]:
        async with self.conn.transaction():
            yield

    async def half_read(self, query: str) -> list[Row]:
        return await self.conn.first(query)


class PsycopgWay(Way):
    """A pool of `TenantConnection`, with transactions by `conn.transaction()` if *autocommit*, else psycopg's own."""

    waits = False

    def __init__(self, *args: Any, autocommit: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.autocommit = autocommit
        self.idle: list[_SyncConnection] = []

    async def _connect(self) -> _SyncConnection:
        told = TenantConnection.told(replace(DEFAULT, pooler_prepares=self.prepares))
        return _SyncConnection(told.connect(self.address.dsn, autocommit=self.autocommit))

    async def open(self) -> None:
        self.idle = [await self._connect() for _ in range(self.size)]

    async def close(self) -> None:
        for conn in self.idle:
            await conn.close()

    @asynccontextmanager
    async def _checked_out(self) -> AsyncIterator[_SyncConnection]:
        """A connection, given back as psycopg's pool does: rolled back where something is open."""
        conn = self.idle.pop(0)
        try:
            if conn.conn.info.transaction_status != TransactionStatus.IDLE and not self.careless:
                await conn.close()  # it was lost, or its rollback was cancelled
                conn = await self._connect()
            yield conn
        finally:
            try:
                status = conn.conn.info.transaction_status
                if status in {TransactionStatus.INTRANS, TransactionStatus.INERROR} and not self.careless:
                    await conn.rollback()
            finally:
                self.idle.append(conn)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        async with self._checked_out() as conn:
            if self.careless:
                if self.autocommit and conn.conn.info.transaction_status == TransactionStatus.IDLE:
                    self.begun = conn.transaction()
                    await self.begun.__aenter__()
                yield _Work(conn)
            elif self.autocommit:
                async with conn.transaction():
                    yield _Work(conn)
            else:
                yield _Work(conn)
                await conn.commit()

    async def single(self, query: str) -> list[Row]:
        async with self._checked_out() as conn:
            rows = await conn.rows(query)
            if not self.autocommit:
                await conn.commit()
            return rows

    async def own_probe(self, query: str) -> list[Row]:
        async with self._checked_out() as conn:
            with unguarded(conn.conn):
                rows = await conn.rows(query, prepare=False)
                if not self.autocommit:
                    await conn.commit()
                return rows

    def paths(self) -> Mapping[str, Callable[[], Awaitable[list[Any]]]]:
        async def run(verb: str, query: str) -> list[Any]:
            async with self._checked_out() as conn:
                rows = await getattr(conn, verb)(query)
                if not self.autocommit:
                    await conn.commit()
                return [row[0] for row in rows]

        def path(verb: str, query: str = ALL) -> Callable[[], Awaitable[list[Any]]]:
            return lambda: run(verb, query)

        return {
            "execute": path("rows"),
            "stream": path("stream"),
            "server_side": path("server_side"),
            "copy": path("copied", f"COPY ({ALL}) TO STDOUT"),
            "executemany": path(
                "many",
                "INSERT INTO shop.documents (title) VALUES (%s) RETURNING (SELECT max(tenant_id::text)::uuid"
                " FROM shop.documents)",
            ),
            "pipeline": path("piped"),
            "several statements": path("several", f"SELECT 1; {ALL}"),
        }

    async def cancelled(self, query: str) -> None:
        if self.waits:
            await super().cancelled(query)
            return
        try:
            async with self.work() as work:
                await work.rows("SET LOCAL statement_timeout = 30")
                await work.rows(query)
        except errors.QueryCanceled:
            return


class AsyncPsycopgWay(PsycopgWay):
    """The same with `AsyncTenantConnection`."""

    waits = True

    async def _connect(self) -> _SyncConnection:
        told = AsyncTenantConnection.told(replace(DEFAULT, pooler_prepares=self.prepares))
        made: AsyncConnection[Any] = await told.connect(self.address.dsn, autocommit=self.autocommit)
        return _AsyncConnection(made)  # type: ignore[arg-type] - it takes an async one
