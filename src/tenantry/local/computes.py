"""The machine side of branches: data directories, ports, and the postmasters that serve them."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from tenantry.local.clusters.cloning import CloneReport, clone_cluster
from tenantry.local.clusters.cluster import Cluster
from tenantry.local.clusters.ports import BEHIND, free_port
from tenantry.local.clusters.processes import kill_all, postmaster_of
from tenantry.local.clusters.standbys import drop_slot, make_standby, standby_settings
from tenantry.local.history.files import Vault
from tenantry.local.state.records import EndpointRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tenantry.core.ids import BranchId, ProjectId
    from tenantry.local.clusters.binaries import Binaries
    from tenantry.local.clusters.poolers import Pooler
    from tenantry.local.clusters.privileges import Runner
    from tenantry.local.history.moments import Replay
    from tenantry.local.state.records import BranchRecord, ProjectRecord
    from tenantry.local.state.store import Store

__all__ = ["Computes"]

log = logging.getLogger(__name__)


class Computes:
    """Makes, starts, clones and removes the clusters of branches. Every method may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        sockets: Path,
        *,
        store: Store,
        runner: Runner,
        find: Callable[[int], Binaries],
        pooler: Pooler | None = None,
    ) -> None:
        self.folder = folder
        self.sockets = sockets
        self.pooler = pooler
        self.vault = Vault(folder.parent / "history", folder)
        self._store = store
        self._runner = runner
        self._find = find
        self._lock = threading.Lock()
        self._reserved: set[int] = set()
        self.standbys: dict[str, ProjectId] = {}

    def binaries(self, major: int) -> Binaries:
        """Return the Postgres of *major*. Raises `PostgresMissingError`."""
        return self._find(major)

    def new_directory(self, branch_id: BranchId) -> str:
        """Return a name for a data directory that was never used: no old file can be taken for a new one's."""
        return f"{branch_id}.{secrets.token_hex(4)}"

    @contextmanager
    def port(self) -> Generator[int]:
        """Hold a free port that no endpoint has, until the block ends."""
        with self._lock:
            taken = {endpoint.port for endpoint in self._store.select(EndpointRecord)} | self._reserved
            port = free_port(taken)
            self._reserved.add(port)
        try:
            yield port
        finally:
            with self._lock:
                self._reserved.discard(port)

    def cluster(self, project: ProjectRecord, directory: str, *, port: int) -> Cluster:
        """Return the cluster in *directory*, which need not be there yet."""
        return Cluster(
            self.folder / directory,
            port,
            self.binaries(project.pg_version),
            self._runner,
            self.sockets,
            project.superuser_password,
            host=BEHIND,
        )

    def directory_of(self, branch: BranchRecord, endpoint: EndpointRecord) -> str:
        """Return the data directory of what serves *endpoint*: the branch's own, or a standby's of exactly that."""
        if endpoint.type == "read_write":
            return branch.directory
        return f"{endpoint.id}.{branch.directory.rpartition('.')[2]}"

    def path_of(self, branch: BranchRecord, endpoint: EndpointRecord) -> Path:
        """Return the path of `directory_of`, which need not be there."""
        return self.folder / self.directory_of(branch, endpoint)

    def compute(self, project: ProjectRecord, branch: BranchRecord, endpoint: EndpointRecord) -> Cluster:
        """Return the cluster that serves *endpoint*."""
        directory = self.directory_of(branch, endpoint)
        cluster = self.cluster(project, directory, port=endpoint.port)
        primary = self.endpoint_of(branch)
        if endpoint.type == "read_write" or primary is None:
            return cluster
        follow = standby_settings(cluster.data, sockets=self.sockets, port=primary.port, slot=_slot(endpoint))
        return replace(cluster, more_settings=follow)

    def start_compute(self, project: ProjectRecord, branch: BranchRecord, endpoint: EndpointRecord) -> None:
        """Start what serves *endpoint*, unless it runs. A standby is cloned anew. Raises the errors of both."""
        cluster = self.compute(project, branch, endpoint)
        if endpoint.type != "read_write" and not cluster.running:
            self.remove(cluster.data.name)
            self.standbys[cluster.data.name] = project.id
            with self.awake(project, branch) as primary:
                make_standby(primary, cluster.data, slot=_slot(endpoint))
        cluster.start()

    def stop_compute(self, project: ProjectRecord, branch: BranchRecord, endpoint: EndpointRecord) -> None:
        """Stop what serves *endpoint*, if it runs. A standby's data goes with it. Raises `StopError`."""
        if self.pooler is not None:
            self.pooler.stop(endpoint.port)
        self.compute(project, branch, endpoint).stop()
        if endpoint.type == "read_write":
            return
        self.remove(self.directory_of(branch, endpoint))
        primary = self.endpoint_of(branch)
        if primary is None:
            return
        cluster = self.cluster(project, branch.directory, port=primary.port)
        if cluster.running:
            # One that sleeps keeps the slot until its next standby; it writes nothing meanwhile.
            with suppress(psycopg.Error):
                drop_slot(cluster, _slot(endpoint))

    def drop_standbys(self, project_id: ProjectId, *, keep: Collection[str]) -> None:
        """End the standbys of a project whose branch is gone or has other data now."""
        for directory in [name for name, of in self.standbys.items() if of == project_id and name not in keep]:
            self.remove(directory)
            del self.standbys[directory]

    def serves_endpoint(self, branch: BranchRecord, endpoint: EndpointRecord) -> bool:
        """Whether the postmaster of *endpoint* runs now, whatever the store wants."""
        return postmaster_of(self.path_of(branch, endpoint)) is not None

    def endpoint_of(self, branch: BranchRecord) -> EndpointRecord | None:
        """Return the read_write endpoint of *branch*."""
        return self._store.get(EndpointRecord, branch_id=branch.id, type="read_write")

    @contextmanager
    def awake(self, project: ProjectRecord, branch: BranchRecord) -> Generator[Cluster]:
        """Yield the running cluster of *branch*: one that sleeps is woken, and put to sleep after the block.

        A sleeper is woken on a port of the moment, so that nobody can connect to what is not offered.
        """
        endpoint = self.endpoint_of(branch)
        if endpoint is not None and endpoint.active:
            cluster = self.cluster(project, branch.directory, port=endpoint.port)
            cluster.start()  # does nothing unless its postmaster was killed meanwhile
            yield cluster
            return
        with self.port() as port, started(self.cluster(project, branch.directory, port=port)) as cluster:
            yield cluster

    def fork(
        self,
        project: ProjectRecord,
        source: BranchRecord,
        directory: str,
        *,
        passwords: Mapping[str, str],
    ) -> CloneReport:
        """Clone the data of *source* to *directory*, and set *passwords* there before anybody can connect."""
        endpoint = self.endpoint_of(source)
        target = self.folder / directory
        if endpoint is not None and endpoint.active:
            report = clone_cluster(self.cluster(project, source.directory, port=endpoint.port), target)
        else:
            with self.port() as port:
                parent = self.cluster(project, source.directory, port=port)
                try:
                    report = clone_cluster(parent, target)
                finally:
                    # One that never ran since it was cloned itself had to be started to be cloned.
                    parent.stop()
        if passwords:
            with self.port() as port, started(self.cluster(project, directory, port=port)) as child:
                for role, password in passwords.items():
                    child.set_role_password(role, password)
        return report

    def replay(self, project: ProjectRecord, plan: Replay, directory: str) -> AbstractContextManager[Cluster]:
        """Bring a new directory to a moment of the past. The cluster runs for the block, and is left stopped."""
        return self._passing(
            project,
            directory,
            lambda target: self.vault.replay(plan.base, plan.segments, target, plan.moment),
        )

    def unpack(self, project: ProjectRecord, name: str, directory: str) -> AbstractContextManager[Cluster]:
        """Copy the snapshot *name* to a new directory. The cluster runs for the block, and is left stopped."""
        return self._passing(project, directory, lambda target: self.vault.unpack(name, target))

    def open(self, project: ProjectRecord, directory: str) -> AbstractContextManager[Cluster]:
        """Run a cluster that no endpoint serves, for the block, where nobody can connect to it."""
        return self._passing(project, directory, lambda _target: None)

    @contextmanager
    def _passing(
        self, project: ProjectRecord, directory: str, prepare: Callable[[Cluster], object]
    ) -> Generator[Cluster]:
        with self.port() as port:
            target = self.cluster(project, directory, port=port)
            prepare(target)
            with started(target):
                yield target

    def remove(self, directory: str) -> None:
        """End what runs in *directory*, at once, and delete it. Safe to repeat."""
        path = self.folder / directory
        if path.is_dir():
            kill_all(path)
            delete_folder(path)
        else:
            path.unlink(missing_ok=True)

    def kill(self, branch: BranchRecord) -> None:
        """End the processes of *branch* at once. What was committed stays."""
        kill_all(self.folder / branch.directory)

    def serves(self, branch: BranchRecord) -> bool:
        """Whether a postmaster runs on the data of *branch* now, whatever the store wants."""
        return postmaster_of(self.folder / branch.directory) is not None


@contextmanager
def started(cluster: Cluster) -> Generator[Cluster]:
    """Start *cluster* for the block, and stop it."""
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def delete_folder(path: Path) -> None:
    """Delete a data directory. What cannot be deleted is told to the log, and tried again when the engine opens."""
    problems: list[str] = []
    shutil.rmtree(path, onerror=lambda _call, name, problem: problems.append(f"{name}: {problem[1]}"))
    if problems:
        log.warning("could not delete all of %s: %s", path, problems[0])


def _slot(endpoint: EndpointRecord) -> str:
    return "ro_" + endpoint.id.replace("-", "_")
