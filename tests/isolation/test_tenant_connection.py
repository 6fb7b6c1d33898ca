"""A psycopg connection that carries the tenant: each way to send, on every kind of connection."""

import asyncio
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import AsyncClientCursor, AsyncRawCursor, ClientCursor, RawCursor, errors, rows

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.session.errors import (
    ForeignCursorError,
    HeldCursorError,
    LibraryError,
    TransactionControlError,
    TransactionOpenError,
    UserChangedError,
)
from tenantry.session.psycopg import TenantConnection, unguarded
from tenantry.session.safety import AFTER, COMMIT
from tests.plugins.connections import ALL, WAYS, Face, OnEach, awaited, fetched, settings_left
from tests.plugins.shop import ACME, BOLT, Shop

ADD = "INSERT INTO shop.documents (title) VALUES (%s) RETURNING tenant_id"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_way_to_read_sees_the_scopes_rows_and_leaves_nothing(on_each: OnEach, way: Any):
    async def work(face: Face) -> Any:
        found: list[Any] = []
        for tenant in (ACME, BOLT, ACME):
            with tenant_scope(tenant, user="ada"):
                found += [await way(face) for _ in range(3)]
                await face.commit()
            assert face.state == ("IDLE", 0)
            assert await settings_left(face) == [("", "")]
        return [[str(tenant) for (tenant,) in rows] for rows in found]

    expected = [[str(ACME)]] * 3 + [[str(BOLT)]] * 3 + [[str(ACME)]] * 3

    assert on_each(work) == [expected] * 8


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_outside_a_scope_nothing_is_sent(on_each: OnEach, way: Any, shop: Shop):
    async def work(face: Face) -> Any:
        with pytest.raises(NoTenantError):
            await way(face)
        return face.state, shop.last_statement()

    for state, last in on_each(work, kinds=("direct",)):
        assert state == ("IDLE", 0)
        assert last is None or last[1] in {"", AFTER, COMMIT}  # the check's, of what connects first


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_in_another_tenants_transaction_nothing_is_sent(on_each: OnEach, way: Any):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME, user="ada"):
            async with face.transaction():
                await face.rows(ALL)
                with tenant_scope(BOLT, user="ada"), pytest.raises(TenantChangedError):
                    await way(face)
                with tenant_scope(ACME, user="bob"), pytest.raises(UserChangedError):
                    await way(face)
                with pytest.raises(NoTenantError):
                    await asyncio.create_task(way(face), context=Context())
                return [str(tenant) for (tenant,) in await way(face)]

    assert on_each(work) == [[str(ACME)]] * 8


