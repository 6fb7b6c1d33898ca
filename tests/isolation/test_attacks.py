"""The attack matrix: every hole of pools, sessions and contexts, through every driver, direct and through PgBouncer."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from contextvars import copy_context
from typing import Any

import pytest

from tenantry import tenant_scope
from tests.isolation.matrix.arena import Arena, make_arena
from tests.isolation.matrix.attack import Attack, Try
from tests.isolation.matrix.roster import UNSEEN, WAYS
from tests.isolation.matrix.table import ATTACKS, ELSEWHERE, HOLES
from tests.isolation.matrix.ways import ALL, Way
from tests.plugins.pgbouncer import Bouncer
from tests.plugins.postgres import Cluster, fresh_database
from tests.plugins.shop import ACME, BOLT

# Results and cursors that are left unread are what some attacks are about.
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

# The guards of a way are the same through PgBouncer: there they are taken out on these, or on all if asked.
BLIND_THROUGH_POOLER = set(WAYS) if os.environ.get("TENANTRY_ATTACKS") == "all" else {"Core over psycopg", "asyncpg"}


@pytest.fixture(scope="module")
def loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    with asyncio.Runner() as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20), context=copy_context())


@pytest.fixture(scope="module")
def arena(postgres: Cluster, pgbouncer: Bouncer) -> Iterator[Arena]:
    with fresh_database(postgres) as database, make_arena(database, pgbouncer) as arena:
        yield arena


@pytest.fixture(scope="module")
def kept() -> dict[str, Way]:
    """Ways that are open: what one attack leaves on a connection is met by the next."""
    return {}


@pytest.fixture(scope="module")
def way_to(arena: Arena, loop: Any, kept: dict[str, Way]) -> Iterator[Callable[[str, str, Attack], Way]]:
    def find(name: str, place: str, attack: Attack) -> Way:
        key = f"{name} {place} {attack.size}"
        if key not in kept:
            kept[key] = WAYS[name](arena.address(pooled=place == "pooled", spare=False), size=attack.size)
            loop(kept[key].open())
        return kept[key]

    yield find
    for way in kept.values():
        loop(way.close())


class _Nowhere:
    """An address, to ask an attack whether it concerns a way."""

    def __init__(self, pooled: bool) -> None:  # noqa: FBT001
        self.pooled = pooled


def _concerned(attack: Attack, name: str, place: str) -> bool:
    return attack.concerns(WAYS[name](_Nowhere(place == "pooled")))


Case = tuple[Attack, str, str]

TRIED: list[Case] = [
    (attack, name, place)
    for name in WAYS
    for place in ("direct", "pooled")
    for attack in ATTACKS
    if _concerned(attack, name, place)
]
BLIND = [
    (attack, name, place)
    for attack, name, place in TRIED
    if (place == "direct" or name in BLIND_THROUGH_POOLER or attack.hole in {"P18", "P19"})
    and attack.guard not in UNSEEN.get(name, {})
]


def _named(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=f"{case[0].id}-{case[1]}-{case[2]}") for case in cases]


@pytest.mark.parametrize("case", _named(TRIED))
def test_an_attack_gets_nothing(case: Case, arena: Arena, loop: Any, way_to: Any, kept: dict[str, Way]):
    attack, name, place = case
    if attack.poisoned:
        way = WAYS[name](arena.address(pooled=place == "pooled", spare=True), size=attack.size)
        with arena.poisoned(arena.spare):
            loop(way.open())
            got = loop(attack.run(Try(arena, way)))
        loop(way.close())
        arena.forget_spare()
    else:
        way = way_to(name, place, attack)
        try:
            got = loop(attack.run(Try(arena, way)))
        except BaseException:
            kept.pop(f"{name} {place} {attack.size}")
            raise
    if attack.writes:
        arena.restore()

    assert got == []


@pytest.mark.parametrize("case", _named(BLIND))
def test_it_would_get_something_without_the_guard(case: Case, arena: Arena, loop: Any):
    attack, name, place = case
    guard = attack.guard
    with guard.take_out(arena), arena.poisoned(arena.spare) if attack.poisoned else nullcontext():
        way = WAYS[name](
            arena.address(pooled=place == "pooled", spare=True),
            size=attack.size,
            careless=guard.careless,
            prepares=guard.prepares,
        )
        loop(way.open())
        try:
            got = loop(attack.run(Try(arena, way)))
        finally:
            loop(way.close())
            arena.forget_spare()
            if attack.writes:
                arena.restore()

    assert got != []


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_each_tenants_row_is_there_and_its_owner_sees_it(name: str, place: str, arena: Arena, loop: Any, way_to: Any):
    way = way_to(name, place, ATTACKS[0])

    async def seen() -> list[Any]:
        found: list[Any] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant):
                async with way.work() as work:
                    found += [str(row[0]) for row in await work.rows(ALL)]
        return found

    assert loop(seen()) == [str(ACME), str(BOLT)]
    assert sorted(map(str, arena.shop.tenants_in("documents"))) == [str(ACME), str(BOLT)]


def test_every_hole_is_tried_or_has_its_reason():
    tried = {attack.hole for attack in ATTACKS}
    elsewhere = {hole.hole for hole in ELSEWHERE}

    assert sorted(tried | elsewhere) == sorted(HOLES)
    assert tried & elsewhere == set()


def test_no_two_attacks_have_one_name():
    names = [attack.id for attack in ATTACKS]

    assert len(names) == len(set(names))
