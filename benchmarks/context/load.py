"""What 8 clients get done on this machine together, each a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.context import direct, orm
from benchmarks.context.timing import call, quiet
from benchmarks.result import Row, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from benchmarks.context.database import Database, Url
    from benchmarks.context.timing import Contender

__all__ = ["rows"]

CLIENTS = 8
OF_BARE = 0.8
"""The part of the throughput of bare statements that is wanted with a tenant."""


def rows(database: Database, *, seconds: float, turns: int) -> list[Row]:
    """Let the ways take turns of *seconds*. A figure is the time for each statement of all clients together."""
    took: dict[tuple[str, str], list[float]] = {}
    for _ in range(turns):
        for kind, name in _names(database.url):
            took.setdefault((kind, name), []).append(_together(database.url, kind, name, seconds=seconds))
    found = {key: statistics.median(each) for key, each in took.items()}
    answer: list[Row] = []
    for kind, baseline, wanted in (("statement", direct.BARE, 1 / OF_BARE), ("transaction", orm.PLAIN, None)):
        ours = found[kind, direct.OURS]
        for (of_kind, name), value in found.items():
            if of_kind == kind and name != direct.OURS:
                # Above every peer, and at least `OF_BARE` of bare statements.
                ratio = wanted if name == baseline else 1.0
                answer.append(
                    compare(
                        f"{CLIENTS} clients at once, time a {kind}: {direct.OURS}",
                        ours=ours,
                        peer=name,
                        peers=value,
                        unit="µs",
                        at_most_ratio=ratio,
                    )
                )
    return answer


def _names(url: Url) -> list[tuple[str, str]]:
    return [
        (kind, name) for kind, ways in (("statement", _statements(url)), ("transaction", _orm(url))) for name in ways
    ]


def _statements(url: Url) -> dict[str, Callable[[], AbstractContextManager[Contender]]]:
    return dict(direct.single_statement("", url).ways)


def _orm(url: Url) -> dict[str, Callable[[], AbstractContextManager[Contender]]]:
    return dict(orm.transaction("", url).ways)


def _together(url: Url, kind: str, name: str, *, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(CLIENTS), context.Queue()
    clients = [
        context.Process(target=_client, args=(url, kind, name, seconds, barrier, answers), daemon=True)
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    done = sum(answers.get(timeout=60) for _ in clients)
    for client in clients:
        client.join()
    return seconds * 1e6 / done


def _client(  # noqa: PLR0917 - what a process is started with
    url: Url, kind: str, name: str, seconds: float, barrier: Barrier, answers: Queue[int]
) -> None:
    quiet()
    ways = _statements(url) if kind == "statement" else _orm(url)
    with ways[name]() as way:
        way([call(number) for number in range(20)])
        barrier.wait()
        end = time.perf_counter() + seconds
        done = 0
        while time.perf_counter() < end:
            done += len(way([call(number) for number in range(10)]))
        answers.put(done)
