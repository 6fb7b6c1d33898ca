"""The tenant scope over plain psycopg: the same work on a connection and an async connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, errors
from psycopg.pq import TransactionStatus

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.session.errors import TransactionOpenError
from tenantry.session.psycopg import async_tenant_transaction, tenant_transaction
from tests.plugins.shop import ACME, BOLT, Shop

ALL = "SELECT tenant_id FROM shop.documents"
LEFT = "SELECT coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.user_id', true), '')"


class Sync:
    """A `Connection` behind the face of an async one, so that a test is written once."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        with tenant_transaction(self.conn):
            yield

    async def rows(self, query: Any, params: Any = None) -> list[Any]:
        cursor = self.conn.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    async def stream(self, query: Any) -> list[Any]:
        return list(self.conn.cursor().stream(query))

    async def executemany(self, query: Any, rows: Any) -> None:
        self.conn.cursor().executemany(query, rows)

    async def server_side(self, query: Any) -> list[Any]:
        with self.conn.cursor("c") as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    async def copy_out(self, query: Any) -> list[Any]:
        with self.conn.cursor().copy(query) as copy:
            return [row[0] for row in copy.rows()]

    async def close(self) -> None:
        self.conn.close()


class Async(Sync):
    conn: Any

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with async_tenant_transaction(self.conn):
            yield

    async def rows(self, query: Any, params: Any = None) -> list[Any]:
        cursor = await self.conn.execute(query, params)
        return await cursor.fetchall() if cursor.description else []

    async def stream(self, query: Any) -> list[Any]:
        return [row async for row in self.conn.cursor().stream(query)]

    async def executemany(self, query: Any, rows: Any) -> None:
        await self.conn.cursor().executemany(query, rows)

    async def server_side(self, query: Any) -> list[Any]:
        async with self.conn.cursor("c") as cursor:
            await cursor.execute(query)
            return await cursor.fetchall()

    async def copy_out(self, query: Any) -> list[Any]:
        async with self.conn.cursor().copy(query) as copy:
            return [row[0] async for row in copy.rows()]

    async def close(self) -> None:
        await self.conn.close()


Work = Callable[[Sync], Coroutine[Any, Any, Any]]
Run = Callable[[Work], Any]


@pytest.fixture(params=["plain", "plain autocommit", "async", "async autocommit"])
def run(shop: Shop, request: pytest.FixtureRequest) -> Run:
    dsn = shop.database.dsn(shop.app)
    kind, _, autocommit = request.param.partition(" ")

    async def connected(work: Work) -> Any:
        options: dict[str, Any] = {"autocommit": bool(autocommit)}
        conn = (
            Sync(psycopg.connect(dsn, **options))
            if kind == "plain"
            else Async(await AsyncConnection.connect(dsn, **options))  # type: ignore[arg-type] - Async takes it
        )
        try:
            return await work(conn)
        finally:
            await conn.close()

    def runs(work: Work) -> Any:
        with asyncio.Runner() as runner:
            return runner.run(connected(work), context=copy_context())

    return runs


def test_each_tenant_reads_its_own_rows_on_one_connection(run: Run):
    async def work(conn: Sync) -> list[Any]:
        found: list[Any] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant):
                async with conn.transaction():
                    found.append(await conn.rows(ALL))
        return found

    found = run(work)

    assert found == [[(ACME,)], [(BOLT,)]]


def test_without_a_tenant_nothing_is_sent(run: Run):
    async def work(conn: Sync) -> Any:
        with pytest.raises(NoTenantError):
            async with conn.transaction():
                await conn.rows(ALL)
        return conn.conn.info.transaction_status

    assert run(work) == TransactionStatus.IDLE


def test_without_a_tenant_the_database_refuses_too(run: Run):
    rows = run(lambda conn: conn.rows(ALL))

    assert rows == []


def test_nothing_stays_set_after_commit_or_error(run: Run):
    async def work(conn: Sync) -> list[Any]:
        left: list[Any] = []
        with tenant_scope(ACME, user="ann"):
            async with conn.transaction():
                left += await conn.rows(LEFT)
            left += await conn.rows(LEFT)
            await conn.rows("ROLLBACK") if conn.conn.info.transaction_status else None
            with pytest.raises(errors.DivisionByZero):
                async with conn.transaction():
                    await conn.rows("SELECT 1/0")
        left += await conn.rows(LEFT)
        return left

    assert run(work) == [(str(ACME), "ann"), ("", ""), ("", "")]


