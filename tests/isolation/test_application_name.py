"""A transaction is called its tenant's id in `pg_stat_activity`, direct and through PgBouncer, and only itself."""

import asyncio

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tenantry import tenant_scope
from tenantry.session.sqlalchemy import protect
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.shop import ACME, BOLT, Shop

SHOWN = text(
    "SELECT application_name, pg_catalog.current_setting('application_name')"
    " FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
)


def shown_to_the_operator(shop: Shop) -> set[str]:
    with shop.admin() as conn:
        return {
            name
            for (name,) in conn.execute(
                "SELECT application_name FROM pg_catalog.pg_stat_activity WHERE usename = %s", [shop.app]
            )
        }


@pytest.fixture(params=["direct", "pgbouncer"])
def urls(shop: Shop, request: pytest.FixtureRequest):
    if request.param == "direct":
        return lambda driver: shop.database.url(shop.app, driver)
    bouncer: Bouncer = request.getfixturevalue("pgbouncer")
    return lambda driver: bouncer.url(shop.database, shop.app, driver)


def test_each_transaction_is_called_its_tenants_and_the_next_is_not(shop, urls):
    engine = protect(create_engine(urls("psycopg"), pool_size=1), application_name="web")
    for tenant in (ACME, BOLT, ACME):
        with tenant_scope(tenant, user="ada"), engine.connect() as conn:
            assert tuple(conn.execute(SHOWN).one()) == (f"web tenant={tenant}",) * 2
            assert f"web tenant={tenant}" in shown_to_the_operator(shop)
            conn.commit()
        assert not any("tenant=" in name for name in shown_to_the_operator(shop)), "it ended with its transaction"
    engine.dispose()


def test_asyncpg_names_its_transactions_too(shop, urls):
    async def main():
        # PgBouncer 1.18 holds no prepared statements.
        options = {"prepared_statement_cache_size": 0, "statement_cache_size": 0}
        engine = protect(create_async_engine(urls("asyncpg"), connect_args=options), application_name="web")
        with tenant_scope(BOLT):
            async with engine.connect() as conn:
                found = tuple((await conn.execute(SHOWN)).one())
        await engine.dispose()
        return found

    assert asyncio.run(main()) == (f"web tenant={BOLT}",) * 2


def test_without_the_option_nothing_is_named(shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg")))
    with tenant_scope(ACME), engine.connect() as conn:
        assert "tenant" not in conn.execute(SHOWN).one()[0]
    engine.dispose()
