"""Random operations with `kill -9` of the engine or of postmasters among them: nothing is half done, no row is lost.

`TENANTRY_FAULT_OPERATIONS` says how many (200), `TENANTRY_FAULT_SEED` repeats a run.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tenantry.local.clusters.processes import alive, postmaster_of
from tests.acceptance.faults import (
    DATABASE,
    OWNER,
    BranchState,
    Op,
    Point,
    World,
    after,
    as_far_as_seen,
    choose,
    to_be_seen,
)
from tests.plugins.engine import Project, Serving, check_whole, make_project, new_data_folder, start_engine

# Four operations in five run undisturbed: a fault costs a second, most of it to look at everything afterwards.
FAULTS = ("none",) * 12 + ("engine", "postmaster", "both")
PATIENCE_SECONDS = 20
ROOM_BYTES = 3 << 30


@dataclass
class Run:
    """An engine under test, and the client that uses it."""

    data: Path
    dice: random.Random
    serving: Serving
    project: Project
    took: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 0.2))
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: set[int] = field(default_factory=set[int])

    def call(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        more = {} if body is None else {"json": body}
        return self.serving.client.request(method, f"projects/{self.project.id}{path}", **more)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # ---- what is there

    def ids(self) -> dict[str, str]:
        return {one["name"]: one["id"] for one in self.get("/branches")["branches"]}

    def endpoints(self, kind: str = "read_write") -> dict[str, dict[str, Any]]:
        return {one["branch_id"]: one for one in self.get("/endpoints")["endpoints"] if one["type"] == kind}

    def snapshots(self) -> dict[str, str]:
        return {one["name"]: one["id"] for one in self.get("/snapshots")["snapshots"]}

    def uri(self, branch_id: str, role: str = OWNER, database: str = DATABASE, endpoint_id: str | None = None) -> str:
        query = f"branch_id={branch_id}&role_name={role}&database_name={database}"
        if endpoint_id is not None:
            query += f"&endpoint_id={endpoint_id}"
        return self.get(f"/connection_uri?{query}")["uri"]

    def sql(self, uri: str, query: str, *values: object) -> list[Any]:
        with psycopg.connect(uri, autocommit=True, connect_timeout=PATIENCE_SECONDS) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def observe(self) -> World:
        """Look at the project, and check on the way that what the API says of roles and databases is so."""
        branches = self.get("/branches")["branches"]
        names = {one["id"]: one["name"] for one in branches}
        endpoints, readers = self.endpoints(), self.endpoints("read_only")
        seen: dict[str, BranchState] = {}
        for one in branches:
            path, endpoint = f"/branches/{one['id']}", endpoints.get(one["id"])
            roles = frozenset(role["name"] for role in self.get(f"{path}/roles")["roles"])
            databases = frozenset(each["name"] for each in self.get(f"{path}/databases")["databases"])
            active = None if endpoint is None else endpoint["current_state"] == "active"
            rows = self.look_inside(one["id"], one["name"], roles, databases) if active else frozenset[int]()
            parent, reader = names.get(one.get("parent_id")), readers.get(one["id"])
            if reader is not None:
                self.look_at_reader(one["id"], reader["id"], rows)
            seen[one["name"]] = BranchState(parent, active, rows, roles, databases, reader is not None)
        snapshots = {name: BranchState(None, active=None) for name in self.snapshots()}
        return World(seen, snapshots, self.get("")["project"]["name"])

    def look_at_reader(self, branch_id: str, endpoint_id: str, rows: frozenset[int]) -> None:
        """Wait until the standby has what its branch has; it is woken if it sleeps or was killed."""
        uri = self.uri(branch_id, endpoint_id=endpoint_id)
        deadline, found = time.monotonic() + PATIENCE_SECONDS, None
        while found != rows:
            assert time.monotonic() < deadline, f"the standby of {branch_id} has {found}, not {rows}"
            with suppress(psycopg.OperationalError):  # it was killed: who asks again finds it awake
                found = frozenset(number for (number,) in self.sql(uri, "SELECT n FROM t"))
            time.sleep(0.02)

    def look_inside(
        self, branch_id: str, name: str, roles: frozenset[str], databases: frozenset[str]
    ) -> frozenset[int]:
        uri = self.uri(branch_id)
        real_roles = self.sql(uri, "SELECT rolname FROM pg_roles WHERE rolname ~ '^r[0-9]'")
        real_databases = self.sql(uri, "SELECT datname FROM pg_database WHERE datname ~ '^d[0-9]'")
        assert {OWNER} | {role for (role,) in real_roles} == roles, f"the roles of {name}"
        assert {DATABASE} | {database for (database,) in real_databases} == databases, f"the databases of {name}"
        for role in roles:
            assert self.sql(self.uri(branch_id, role), "SELECT current_user") == [(role,)]
        for database in databases - {DATABASE}:
            assert self.sql(self.uri(branch_id, database=database), "SELECT current_database()") == [(database,)]
        return frozenset(number for (number,) in self.sql(uri, "SELECT n FROM t"))

    # ---- operations and faults

    def do(self, op: Op) -> bool:  # noqa: C901, PLR0912, PLR0915 - one case a kind, and no more to it
        """Carry *op* out. True: the engine or Postgres said that it is done."""
        branch_id = self.ids().get(op.branch, "")
        path = f"/branches/{branch_id}"
        match op.kind:
            case "write":
                self.sql(self.uri(branch_id), "INSERT INTO t VALUES (%s)", op.number)
                return True
            case "crowd":
                return self.crowd(self.uri(branch_id), op)
            case "create_at":
                assert op.point is not None
                at = {"parent_lsn": op.point.lsn} if op.number % 2 else {"parent_timestamp": op.point.time}
                body = {"branch": {"name": op.name, "parent_id": branch_id} | at, "endpoints": [{"type": "read_write"}]}
                answer = self.call("POST", "/branches", body)
            case "create_reader":
                answer = self.call("POST", "/endpoints", {"endpoint": {"type": "read_only", "branch_id": branch_id}})
            case "delete_reader":
                answer = self.call("DELETE", f"/endpoints/{self.endpoints('read_only')[branch_id]['id']}")
            case "snapshot":
                answer = self.call("POST", f"{path}/snapshot?name={op.name}")
            case "delete_snapshot":
                answer = self.call("DELETE", f"/snapshots/{self.snapshots()[op.snapshot]}")
            case "restore_snapshot":
                answer = self.call("POST", f"/snapshots/{self.snapshots()[op.snapshot]}/restore", {"name": op.name})
            case "rename_project":
                answer = self.call("PATCH", "", {"project": {"name": op.name}})
            case "create":
                options = {"endpoints": [{"type": "read_write"}]} if op.compute else {}
                answer = self.call("POST", "/branches", {"branch": {"name": op.name, "parent_id": branch_id}} | options)
            case "delete":
                answer = self.call("DELETE", path)
            case "rename":
                answer = self.call("PATCH", path, {"branch": {"name": op.name}})
            case "reset" | "preserve":
                source = self.get(path)["branch"]["parent_id"]
                kept = {"preserve_under_name": op.name} if op.kind == "preserve" else {}
                answer = self.call("POST", f"{path}/restore", {"source_branch_id": source} | kept)
            case "suspend" | "start":
                answer = self.call("POST", f"/endpoints/{self.endpoints()[branch_id]['id']}/{op.kind}")
            case "create_role":
                answer = self.call("POST", f"{path}/roles", {"role": {"name": op.name}})
            case "delete_role":
                answer = self.call("DELETE", f"{path}/roles/{op.name}")
            case "reset_password":
                answer = self.call("POST", f"{path}/roles/{op.name}/reset_password")
            case "create_database":
                body = {"database": {"name": op.name, "owner_name": OWNER}}
                answer = self.call("POST", f"{path}/databases", body)
            case "delete_database":
                answer = self.call("DELETE", f"{path}/databases/{op.name}")
            case "rename_database":
                old, new = op.name.split(" ")
                answer = self.call("PATCH", f"{path}/databases/{old}", {"database": {"name": new}})
            case _:
                raise AssertionError(op.kind)
        assert answer.status_code < 400 or answer.status_code >= 500, f"{op}: {answer.status_code} {answer.text}"
        return answer.status_code < 400

    def crowd(self, uri: str, op: Op) -> bool:
        """Have several clients write at once, each its row. What was committed is in `acknowledged`."""

        def write(number: int) -> None:
            with suppress(psycopg.OperationalError):
                self.sql(uri, "INSERT INTO t VALUES (%s)", number)
                self.acknowledged.add(number)

        self.acknowledged.clear()
        clients = [threading.Thread(target=write, args=[number]) for number in op.numbers]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return self.acknowledged == set(op.numbers)

    def remember(self, world: World, branch: str) -> World:
        """Note what *branch* holds now as a moment of its past."""
        time.sleep(0.01)
        at = datetime.now(UTC).isoformat()
        time.sleep(0.01)
        lsn = self.sql(self.uri(self.ids()[branch]), "SELECT pg_current_wal_lsn()::text")[0][0]
        point = Point(at, lsn, world.branches[branch])
        return replace(world, points={**world.points, branch: (*world.points.get(branch, ())[-1:], point)})

    def strike(self, fault: str) -> None:
        """Kill, and do not wait."""
        self.faults[fault] += 1
        if fault in {"engine", "both"}:
            self.serving.process.send_signal(signal.SIGKILL)
        if fault in {"postmaster", "both"}:
            running = [pid for path in (self.data / "clusters").iterdir() if (pid := postmaster_of(path)) is not None]
            killed = self.dice.sample(running, k=min(len(running), 1 if fault == "postmaster" else 2))
            for pid in killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            while any(alive(pid) for pid in killed):  # a signal takes its time, and the API would tell of a dying one
                time.sleep(0.002)

    def attempt(self, op: Op, fault: str) -> bool:
        """Carry *op* out with *fault* at a random moment of it. False: it may be done or not."""
        began = time.monotonic()
        timer = threading.Timer(self.dice.uniform(0, 1.2) * self.took[op.kind], self.strike, [fault])
        if fault != "none":
            timer.start()
        try:
            done = self.do(op)
            self.took[op.kind] = 0.7 * self.took[op.kind] + 0.3 * (time.monotonic() - began)
        except (httpx2.HTTPError, psycopg.OperationalError):
            assert fault != "none", f"{op} failed without a fault"
            done = False
        finally:
            if fault != "none":
                timer.join()
        assert done or fault != "none", f"{op} failed without a fault"
        return done

    def mend(self, fault: str, world: World) -> None:
        """Start what was killed, as an operator would."""
        if fault in {"engine", "both"}:
            self.serving.process.wait(10)
            self.serving.close()
            self.serving = start_engine(self.data)
        if fault != "postmaster":
            return
        wanted = {name for name, state in world.branches.items() if state.active}
        endpoints = self.endpoints()
        for name, branch_id in self.ids().items():
            endpoint = endpoints.get(branch_id)
            if name in wanted and endpoint is not None and endpoint["current_state"] == "idle":
                answer = self.call("POST", f"/endpoints/{endpoint['id']}/start")
                assert answer.status_code == 200, answer.text


@pytest.fixture
def quick_data(folder: Path) -> Iterator[Path]:
    """A data folder in memory, if there is room: a kill loses nothing that a process wrote, wherever it is kept."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM_BYTES:
        with new_data_folder(folder) as path:
            yield path
        return
    place = Path(tempfile.mkdtemp(prefix="tenantry-faults-", dir=memory))
    place.chmod(0o755)
    with new_data_folder(place) as path:
        yield path
    shutil.rmtree(place)


