"""The engine: one process that holds a data folder, its memory and its postmasters."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.background import Background
from tenantry.local.clusters.binaries import Binaries, find_binaries
from tenantry.local.clusters.idleness import DEFAULT_SUSPEND_SECONDS
from tenantry.local.clusters.poolers import Pooler, find_pgbouncer
from tenantry.local.clusters.privileges import check_reachable, choose_runner, give, make_folder
from tenantry.local.computes import Computes
from tenantry.local.errors import EngineRunningError
from tenantry.local.plans import PLANS
from tenantry.local.power import Power
from tenantry.local.recovery import recover
from tenantry.local.state.naming import new_api_key
from tenantry.local.state.operations import Operations
from tenantry.local.state.records import BranchRecord, EndpointRecord, ProjectRecord
from tenantry.local.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from tenantry.core.ids import ProjectId
    from tenantry.local.clusters.privileges import Runner
    from tenantry.local.plans import Plan

__all__ = ["Engine", "RunningEngine", "running_engine"]

log = logging.getLogger(__name__)

_LOCK = "engine.lock"
_NOTE = "engine.json"
_API_KEY = "api_key"
_SOCKETS = "sockets"
_SOCKET_PATH_LIMIT = 103
_DRAIN_SECONDS = 60.0
_FILES = 65_536
_LOCK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that holds a data folder now. `api` is None while it serves only its own process."""

    api: str | None
    api_key: str = field(repr=False)
    pid: int


