"""Plain asyncpg: whose rows each way to send sees, in a transaction and outside one, direct and through PgBouncer."""

import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.session.errors import (
    CopyInError,
    ListenerError,
    UserChangedError,
)
from tests.plugins.asyncpg_ways import Way
from tests.plugins.shop import ACME, BOLT, Shop

ALL = "SELECT tenant_id FROM shop.documents"
LEFT = "SELECT coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.user_id', true), '')"


async def copied(conn: Any, **options: Any) -> list[UUID]:
    out = io.BytesIO()
    await conn.copy_from_query(ALL, output=out, **options)
    return [UUID(line) for line in out.getvalue().decode().split()]


async def copied_table(conn: Any) -> list[UUID]:
    out = io.BytesIO()
    await conn.copy_from_table("documents", schema_name="shop", columns=["tenant_id"], output=out)
    return [UUID(line) for line in out.getvalue().decode().split()]


async def by_statement(conn: Any) -> list[UUID]:
    statement = await conn.prepare(ALL)
    return [row[0] for row in await statement.fetch()]


async def by_statement_many(conn: Any) -> list[UUID]:
    statement = await conn.prepare(f"{ALL} WHERE title <> $1")
    return [row[0] for row in await statement.fetchmany([("x",)])]


async def by_execute(conn: Any) -> list[UUID]:
    await conn.execute("DROP TABLE IF EXISTS pg_temp.seen")
    await conn.execute(f"SET LOCAL search_path = shop; {ALL}")  # several statements in one text
    return [ACME] if await conn.execute(f"{ALL} WHERE tenant_id = '{ACME}'") == "SELECT 1" else [BOLT]


READS: dict[str, Callable[[Any], Awaitable[list[Any]]]] = {
    "fetch": lambda conn: values(conn.fetch(ALL)),
    "fetch with a parameter": lambda conn: values(conn.fetch(f"{ALL} WHERE title <> $1", "x")),
    "fetchrow": lambda conn: values(one(conn.fetchrow(ALL))),
    "fetchval": lambda conn: listed(conn.fetchval(ALL)),
    "fetchmany": lambda conn: values(conn.fetchmany(f"{ALL} WHERE title <> $1", [("x",)])),
    "execute": by_execute,
    "a prepared statement": by_statement,
    "a prepared statement for many": by_statement_many,
    "copy of a query": copied,
    "copy of a table": copied_table,
}


async def values(rows: Awaitable[list[Any]]) -> list[Any]:
    return [row[0] for row in await rows]


async def one(row: Awaitable[Any]) -> list[Any]:
    return [await row]


async def listed(value: Awaitable[Any]) -> list[Any]:
    return [await value]


async def streamed(conn: Any) -> list[Any]:
    return [row[0] async for row in conn.cursor(ALL, prefetch=1)]


async def by_cursor(conn: Any) -> list[Any]:
    cursor = await conn.cursor(ALL)
    return [row[0] for row in await cursor.fetch(10)]


async def by_statements_cursor(conn: Any) -> list[Any]:
    statement = await conn.prepare(ALL)
    return [row[0] async for row in statement.cursor()]


# asyncpg itself has these inside transactions only.
CURSORS = {"a cursor": streamed, "an awaited cursor": by_cursor, "a statement's cursor": by_statements_cursor}


