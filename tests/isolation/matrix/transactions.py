"""Attacks through transactions, pools and poolers: whose they are, and what they were left in (P12 to P19)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

from tenantry import tenant_scope
from tenantry.core.errors import TenantContextError
from tests.isolation.matrix.attack import Attack, Try
from tests.isolation.matrix.guards import CAREFUL, CONTEXT, CONTROL, NEEDED, PREPARES, SAME, STABLE, UNSET, WALL
from tests.isolation.matrix.ways import ALL
from tests.plugins.shop import ACME, BOLT

__all__ = ["ATTACKS", "foreign"]

BOTH = (ACME, BOLT)


def foreign(rows: list[Any], tenant: UUID) -> list[Any]:
    """What of *rows*, or of their first column, is not *tenant*'s; or a word where it sees nothing of its own."""
    ids = [str(row[0] if isinstance(row, tuple) else row) for row in rows]
    return [one for one in ids if one != str(tenant)] or ([] if ids else ["nothing of its own"])


def _stop() -> None:
    raise LookupError


async def _single(at: Try) -> list[Any]:
    with tenant_scope(BOLT):
        return foreign(await at.way.single(ALL), BOLT)


async def _refused(at: Try, work: Any) -> list[Any]:
    try:
        return await work.rows(ALL)
    except TenantContextError:
        return []


async def _nested_scope(at: Try) -> list[Any]:
    """BOLT's scope inside ACME's transaction, in a savepoint, after its release and after a rollback to one."""
    got: list[Any] = []
    with tenant_scope(ACME):
        async with at.way.work() as work:
            await work.rows(ALL)
            async with work.savepoint():
                await work.rows(ALL)
                with tenant_scope(BOLT):
                    got += await _refused(at, work)
            with tenant_scope(BOLT):
                got += await _refused(at, work)
            got += foreign(await work.rows(ALL), ACME)
            with suppress(LookupError):
                async with work.savepoint():
                    await work.rows(ALL)
                    _stop()
            with tenant_scope(BOLT):
                got += await _refused(at, work)
            got += foreign(await work.rows(ALL), ACME)
    return got