def test_a_write_is_committed_or_undone_as_the_connection_says(on_each: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            assert await face.rows(ADD, ("kept",)) == [(ACME,)]
            await face.commit()
            assert await face.rows(ADD, ("undone",)) == [(ACME,)]
            await face.rollback()
        return sorted(title for _, _, title in shop.rows() if title in {"kept", "undone"})

    assert on_each(work, autocommit=False) == [["kept"]] * 4
    assert on_each(work, autocommit=True) == [["kept", "undone"]] * 4


def test_a_text_of_several_statements_runs_in_one_transaction(on_each: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            found = await face.sets(f"{ALL}; -- one\n{ALL}; -- two")
            with pytest.raises(errors.DivisionByZero):
                await face.rows("INSERT INTO shop.documents (title) VALUES ('undone'); SELECT 1/0")
            await face.rollback()
        with tenant_scope(BOLT):
            found += await face.sets(f"{ALL};SELECT 1;")
        return found, len(shop.rows())

    assert on_each(work) == [([[(ACME,)], [(ACME,)], [(BOLT,)], [(1,)]], 2)] * 8


def test_cursors_of_other_classes_are_guarded_too(on_each: OnEach):
    async def work(face: Face) -> Any:
        found: list[Any] = []
        with tenant_scope(ACME):
            face.conn.cursor_factory = AsyncClientCursor if face.is_async else ClientCursor
            found.append(await face.rows(f"{ALL} WHERE title <> %s", ("it's",)))
            await face.commit()
            face.conn.cursor_factory = AsyncRawCursor if face.is_async else RawCursor
            found.append(await face.rows(f"{ALL} WHERE title <> $1", ("it's",)))
            await face.commit()
            face.conn.row_factory = rows.dict_row
            found.append(await face.rows(f"{ALL} WHERE title <> $1", ("it's",)))
        return found

    assert on_each(work) == [[[(ACME,)], [(ACME,)], [{"tenant_id": ACME}]]] * 8


def test_a_cursor_from_elsewhere_is_refused(shop: Shop):
    with TenantConnection.connect(shop.database.dsn(shop.app)) as conn, tenant_scope(ACME):
        with pytest.raises(ForeignCursorError):
            ClientCursor(conn).execute(ALL)
        conn.cursor_factory = partial(psycopg.Cursor)
        with pytest.raises(ForeignCursorError):
            conn.execute(ALL)


def test_text_cannot_end_the_transaction(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for text in ("COMMIT", "ROLLBACK", "BEGIN", "SELECT 1; COMMIT", "END;", "/* x */ ABORT"):
                with pytest.raises(TransactionControlError):
                    await face.rows(text)
            async with face.transaction():
                await face.rows(ALL)
                for text in ("COMMIT", "ROLLBACK", "BEGIN", "SELECT 1; COMMIT", "PREPARE TRANSACTION 'x'"):
                    with pytest.raises(TransactionControlError):
                        await face.rows(text)
                with pytest.raises(LibraryError):
                    await face.rows("LOAD 'x'")
                assert await face.rows("SAVEPOINT a; ROLLBACK TO a") == []
                return await face.rows(ALL)

    assert on_each(work) == [[(ACME,)]] * 8


def test_savepoints_keep_the_tenant(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            async with face.transaction():
                with suppress(errors.DivisionByZero):
                    async with face.transaction():
                        await face.rows(ADD, ("inner",))
                        await face.rows("SELECT 1/0")
                assert await face.rows(ALL) == [(ACME,)]
                with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                    await face.transaction().__aenter__()
                await face.rows(ADD, ("outer",))
            return await face.rows(ALL)

    assert on_each(work) == [[(ACME,), (ACME,)]] * 8


def test_a_block_of_transaction_needs_a_scope(on_each: OnEach):
    async def work(face: Face) -> Any:
        with pytest.raises(NoTenantError):
            async with face.transaction():
                pass
        return face.state

    assert on_each(work) == [("IDLE", 0)] * 8


def test_a_pipeline_may_serve_one_tenant_after_the_other_in_autocommit(on_each: OnEach):
    async def work(face: Face) -> Any:
        cursors: list[Any] = []
        async with face.pipeline():
            for tenant in (ACME, BOLT, BOLT, ACME):
                with tenant_scope(tenant):
                    cursors.append(await face.cursor(ALL))
            with tenant_scope(BOLT):
                async with face.transaction():
                    cursors.append(await face.cursor(ALL))
        return [await fetched(cursor) for cursor in cursors]

    assert on_each(work, autocommit=True) == [[[(ACME,)], [(BOLT,)], [(BOLT,)], [(ACME,)], [(BOLT,)]]] * 4


def test_a_server_side_cursor_is_read_in_its_scope_only(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            with pytest.raises(HeldCursorError):
                await face.server_side(ALL, withhold=True)
            async with face.transaction():
                cursor = face.conn.cursor("mine")
                await awaited(cursor.execute(ALL))
                with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                    await fetched(cursor)
                found = await fetched(cursor)
                await awaited(cursor.close())
        return found

    assert on_each(work) == [[(ACME,)]] * 8


def test_a_server_side_cursor_outside_a_transaction_is_refused_in_autocommit(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME), pytest.raises(errors.NoActiveSqlTransaction):
            await face.server_side(ALL)

    on_each(work, autocommit=True)


def test_a_transaction_keeps_its_isolation_level(on_each: OnEach):
    async def work(face: Face) -> Any:
        await face.call("set_isolation_level", psycopg.IsolationLevel.SERIALIZABLE)
        await face.call("set_read_only", True)
        with tenant_scope(ACME):
            found = await face.rows(
                "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
            )
            with pytest.raises(errors.ReadOnlySqlTransaction):
                await face.rows(ADD, ("x",))
        return found

    assert on_each(work, autocommit=False) == [[("serializable", "on")]] * 4


def test_a_transaction_of_another_making_is_refused(on_each: OnEach):
    async def work(face: Face) -> Any:
        with unguarded(face.conn):
            await face.rows("BEGIN" if face.conn.autocommit else "SELECT 1")
        with tenant_scope(ACME), pytest.raises(TransactionOpenError):
            await face.rows(ALL)

    on_each(work)


def test_an_empty_query_is_a_ping_that_needs_no_scope(on_each: OnEach):
    async def work(face: Face) -> Any:
        await face.cursor("")
        await face.cursor(";")
        return face.state

    assert on_each(work, autocommit=True) == [("IDLE", 0)] * 4


def test_through_a_pooler_nothing_is_prepared(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            await face.many(ADD, [("a",), ("b",)])
            await face.commit()
            for _ in range(8):
                await face.rows(f"{ALL} WHERE title <> %s", ("x",), prepare=True)
            await face.many(ADD, [("a",), ("b",)])
            await face.commit()
            names = await face.rows("SELECT count(*) FROM pg_catalog.pg_prepared_statements")
        return names[0][0], face.conn.prepare_threshold

    assert on_each(work, kinds=("pooled",)) == [(0, None)] * 4
    assert all(count > 1 and threshold == 5 for count, threshold in on_each(work, kinds=("direct",)))
