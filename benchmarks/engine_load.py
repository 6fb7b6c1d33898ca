"""An engine with many branches: how long a list takes, and what memory and disk they hold."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg

from benchmarks.branch_create import MB, ROW_BYTES, file_system_that_shares_blocks, temporary_folder
from benchmarks.result import Row, compare, limit
from tenantry.core.ids import BranchId
from tenantry.local.clusters.processes import kill_all, servers_in
from tenantry.local.state.naming import new_branch_id
from tenantry.local.state.records import BranchRecord
from tenantry.local.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LIST_MS = 50
ENGINE_MB = 100
COMPUTE_MB = 25
BRANCH_MB = 5
LARGE_BRANCH_MS = 250

_SERVE = """
import sys
from pathlib import Path
from tenantry.local.engine import Engine
from tenantry.local.serve import serve
with Engine.open(Path(sys.argv[1])) as engine:
    serve(engine, ready=lambda line: print(line, flush=True))
"""


@dataclass(frozen=True, slots=True)
class Served:
    """An engine in a process of its own, and one project in it."""

    data: Path
    pid: int
    client: httpx2.Client
    project_id: str
    main: dict[str, Any]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        more = {} if body is None else {"json": body}
        answer = self.client.request(method, f"projects/{self.project_id}{path}", **more)
        answer.raise_for_status()
        return answer.json()

    def branch(self, name: str) -> dict[str, Any]:
        """Make a branch with a compute."""
        body = {"branch": {"name": name}, "endpoints": [{"type": "read_write"}]}
        return self.call("POST", "/branches", body)

    def processes(self) -> list[int]:
        """Every server process of every branch."""
        return [pid for cluster in (self.data / "clusters").iterdir() for pid in servers_in(cluster)]


@contextlib.contextmanager
def serving(data: Path) -> Generator[Served]:
    """Start an engine on *data*, and end it with all that runs there."""
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(data)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    note = json.loads(process.stdout.readline())
    headers = {"Authorization": f"Bearer {note['api_key']}"}
    try:
        with httpx2.Client(base_url=note["api"], headers=headers, timeout=120) as client:
            made = client.post("projects", json={"project": {"name": "load"}}).raise_for_status().json()
            yield Served(data, process.pid, client, made["project"]["id"], made)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for cluster in (data / "clusters").glob("br-*"):
            kill_all(cluster)


def rows(*, quick: bool) -> list[Row]:
    """All rows of this module."""
    found: list[Row] = []
    with temporary_folder() as folder, serving(folder / "engine") as served:
        found += memory_of_a_compute(served)
        found += many_branches(served, number=100 if quick else 1000)
    with file_system_that_shares_blocks(gigabytes=12) as folder:
        if folder is not None:
            with serving(folder / "many") as served:
                found += disk_of_branches(served, number=5 if quick else 100)
            with serving(folder / "large") as served:
                found += a_large_branch(served, megabytes=50 if quick else 1000, runs=1 if quick else 5)
    return found


def memory_of_a_compute(served: Served) -> list[Row]:
    """A compute that was used, and waits for the next client."""
    use(served.main)
    time.sleep(1)  # the session has ended by then
    private = sum(private_bytes(pid) for pid in served.processes())
    question = "How much memory does an awake idle compute share with nobody?"
    return [limit(question, ours=private / MB, at_most=COMPUTE_MB, unit="MB")]


def private_bytes(pid: int) -> int:
    """What of a process's memory no other process has."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:  # noqa: PTH123 - a path of the kernel's
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Private_"))


def many_branches(served: Served, *, number: int) -> list[Row]:
    """A project of *number* branches. They are rows in the engine's store and have no data: a list reads none."""
    store = Store.open(served.data / "engine.db")
    (main,) = store.select(BranchRecord)
    with store.write() as writer:
        for index in range(number - 1):
            identifier = BranchId(new_branch_id())
            writer.insert(
                replace(
                    main,
                    id=identifier,
                    name=f"tenant-{index}",
                    directory=f"{identifier}.bench",
                    parent_id=main.id,
                    is_default=False,
                )
            )
    store.close()
    took: list[float] = []
    for _ in range(11):
        began = time.perf_counter()
        answer = served.call("GET", f"/branches?limit={number}")
        took.append(1000 * (time.perf_counter() - began))
        assert len(answer["branches"]) == number
    with open(f"/proc/{served.pid}/status", encoding="ascii") as file:  # noqa: PTH123 - a path of the kernel's
        resident = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
    return [
        limit(
            f"How long does a list of {number:,} branches take, until it is read?",
            ours=median(took),
            at_most=LIST_MS,
            unit="ms",
        ),
        limit(
            f"How much memory does the engine hold then, with {number:,} rows in its store?",
            ours=resident / MB,
            at_most=ENGINE_MB,
            unit="MB",
        ),
    ]


def disk_of_branches(served: Served, *, number: int) -> list[Row]:
    """Branches of one parent, each written to once and suspended: what the file system lacks afterwards."""
    use(served.main)
    before = free_bytes(served.data)
    running = len(served.processes())
    for index in range(number):
        made = served.branch(f"tenant-{index}")
        use(made)
        served.call("POST", f"/endpoints/{made['endpoints'][0]['id']}/suspend")
    each = (before - free_bytes(served.data)) / number / MB
    left = len(served.processes()) - running
    what = f"{number} branches of one parent by reflink, each used once and suspended"
    return [
        limit(f"{what}: disk a branch", ours=each, at_most=BRANCH_MB, unit="MB"),
        limit(f"{what}: processes", ours=left, at_most=0, unit="processes"),
    ]


def free_bytes(folder: Path) -> int:
    """What is free on the file system of *folder*, once all is written."""
    os.sync()
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


def use(made: dict[str, Any]) -> None:
    """Connect once, and write."""
    with psycopg.connect(made["connection_uris"][0]["connection_uri"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS used (at timestamptz)")
        connection.execute("INSERT INTO used VALUES (now())")


def a_large_branch(served: Served, *, megabytes: int, runs: int) -> list[Row]:
    """A branch of a large parent, asked for by the API, until it answers."""
    with psycopg.connect(served.main["connection_uris"][0]["connection_uri"], autocommit=True) as connection:
        connection.execute("CREATE TABLE filler (id bigint, body text)")
        connection.execute("ALTER TABLE filler ALTER body SET STORAGE PLAIN")
        count = megabytes * MB // (ROW_BYTES + 40)
        connection.execute(
            "INSERT INTO filler SELECT i, repeat('x', %s) FROM generate_series(1, %s) i", [ROW_BYTES, count]
        )
        connection.execute("VACUUM (FREEZE, ANALYZE) filler")
    took: list[tuple[float, float]] = []
    for index in range(runs):
        began = time.perf_counter()
        made = served.branch(f"large-{index}")
        answered = time.perf_counter()
        with psycopg.connect(made["connection_uris"][0]["connection_uri"]) as connection:
            connection.execute("SELECT 1").fetchone()
        took.append((1000 * (answered - began), 1000 * (time.perf_counter() - began)))
        served.call("DELETE", f"/branches/{made['branch']['id']}")
    api, total = (median(one[part] for one in took) for part in (0, 1))
    what = f"A branch of a {megabytes:,} MB parent by reflink, asked for by HTTP, until it answers"
    return [
        limit(what, ours=total, at_most=LARGE_BRANCH_MS, unit="ms"),
        compare(f"{what}: the API's answer", ours=api, peer="the whole", peers=total, unit="ms"),
    ]
