"""Two tenants at once on one connection: tasks, threads, cancellations, streams, connections that die."""

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from tenantry import tenant_scope
from tests.plugins.shop import ACME, BOLT, Document, Driver, Shop

ALL = "SELECT tenant_id FROM shop.documents"


def by_orm(session: Session) -> list[Any]:
    return [document.tenant_id for document in session.scalars(select(Document))]


@pytest.mark.parametrize("driver", ["asyncpg-async", "psycopg-async"], indirect=True)
def test_tasks_of_two_tenants_share_one_connection_without_mixing(driver: Driver):
    engine = driver.engine
    assert isinstance(engine, AsyncEngine)

    async def one(tenant: Any) -> set[Any]:
        seen: set[Any] = set()
        with tenant_scope(tenant):
            for _ in range(10):
                async with AsyncSession(engine) as session:
                    seen |= set(await session.scalars(select(Document.tenant_id)))
                    await asyncio.sleep(0)
        return seen

    async def both() -> tuple[set[Any], ...]:
        return await asyncio.gather(one(ACME), one(BOLT), one(ACME), one(BOLT))

    seen = driver.run(both())

    assert list(seen) == [{ACME}, {BOLT}, {ACME}, {BOLT}]


@pytest.mark.parametrize("driver", ["psycopg"], indirect=True)
def test_threads_of_two_tenants_share_one_connection_without_mixing(driver: Driver):
    seen: dict[Any, set[Any]] = {ACME: set(), BOLT: set()}

    def one(tenant: Any) -> None:
        for _ in range(20):
            with tenant_scope(tenant):
                seen[tenant] |= set(driver.session(by_orm))

    threads = [threading.Thread(target=one, args=[tenant]) for tenant in (ACME, BOLT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {ACME: {ACME}, BOLT: {BOLT}}


@pytest.mark.parametrize("driver", ["asyncpg-async", "psycopg-async"], indirect=True)
def test_a_task_cancelled_in_a_query_leaves_no_tenant_behind(driver: Driver):
    engine = driver.engine
    assert isinstance(engine, AsyncEngine)

    async def slow() -> None:
        with tenant_scope(ACME):
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT pg_sleep(30)"))

    async def cancelled() -> set[Any]:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with tenant_scope(BOLT):
            async with AsyncSession(engine) as session:
                return set(await session.scalars(select(Document.tenant_id)))

    rows = driver.run(cancelled())

    assert rows == {BOLT}
    assert driver.settings_left() == ("", "")


@pytest.mark.parametrize("driver", ["asyncpg-async", "psycopg-async"], indirect=True)
def test_a_stream_of_an_async_session_holds_one_tenants_rows(driver: Driver):
    engine = driver.engine
    assert isinstance(engine, AsyncEngine)

    async def streamed() -> list[Any]:
        with tenant_scope(ACME):
            async with AsyncSession(engine) as session:
                return [tenant async for tenant in await session.stream_scalars(select(Document.tenant_id))]

    rows = driver.run(streamed())

    assert rows == [ACME]


def test_a_connection_that_died_in_the_pool_is_replaced(driver: Driver, shop: Shop):
    with tenant_scope(ACME):
        driver.session(by_orm)
        with shop.admin() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE usename = %s", [shop.app]
            )
        with pytest.raises(DBAPIError) as caught:
            driver.session(by_orm)
        rows = driver.session(by_orm)

    assert caught.value.connection_invalidated
    assert str(ACME) not in str(caught.value)
    assert rows == [ACME]
