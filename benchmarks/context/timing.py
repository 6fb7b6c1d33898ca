"""Contenders that take turns, and the medians of what one operation of each took."""

from __future__ import annotations

import contextlib
import logging
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["AsyncWay", "Contest", "Way", "call", "medians", "quiet", "spinners"]


class Contender(Protocol):
    """What does one operation for each id, and gives the seconds that each took."""

    def __call__(self, ids: Sequence[int]) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class Contest:
    """Ways to do the same work: each is opened, takes turns with the others, and is closed again.

    `goals` are the ratios that *ours* shall keep beside some of the others, by name. *slow* asks for fewer rounds.
    """

    title: str
    ours: str
    ways: Mapping[str, Callable[[], AbstractContextManager[Contender]]]
    goals: Mapping[str, float] = field(default_factory=dict[str, float])
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """An operation that blocks. It returns the id that it read, so that a wrong answer is no fast one."""

    operation: Callable[[int], int]

    def __call__(self, ids: Sequence[int]) -> list[float]:
        took: list[float] = []
        for number in ids:
            began = time.perf_counter()
            answer = self.operation(number)
            took.append(time.perf_counter() - began)
            assert answer == number, f"asked for {number}, got {answer}"
        return took


@dataclass(frozen=True, slots=True)
class AsyncWay:
    """The same for an operation that is awaited. *run* is the `run` of an `asyncio.Runner`."""

    operation: Callable[[int], Coroutine[Any, Any, int]]
    run: Callable[[Coroutine[Any, Any, list[float]]], list[float]]

    def __call__(self, ids: Sequence[int]) -> list[float]:
        return self.run(self._all(ids))

    async def _all(self, ids: Sequence[int]) -> list[float]:
        took: list[float] = []
        for number in ids:
            began = time.perf_counter()
            answer = await self.operation(number)
            took.append(time.perf_counter() - began)
            assert answer == number, f"asked for {number}, got {answer}"
        return took


def medians(contest: Contest, *, rounds: int, each: int) -> dict[str, float]:
    """Let the ways take turns of *each* operations, and give the median of an operation of each, in microseconds.

    The first tenth of the rounds, in which statements are prepared and caches filled, is not counted.
    """
    took: dict[str, list[float]] = {name: [] for name in contest.ways}
    with contextlib.ExitStack() as stack:
        opened = {name: stack.enter_context(way()) for name, way in contest.ways.items()}
        for turn in range(rounds + max(1, rounds // 10)):
            ids = [call(turn * each + number) for number in range(each)]
            for name, way in opened.items():
                seconds = way(ids)
                if turn >= max(1, rounds // 10):
                    took[name] += seconds
    return {name: statistics.median(seconds) * 1e6 for name, seconds in took.items()}


def call(number: int) -> int:
    """An id that belongs to the tenant that asks: every tenth row of the first thousand does."""
    return 10 * (number % 100) + 10


def quiet() -> None:
    """Let each process not say anew that the local Postgres is not the newest."""
    logging.getLogger("tenantry").setLevel(logging.ERROR)


@contextlib.contextmanager
def spinners() -> Generator[None]:
    """Keep both cores from sleeping with loops of the idle class, which yield to everything else.

    Without them, waking a core costs more than a round trip and differs from run to run.
    """
    chrt = shutil.which("chrt")
    command = [*([chrt, "-i", "0"] if chrt else ["nice", "-n", "19"]), sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
