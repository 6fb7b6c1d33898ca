"""A psycopg connection of ours is checked, the first to each database by each role."""

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tenantry.core.errors import NoTenantError
from tenantry.session.context import tenant_scope
from tenantry.session.errors import UnsafeRoleError, UnsafeWarning
from tenantry.session.protection import Protection
from tenantry.session.psycopg import AsyncTenantConnection, TenantConnection
from tenantry.session.psycopg.checking import forget
from tenantry.session.psycopg.fallback import AsyncPlainTenantConnection, PlainTenantConnection
from tenantry.session.safety import allowance
from tests.plugins.connections import awaited
from tests.plugins.shop import ACME
from tests.plugins.unsafe import as_admin

CLASSES: list[Any] = [TenantConnection, AsyncTenantConnection, PlainTenantConnection, AsyncPlainTenantConnection]


@pytest.fixture(autouse=True)
def nothing_passed_yet():
    forget()


def connect(cls: Any, dsn: str, **options: Any) -> Any:
    """What a connection of *cls* answers: to a statement of a scope, and of none."""

    async def work() -> Any:
        conn = await awaited(cls.connect(dsn, **options))
        try:
            with tenant_scope(ACME):
                cursor = await awaited(conn.execute("SELECT 42 AS n"))
                row = await awaited(cursor.fetchone())
            await awaited(conn.rollback())
            with pytest.raises(NoTenantError):
                await awaited(conn.execute("SELECT 1"))
            return row
        finally:
            await awaited(conn.close())

    return asyncio.run(work())


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("cls", CLASSES)
def test_an_unsafe_role_gets_no_connection_until_it_is_mended(cls, autocommit, database, roles):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    dsn = database.dsn(roles["app"])
    with pytest.raises(UnsafeRoleError) as caught:
        connect(cls, dsn, autocommit=autocommit)
    with pytest.raises(UnsafeRoleError):
        connect(cls, dsn, autocommit=autocommit)

    as_admin(database, " ".join(caught.value.sql), roles)

    assert connect(cls, dsn, autocommit=autocommit) == (42,)
    with psycopg.connect(database.admin_dsn) as conn:
        query = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = %s"
        assert conn.execute(query, [roles["app"]]).fetchone() in {(0,), (1,)}  # the last may still be ending


@pytest.mark.parametrize("cls", CLASSES[:2])
def test_rows_of_another_shape_do_not_confuse_the_check(cls, database, roles):
    assert connect(cls, database.dsn(roles["app"]), row_factory=dict_row) == {"n": 42}


@pytest.mark.parametrize("cls", CLASSES[:2])
def test_the_first_connection_is_checked_and_no_more(cls, database, roles):
    dsn = database.dsn(roles["app"])
    connect(cls, dsn)
    as_admin(database, "ALTER ROLE {app} BYPASSRLS; ALTER ROLE {boss} BYPASSRLS", roles)

    assert connect(cls, dsn) == (42,)
    with pytest.raises(UnsafeRoleError):
        connect(cls, database.dsn(roles["boss"]))


@pytest.mark.parametrize("cls", CLASSES[:2])
def test_a_reason_lets_it_in_aloud_and_only_where_it_was_given(cls, database, roles):
    as_admin(database, "ALTER ROLE {app} BYPASSRLS", roles)
    dsn = database.dsn(roles["app"])

    with pytest.warns(UnsafeWarning, match="a report"):
        connect(cls.told(Protection(allow_unsafe=allowance("a report"))), dsn)
    with pytest.raises(UnsafeRoleError):
        connect(cls, dsn)
