"""Many tasks and tenants on a few connections, among cancellations, time limits, killed backends and pooler restarts.

`TENANTRY_SOAK_SECONDS` is for all ways together, `TENANTRY_SOAK_SEED` chooses other actions.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from tenantry import tenant_scope
from tests.isolation.matrix.arena import Arena, make_arena
from tests.isolation.matrix.roster import WAYS
from tests.isolation.matrix.ways import ALL, Way
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.postgres import Cluster, fresh_database

SECONDS = float(os.environ.get("TENANTRY_SOAK_SECONDS", "8"))
SEED = int(os.environ.get("TENANTRY_SOAK_SEED", "4"))
TASKS, TENANTS, POOL = 64, 50, 5
CASES = [
    (name, place)
    for name in ("AsyncSession over psycopg", "AsyncSession over asyncpg", "async psycopg in autocommit", "asyncpg")
    for place in ("direct", "pooled")
]
pytestmark = [
    pytest.mark.timeout(SECONDS + 120),
    # What was killed or cancelled is found by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def arena(postgres: Cluster, new_pgbouncer: Callable[..., Bouncer]) -> Iterator[Arena]:
    with fresh_database(postgres) as database, make_arena(database, new_pgbouncer(pool_size=POOL)) as arena:
        yield arena


class Soak:
    """One run over one way. `counts` says what was done."""

    def __init__(self, arena: Arena, way: Way, seconds: float) -> None:
        self.arena, self.way, self.seconds = arena, way, seconds
        self.tenants = [UUID(int=0xC0FFEE00 + number) for number in range(TENANTS)]
        self.counts: Counter[str] = Counter()
        self.committed: dict[str, UUID] = {}
        self.wrong: list[Any] = []
        self.gate = asyncio.Semaphore(POOL)  # the ways over plain psycopg have no pool that waits

    async def run(self) -> None:
        self.arena.conn.execute("TRUNCATE shop.documents CASCADE")
        await self.way.open()
        loop = asyncio.get_running_loop()
        self.end = loop.time() + self.seconds
        await asyncio.gather(self._trouble(), *(self._task(number) for number in range(TASKS)))

    async def _task(self, number: int) -> None:
        chance = random.Random(f"{SEED}-{number}")
        loop, step = asyncio.get_running_loop(), 0
        while loop.time() < self.end:
            step += 1
            tenant = chance.choice(self.tenants)
            writes = chance.random() < 0.4
            work = partial(self._write, tenant, f"{number}-{step}") if writes else partial(self._read, tenant, chance)
            fate, after = chance.random(), chance.uniform(0, 0.05)
            task = asyncio.create_task(self._scoped(tenant, work))
            try:
                if fate < 0.1:
                    await asyncio.sleep(after)
                    task.cancel()
                    self.counts["cancellations"] += 1
                async with asyncio.timeout(after if fate > 0.9 else 20):
                    await task
            except TimeoutError:
                self.counts["timeouts"] += 1
            except asyncio.CancelledError:
                self.counts["cancelled"] += 1
            except Exception as exc:  # noqa: BLE001 - of a connection that was killed under it
                self.counts[f"failed: {type(exc).__name__}"] += 1
            await asyncio.sleep(0)

    async def _scoped(self, tenant: UUID, work: Any) -> None:
        async with self.gate:
            with tenant_scope(tenant):
                await work()

    async def _read(self, tenant: UUID, chance: random.Random) -> None:
        if chance.random() < 0.5:
            rows = await self.way.single(ALL)
        else:
            async with self.way.work() as work:
                rows = await work.rows(ALL)
                async with work.savepoint():
                    rows += await work.rows(ALL)
        self.counts["reads"] += 1
        self.counts["rows"] += len(rows)
        self.wrong += [(tenant, row) for row in rows if str(row[0]) != str(tenant)]

    async def _write(self, tenant: UUID, title: str) -> None:
        async with self.way.work() as work:
            await work.rows(f"INSERT INTO shop.documents (title) VALUES ('{title}')")
        self.committed[title] = tenant
        self.counts["writes"] += 1

    async def _trouble(self) -> None:
        chance, loop = random.Random(SEED), asyncio.get_running_loop()
        restart = loop.time() + self.seconds / 3
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = %s"
            " ORDER BY random() LIMIT 1"
        )
        while loop.time() < self.end:
            await asyncio.sleep(chance.uniform(0.05, 0.2))
            self.counts["kills"] += len(self.arena.conn.execute(kill, [self.arena.shop.app]).fetchall())
            if self.way.address.pooled and loop.time() > restart:
                restart += self.seconds / 3
                await asyncio.to_thread(self.arena.bouncer.stop, signal.SIGKILL)
                await asyncio.to_thread(self.arena.bouncer.start)
                self.counts["restarts"] += 1

    async def usable(self) -> int:
        """How many connections of the pool work at once, after those that were killed were met once each."""
        for _ in range(4 * POOL):
            with suppress(Exception), tenant_scope(self.tenants[0]):
                await self.way.single(ALL)
        together = asyncio.Barrier(POOL)

        async def one(tenant: UUID) -> int:
            with tenant_scope(tenant):
                async with self.way.work() as work:
                    rows = await work.rows(ALL)
                    await together.wait()
            return int(all(str(row[0]) == str(tenant) for row in rows))

        async with asyncio.timeout(20):
            return sum(await asyncio.gather(*map(one, self.tenants[:POOL])))


@pytest.mark.parametrize(("name", "place"), CASES)
def test_every_row_is_its_tenants_and_no_connection_is_lost(name: str, place: str, arena: Arena):
    way = WAYS[name](arena.address(pooled=place == "pooled", spare=False), size=POOL)

    async def soak() -> tuple[Soak, int]:
        soak = Soak(arena, way, SECONDS / len(CASES))
        await soak.run()
        usable = await soak.usable()
        await way.close()
        return soak, usable

    with asyncio.Runner() as runner:
        done, usable = runner.run(soak())

    print(f"{name}, {place}, seed {SEED}: {dict(done.counts)}, wrong {len(done.wrong)}")  # noqa: T201 - the report
    rows = arena.conn.execute("SELECT title, tenant_id FROM shop.documents").fetchall()
    assert done.wrong == []
    assert done.committed.items() <= dict(rows).items()
    assert done.counts["reads"] and done.counts["writes"] and done.counts["kills"]  # noqa: PT018
    assert usable == POOL
