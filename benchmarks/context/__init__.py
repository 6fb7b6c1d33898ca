"""What a tenant costs an application: a statement, a transaction and the throughput with one and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.context import direct, load, orm
from benchmarks.context.database import open_database
from benchmarks.context.timing import Contest, medians, quiet, spinners
from benchmarks.result import Row, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.context.database import Database

NAME = "A tenant's context"


def run(*, quick: bool = False) -> list[Row]:
    """Time each way beside the others, in turns, over every network; then throughput with 8 clients."""
    quiet()
    rows: list[Row] = []
    with open_database(rows=1_000 if quick else 100_000) as database, spinners():
        for contest in _contests(database):
            rounds, each = (3, 20) if quick else (12, 25) if contest.slow else (40, 100)
            rows += _rows(contest, medians(contest, rounds=rounds, each=each))
    with open_database(rows=1_000 if quick else 100_000) as database:
        rows += load.rows(database, seconds=0.3 if quick else 2.0, turns=1 if quick else 5)
    return rows


def _contests(database: Database) -> Iterator[Contest]:
    for network, url in database.networks():
        yield direct.single_statement(network, url)
        yield direct.single_statement_async(network, url)
        yield direct.single_statement_asyncpg(network, url)
        yield orm.transaction(network, url)
        yield orm.transaction_asyncpg(network, url)
    yield direct.signed("on loopback", database.url)


def _rows(contest: Contest, found: dict[str, float]) -> Iterator[Row]:
    ours = found[contest.ours]
    for name, took in found.items():
        if name != contest.ours:
            yield compare(
                f"{contest.title}: {contest.ours}",
                ours=ours,
                peer=name,
                peers=took,
                unit="µs",
                at_most_ratio=contest.goals.get(name),
            )