async def _empty_setting(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        async with at.way.work() as work:
            await work.rows(ALL)
        await at.way.single(ALL)
    return await at.way.probe(ALL)


async def _every_path(at: Try) -> list[Any]:
    got: list[Any] = []
    for path in at.way.paths().values():
        for tenant in BOTH:
            with tenant_scope(tenant):
                got += foreign(await path(), tenant)
    return got


async def _no_scope(at: Try) -> list[Any]:
    got: list[Any] = []
    for path in at.way.paths().values():
        try:
            got += await path()
        except TenantContextError:
            continue
    return got


async def _another_connection(at: Try) -> list[Any]:
    with tenant_scope(BOLT):
        async with at.way.work() as first:
            got = foreign(await first.rows(ALL), BOLT)
            async with at.way.work() as second:
                got += foreign(await second.rows(ALL), BOLT)
        async with at.way.work() as third:
            got += foreign(await third.rows(ALL), BOLT)
    return got


async def _after(at: Try) -> list[Any]:
    """What BOLT finds on the connection: its own rows, or trouble."""
    try:
        with tenant_scope(BOLT):
            async with at.way.work() as work:
                got = foreign(await work.rows(ALL), BOLT)
            return got + foreign(await at.way.single(ALL), BOLT)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the next tenant has it
        return [f"trouble: {type(exc).__name__}"]


async def _aborted(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        try:
            async with at.way.work() as work:
                await work.rows(ALL)
                await work.rows("SELECT 1/0")
        except Exception:  # noqa: BLE001 - each driver has its own
            pass
    return await _after(at)


async def _half_read(at: Try) -> list[Any]:
    with suppress(LookupError), tenant_scope(ACME):
        async with at.way.work() as work:
            await work.rows("INSERT INTO shop.documents (title) VALUES ('unfinished')")
            await work.half_read("SELECT tenant_id FROM shop.documents, generate_series(1, 3000)")
            _stop()
    got = await _after(at)
    with tenant_scope(ACME):
        return [*got, *await at.way.look("SELECT title FROM shop.documents WHERE title = 'unfinished'")]


async def _cancelled(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        await at.way.cancelled("SELECT pg_sleep(20), tenant_id FROM shop.documents")
    return await _after(at)


async def _by_turns(at: Try) -> list[Any]:
    """The same texts by both tenants in turn, often enough that every driver prepares them."""
    got: list[Any] = []
    for _ in range(8):
        for tenant in BOTH:
            with tenant_scope(tenant):
                got += foreign(await at.way.single(ALL), tenant)
                async with at.way.work() as work:
                    got += foreign(await work.rows(ALL), tenant)
    return got


async def _at_once(at: Try) -> list[Any]:
    """Two clients of one server by turns; an error is trouble of its own."""
    try:
        if not at.way.waits:
            return await _by_turns(at)

        async def one(tenant: UUID) -> list[Any]:
            got: list[Any] = []
            with tenant_scope(tenant):
                for _ in range(8):
                    got += foreign(await at.way.single(ALL), tenant)
                    async with at.way.work() as work:
                        got += foreign(await work.rows(ALL), tenant)
            return got

        return [*await _by_turns(at), *[row for rows in await asyncio.gather(*map(one, BOTH)) for row in rows]]
    except Exception as exc:  # noqa: BLE001 - of a prepared statement that is not there, or is another's
        return [f"trouble: {exc}"]


async def _prepared_plan(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        async with at.way.work() as work:
            await work.rows("SET LOCAL plan_cache_mode = force_generic_plan")
            await work.rows(ALL)
    return await _by_turns(at)


CONTROLS = [
    "COMMIT",
    "/* a word */ COMMIT",
    "-- a line\nEND",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "ABORT",
    "ROLLBACK WORK",
    "commit work and no chain",
    "PREPARE TRANSACTION 'loot'",
    "SELECT 1; COMMIT",
    "SELECT 'a''; --'; /* ; */ END",
    "DISCARD ALL",
]
OUTSIDE = "SELECT 'sent without a tenant' WHERE coalesce(current_setting('app.tenant_id', true), '') = ''"


async def _control(at: Try) -> list[Any]:
    """ACME ends its transaction by text; what it sends next must not go out without its context."""
    got: list[Any] = []
    for text in CONTROLS:
        with tenant_scope(ACME):
            try:
                async with at.way.work() as work:
                    await work.rows(ALL)
                    try:
                        await work.rows(text)
                    except TenantContextError:
                        continue
                    got += await work.rows(OUTSIDE)
            except Exception:  # noqa: BLE001 - refused by Postgres or the driver
                continue
    return [*got, *await _after(at)]


ATTACKS = [
    Attack(
        "P12",
        "a statement outside of a transaction",
        "outside of a transaction a local setting lasts for nothing, and a stale one counts",
        CONTEXT,
        _single,
        poisoned=True,
    ),
    Attack(
        "P13",
        "a scope in a transaction of another",
        "a scope inside another's transaction, in savepoints that are released and rolled back to",
        SAME,
        _nested_scope,
    ),
    Attack(
        "P13",
        "the end of a transaction by text",
        "text ends the transaction, and what follows has no context",
        CONTROL,
        _control,
    ),
    Attack("P14", "an empty setting", "after its first use the setting is empty and not NULL", UNSET, _empty_setting),
    Attack(
        "P15",
        "every path of the driver",
        "a path through the driver that the context does not take",
        WALL,
        _every_path,
        writes=True,
    ),
    Attack(
        "P15", "every path without a scope", "a path on which nobody asks for a tenant", NEEDED, _no_scope, writes=True
    ),
    Attack(
        "P16",
        "another connection after the commit",
        "the transaction after the first is on a connection that has not been told",
        CONTEXT,
        _another_connection,
        concerns=lambda way: not way.address.pooled,
        reason="PgBouncer of the tests has one server, where two transactions at once wait for each other",
        poisoned=True,
        size=2,
    ),
    Attack("P17", "a failed transaction", "a failed transaction is given back to the pool", CAREFUL, _aborted),
    Attack(
        "P17", "a half-read result", "a result that was read in part is given back to the pool", CAREFUL, _half_read
    ),
    Attack(
        "P17", "a cancelled statement", "a statement that was cancelled is given back to the pool", CAREFUL, _cancelled
    ),
    Attack(
        "P18",
        "two clients of one server",
        "a pooler gives the server's session to another client after each transaction",
        CONTEXT,
        _at_once,
        concerns=lambda way: way.address.pooled,
        reason="it is about poolers",
        poisoned=True,
        size=2,
    ),
    Attack(
        "P19",
        "prepared statements through a pooler",
        "a pooler keeps prepared statements by their names or texts, not by their tenant",
        PREPARES,
        _at_once,
        concerns=lambda way: way.address.pooled,
        reason="it is about poolers",
        size=2,
    ),
    Attack(
        "P19",
        "a plan that was made for another tenant",
        "a plan that is kept for a text holds the tenant that it was made for",
        STABLE,
        _prepared_plan,
        concerns=lambda way: not way.address.pooled,
        reason="a pooler of transactions that cannot hold a prepared statement keeps no plan either",
    ),
]
