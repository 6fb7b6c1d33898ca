"""Pools of asyncpg: what a connection may carry from one tenant to the next, and how a pool is made."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from psycopg import sql

from tenantry import tenant_scope
from tenantry.session.asyncpg import create_pool, texts
from tenantry.session.errors import UnsafeRoleError
from tests.plugins.asyncpg_ways import Pools
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.shop import ACME, BOLT, Shop
from tests.plugins.turns import counting_turns

ALL = "SELECT tenant_id FROM shop.documents"
TENANTS = "SELECT array_agg(DISTINCT tenant_id) FROM shop.documents"


# What one tenant does, and how the next would find it. The statement is sent in every way there is.
LEAVING: dict[str, tuple[str, str]] = {
    "a temporary table": (
        "CREATE TEMP TABLE kept AS SELECT * FROM shop.documents",
        "SELECT count(*) FROM pg_catalog.pg_class WHERE relpersistence = 't'",
    ),
    "a held cursor": (
        "DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM shop.documents",
        "SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable",
    ),
    "LISTEN": ("LISTEN kept", "SELECT count(*) FROM pg_catalog.pg_listening_channels()"),
    "a setting": (
        "SET search_path = pg_temp, public",
        "SELECT (pg_catalog.current_setting('search_path') <> '\"$user\", public')::int",
    ),
    "a setting by a function": (
        "SELECT pg_catalog.set_config('app.tenant_id', 'x', false)",
        "SELECT (pg_catalog.current_setting('app.tenant_id', true) <> '')::int",
    ),
    "an advisory lock": (
        "SELECT pg_catalog.pg_advisory_lock(7)",
        "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()",
    ),
    "a prepared statement": (
        f"PREPARE kept AS SELECT '{ACME}'",
        "SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql",
    ),
    "a block of code": (
        "DO $$ BEGIN PERFORM pg_catalog.pg_advisory_lock(8); END $$",
        "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()",
    ),
}


async def left_by(pool: Any, send: Callable[[Any, str], Awaitable[Any]]) -> dict[str, int]:
    """What is found by probing after each statement that leaves something."""
    found: dict[str, int] = {}
    for name, (statement, probe) in LEAVING.items():
        with tenant_scope(ACME):
            async with pool.acquire() as conn:
                await send(conn, statement)
        async with pool.acquire() as conn:
            with conn.unguarded():
                found[name] = await conn.fetchval(probe)
                await conn.execute("ROLLBACK")  # so that the mutated run begins each probe with nothing
                await conn.execute("DISCARD TEMP; CLOSE ALL; UNLISTEN *; RESET ALL; SELECT pg_advisory_unlock_all()")
                with suppress(asyncpg.InvalidSQLStatementNameError):
                    await conn.execute("DEALLOCATE kept")
    return found


async def alone(conn: Any, statement: str) -> None:
    await conn.execute(statement)


async def fetched(conn: Any, statement: str) -> None:
    await conn.fetch(statement)


async def among_others(conn: Any, statement: str) -> None:
    await conn.execute(f"SELECT 1; {statement}; SELECT 2")


async def in_a_transaction(conn: Any, statement: str) -> None:
    async with conn.transaction():
        await conn.fetch("SELECT 1")
        await conn.execute(statement)


async def in_a_failed_transaction(conn: Any, statement: str) -> None:
    with suppress(asyncpg.DivisionByZeroError):
        async with conn.transaction():
            await conn.execute(statement)
            await conn.fetch("SELECT 1/0")


async def before_an_error(conn: Any, statement: str) -> None:
    with suppress(asyncpg.DivisionByZeroError):
        await conn.execute(f"{statement}; SELECT 1/0")


SENDING = [alone, fetched, among_others, in_a_transaction, in_a_failed_transaction, before_an_error]


def test_the_next_tenant_finds_nothing_on_the_connection(pools: Pools):
    async def work(pool: Any) -> dict[str, dict[str, int]]:
        return {send.__name__: await left_by(pool, send) for send in SENDING}

    found = pools.run(work)

    assert found == {send.__name__: dict.fromkeys(LEAVING, 0) for send in SENDING}


def test_without_the_cleaning_the_next_tenant_finds_it_all(pools: Pools, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts, "clean_before", lambda left: ())
    monkeypatch.setattr(texts, "clean_after", lambda left: ())

    found = pools.run(lambda pool: left_by(pool, in_a_transaction))

    assert [name for name, count in found.items() if not count] == []


def test_lastval_of_one_tenant_is_not_the_next_ones(pools: Pools):
    with pools.shop.admin() as admin:
        admin.execute("CREATE SEQUENCE shop.numbers")
        role = sql.Identifier(pools.shop.app)
        admin.execute(sql.SQL("GRANT USAGE ON SEQUENCE shop.numbers TO {}").format(role))

    async def work(pool: Any) -> None:
        with tenant_scope(ACME):
            assert await pool.fetchval("SELECT nextval('shop.numbers')") == 1
        with tenant_scope(BOLT), pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await pool.fetchval("SELECT lastval()")

    pools.run(work)


def test_a_connection_goes_back_without_a_message_where_nothing_was_left(shop: Shop):
    async def work() -> list[int]:
        seen: list[int] = []
        cluster = shop.database.cluster
        async with counting_turns("127.0.0.1", cluster.port) as turns:
            url = shop.database.url(shop.app, "asyncpg").replace("+asyncpg", "")
            async with create_pool(url, host="127.0.0.1", port=turns.port, min_size=1, max_size=1) as pool:
                with tenant_scope(ACME):
                    for _ in range(3):
                        turns.start_again()
                        await pool.fetch(ALL)
                        seen.append(turns.count)
        return seen

    assert asyncio.run(work())[1:] == [1, 1]


def test_a_pool_prepares_statements_only_where_they_can_be_held(pools: Pools, request: pytest.FixtureRequest):
    async def work(pool: Any) -> list[Any]:
        with tenant_scope(ACME):
            await pool.fetch(ALL)
            return [row[0] for row in await pool.fetch("SELECT statement FROM pg_catalog.pg_prepared_statements")]

    held = pools.run(work)

    assert (ALL in held) == ("pgbouncer" not in request.node.callspec.id)


def test_a_size_of_the_cache_that_is_given_is_kept(shop: Shop):
    pools = Pools(shop, shop.database.url(shop.app, "asyncpg"))

    async def work(pool: Any) -> list[Any]:
        with tenant_scope(ACME):
            await pool.fetch(ALL)
            return [row[0] for row in await pool.fetch("SELECT statement FROM pg_catalog.pg_prepared_statements")]

    assert ALL not in pools.run(work, statement_cache_size=0)


def test_the_first_connection_of_a_pool_is_checked(shop: Shop):
    owner = shop.database.role("unsafe", "SUPERUSER")
    pools = Pools(shop, shop.database.url(owner, "asyncpg"))

    async def work(pool: Any) -> None:
        raise AssertionError

    with pytest.raises(UnsafeRoleError, match="SUPERUSER"):
        pools.run(work)


def test_tasks_of_many_tenants_share_a_pool_without_mixing(shop: Shop, new_pgbouncer: Callable[..., Bouncer]):
    bouncer = new_pgbouncer(pool_size=2)

    async def one(pool: Any, tenant: Any) -> set[Any]:
        seen: set[Any] = set()
        with tenant_scope(tenant):
            for turn in range(12):
                if turn % 3 == 0:
                    async with pool.acquire() as conn, conn.transaction():
                        seen |= set(await conn.fetchval(TENANTS))
                elif turn % 3 == 1:
                    seen |= set(await pool.fetchval(TENANTS))
                else:
                    seen |= {row[0] for row in await pool.fetch(f"{ALL} WHERE title <> $1", f"{turn}")}
        return seen

    async def work(pool: Any) -> list[set[Any]]:
        return await asyncio.gather(*(one(pool, tenant) for tenant in (ACME, BOLT) * 8))

    for pools in (
        Pools(shop, bouncer.url(shop.database, shop.app, "asyncpg")),
        Pools(shop, shop.database.url(shop.app, "asyncpg")),
    ):
        assert pools.run(work, max_size=6) == [{ACME}, {BOLT}] * 8
