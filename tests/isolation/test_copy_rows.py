"""Many rows are written for the scope's tenant, by a temporary table where the role may make one."""

from typing import Any

import psycopg
import pytest
from psycopg import errors, rows, sql

from tenantry import NoTenantError, tenant_scope
from tenantry.session.psycopg import async_copy_rows, copy_rows, tenant_transaction
from tests.plugins.connections import Face, OnEach
from tests.plugins.shop import ACME, BOLT, Shop

TABLE = ("shop", "documents")


async def write(face: Face, columns: list[str], values: list[Any]) -> int:
    if face.is_async:
        return await async_copy_rows(face.conn, TABLE, columns, values)
    return copy_rows(face.conn, TABLE, columns, values)


def may_stage(shop: Shop, *, may: bool) -> None:
    with shop.admin() as conn:
        database, app = sql.Identifier(shop.database.name), sql.Identifier(shop.app)
        conn.execute(sql.SQL("REVOKE TEMP ON DATABASE {} FROM PUBLIC").format(database))
        if may:
            conn.execute(sql.SQL("GRANT TEMP ON DATABASE {} TO {}").format(database, app))


@pytest.mark.parametrize("may", ["staged", "one by one"])
def test_rows_are_the_scopes_and_all_or_none(on_each: OnEach, shop: Shop, may: str):
    may_stage(shop, may=may == "staged")

    async def work(face: Face) -> Any:
        with pytest.raises(NoTenantError):
            await write(face, ["title"], [])
        with tenant_scope(ACME):
            assert await write(face, ["title"], [(f"row {n}",) for n in range(100)]) == 100
            face.conn.row_factory = rows.dict_row
            assert await write(face, ["title"], [("last, 'quoted'\n",)]) == 1
            await face.commit()
            with pytest.raises(errors.NotNullViolation):
                await write(face, ["title"], [("kept out",), (None,)])
            with pytest.raises(errors.InsufficientPrivilege):
                await write(face, ["title", "tenant_id"], [("a", ACME), ("b", BOLT)])
            await face.commit()
        return face.state

    assert on_each(work) == [("IDLE", 0)] * 8
    assert len([title for _, tenant, title in shop.rows() if tenant == ACME]) == 102
    assert [title for _, tenant, title in shop.rows() if tenant == BOLT] == [f"of {BOLT}"]


def test_on_a_connection_of_somebody_elses(shop: Shop):
    with psycopg.connect(shop.database.dsn(shop.app)) as conn, tenant_scope(ACME), tenant_transaction(conn):
        assert copy_rows(conn, TABLE, ["title"], [("a",), ("b",)]) == 2

    assert {title for _, tenant, title in shop.rows() if tenant == ACME} >= {"a", "b"}