def test_an_error_undoes_the_block_and_the_end_commits_it(run: Run, shop: Shop):
    async def work(conn: Sync) -> None:
        with tenant_scope(ACME):
            with suppress(errors.DivisionByZero):
                async with conn.transaction():
                    await conn.rows("INSERT INTO shop.documents (title) VALUES ('undone')")
                    await conn.rows("SELECT 1/0")
            async with conn.transaction():
                await conn.rows("INSERT INTO shop.documents (title) VALUES ('done')")

    run(work)

    assert [title for _, _, title in shop.rows() if title in {"done", "undone"}] == ["done"]


def test_a_block_in_a_block_is_a_savepoint(run: Run, shop: Shop):
    async def work(conn: Sync) -> None:
        with tenant_scope(ACME):
            async with conn.transaction():
                await conn.rows("INSERT INTO shop.documents (title) VALUES ('outer')")
                with suppress(errors.DivisionByZero):
                    async with conn.transaction():
                        await conn.rows("INSERT INTO shop.documents (title) VALUES ('inner')")
                        await conn.rows("SELECT 1/0")
                assert set(await conn.rows(ALL)) == {(ACME,)}

    run(work)

    assert [title for _, _, title in shop.rows() if title in {"inner", "outer"}] == ["outer"]


def test_a_block_of_another_tenant_in_a_block_is_refused(run: Run):
    async def work(conn: Sync) -> None:
        with tenant_scope(ACME):
            async with conn.transaction():
                with tenant_scope(BOLT):
                    async with conn.transaction():
                        pass

    with pytest.raises(TenantChangedError):
        run(work)


SENDING: dict[str, Work] = {
    "execute": lambda conn: conn.rows(ALL),
    "stream": lambda conn: conn.stream(ALL),
    "executemany": lambda conn: conn.executemany("INSERT INTO shop.documents (title) VALUES (%s)", [("x",)]),
    "a server-side cursor": lambda conn: conn.server_side(ALL),
    "copy": lambda conn: conn.copy_out("COPY (SELECT tenant_id FROM shop.documents) TO STDOUT"),
}


@pytest.mark.parametrize("send", SENDING.values(), ids=SENDING)
def test_each_way_to_send_works_in_its_scope_and_is_refused_in_another(run: Run, send: Work):
    async def work(conn: Sync) -> Any:
        with tenant_scope(ACME):
            async with conn.transaction():
                with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                    await send(conn)
                return await send(conn)

    rows = run(work)

    assert rows is None or [str(row[0] if isinstance(row, tuple) else row) for row in rows] == [str(ACME)]


def test_a_connection_in_a_transaction_of_another_making_is_refused(run: Run):
    async def work(conn: Sync) -> None:
        await conn.rows("BEGIN" if conn.conn.autocommit else "SELECT 1")
        with tenant_scope(ACME):
            async with conn.transaction():
                pass

    with pytest.raises(TransactionOpenError, match="commit"):
        run(work)


def test_a_cursor_kept_from_a_block_is_refused_after_it(shop: Shop):
    with psycopg.connect(shop.database.dsn(shop.app), autocommit=True) as conn, tenant_scope(ACME):
        with tenant_transaction(conn):
            cursor = conn.cursor()

        with pytest.raises(TransactionOpenError):
            cursor.execute(ALL)


def test_rows_of_an_executemany_get_the_tenant_from_the_database(shop: Shop):
    # Postgres has no COPY FROM under row security, so this is the way to write many.
    with psycopg.connect(shop.database.dsn(shop.app)) as conn, tenant_scope(ACME), tenant_transaction(conn):
        conn.cursor().executemany("INSERT INTO shop.documents (title) VALUES (%s)", [("many",), ("rows",)])

    assert {title for _, tenant, title in shop.rows() if tenant == ACME} >= {"many", "rows"}


def test_a_task_cancelled_in_a_query_leaves_no_tenant_behind(shop: Shop):
    async def work() -> list[Any]:
        async with await AsyncConnection.connect(shop.database.dsn(shop.app), autocommit=True) as conn:

            async def slow() -> None:
                with tenant_scope(ACME):
                    async with async_tenant_transaction(conn):
                        await conn.execute("SELECT pg_sleep(30)")

            task = asyncio.create_task(slow())
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await (await conn.execute(LEFT)).fetchall()

    assert asyncio.run(work()) == [("", "")]
