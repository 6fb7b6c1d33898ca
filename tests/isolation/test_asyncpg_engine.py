"""SQLAlchemy over asyncpg: what a protected engine sends, direct and through PgBouncer, and what it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.core.errors import UsageError
from tenantry.session.asyncpg import TenantConnection
from tenantry.session.asyncpg.documented import DocumentedConnection
from tenantry.session.errors import TransactionControlError
from tenantry.session.sqlalchemy import protect
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.shop import ACME, BOLT, Document, Shop
from tests.plugins.turns import counting_turns

ALL = text("SELECT tenant_id FROM shop.documents")


def run(url: str, work: Callable[[AsyncEngine], Awaitable[Any]], **options: Any) -> Any:
    """Run *work* with a protected engine of one connection."""

    async def with_engine() -> Any:
        engine = protect(create_async_engine(url, **{"pool_size": 1, "max_overflow": 0, "pool_timeout": 5, **options}))
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    with asyncio.Runner() as runner:
        return runner.run(with_engine(), context=copy_context())


@pytest.fixture
def direct(shop: Shop) -> str:
    return shop.database.url(shop.app, "asyncpg")


@pytest.fixture(params=["direct", "pgbouncer", "documented API alone"])
def way(shop: Shop, direct: str, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "pgbouncer":
        bouncer: Bouncer = request.getfixturevalue("pgbouncer")
        return bouncer.url(shop.database, shop.app, "asyncpg"), {}
    documented = {"connect_args": {"connection_class": DocumentedConnection}}
    return direct, documented if request.param == "documented API alone" else {}


async def orm(engine: AsyncEngine) -> list[Any]:
    async with AsyncSession(engine) as session:
        found = [document.tenant_id for document in await session.scalars(select(Document))]
        await session.commit()
        return found


async def core(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:
        return list(await conn.scalars(ALL))


async def stream(engine: AsyncEngine) -> list[Any]:
    async with AsyncSession(engine) as session:
        return [tenant async for tenant in await session.stream_scalars(select(Document.tenant_id))]


async def savepoint(engine: AsyncEngine) -> list[Any]:
    async with AsyncSession(engine) as session:
        with pytest.raises(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT 1/0"))
        return list(await session.scalars(select(Document.tenant_id)))


async def autocommit(engine: AsyncEngine) -> list[Any]:
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        return list(await conn.scalars(ALL))


async def two_phase(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:

        def work(sync: Any) -> list[Any]:
            with sync.begin_twophase() as transaction:
                found = list(sync.scalars(ALL))
                transaction.rollback()  # to prepare it needs max_prepared_transactions, which is 0 by default
            return found

        return await conn.run_sync(work)


READS = [orm, core, stream, savepoint, autocommit, two_phase]


def test_each_tenant_reads_its_own_rows_over_one_connection(way: tuple[str, dict[str, Any]]):
    url, options = way

    async def work(engine: AsyncEngine) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for read in READS:
            seen[read.__name__] = []
            for tenant in (ACME, BOLT, ACME):
                with tenant_scope(tenant):
                    seen[read.__name__].append(await read(engine))
        return seen

    assert run(url, work, **options) == {read.__name__: [[ACME], [BOLT], [ACME]] for read in READS}


def test_pings_need_no_scope_and_work_does(way: tuple[str, dict[str, Any]]):
    url, options = way

    async def work(engine: AsyncEngine) -> list[Any]:
        for _ in range(2):
            with pytest.raises(NoTenantError):
                await core(engine)
            async with engine.connect():  # nothing is sent but the ping
                pass
        with tenant_scope(ACME):
            return await core(engine)

    assert run(url, work, pool_pre_ping=True, **options) == [ACME]


def test_a_dead_connection_is_replaced_by_a_ping(direct: str, shop: Shop):
    async def work(engine: AsyncEngine) -> list[Any]:
        with tenant_scope(ACME):
            await core(engine)
            with shop.admin() as admin:
                admin.execute(
                    "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity"
                    " WHERE usename = %s",
                    [shop.app],
                )
            return await core(engine)

    assert run(direct, work, pool_pre_ping=True) == [ACME]


def test_the_drivers_own_connection_is_guarded(direct: str):
    async def work(engine: AsyncEngine) -> Any:
        async with engine.connect() as conn:
            raw: Any = (await conn.get_raw_connection()).driver_connection
            with pytest.raises(NoTenantError):
                await raw.fetch("SELECT 1")
            with tenant_scope(ACME):
                await conn.execute(text("SELECT 1"))
                with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                    await raw.fetch("SELECT 1")
                return await raw.fetchval("SELECT tenant_id FROM shop.documents")

    assert run(direct, work) == ACME


def test_text_that_ends_the_transaction_is_refused(direct: str):
    async def work(engine: AsyncEngine) -> list[Any]:
        with tenant_scope(ACME):
            async with engine.connect() as conn:
                await conn.execute(text("SELECT 1"))
                for statement in ("COMMIT", "ROLLBACK"):
                    with pytest.raises(TransactionControlError):
                        await conn.execute(text(statement))
                return list(await conn.scalars(ALL))

    assert run(direct, work) == [ACME]


def test_what_a_tenant_leaves_is_gone_for_the_next(way: tuple[str, dict[str, Any]]):
    url, options = way

    async def work(engine: AsyncEngine) -> Any:
        with tenant_scope(ACME):
            for level in ("READ COMMITTED", "AUTOCOMMIT"):
                async with engine.execution_options(isolation_level=level).connect() as conn:
                    await conn.execute(text("CREATE TEMP TABLE kept AS SELECT 1"))
                    await conn.execute(text("SELECT pg_advisory_lock(7)"))
                    await conn.commit()
        with tenant_scope(BOLT):
            async with engine.connect() as conn:
                return (
                    await conn.execute(
                        text(
                            "SELECT to_regclass('pg_temp.kept'), (SELECT count(*) FROM pg_catalog.pg_locks"
                            " WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())"
                        )
                    )
                ).one()

    assert tuple(run(url, work, **options)) == (None, 0)


def test_an_engine_behind_pgbouncer_prepares_nothing(direct: str, shop: Shop, pgbouncer: Bouncer):
    async def work(engine: AsyncEngine) -> list[str]:
        with tenant_scope(ACME):
            await core(engine)
            async with engine.connect() as conn:
                return list(await conn.scalars(text("SELECT statement FROM pg_catalog.pg_prepared_statements")))

    behind = run(pgbouncer.url(shop.database, shop.app, "asyncpg"), work)

    assert str(ALL) in run(direct, work)
    assert behind == ["SELECT statement FROM pg_catalog.pg_prepared_statements"] * len(behind)


def test_a_creator_of_the_applications_own_has_to_make_connections_of_ours(direct: str):
    plain = direct.replace("+asyncpg", "")

    async def ours() -> Any:
        return await asyncpg.connect(plain, connection_class=TenantConnection)

    async def theirs() -> Any:
        return await asyncpg.connect(plain)

    with tenant_scope(ACME):
        assert run("postgresql+asyncpg://", core, async_creator=ours) == [ACME]
        with pytest.raises(UsageError, match="TenantConnection"):
            run("postgresql+asyncpg://", core, async_creator=theirs)


def test_a_class_of_the_applications_own_becomes_one_of_ours_as_well(direct: str):
    class Theirs(asyncpg.Connection):
        asked = 0

        async def fetchrow(self, *args: Any, **options: Any) -> Any:
            type(self).asked += 1
            return await super().fetchrow(*args, **options)

    async def work(engine: AsyncEngine) -> tuple[Any, Any]:
        with tenant_scope(ACME):
            found = await core(engine)
        async with engine.connect() as conn:
            raw: Any = (await conn.get_raw_connection()).driver_connection
            return found, (issubclass(type(raw), Theirs), issubclass(type(raw), TenantConnection))

    assert run(direct, work, connect_args={"connection_class": Theirs}) == ([ACME], (True, True))


def test_an_orm_transaction_takes_one_round_trip_less_than_without_a_tenant(shop: Shop, direct: str):
    async def turns(*, protected: bool) -> int:
        async with counting_turns("127.0.0.1", shop.database.cluster.port) as turns:
            url = direct.replace(f":{shop.database.cluster.port}/", f":{turns.port}/")
            engine = create_async_engine(url)
            if protected:
                protect(engine)
            for _ in range(3):
                turns.start_again()
                await orm(engine)
            counted = turns.count
            await engine.dispose()
            return counted

    with tenant_scope(ACME):
        assert (asyncio.run(turns(protected=True)), asyncio.run(turns(protected=False))) == (2, 3)
