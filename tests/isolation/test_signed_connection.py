"""A psycopg connection whose context is signed sends the token as a parameter only, whatever the way."""

from typing import Any

import pytest
from psycopg import AsyncClientCursor, ClientCursor, errors

from tenantry import tenant_scope
from tenantry.core.names import TOKEN_SETTING
from tenantry.session.context import current_context
from tenantry.session.protection import Protection
from tenantry.session.psycopg import unguarded
from tenantry.session.signing import ContextKey, token_of
from tests.plugins.connections import ALL, WAYS, Face, OnEach, settings_left
from tests.plugins.shop import ACME, BOLT, Shop

KEY = ContextKey("shop/shop", b"k" * 32)
SIGNED = Protection(key=KEY)
TOKEN = f"SELECT current_setting('{TOKEN_SETTING}', true)"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_way_carries_the_tenant(on_each: OnEach, way: Any):
    async def work(face: Face) -> Any:
        found: list[Any] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant, user="ada"):
                found.append([str(row[0]) for row in await way(face)])
                await face.commit()
            assert await settings_left(face) == [("", "")]
        return found

    assert on_each(work, protection=SIGNED, kinds=("direct",)) == [[[str(ACME)], [str(BOLT)]]] * 4


def test_the_token_is_there_and_in_no_text(on_each: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            token = token_of(current_context(), KEY)
            found: list[Any] = []

            async def see(rows: Any) -> None:
                found.append(rows)
                with shop.admin() as admin:
                    texts = admin.execute(
                        "SELECT query FROM pg_stat_activity WHERE usename = %s", [shop.app]
                    ).fetchall()
                assert texts
                assert token not in str(texts)

            await see(await face.rows(TOKEN))
            await see((await face.sets(f"{ALL}; {TOKEN}"))[1])
            await face.commit()
            await see((await face.sets(f"{TOKEN}; {ALL}"))[0])
            with pytest.raises(errors.DivisionByZero):
                await face.sets("SELECT 1; SELECT 1/0")
            await face.rollback()
            assert face.state == ("IDLE", 0)
            async with face.transaction():
                await see(await face.rows(TOKEN))
            face.conn.cursor_factory = AsyncClientCursor if face.is_async else ClientCursor
            await see(await face.rows(TOKEN))
            await face.commit()
            with unguarded(face.conn):
                await see(await face.rows(f"SELECT coalesce(current_setting('{TOKEN_SETTING}', true), '')"))
                await face.commit()
            return [rows[0][0] == token for rows in found], found[-1]

    assert on_each(work, protection=SIGNED) == [([True] * 5 + [False], [("",)])] * 8
