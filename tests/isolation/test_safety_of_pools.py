"""A pool is checked once, by whatever driver, behind whatever pooler, on whatever server."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tenantry.local.clusters.binaries import find_binaries
from tenantry.local.clusters.cluster import Cluster
from tenantry.local.clusters.privileges import Runner
from tenantry.session.context import tenant_scope
from tenantry.session.errors import (
    UnsafeConnectionError,
    UnsafeRoleError,
    UnsafeServerError,
    UnsafeWarning,
)
from tenantry.session.safety import BEGIN, SafetyCheck
from tenantry.session.sqlalchemy import protect
from tests.plugins.postgres import MAJOR, Database
from tests.plugins.shop import ACME, Driver, Shop
from tests.plugins.unsafe import UNSAFE, as_admin, engine_of

DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(params=["psycopg", "asyncpg-async", "psycopg-async"])
def way(database: Database, roles: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Callable[[], int]]:
    """Connects a protected engine of each driver, sends one statement, and gives its answer."""
    name, _, mode = request.param.partition("-")
    url = database.url(roles["app"], name)
    if mode != "async":
        engine = protect(create_engine(url))

        def send() -> int:
            with tenant_scope(ACME), engine.connect() as conn:
                return conn.scalar(text("SELECT 41 + 1"))  # type: ignore[return-value] - it is one

        yield send
        engine.dispose()
        return
    with asyncio.Runner() as loop:
        async_engine = protect(create_async_engine(url))

        async def work() -> int:
            with tenant_scope(ACME):
                async with async_engine.connect() as conn:
                    return await conn.scalar(text("SELECT 41 + 1"))  # type: ignore[return-value] - it is one

        yield lambda: loop.run(work())
        loop.run(async_engine.dispose())


def test_each_driver_refuses_and_works_without_a_restart_once_mended(way, database, roles):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    with pytest.raises(UnsafeRoleError, match="NOBYPASSRLS"):
        way()

    as_admin(database, "ALTER ROLE {app} NOBYPASSRLS", roles)

    assert way() == 42


def test_nothing_of_the_application_is_sent_before_the_check(shop: Shop):
    with shop.admin() as conn:
        conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(shop.app)))
    with engine_of(shop.database, shop.app) as engine, tenant_scope(ACME):
        with pytest.raises(UnsafeRoleError), engine.begin() as conn:
            conn.execute(text("DELETE FROM shop.documents"))
        with pytest.raises(UnsafeRoleError):
            engine.raw_connection()

    assert len(shop.rows()) == 2


def test_a_pool_is_checked_once_and_again_after_it_was_disposed_of(driver: Driver, shop: Shop):
    driver.connection(lambda _: None)
    with shop.admin() as conn:
        conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(shop.app)))
    driver.connection(lambda _: None)
    driver.close()

    with pytest.raises(UnsafeRoleError):
        driver.connection(lambda _: None)


def test_connections_that_the_pool_holds_already_are_checked_too(database, roles):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    engine = create_engine(database.url(roles["app"], "psycopg"), pool_size=1, max_overflow=0)
    engine.connect().close()
    protect(engine)

    with pytest.raises(UnsafeRoleError):
        engine.connect()
    with pytest.raises(UnsafeRoleError):  # and none is lost to the pool of one
        engine.execution_options(logging_token="child").connect()
    engine.dispose()


def test_a_check_leaves_nothing_on_the_connection(driver: Driver):
    query = "SELECT coalesce(current_setting('tenantry.probe', true), ''), current_setting('search_path')"

    with tenant_scope(ACME):
        found = driver.connection(lambda conn: conn.exec_driver_sql(query).one())

    assert tuple(found) == ("", '"$user", public')


def test_a_connection_that_is_refused_is_closed(way, database, roles):
    query = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = %s"
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    with pytest.raises(UnsafeRoleError) as caught:
        way()

    assert caught.traceback  # whose frames hold the connection, so that nobody else closes it
    with psycopg.connect(database.admin_dsn, autocommit=True) as conn:
        deadline = time.monotonic() + 5
        while conn.execute(query, [roles["app"]]).fetchone() != (0,):
            assert time.monotonic() < deadline, "it is still open"
            time.sleep(0.01)


def test_an_engine_in_autocommit_is_checked_too(database, roles):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    with engine_of(database, roles["app"], isolation_level="AUTOCOMMIT") as engine:
        with pytest.raises(UnsafeRoleError):
            engine.connect()
        as_admin(database, "ALTER ROLE {app} NOBYPASSRLS", roles)
        with tenant_scope(ACME), engine.connect() as conn:
            assert conn.scalar(text("SELECT current_setting('app.tenant_id')")) == str(ACME)


def test_a_reason_lets_it_run_and_is_written_down(database, roles, caplog):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    engine = protect(create_engine(database.url(roles["app"], "psycopg")), allow_unsafe="a copy for one tenant")

    with pytest.warns(UnsafeWarning, match="a copy for one tenant"), tenant_scope(ACME), engine.connect() as conn:
        assert conn.scalar(text("SELECT 1")) == 1

    audited = [record.getMessage() for record in caplog.records if record.name == "tenantry.audit"]
    assert len(audited) == 1
    assert "bypassrls" in audited[0]
    assert roles["app"] in audited[0]
    engine.dispose()


def test_a_pooler_that_pools_statements_is_refused(database, roles, new_pgbouncer):
    bouncer = new_pgbouncer(pool_size=1, pool_mode="statement")
    engine = protect(create_engine(bouncer.url(database, roles["app"], "psycopg")))

    with pytest.raises(UnsafeServerError, match="pool_mode = transaction"):
        engine.connect()
    engine.dispose()


def test_a_pooler_that_pools_transactions_is_let_through(database, roles, pgbouncer):
    engine = protect(create_engine(pgbouncer.url(database, roles["app"], "psycopg")))

    engine.connect().close()
    engine.dispose()


def test_a_transaction_that_does_not_hold_is_seen_on_a_real_server(database, roles):
    """As behind a pooler that says yes to BEGIN, and sends each statement by itself all the same."""
    with psycopg.connect(database.dsn(roles["app"]), autocommit=True) as conn:

        def fetch(statement: str) -> Any:
            if statement == BEGIN:
                return None
            cursor = conn.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]

        with pytest.raises(UnsafeServerError, match="gone at the next statement"):
            SafetyCheck().run(fetch)


def test_a_setting_that_outlives_its_transaction_is_seen_on_a_real_server(database, roles):
    """As behind a pooler that turns what is local into what lasts."""
    with psycopg.connect(database.dsn(roles["app"]), autocommit=True) as conn:

        def fetch(statement: str) -> Any:
            cursor = conn.execute(statement.replace(", true), ", ", false), ", 1).encode())
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]

        with pytest.raises(UnsafeServerError, match="still there after COMMIT"):
            SafetyCheck().run(fetch)


def test_a_server_with_a_known_hole_is_refused_unless_the_local_engine_started_it(database, roles, cluster: Cluster):
    cluster.stop()
    foreign = replace(cluster, more_settings=(*cluster.more_settings, ("cluster_name", "production")))
    foreign.start()
    there = Database(database.name, foreign, database.passwords)
    with engine_of(there, roles["app"]) as engine, pytest.raises(UnsafeServerError) as caught:
        engine.connect()

    assert caught.value.refusals[0].codes[0].startswith("CVE-")
    assert f"Postgres {cluster.binaries.version} has known holes" in str(caught.value)
    assert "upgrade to 17." in str(caught.value)
    with engine_of(database, roles["app"]) as engine:
        engine.connect().close()


def test_an_older_postgres_if_there_is_one_is_asked_the_same(folder: Path, runner: Runner, new_cluster):
    major = 15 if DEBIAN.exists() else MAJOR
    old = replace(new_cluster(), binaries=find_binaries(major, cache=folder / "cache", runner=runner))
    old.init()
    old.start()
    old.create_database("shop", "cloud_admin")
    database = Database("shop", old, {})
    roles = {name: database.role(name, "NOSUPERUSER") for name in ("app", "boss", "team")}
    for name, (code, query) in UNSAFE.items():
        if "TRUE" in query or "{team}" in query:  # grants with options came with 16
            continue
        as_admin(database, query, roles)
        with engine_of(database, roles["app"]) as engine:
            with pytest.raises(UnsafeConnectionError) as caught:
                engine.connect()
            assert [refusal.codes for refusal in caught.value.refusals] == [(code,)], name
            as_admin(database, " ".join(caught.value.sql), roles)
            as_admin(database, "ALTER ROLE {boss} NOSUPERUSER NOBYPASSRLS NOREPLICATION NOCREATEROLE", roles)
            as_admin(database, "DROP OWNED BY {boss}", roles)
            for thing in ("SCHEMA", "TABLE", "VIEW", "SEQUENCE", "TYPE", "FUNCTION"):
                if f"CREATE {thing} mine" in query:
                    as_admin(database, f"DROP {thing} mine", roles)
            engine.connect().close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_connection_of_psycopg_is_checked_without_sqlalchemy(autocommit, database, roles):
    with psycopg.connect(database.dsn(roles["app"]), autocommit=autocommit) as conn:
        check = SafetyCheck()
        check.run_dbapi(conn, autocommit=autocommit)

        assert check.passed
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
        with pytest.raises(UnsafeRoleError):
            SafetyCheck().run_dbapi(conn, autocommit=autocommit)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg in autocommit"])
def test_a_connection_that_is_awaited_is_checked_without_sqlalchemy(driver, database, roles):
    async def check() -> None:
        if driver == "asyncpg":
            url = database.url(roles["app"], "x").replace("+x", "")
            async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as conn:
                await SafetyCheck().run_async(conn.fetchval)
                assert not conn.is_in_transaction()
            return
        autocommit = driver != "psycopg"
        async with await psycopg.AsyncConnection.connect(database.dsn(roles["app"]), autocommit=autocommit) as conn:

            async def fetch(statement: str) -> Any:
                cursor = await conn.execute(statement.encode())
                row = await cursor.fetchone() if cursor.description else None
                return row and row[0]

            await SafetyCheck().run_async(fetch, begun=not autocommit)
            assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    asyncio.run(check())
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    with pytest.raises(UnsafeRoleError):
        asyncio.run(check())
