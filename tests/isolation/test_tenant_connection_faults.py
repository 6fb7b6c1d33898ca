"""What goes wrong on a psycopg connection that carries the tenant leaves it whole, and leaves nothing of the tenant."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tenantry import tenant_scope
from tests.plugins.connections import Face, OnEach, fetched, settings_left
from tests.plugins.shop import ACME, BOLT, Shop

ALL = "SELECT tenant_id FROM shop.documents"
ADD = "INSERT INTO shop.documents (title) VALUES (%s) RETURNING tenant_id"


def test_a_batch_is_whole_or_not_there(on_each: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            await face.many("INSERT INTO shop.documents (title) VALUES (%s)", [("one",), ("two",)])
            await face.commit()
            for returning in (False, True):
                with pytest.raises(errors.NotNullViolation):
                    await face.many(ADD, [("three",), (None,), ("four",)], returning=returning)
                await face.rollback()
                assert face.state == ("IDLE", 0)
            assert await face.rows(ALL) == [(ACME,)] * 3
        return sorted(title for _, tenant, title in shop.rows() if tenant == ACME)

    assert on_each(work) == [["of " + str(ACME), "one", "two"]] * 8


@pytest.mark.parametrize("bad", ["SELECT 1/0", "SELECT %s/0", "SELECT nonsense", "SELECT 1; SELECT 1/0; SELECT 2"])
def test_an_error_is_the_statements_own_and_leaves_nothing_behind(on_each: OnEach, bad: str):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for _ in range(7):  # prepared at the sixth
                with pytest.raises((errors.DivisionByZero, errors.UndefinedColumn)) as caught:
                    await face.rows(bad, (1,) if "%" in bad else None)
                assert caught.value.diag.sqlstate in {"22012", "42703"}
                await face.rollback()
                assert face.state == ("IDLE", 0)
            found = await face.rows(ALL)
        return found, await settings_left(face)

    assert on_each(work) == [([(ACME,)], [("", "")])] * 8


def test_an_error_in_autocommit_needs_no_rollback(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for bad in (
                "SELECT 1/0",
                "SELECT 1; SELECT 1/0",
                "SELECT shop.f()",
                "INSERT INTO shop.documents VALUES (1)",
            ):
                with pytest.raises(psycopg.Error):
                    await face.rows(bad)
                assert face.state == ("IDLE", 0)
                async with face.pipeline():
                    assert await fetched(await face.cursor(ALL)) == [(ACME,)]
            with pytest.raises(errors.DivisionByZero):
                await face.stream("SELECT 1/(g - 2) FROM generate_series(1, 3) g")
            assert face.state == ("IDLE", 0)
            with pytest.raises(errors.DivisionByZero):
                await face.copy_out("COPY (SELECT 1/(g - 2) FROM generate_series(1, 3) g) TO STDOUT")
            assert face.state == ("IDLE", 0)
            return await face.rows(ALL)

    assert on_each(work, autocommit=True) == [[(ACME,)]] * 4


def test_a_stream_that_is_left_early_leaves_nothing(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            first = await face.stream("SELECT * FROM generate_series(1, 10000)", first=1)
            await face.rollback()
            assert face.state == ("IDLE", 0)
            return first, await face.rows(ALL), await settings_left(face)

    assert on_each(work) == [([(1,)], [(ACME,)], [("", "")])] * 8


def test_an_error_in_a_pipeline_leaves_nothing(on_each: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            with suppress(errors.DivisionByZero):
                async with face.pipeline():
                    await face.cursor(ALL)
                    await face.cursor("SELECT 1/0")
                    await face.cursor(ALL)
                pytest.fail("the error was lost")
            await face.rollback()
            assert face.state == ("IDLE", 0)
        with tenant_scope(BOLT):
            return await face.rows(ALL)

    assert on_each(work) == [[(BOLT,)]] * 8


def test_a_task_cancelled_in_a_query_leaves_the_connection_usable(on_each: OnEach):
    async def work(face: Face) -> Any:
        if not face.is_async:
            return [(BOLT,)]

        async def slow(query: str) -> None:
            with tenant_scope(ACME):
                await face.rows(query)

        for query in (
            "SELECT pg_sleep(30)",
            "SELECT 1; SELECT pg_sleep(30)",
            "SELECT pg_advisory_lock(1), pg_sleep(30)",
        ):
            task = asyncio.create_task(slow(query))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await face.rollback()
            assert face.state == ("IDLE", 0)
        with tenant_scope(BOLT):
            return await face.rows(ALL)

    assert on_each(work) == [[(BOLT,)]] * 8


def test_a_query_that_another_thread_cancels_leaves_the_connection_usable(on_each: OnEach):
    async def work(face: Face) -> Any:
        if face.is_async:
            return [(BOLT,)]
        timer = threading.Timer(0.2, face.conn.cancel)
        timer.start()
        with tenant_scope(ACME), pytest.raises(errors.QueryCanceled):
            await face.rows("SELECT pg_sleep(30)")
        timer.join()
        await face.rollback()
        assert face.state == ("IDLE", 0)
        with tenant_scope(BOLT):
            return await face.rows(ALL)

    assert on_each(work) == [[(BOLT,)]] * 8


def test_a_lost_connection_is_said_to_be_lost(on_each: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            await face.rows(ALL)
            await face.commit()
            with shop.admin() as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [shop.app]
                ).fetchall()
            with pytest.raises(psycopg.OperationalError):
                await face.rows(ALL)
        return face.conn.closed

    assert on_each(work, kinds=("direct",)) == [True] * 4
