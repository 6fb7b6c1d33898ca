"""The guard by documented means alone keeps tenants apart as the fast one does, and stands in for it."""

import logging
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import errors, rows

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.session.errors import ForeignCursorError, HeldCursorError, TransactionControlError
from tenantry.session.protection import Protection
from tenantry.session.psycopg import connections
from tenantry.session.psycopg.chosen import choose
from tenantry.session.psycopg.fallback import AsyncPlainTenantConnection, PlainTenantConnection
from tenantry.session.psycopg.seam import LEANS_ON, missing
from tests.plugins.connections import ALL, WAYS, Face, OnEach, settings_left
from tests.plugins.shop import ACME, BOLT, Shop


@pytest.fixture
def on_plain(on_each: OnEach) -> OnEach:
    return replace(on_each, classes=(PlainTenantConnection, AsyncPlainTenantConnection))


def test_this_psycopg_is_as_the_hooks_know_it():
    assert missing() == ()
    assert choose(()) == (connections.TenantConnection, connections.AsyncTenantConnection)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"_cursor_base.BaseCursor._gone": ("self", ())},
        {"_gone.BaseCursor._reset": ("self", ())},
        {"_cursor_base.BaseCursor._reset": ("self", ())},
        {"_cursor_base.BaseCursor._execute_gen": (LEANS_ON["_cursor_base.BaseCursor._execute_gen"][0], ("_gone",))},
    ],
    ids=["a method that went", "a module that went", "other parameters", "another call"],
)
def test_another_psycopg_is_noticed(otherwise: Any, caplog: pytest.LogCaptureFixture):
    unlike = missing({**LEANS_ON, **otherwise})

    assert unlike == tuple(otherwise)
    with caplog.at_level(logging.WARNING):
        assert choose(unlike) == (PlainTenantConnection, AsyncPlainTenantConnection)
    assert unlike[0] in caplog.text


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_way_to_read_sees_the_scopes_rows(on_plain: OnEach, way: Any):
    async def work(face: Face) -> Any:
        with pytest.raises(NoTenantError):
            await way(face)
        found: list[Any] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant, user="ada"):
                found.append([str(row[0]) for row in await way(face)])
                await face.commit()
                async with face.transaction():
                    with tenant_scope(ACME if tenant == BOLT else BOLT), pytest.raises(TenantChangedError):
                        await way(face)
                await face.commit()
            assert face.state == ("IDLE", 0)
            assert await settings_left(face) == [("", "")]
        return found

    assert on_plain(work) == [[[str(ACME)], [str(BOLT)]]] * 8


def test_it_refuses_what_the_fast_one_refuses(on_plain: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for text in ("COMMIT", "SELECT 1; ROLLBACK", "BEGIN"):
                with pytest.raises(TransactionControlError):
                    await face.rows(text)
            with pytest.raises(HeldCursorError):
                await face.server_side(ALL, withhold=True)
            with pytest.raises(errors.DivisionByZero):
                await face.rows("SELECT 1/0")
            await face.rollback()
            face.conn.cursor_factory = psycopg.Cursor
            with pytest.raises(ForeignCursorError):
                await face.rows(ALL)
        return face.state

    assert on_plain(work) == [("IDLE", 0)] * 8


LEAVES = ["SET work_mem = '1MB'", "LISTEN jobs", "PREPARE mine AS SELECT 1", "SELECT pg_advisory_lock(4711)"]
PROBE = """
SELECT name FROM pg_settings WHERE source = 'session' AND name = 'work_mem' UNION ALL
SELECT pg_listening_channels() UNION ALL
SELECT name FROM pg_prepared_statements WHERE from_sql UNION ALL
SELECT objid::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""


@pytest.mark.parametrize("ends", ["commit", "rollback", "error"])
def test_the_next_tenant_finds_nothing(on_plain: OnEach, ends: str):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for query in LEAVES:
                if ends == "error":
                    with pytest.raises(errors.DivisionByZero):
                        await face.rows(f"{query}; SELECT 1/0")
                else:
                    await face.rows(query)
                await face.call("commit" if ends == "commit" else "rollback")
        with tenant_scope(BOLT):
            return await face.rows(PROBE)

    assert on_plain(work, kinds=("direct",)) == [[]] * 4
    if ends == "commit":
        assert on_plain(work, kinds=("pooled",), protection=Protection(checkin="always")) == [[]] * 4


def test_rows_may_be_of_any_kind(on_plain: OnEach):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            return await face.rows(ALL)

    assert on_plain(work, row_factory=rows.dict_row) == [[{"tenant_id": ACME}]] * 8


def test_through_a_pooler_nothing_is_prepared(on_plain: OnEach, shop: Shop):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            for _ in range(8):
                await face.rows(f"{ALL} WHERE title <> %s", ("x",))
            return face.conn.prepare_threshold

    assert on_plain(work, kinds=("pooled",)) == [None] * 4
