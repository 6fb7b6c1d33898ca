"""Contenders of a benchmark: they take turns, a wrong answer is no fast one, and the longer network is longer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.context import network
from benchmarks.context.timing import AsyncWay, Contest, Way, call, medians


def test_ways_take_turns_and_the_first_round_is_not_counted():
    seen: list[str] = []

    @contextlib.contextmanager
    def opened(name: str, seconds: list[float]):
        def turn(ids):
            seen.append(name)
            return [seconds[seen.count(name) - 1]] * len(ids)

        yield turn
        seen.append(f"{name} closed")

    contest = Contest("Which?", "a", {"a": lambda: opened("a", [9, 1, 2, 3]), "b": lambda: opened("b", [9, 4, 4, 4])})

    assert medians(contest, rounds=3, each=2) == {"a": 2e6, "b": 4e6}
    assert seen == ["a", "b"] * 4 + ["b closed", "a closed"]


def test_a_wrong_answer_is_refused():
    with pytest.raises(AssertionError, match="asked for 10, got 11"):
        Way(lambda number: number + 1)([10])


def test_a_way_that_is_awaited_gives_its_seconds():
    async def read(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    with asyncio.Runner() as runner:
        took = AsyncWay(read, runner.run)([10, 20])

    assert len(took) == 2
    assert min(took) >= 0.009


def test_every_id_that_is_asked_for_is_in_a_table_of_a_thousand_rows_and_the_tenants_own():
    ids = {call(number) for number in range(1000)}

    assert (min(ids), max(ids), {number % 10 for number in ids}) == (10, 1000, {0})


def test_the_longer_network_adds_its_delay_to_each_round_trip():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            conn, _ = listener.accept()
            with conn:
                while data := conn.recv(100):
                    conn.sendall(data)

        threading.Thread(target=echo, daemon=True).start()
        command = [sys.executable, network.__file__, "127.0.0.1", str(listener.getsockname()[1]), "0.02"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
            assert relay.stdout is not None
            try:
                with socket.create_connection(("127.0.0.1", int(relay.stdout.readline()))) as client:
                    began = time.perf_counter()
                    for _ in range(3):
                        client.sendall(b"?")
                        assert client.recv(1) == b"?"
                    took = time.perf_counter() - began
            finally:
                relay.kill()

    assert took >= 0.06
