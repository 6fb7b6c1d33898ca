"""What stands between a client and its compute: a round trip through the relay, and waking a compute."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from statistics import median
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo

from benchmarks.branch_create import temporary_folder
from benchmarks.engine_load import serving
from benchmarks.result import Row, compare, limit
from tenantry.local.clusters.ports import BEHIND

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.engine_load import Served

RELAY_US = 90
WAKE_MS = 150


def rows(*, quick: bool) -> list[Row]:
    """All rows of this module."""
    with temporary_folder() as folder, serving(folder / "engine") as served:
        return [*round_trips(served, number=300 if quick else 5000), *waking(served, runs=2 if quick else 15)]


def round_trips(served: Served, *, number: int) -> list[Row]:
    """`SELECT 1` on an open connection, through the held address, past it over TCP, and over the Unix socket."""
    uri = served.main["connection_uris"][0]["connection_uri"]
    socket = served.main["endpoints"][0]["unix_socket_directory"]
    ways = {
        "held": uri,
        "direct": conninfo.make_conninfo(uri, host=BEHIND),
        "socket": conninfo.make_conninfo(uri, host=socket, sslmode="disable", channel_binding="prefer"),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    with busy_processors(), contextlib.ExitStack() as stack:
        connections = {way: stack.enter_context(psycopg.connect(where, autocommit=True)) for way, where in ways.items()}
        # Turn by turn, so that all ways meet the same machine.
        for _ in range(number):
            for way, connection in connections.items():
                began = time.perf_counter()
                connection.execute("SELECT 1", prepare=True).fetchone()
                took[way].append(1_000_000 * (time.perf_counter() - began))
    held, direct, socket_took = (median(took[way]) for way in ("held", "direct", "socket"))
    what = "A round trip (SELECT 1, TLS) by the held address"
    return [
        limit(f"{what}: more than direct to Postgres", ours=held - direct, at_most=RELAY_US, unit="µs"),
        compare(what, ours=held, peer="direct to Postgres, TCP and TLS", peers=direct, unit="µs"),
        compare(what, ours=held, peer="the Unix socket that is published", peers=socket_took, unit="µs"),
    ]


def waking(served: Served, *, runs: int) -> list[Row]:
    """A connection to a suspended compute, until the answer to its first query."""
    endpoint = served.main["endpoints"][0]
    uri = served.main["connection_uris"][0]["connection_uri"]
    woken: list[float] = []
    started: list[float] = []
    for _ in range(runs):
        served.call("POST", f"/endpoints/{endpoint['id']}/suspend")
        woken.append(answer_time(uri))
        served.call("POST", f"/endpoints/{endpoint['id']}/suspend")
        operation = served.call("POST", f"/endpoints/{endpoint['id']}/start")["operations"][0]
        started.append(operation["total_duration_ms"])
    what = "Waking a suspended compute, until its first answer"
    return [
        limit(what, ours=median(woken), at_most=WAKE_MS, unit="ms"),
        compare(what, ours=median(woken), peer="a start of its postmaster alone", peers=median(started), unit="ms"),
        compare(what, ours=median(woken), peer="the same awake", peers=answer_time(uri), unit="ms"),
    ]


def answer_time(uri: str) -> float:
    """The milliseconds until a new connection has its first answer."""
    began = time.perf_counter()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("SELECT 1").fetchone()
        return 1000 * (time.perf_counter() - began)


@contextlib.contextmanager
def busy_processors() -> Generator[None]:
    """Keep every processor from falling asleep between two messages, with work that gives way to all other."""
    chrt = shutil.which("chrt")
    spinners = [
        subprocess.Popen([chrt, "-i", "0", "sh", "-c", "while :; do :; done"])
        for _ in range(os.cpu_count() or 1)
        if chrt is not None
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