def test_each_tenant_reads_its_own_rows_on_one_connection(way: Way):
    async def work(conn: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, read in {**READS, **CURSORS}.items():
            seen[name] = []
            for tenant in (ACME, BOLT):
                with tenant_scope(tenant):
                    if name in READS:
                        seen[name].append(await read(conn))
                    async with conn.transaction():
                        seen[name].append(await read(conn))
        return seen

    seen = way.run(work)

    assert seen == {name: [[ACME], [ACME], [BOLT], [BOLT]] for name in READS} | {
        name: [[ACME], [BOLT]] for name in CURSORS
    }


def test_without_wall_and_guard_the_same_reads_cross(direct: Way, shop: Shop):
    shop.drop_the_wall()

    async def work(conn: Any) -> dict[str, set[Any]]:
        names = [name for name in READS if name not in {"fetchrow", "fetchval", "execute"}]
        return {name: set(await READS[name](conn)) for name in names}

    seen = direct.run(work, connection_class=asyncpg.Connection)

    assert set(map(frozenset, seen.values())) == {frozenset({ACME, BOLT})}


def test_without_a_tenant_nothing_is_sent(way: Way):
    async def work(conn: Any) -> None:
        async def begin(conn: Any) -> None:
            await conn.transaction().start()

        async def many(conn: Any) -> None:
            await conn.executemany("INSERT INTO shop.documents (title) VALUES ($1)", [("x",)])

        sent = conn._protocol.queries_count
        for send in [*READS.values(), begin, many]:
            with pytest.raises(NoTenantError, match="tenant_scope"):
                await send(conn)
        assert conn._protocol.queries_count == sent

    way.run(work)


def test_without_a_tenant_the_database_refuses_too(way: Way):
    assert way.run(lambda conn: conn.fetch(ALL), connection_class=asyncpg.Connection) == []


def test_a_statement_of_another_scope_is_refused_in_a_transaction_which_goes_on_in_its_own(way: Way):
    async def work(conn: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, read in {**READS, **CURSORS}.items():
            with tenant_scope(ACME, user="ann"):
                async with conn.transaction():
                    statement = await conn.prepare(ALL)
                    with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                        await read(conn)
                    with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                        await statement.fetch()
                    with tenant_scope(ACME, user="bob"), pytest.raises(UserChangedError):
                        await read(conn)
                    seen[name] = await read(conn)
        return seen

    assert set(map(tuple, way.run(work).values())) == {(ACME,)}


def test_a_transaction_that_began_for_a_tenant_refuses_another_before_its_first_statement(way: Way):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            transaction = conn.transaction()
            await transaction.start()
        with tenant_scope(BOLT), pytest.raises(TenantChangedError):
            await conn.fetch(ALL)
        with pytest.raises(NoTenantError):
            await conn.fetch(ALL)
        await transaction.rollback()  # to end it needs no scope
        with tenant_scope(BOLT):
            assert await values(conn.fetch(ALL)) == [BOLT]

    way.run(work)


def test_the_user_is_that_of_the_scope_inside_and_outside_transactions(way: Way):
    async def work(conn: Any) -> list[Any]:
        seen: list[Any] = []
        for user in ("o'ann", "b\\ob", None):
            with tenant_scope(ACME, user=user):
                seen.append(await conn.fetchval("SELECT current_setting('app.user_id')"))
                # A check that fails if the text's context is another's than the row's.
                await conn.execute("SELECT 1 / (current_setting('app.tenant_id') <> '')::int")
                async with conn.transaction():
                    seen.append(await conn.fetchval("SELECT current_setting('app.user_id')"))
        return seen

    assert way.run(work) == ["o'ann", "o'ann", "b\\ob", "b\\ob", "", ""]


def test_nothing_stays_set_after_a_statement_a_commit_an_error_or_bad_arguments(way: Way):
    async def work(conn: Any) -> list[Any]:
        left: list[Any] = []

        async def look() -> None:
            with conn.unguarded():
                left.append(tuple(await conn.fetchrow(LEFT)))

        with tenant_scope(ACME, user="ann"):
            for statement in ("SELECT 1", "SELECT 1/0", "SELEC 1"):
                for send in (conn.fetch, conn.execute):
                    with suppress(asyncpg.PostgresError):
                        await send(statement)
                    await look()
                with suppress(asyncpg.PostgresError):
                    async with conn.transaction():
                        await conn.fetch(statement)
                await look()
            for _ in range(2):
                with pytest.raises(asyncpg.DataError):
                    await conn.fetch("SELECT $1::int", "no number")
                await look()
        return left

    assert set(way.run(work)) == {("", "")}


def test_the_errors_are_the_statements_own(way: Way):
    async def work(conn: Any) -> list[Any]:
        seen: list[Any] = []
        with tenant_scope(ACME):
            for send in (conn.fetch, conn.execute):
                with pytest.raises(asyncpg.UndefinedColumnError) as caught:
                    await send("SELECT 1, nonsense")
                error: Any = caught.value
                seen.append((error.position, error.query))
        return seen

    assert way.run(work) == [("11", "SELECT 1, nonsense")] * 2


def test_results_and_their_status_are_asyncpgs_own(way: Way):
    async def work(conn: Any) -> list[Any]:
        many = "SELECT generate_series(1, 120) AS n"
        with tenant_scope(ACME):
            statement = await conn.prepare("SELECT title FROM shop.documents")
            seen: list[Any] = [await conn.execute("SELECT 1; SELECT generate_series(1, 2)")]
            seen.append(await conn.execute("SELECT generate_series(1, $1::int)", 3))
            seen.append(len(await conn.fetch(many)))
            seen.append((await conn.fetchrow(many))["n"])
            await statement.fetch()
            seen.append(statement.get_statusmsg())
            async with conn.transaction():
                seen.append(len([row async for row in conn.cursor(many, prefetch=50)]))
            async with conn.transaction():  # and again, where the statement is prepared
                seen.append(len([row async for row in conn.cursor(many, prefetch=50)]))
        return seen

    assert way.run(work) == ["SELECT 2", "SELECT 3", 120, 1, "SELECT 1", 120, 120]


def test_rows_written_one_by_one_or_many_at_once_are_the_tenants(way: Way, shop: Shop):
    async def work(conn: Any) -> None:
        insert = "INSERT INTO shop.documents (title) VALUES ($1)"
        with tenant_scope(ACME):
            await conn.execute(insert, "one")
            await conn.executemany(insert, [("two",), ("three",)])
            await conn.executemany(insert, [])
            with pytest.raises(asyncpg.DataError):
                await conn.executemany(insert, [("undone",), (4,)])
            async with conn.transaction():
                await conn.executemany(insert, [("four",)])
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute("INSERT INTO shop.documents (tenant_id, title) VALUES ($1, 'stolen')", BOLT)

    way.run(work)

    written = {title: tenant for _, tenant, title in shop.rows() if not title.startswith("of ")}
    assert written == dict.fromkeys(("one", "two", "three", "four"), ACME)


def test_copy_in_is_refused_with_the_way_out(way: Way):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME):
            with pytest.raises(CopyInError, match="executemany") as caught:
                await conn.copy_records_to_table("documents", schema_name="shop", records=[], columns=["title"])
            assert isinstance(caught.value.__cause__, asyncpg.FeatureNotSupportedError)
            assert await values(conn.fetch(ALL)) == [ACME]

    way.run(work)


def test_a_listener_is_refused(direct: Way):
    async def work(conn: Any) -> None:
        with tenant_scope(ACME), pytest.raises(ListenerError, match="orders"):
            await conn.add_listener("orders", print)

    direct.run(work)


def test_statements_that_were_deallocated_are_prepared_again(direct: Way):
    async def work(conn: Any) -> list[Any]:
        with tenant_scope(ACME):
            await conn.fetch(ALL)
            await conn.execute("DEALLOCATE ALL")
            with pytest.raises(asyncpg.InvalidSQLStatementNameError):
                await conn.fetch("SELECT 1")
            return await values(conn.fetch("SELECT tenant_id FROM shop.documents WHERE true"))

    assert direct.run(work) == [ACME]
