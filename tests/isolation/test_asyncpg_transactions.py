"""Plain asyncpg: transactions, savepoints, and text that begins or ends one."""

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from tenantry import NoTenantError, tenant_scope
from tenantry.core.names import TOKEN_SETTING
from tenantry.session.asyncpg import TenantConnection, tenant_transaction
from tenantry.session.errors import (
    TransactionControlError,
    TransactionOpenError,
)
from tenantry.session.protection import Protection
from tenantry.session.signing import ContextKey
from tests.plugins.asyncpg_ways import GUARDED, Way
from tests.plugins.shop import ACME, BOLT, Shop

ALL = "SELECT tenant_id FROM shop.documents"


async def values(rows: Awaitable[list[Any]]) -> list[Any]:
    return [row[0] for row in await rows]


guarded = pytest.mark.parametrize("way", GUARDED, indirect=True)
"""For what the documented API has no way to do."""


def test_a_block_in_a_block_is_a_savepoint(way: Way, shop: Shop):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            async with conn.transaction(isolation="repeatable_read"):
                async with conn.transaction():
                    await conn.execute("INSERT INTO shop.documents (title) VALUES ('kept')")
                with suppress(asyncpg.DivisionByZeroError):
                    async with conn.transaction():
                        await conn.execute("INSERT INTO shop.documents (title) VALUES ('undone')")
                        await conn.fetch("SELECT 1/0")
                assert set(await values(conn.fetch(ALL))) == {ACME}
                assert await conn.fetchval("SHOW transaction_isolation") == "repeatable read"

    way.run(work)

    assert [title for _, _, title in shop.rows() if title in {"kept", "undone"}] == ["kept"]


def test_a_failed_transaction_stays_failed_until_it_is_rolled_back(way: Way, shop: Shop):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            async with conn.transaction():
                with suppress(asyncpg.PostgresError):
                    await conn.fetch("SELEC 1")
                with pytest.raises(asyncpg.InFailedSQLTransactionError):
                    await conn.execute("INSERT INTO shop.documents (title) VALUES ('undone')")
            assert await values(conn.fetch(ALL)) == [ACME]

    way.run(work)

    assert "undone" not in [title for _, _, title in shop.rows()]


@guarded
def test_a_transaction_by_text_carries_the_tenant_and_other_control_is_refused(way: Way):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            for begin, end in (("BEGIN", "COMMIT"), ("start transaction read only;", "-- done\nabort")):
                await conn.execute(begin)
                assert conn.is_in_transaction()
                assert await values(conn.fetch(ALL)) == [ACME]
                await conn.execute(end)
                assert not conn.is_in_transaction()
            for text in ("SELECT 1; COMMIT; SELECT 1", "BEGIN; SELECT 1", "COMMIT AND CHAIN"):
                with pytest.raises(TransactionControlError, match="transaction"):
                    await conn.execute(text)
            async with conn.transaction():
                await conn.fetch("SELECT 1")
                for text in ("COMMIT", "ROLLBACK", "COMMIT AND CHAIN"):
                    with pytest.raises(TransactionControlError, match=text.split()[0]):
                        await conn.fetch(text)
                assert await values(conn.fetch(ALL)) == [ACME]

    way.run(work)


def test_a_plain_connection_carries_the_tenant_through_an_explicit_transaction(direct: Way):
    async def work(conn: Any) -> list[Any]:
        seen: list[Any] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant):
                async with tenant_transaction(conn, readonly=True):
                    seen.append(await values(conn.fetch(ALL)))
            seen.append(await values(conn.fetch(ALL)))
        with pytest.raises(NoTenantError):
            async with tenant_transaction(conn):
                pass
        async with conn.transaction():
            with tenant_scope(ACME), pytest.raises(TransactionOpenError):
                async with tenant_transaction(conn):
                    pass
        return seen

    assert direct.run(work, connection_class=asyncpg.Connection) == [[ACME], [], [BOLT], []]


def test_a_guarded_connection_takes_an_explicit_transaction_as_well(way: Way):
    async def work(conn: Any) -> list[Any]:
        with tenant_scope(ACME):
            async with tenant_transaction(conn), tenant_transaction(conn):
                return await values(conn.fetch(ALL))

    assert way.run(work) == [ACME]


def test_a_transaction_that_could_not_begin_leaves_the_next_one_whole(way: Way, shop: Shop):
    async def work(conn: Any) -> None:
        with pytest.raises(NoTenantError):
            async with conn.transaction():
                pass
        with tenant_scope(ACME), suppress(ZeroDivisionError):
            async with conn.transaction():
                await conn.execute("INSERT INTO shop.documents (title) VALUES ('undone')")
                raise ZeroDivisionError

    way.run(work)

    assert "undone" not in [title for _, _, title in shop.rows()]


@guarded
def test_a_token_is_set_by_every_way_to_send_and_stands_in_no_text(way: Way):
    key = ContextKey("d/s", b"k" * 32)
    signed = TenantConnection.protected_by(Protection(key=key))
    token = f"current_setting('{TOKEN_SETTING}')"
    # fails where the token is in the text of the statement that runs, or is not set
    look = (
        f"SELECT 1 / (length({token}) > 64 AND strpos(query, left({token}, 64)) = 0)::int"
        " FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
    )

    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            for _ in range(2):
                await conn.fetch(look)
                await conn.execute(look)
                async with conn.transaction():
                    await conn.execute(look)
                    await conn.fetch(look)

    way.run(work, connection_class=signed)
