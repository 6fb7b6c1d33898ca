"""A local engine for tests: one in this process for the session, and any number in processes of their own."""

import json
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tenantry.local.app import create_app
from tenantry.local.clusters.processes import kill_all, postmaster_of
from tenantry.local.engine import Engine

_SERVE = """
import sys
from pathlib import Path
from tenantry.core.errors import TenantryError
from tenantry.local.engine import Engine
from tenantry.local.serve import serve
try:
    with Engine.open(Path(sys.argv[1])) as engine:
        serve(engine, port=int(sys.argv[2]), ready=lambda line: print(line, flush=True))
except TenantryError as problem:
    sys.exit(f"{type(problem).__name__}: {problem}")
"""


@dataclass
class Api:
    """Neon's API as a caller sees it, from any thread. Paths begin after `/api/v2`."""

    send: Callable[..., httpx2.Response]
    engine: Engine | None = None

    def call(self, method: str, path: str, body: Any = None, *, status: int | None = None, **more: Any) -> Any:
        """Send a request and return its body; fail if the status is not *status*, or any below 400 for None."""
        answer = self.send(method, path, json=body, **more) if body is not None else self.send(method, path, **more)
        as_wanted = answer.status_code < 400 if status is None else answer.status_code == status
        assert as_wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, **more: Any) -> Any:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.call("POST", path, body, **more)

    def patch(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.call("PATCH", path, body, **more)

    def delete(self, path: str, **more: Any) -> Any:
        return self.call("DELETE", path, **more)


@dataclass
class Branch:
    """A branch of a test's own, with what is needed to reach it."""

    api: Api
    project_id: str
    id: str
    name: str
    body: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/projects/{self.project_id}/branches/{self.id}"

    @property
    def uri(self) -> str:
        return self.body["connection_uris"][0]["connection_uri"]

    @property
    def endpoint(self) -> dict[str, Any]:
        return self.body["endpoints"][0]

    def show(self) -> dict[str, Any]:
        return self.api.get(self.path)["branch"]

    def sql(self, query: str, uri: str | None = None) -> list[Any]:
        """Run SQL as the owner and return its rows."""
        with psycopg.connect(uri or self.uri, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


@dataclass
class Project:
    """A project of a test's own. `main` is its default branch."""

    api: Api
    id: str
    body: dict[str, Any]
    main: Branch

    @property
    def path(self) -> str:
        return f"/projects/{self.id}"

    def fork(
        self, name: str | None = None, *, compute: bool = True, parent: Branch | None = None, **more: Any
    ) -> Branch:
        """Make a branch, of the default branch unless *parent* is given."""
        name = name or f"b-{secrets.token_hex(4)}"
        wanted = {"name": name} | ({"parent_id": parent.id} if parent else {}) | more
        body = {"branch": wanted} | ({"endpoints": [{"type": "read_write"}]} if compute else {})
        made = self.api.post(f"{self.path}/branches", body, status=201)
        return Branch(self.api, self.id, made["branch"]["id"], name, made)


def make_project(api: Api, **wanted: Any) -> Project:
    """Make a project, with its default branch and a running compute."""
    made = api.post("/projects", {"project": {"name": f"p-{secrets.token_hex(4)}"} | wanted}, status=201)
    project_id = made["project"]["id"]
    return Project(api, project_id, made, Branch(api, project_id, made["branch"]["id"], made["branch"]["name"], made))


def check_whole(data: Path, project: Project) -> list[dict[str, object]]:
    """Check that rows, directories and processes agree and no operation hangs; return the branches."""
    branches = project.api.get(f"{project.path}/branches")["branches"]
    endpoints = project.api.get(f"{project.path}/endpoints")["endpoints"]
    operations = project.api.get(f"{project.path}/operations")["operations"]
    store = sqlite3.connect(f"file:{data / 'engine.db'}?mode=ro", uri=True)
    directories: dict[str, str] = dict(store.execute("SELECT id, directory FROM branches"))
    store.close()
    on_disk = {path.name for path in (data / "clusters").iterdir()}
    running = {name for name in on_disk if postmaster_of(data / "clusters" / name) is not None}

    standbys = {
        one["id"]: f"{one['id']}.{directories[one['branch_id']].rpartition('.')[2]}"
        for one in endpoints
        if one["type"] == "read_only"
    }
    of_active = {
        standbys.get(one["id"], directories[one["branch_id"]]) for one in endpoints if one["current_state"] == "active"
    }

    assert set(directories) == {branch["id"] for branch in branches}
    # A standby's data is made when it is first needed, and may be made anew.
    assert set(directories.values()) == on_disk - set(standbys.values())
    assert of_active == running
    assert {one["status"] for one in operations} <= {"finished", "failed", "cancelled"}
    return branches


@dataclass
class InProcess:
    """Opens engines in this process and speaks to them over ASGI, without a port."""

    portal: BlockingPortal

    def api(self, engine: Engine, *, key: str | None = None) -> Api:
        app = create_app(engine)

        async def send(method: str, path: str, **more: Any) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {key or engine.api_key}"} | more.pop("headers", {})
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine/api/v2") as client:
                return await client.request(method, path.lstrip("/"), headers=headers, **more)

        return Api(lambda method, path, **more: self.portal.call(lambda: send(method, path, **more)), engine)


@dataclass
class Serving:
    """An engine in a process of its own, with a real port."""

    data: Path
    process: subprocess.Popen[str]
    note: dict[str, Any]
    api: Api
    client: httpx2.Client = field(repr=False)

    def kill(self) -> None:
        """Kill the engine's process, and not its postmasters."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """End the engine as an operator does, and return its status."""
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        """Kill it if it still runs, and let go of its pipes. Safe to repeat."""
        self.client.close()
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def start_engine(data: Path, *, port: int = 0) -> Serving:
    """Start an engine in a process of its own, and return when it takes requests."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(data), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, problem = process.communicate(timeout=30)
        raise RuntimeError(problem)
    note = json.loads(line)
    client = httpx2.Client(base_url=note["api"], headers={"Authorization": f"Bearer {note['api_key']}"}, timeout=60)
    api = Api(lambda method, path, **more: client.request(method, path.lstrip("/"), **more))
    return Serving(data, process, note, api, client)


@pytest.fixture(scope="session")
def in_process() -> Iterator[InProcess]:
    with start_blocking_portal() as portal:
        yield InProcess(portal)


@pytest.fixture
def data(folder: Path) -> Iterator[Path]:
    """A data folder of the test's own, whatever is left running in it ended afterwards."""
    with new_data_folder(folder) as path:
        yield path


@contextmanager
def new_data_folder(folder: Path) -> Iterator[Path]:
    """Name a data folder, and in the end remove it and whatever runs in it."""
    path = folder / f"engine-{secrets.token_hex(4)}"
    yield path
    for cluster in (path / "clusters").glob("*-*"):
        kill_all(cluster)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def module_served(folder: Path) -> Iterator[Serving]:
    """An engine in a process of its own, with a real port, for the tests of one module."""
    with new_data_folder(folder) as path:
        serving = start_engine(path)
        yield serving
        serving.stop()
        serving.close()


@pytest.fixture(scope="session")
def session_engine(folder: Path) -> Iterator[Engine]:
    with Engine.open(folder / "session-engine") as engine:
        yield engine


@pytest.fixture(scope="session")
def api(session_engine: Engine, in_process: InProcess) -> Api:
    """The API of an engine that lives for the session, and does nothing unasked: a test runs its own upkeep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenantry.local.services.upkeep.EVERY_SECONDS", 86_400.0)
        return in_process.api(session_engine)


@pytest.fixture(scope="session")
def project(api: Api) -> Project:
    """A project for the session: a test makes branches of its own and leaves the default branch as it is."""
    return make_project(api)


@pytest.fixture
def own_project(api: Api) -> Iterator[Project]:
    """A project that the test may change as it likes."""
    made = make_project(api)
    yield made
    for branch in filter(lambda one: one["protected"], api.get(f"{made.path}/branches")["branches"]):
        api.patch(f"{made.path}/branches/{branch['id']}", {"branch": {"protected": False}})
    api.delete(made.path)


@pytest.fixture
def launch() -> Iterator[Callable[..., Serving]]:
    """Start engines in processes of their own; what still runs afterwards is killed."""
    started: list[Serving] = []

    def start(data: Path, *, port: int = 0) -> Serving:
        serving = start_engine(data, port=port)
        started.append(serving)
        return serving

    yield start
    for serving in started:
        serving.close()
