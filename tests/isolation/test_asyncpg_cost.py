"""What plain asyncpg pays for the tenant's context, in round trips."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import asyncpg

from tenantry import tenant_scope
from tenantry.session.asyncpg import TenantConnection
from tests.plugins.asyncpg_ways import Way
from tests.plugins.shop import ACME
from tests.plugins.turns import counting_turns

ALL = "SELECT tenant_id FROM shop.documents"

ROUND_TRIPS: dict[str, tuple[int, int, Callable[[Any], Awaitable[Any]]]] = {
    # ours, asyncpg's own without any tenant, what is done
    "a single statement": (1, 1, lambda conn: conn.fetchrow(f"{ALL} WHERE title <> $1", "x")),
    "a single text": (1, 1, lambda conn: conn.execute(ALL)),
    "a statement in a transaction": (2, 3, lambda conn: in_transaction(conn, 1)),
    "two statements in a transaction": (3, 4, lambda conn: in_transaction(conn, 2)),
    "a transaction without a statement": (0, 2, lambda conn: in_transaction(conn, 0)),
    "a single insert, which may leave lastval": (
        2,
        1,
        lambda conn: conn.execute("INSERT INTO shop.settings VALUES ($1, 'x') ON CONFLICT DO NOTHING", 1),
    ),
    "putting back into the pool": (0, 1, lambda conn: conn.reset()),
}


async def in_transaction(conn: Any, statements: int) -> None:
    async with conn.transaction():
        for _ in range(statements):
            await conn.fetch(ALL)


def test_what_each_costs_in_round_trips(direct: Way):
    async def work() -> dict[str, tuple[int, int]]:
        seen: dict[str, list[int]] = {name: [] for name in ROUND_TRIPS}
        async with counting_turns("127.0.0.1", direct.shop.database.cluster.port) as turns:
            for connection_class in (TenantConnection, asyncpg.Connection):
                async with direct.connected(connection_class, port=turns.port, host="127.0.0.1") as conn:
                    for name, (_, _, do) in ROUND_TRIPS.items():
                        await do(conn)  # prepares what is prepared
                        turns.start_again()
                        await do(conn)
                        seen[name].append(turns.count)
        return {name: (ours, theirs) for name, (ours, theirs) in seen.items()}

    with tenant_scope(ACME), asyncio.Runner() as runner:
        seen = runner.run(work(), context=copy_context())

    assert seen == {name: (ours, theirs) for name, (ours, theirs, _) in ROUND_TRIPS.items()}
