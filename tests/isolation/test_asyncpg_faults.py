"""Pools of asyncpg: cancelled tasks, timeouts, lost connections, transactions that nobody ended."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from psycopg import sql

from tenantry import NoTenantError, tenant_scope
from tenantry.session.asyncpg import TenantConnection
from tests.plugins.asyncpg_ways import Pools
from tests.plugins.shop import ACME, BOLT, Shop

ALL = "SELECT tenant_id FROM shop.documents"
TENANTS = "SELECT array_agg(DISTINCT tenant_id) FROM shop.documents"


SLEEP = "SELECT pg_catalog.pg_sleep(30)"


async def sleep_in_transaction(conn: Any, **options: Any) -> None:
    async with conn.transaction():
        await conn.fetch(SLEEP, **options)


async def wait_at_commit(conn: Any, **options: Any) -> None:
    await conn.execute("INSERT INTO shop.slow VALUES ($1)", 1, **options)


SLOW: dict[str, Callable[..., Awaitable[Any]]] = {
    "fetch": lambda conn, **options: conn.fetch(SLEEP, **options),
    "execute": lambda conn, **options: conn.execute(SLEEP, **options),
    "a block": lambda conn, **options: conn.execute(f"DO $$ BEGIN PERFORM pg_sleep(30); END $$; {SLEEP}", **options),
    "many": lambda conn, **options: conn.executemany("SELECT pg_sleep($1)", [(0.0,), (30.0,)], **options),
    "a transaction": sleep_in_transaction,
    "a block that waits for its commit": wait_at_commit,
}


@pytest.fixture
def slow_commit(shop: Shop) -> None:
    with shop.admin() as admin:
        admin.execute("CREATE TABLE shop.slow (id int)")
        admin.execute(
            "CREATE FUNCTION shop.wait() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_catalog.pg_sleep(30); RETURN NULL; END $$"
        )
        admin.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON shop.slow DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION shop.wait()"
        )
        admin.execute(sql.SQL("GRANT INSERT ON shop.slow TO {}").format(sql.Identifier(shop.app)))


@pytest.mark.usefixtures("slow_commit")
@pytest.mark.parametrize("how", ["cancelled", "timed out by asyncio", "timed out by asyncpg"])
def test_a_statement_that_is_cut_short_leaves_a_connection_that_works_for_the_next(
    pools: Pools, how: str, request: pytest.FixtureRequest
):
    slow_ones = dict(SLOW)
    if "documented" in request.node.callspec.id and how == "timed out by asyncpg":
        slow_ones.pop("a block that waits for its commit")  # asyncpg's own commit takes no timeout

    async def cut_short(pool: Any, do: Callable[..., Awaitable[Any]]) -> None:
        async def slow(**options: Any) -> None:
            with tenant_scope(ACME, user="ann"):
                async with pool.acquire() as conn:
                    await do(conn, **options)

        if how == "cancelled":
            task = asyncio.create_task(slow())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(TimeoutError):
                await (slow(timeout=0.1) if how == "timed out by asyncpg" else asyncio.wait_for(slow(), 0.1))

    async def work(pool: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, do in slow_ones.items():
            await cut_short(pool, do)
            with pytest.raises(NoTenantError):
                await pool.fetchval(TENANTS)
            with tenant_scope(BOLT):
                seen[name] = await pool.fetchval(TENANTS), await pool.fetchval("SELECT current_setting('app.user_id')")
        return seen

    seen = pools.run(work)

    assert seen == dict.fromkeys(slow_ones, ([BOLT], ""))


def test_a_commit_that_was_cut_short_is_settled_before_the_next_statement(shop: Shop, slow_commit: None):
    url = shop.database.url(shop.app, "asyncpg").replace("+asyncpg", "")

    async def work() -> tuple[Any, Any]:
        conn = await asyncpg.connect(url, connection_class=TenantConnection)
        with tenant_scope(ACME):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wait_at_commit(conn), 0.2)
            mine = await conn.fetchval(TENANTS)
        with tenant_scope(BOLT):
            theirs = await conn.fetchval(TENANTS)
        await conn.close()
        return mine, theirs

    assert asyncio.run(work()) == ([ACME], [BOLT])


def test_two_tasks_cannot_use_one_connection_at_once(shop: Shop):
    url = shop.database.url(shop.app, "asyncpg").replace("+asyncpg", "")

    async def work() -> list[Any]:
        conn = await asyncpg.connect(url, connection_class=TenantConnection)

        async def one(tenant: Any, send: Callable[..., Awaitable[Any]]) -> Any:
            with tenant_scope(tenant):
                try:
                    return await send(conn)
                except asyncpg.InterfaceError:
                    return "refused"

        def many(conn: Any) -> Any:
            return conn.executemany("SELECT pg_catalog.pg_sleep($1)", [(0.01,), (0.01,)])

        seen: list[Any] = []
        for send in (many, lambda conn: conn.execute("SELECT 1"), lambda conn: conn.fetchval(TENANTS)):
            seen += await asyncio.gather(one(ACME, many), one(BOLT, send), one(BOLT, send))
        await conn.close()
        return seen

    assert asyncio.run(work()) == [None, "refused", "refused"] * 3


def test_a_connection_that_died_is_replaced_and_the_error_is_asyncpgs(pools: Pools):
    async def work(pool: Any) -> list[Any]:
        seen: list[Any] = []
        for do in (lambda conn: conn.fetch(ALL), lambda conn: conn.execute(ALL), in_transaction):
            with tenant_scope(ACME):
                async with pool.acquire() as conn:
                    with conn.unguarded():
                        pid = await conn.fetchval("SELECT pg_catalog.pg_backend_pid()")
                    with pools.shop.admin() as admin:
                        admin.execute("SELECT pg_catalog.pg_terminate_backend(%s, 5000)", [pid])
                    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                        await do(conn)
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await pool.fetch(ALL)  # PgBouncer may find out only now
                seen.append(await pool.fetchval(TENANTS))
        return seen

    async def in_transaction(conn: Any) -> None:
        async with conn.transaction():
            await conn.fetch(ALL)

    assert pools.run(work) == [[ACME]] * 3


def test_a_transaction_left_open_is_rolled_back_outside_any_scope(pools: Pools):
    async def work(pool: Any) -> tuple[Any, Any]:
        conn = await pool.acquire()
        with tenant_scope(ACME):
            await conn.transaction().start()
            await conn.execute("INSERT INTO shop.documents (title) VALUES ('undone')")
        await pool.release(conn)
        with tenant_scope(ACME):
            titles = [row[0] for row in await pool.fetch("SELECT title FROM shop.documents")]
        with tenant_scope(BOLT):
            return titles, await pool.fetchval(TENANTS)

    errors: list[Any] = []

    async def quiet(pool: Any) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        return await work(pool)

    assert pools.run(quiet) == ([f"of {ACME}"], [BOLT])
    assert ["active transaction" in error["message"] for error in errors] == [True]