@pytest.mark.timeout(0)  # a long run takes as long as it is asked to
def test_random_operations_with_kills_among_them_lose_nothing_and_leave_nothing_half_done(quick_data: Path):
    data = quick_data
    seed = int(os.environ.get("TENANTRY_FAULT_SEED") or random.SystemRandom().randrange(2**32))
    number_of_operations = int(os.environ.get("TENANTRY_FAULT_OPERATIONS") or 200)
    sys.stderr.write(f"TENANTRY_FAULT_SEED={seed}\n")
    dice = random.Random(seed)
    serving = start_engine(data)
    run = Run(data, dice, serving, make_project(serving.api))
    kinds: Counter[str] = Counter()
    try:
        run.project.main.sql("CREATE TABLE t (n int PRIMARY KEY)")
        world = World({"main": BranchState(None, active=True)}, project=run.project.body["project"]["name"])
        for number in range(1, number_of_operations + 1):
            op, fault = choose(world, number, dice), dice.choice(FAULTS)
            kinds[op.kind] += 1
            done = run.attempt(op, fault)
            wanted = after(world, op)
            if done:
                world = wanted
            if fault == "none":
                if op.kind in {"write", "create_role"} and world.branches[op.branch].active:
                    world = run.remember(world, op.branch)
                continue
            run.mend(fault, wanted if done else world)
            world = settle(run, op, world, wanted, done=done, number=number, fault=fault)
            check_whole(data, Project(run.serving.api, run.project.id, run.project.body, run.project.main))
        wake_all(run, world)
    finally:
        sys.stderr.write(f"{dict(kinds)}; faults {dict(run.faults)}\n")
        run.serving.close()

    assert number_of_operations < 200 or sum(run.faults.values()) > 15, "hardly a fault: nothing was shown"


def settle(run: Run, op: Op, world: World, wanted: World, *, done: bool, number: int, fault: str) -> World:
    """Return the one world that is there: that before *op*, or that after it, and after it only if it was *done*."""
    seen = run.observe()
    if not done:
        world = as_far_as_seen(world, op, seen, acknowledged=run.acknowledged)
    for candidate in [world] if done else [world, wanted]:
        if to_be_seen(candidate) == seen:
            return candidate
    raise AssertionError(f"operation {number}, {op}, {fault}:\nseen {seen}\nbefore {world}\nafter {wanted}")


def wake_all(run: Run, world: World) -> None:
    """Give every branch a compute that runs, and look at the rows of all of them."""
    endpoints = run.endpoints()
    for name, branch_id in run.ids().items():
        endpoint = endpoints.get(branch_id)
        if endpoint is None:
            body = {"endpoint": {"type": "read_write", "branch_id": branch_id}}
            assert run.call("POST", "/endpoints", body).status_code == 201, name
        elif endpoint["current_state"] == "idle":
            assert run.call("POST", f"/endpoints/{endpoint['id']}/start").status_code == 200, name
    awake = {name: replace(state, active=True) for name, state in world.branches.items()}

    assert run.observe() == to_be_seen(replace(world, branches=awake))