class Engine:
    """An open data folder. A context manager: leaving it stops every postmaster and keeps the data.

    Services work on `store`, `computes` and `operations`; `app.create_app` puts Neon's API before them.
    """

    def __init__(
        self,
        data: Path,
        *,
        api_key: str,
        plan: Plan,
        store: Store,
        computes: Computes,
        operations: Operations,
        power: Power,
        lock: int,
        allow_child_restore: bool,
    ) -> None:
        self.data = data
        self.plan = plan
        self.api_key = api_key
        self.store = store
        self.computes = computes
        self.operations = operations
        self.power = power
        self.allow_child_restore = allow_child_restore
        self.background = Background()
        self._lock: int | None = lock

    def __repr__(self) -> str:
        return f"Engine(data={str(self.data)!r})"

    @classmethod
    def open(
        cls,
        data: Path,
        *,
        api_key: str | None = None,
        postgres_bin: Path | None = None,
        run_as: str | None = None,
        plan: Plan = PLANS["none"],
        suspend_timeout_seconds: int = DEFAULT_SUSPEND_SECONDS,
        allow_child_restore: bool = False,
    ) -> Engine:
        """Open *data*, which is made if need be, and put right what a killed engine left.

        Without *api_key* the folder's own is used, made the first time. Root runs Postgres as *run_as*. What
        *plan* does not allow is refused. A compute that nobody uses is suspended after *suspend_timeout_seconds*,
        unless its endpoint says otherwise; -1 is never. With *allow_child_restore* a child is restored to a time and
        snapshotted too, which Neon refuses. Raises `EngineRunningError` if another engine has the folder,
        `EnvironmentProblem` if this machine lacks something.
        """
        _allow_files()
        data = data.absolute()
        runner = choose_runner(run_as)
        check_reachable(data / "clusters", runner)
        data.mkdir(parents=True, exist_ok=True)
        # Postgres's user must come through to its own folders below; ours have modes of their own.
        data.chmod(0o711 if runner.drops else 0o700)
        lock = _hold(data)
        try:
            store = Store.open(data / "engine.db")
            try:
                return cls._open(
                    data,
                    store,
                    lock,
                    runner=runner,
                    api_key=api_key,
                    postgres_bin=postgres_bin,
                    plan=plan,
                    suspend_timeout_seconds=suspend_timeout_seconds,
                    allow_child_restore=allow_child_restore,
                )
            except BaseException:
                store.close()
                raise
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _open(
        cls,
        data: Path,
        store: Store,
        lock: int,
        *,
        runner: Runner,
        api_key: str | None,
        postgres_bin: Path | None,
        plan: Plan,
        suspend_timeout_seconds: int,
        allow_child_restore: bool,
    ) -> Engine:
        clusters = data / "clusters"
        make_folder(clusters, runner)
        make_folder(data / "history", runner)
        found: dict[int, Binaries] = {}

        def find(major: int) -> Binaries:
            if major not in found:
                found[major] = find_binaries(major, named=postgres_bin, cache=data / "postgres", runner=runner)
            return found[major]

        key = api_key or _kept_key(store)
        installed = find_pgbouncer()
        computes = Computes(
            clusters,
            _socket_folder(data, store, runner),
            store=store,
            runner=runner,
            find=find,
            pooler=None if installed is None else Pooler(installed, data / "poolers", runner),
        )
        power = Power(store, computes, suspend_timeout_seconds=suspend_timeout_seconds, plan=plan)
        operations = Operations(store, changed=power.settle)
        engine = cls(
            data,
            api_key=key,
            plan=plan,
            store=store,
            computes=computes,
            operations=operations,
            power=power,
            lock=lock,
            allow_child_restore=allow_child_restore,
        )
        engine.announce(None)
        recover(store, computes)
        power.begin(operations)
        return engine

    def announce(self, api: str | None) -> None:
        """Write where this engine serves to `engine.json` (mode 600), for `running_engine`."""
        note = {"api": api, "api_key": self.api_key, "pid": os.getpid()}
        fresh = self.data / f".{_NOTE}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(note, file)
        fresh.replace(self.data / _NOTE)

    def close(self, *, stop_computes: bool = True) -> None:
        """Wait for running mutations, stop every postmaster, and let go of the folder. Safe to repeat.

        An endpoint that was active is started again by the next engine. Without *stop_computes* the postmasters
        go on, and the next engine adopts them.
        """
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            self.background.close()
            self.operations.close(timeout_seconds=_DRAIN_SECONDS)
            self.power.close()
            if stop_computes:
                self._stop_computes()
        finally:
            (self.data / _NOTE).unlink(missing_ok=True)
            self.store.close()
            os.close(lock)

    def _stop_computes(self) -> None:
        projects = {project.id: project for project in self.store.select(ProjectRecord)}

        def stop(branch: BranchRecord) -> None:
            try:
                self.computes.cluster(projects[branch.project_id], branch.directory, port=0).stop()
            except EnvironmentProblem as problem:
                log.warning("branch %s did not stop and is killed: %s", branch.id, problem)
                self.computes.kill(branch)

        if self.computes.pooler is not None:
            self.computes.pooler.stop_all()
        self._stop_standbys(projects)
        running = [branch for branch in self.store.select(BranchRecord) if self.computes.serves(branch)]
        if running:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(stop, running))

    def _stop_standbys(self, projects: Mapping[ProjectId, ProjectRecord]) -> None:
        for endpoint in self.store.select(EndpointRecord, type="read_only", active=True):
            branch = self.store.get(BranchRecord, id=endpoint.branch_id)
            assert branch is not None
            try:
                self.computes.compute(projects[endpoint.project_id], branch, endpoint).stop()
            except EnvironmentProblem as problem:
                log.warning("standby %s did not stop and is killed: %s", endpoint.id, problem)
                self.computes.remove(self.computes.directory_of(branch, endpoint))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _allow_files() -> None:
    """Let this process have as many files open as it may: each endpoint has an address that is listened on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _kept_key(store: Store) -> str:
    kept = store.meta(_API_KEY)
    if kept is not None:
        return kept
    made = new_api_key()
    with store.write() as writer:
        writer.set_meta(_API_KEY, made)
    return made


def _socket_folder(data: Path, store: Store, runner: Runner) -> Path:
    """Return where postmasters put their sockets: inside *data*, or below /tmp where that path would be too long."""
    folder = data / "run"
    if len(os.fsencode(folder / ".s.PGSQL.65535.lock")) <= _SOCKET_PATH_LIMIT:
        return folder
    kept = store.meta(_SOCKETS)
    if (
        kept is not None
        and Path(kept).is_dir()
        and not Path(kept).is_symlink()
        and Path(kept).stat().st_uid == runner.uid
    ):
        return Path(kept)
    made = Path(tempfile.mkdtemp(prefix="tenantry-", dir="/tmp"))
    give(made, runner)
    with store.write() as writer:
        writer.set_meta(_SOCKETS, str(made))
    return made


def _hold(data: Path) -> int:
    """Lock *data* for this process and return what holds the lock. Raises `EngineRunningError`."""
    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            # `running_engine` holds it too, for less than a moment.
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise EngineRunningError(data, pid) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None


def running_engine(data: Path) -> RunningEngine | None:
    """Return the engine that holds *data* now, or None. A file that a killed engine left does not deceive it."""
    try:
        descriptor = os.open(data / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_note(data, _read_pid(descriptor))
    else:
        return None
    finally:
        os.close(descriptor)


def _read_note(data: Path, pid: int | None) -> RunningEngine | None:
    try:
        note = json.loads((data / _NOTE).read_text())
        # A note of an earlier engine stands there while the next one is still opening.
        if note["pid"] != pid:
            return None
        return RunningEngine(note["api"], note["api_key"], note["pid"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
