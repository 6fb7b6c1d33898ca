"""What an engine that opens a data folder finds and puts right: decided from names, then done."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.changes import finish_all
from tenantry.local.clusters.processes import read_pid_file
from tenantry.local.errors import ClustersGoneError
from tenantry.local.state.operations import after_death
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    EndpointRecord,
    LineageRecord,
    OperationRecord,
    ProjectRecord,
    SnapshotRecord,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tenantry.core.ids import BranchId, ProjectId
    from tenantry.local.computes import Computes
    from tenantry.local.state.store import Store

__all__ = ["Repairs", "decide", "recover"]

log = logging.getLogger(__name__)

_STARTERS = 4


@dataclass(frozen=True, slots=True)
class Repairs:
    """What is to be put right, in this order.

    `garbage`: directories that no branch names. `lost`: branches whose directory is gone. `adopted`: their
    children, with the nearest living ancestor as parent. `defaults`: branches that take a lost default's place.
    `emptied`: projects that have no branch left.
    """

    garbage: tuple[str, ...]
    lost: tuple[BranchRecord, ...]
    adopted: tuple[BranchRecord, ...]
    defaults: tuple[BranchId, ...]
    emptied: tuple[ProjectId, ...]


def decide(branches: Sequence[BranchRecord], directories: Iterable[str]) -> Repairs:
    """Compare what the store says with the *directories* on disk."""
    on_disk = set(directories)
    named = {branch.directory for branch in branches}
    by_id = {branch.id: branch for branch in branches}
    lost = {branch.id for branch in branches if branch.directory not in on_disk}

    def living_parent(branch: BranchRecord) -> BranchId | None:
        parent = branch.parent_id
        while parent is not None and parent in lost:
            parent = by_id[parent].parent_id
        return parent

    alive = [branch for branch in branches if branch.id not in lost]
    adopted = tuple(replace(branch, parent_id=living_parent(branch)) for branch in alive if branch.parent_id in lost)
    heirs: dict[ProjectId, BranchId] = {}
    for branch in sorted(alive, key=lambda one: one.created_at, reverse=True):
        heirs[branch.project_id] = branch.id
    leaderless = {branch.project_id for branch in branches if branch.is_default and branch.id in lost}
    return Repairs(
        garbage=tuple(sorted(on_disk - named)),
        lost=tuple(by_id[identifier] for identifier in sorted(lost)),
        adopted=adopted,
        defaults=tuple(heirs[project] for project in sorted(leaderless) if project in heirs),
        emptied=tuple(project for project in sorted(leaderless) if project not in heirs),
    )


def recover(store: Store, computes: Computes) -> None:
    """Make the store, the disk and the processes agree. Nothing else has the data folder open.

    Raises `ClustersGoneError`, and changes nothing, where not one branch has its data: nobody lost them all at once.
    """
    known = store.select(BranchRecord)
    standbys = _standbys(store, computes)
    directories = [
        path.name for path in computes.folder.iterdir() if (path / "PG_VERSION").exists() and path.name not in standbys
    ]
    repairs = decide(known, directories)
    if known and len(repairs.lost) == len(known):
        raise ClustersGoneError(computes.folder, branches=len(known))
    with store.write() as writer:
        for operation in after_death(store.unfinished_operations()):
            writer.update(operation)
            log.warning("operation %s (%s) was cut short and is now failed", operation.id, operation.action)
    strays = [path.name for path in computes.folder.iterdir() if path.name not in {*directories, *standbys}]
    with store.write() as writer:
        for branch in repairs.lost:
            log.warning("branch %s (%s) has no data directory and is forgotten", branch.name, branch.id)
        for branch in repairs.adopted:
            writer.update(branch)
        for branch in repairs.lost:
            writer.delete(BranchRecord, id=branch.id)
        for identifier in repairs.defaults:
            heir = store.get(BranchRecord, id=identifier)
            assert heir is not None
            writer.update(replace(heir, is_default=True))
        for project_id in repairs.emptied:
            writer.delete(OperationRecord, project_id=project_id)
            writer.delete(ProjectRecord, id=project_id)
    _settle_history(store, computes)
    for directory in (*repairs.garbage, *strays):
        log.info("removing %s, which belongs to no branch", directory)
        computes.remove(directory)
    _settle_postmasters(store, computes)
    _settle_standbys(store, computes)
    if computes.pooler is not None:
        awake = store.select(EndpointRecord, active=True)
        computes.pooler.stop_all(besides=frozenset(endpoint.port for endpoint in awake))
    finish_all(store, computes)


def _settle_history(store: Store, computes: Computes) -> None:
    """Finish what a killed engine began in the vault, and remove there what no record names."""
    vault = computes.vault
    lineages = store.select(LineageRecord)
    for lineage in lineages:
        if lineage.ended_at is not None and not vault.wal_of(lineage).exists():
            with contextlib.suppress(FileNotFoundError):
                vault.retire(lineage.directory)
    named = {
        *(lineage.directory for lineage in lineages if lineage.ended_at is not None),
        *(base.id for base in store.select(BaseRecord)),
        *(snapshot.id for snapshot in store.select(SnapshotRecord)),
    }
    for path in vault.folder.iterdir():
        if path.name not in named:
            log.info("removing %s, which belongs to no history", path.name)
            vault.remove(path.name)


def _standbys(store: Store, computes: Computes) -> dict[str, tuple[BranchRecord, EndpointRecord]]:
    """The data directories of the hot standbys that should run."""
    branches = {branch.id: branch for branch in store.select(BranchRecord)}
    endpoints = store.select(EndpointRecord, type="read_only", active=True)
    found = [(branches[endpoint.branch_id], endpoint) for endpoint in endpoints]
    return {computes.directory_of(branch, endpoint): (branch, endpoint) for branch, endpoint in found}


def _settle_standbys(store: Store, computes: Computes) -> None:
    """Adopt the standbys that run, and start the others from their primaries, which are awake by now."""
    for directory, (branch, endpoint) in _standbys(store, computes).items():
        project = store.get(ProjectRecord, id=branch.project_id)
        assert project is not None
        found = read_pid_file(computes.folder / directory)
        if found is not None and found.port == endpoint.port and computes.serves_endpoint(branch, endpoint):
            computes.standbys[directory] = project.id
            log.info("adopted the standby of endpoint %s (pid %s)", endpoint.id, found.pid)
        else:
            _start(store, computes, project, branch, endpoint)


def _settle_postmasters(store: Store, computes: Computes) -> None:
    projects = {project.id: project for project in store.select(ProjectRecord)}
    endpoints = {endpoint.branch_id: endpoint for endpoint in store.select(EndpointRecord, type="read_write")}
    dead: list[tuple[ProjectRecord, BranchRecord, EndpointRecord]] = []
    for branch in store.select(BranchRecord):
        endpoint = endpoints.get(branch.id)
        runs = computes.serves(branch)
        found = read_pid_file(computes.folder / branch.directory) if runs else None
        if endpoint is not None and endpoint.active and found is not None and found.port == endpoint.port:
            log.info("adopted the postmaster of branch %s (pid %s)", branch.id, found.pid)
            continue
        if runs:
            computes.cluster(projects[branch.project_id], branch.directory, port=0).stop()
        if endpoint is not None and endpoint.active:
            dead.append((projects[branch.project_id], branch, endpoint))
    if dead:
        with ThreadPoolExecutor(_STARTERS) as pool:
            for project, branch, endpoint in dead:
                pool.submit(_start, store, computes, project, branch, endpoint)


def _start(
    store: Store, computes: Computes, project: ProjectRecord, branch: BranchRecord, endpoint: EndpointRecord
) -> None:
    try:
        computes.start_compute(project, branch, endpoint)
    except EnvironmentProblem as problem:
        # One compute that cannot run must not keep the others from running; starting it by the API says why again.
        log.warning("endpoint %s stays idle: %s", endpoint.id, problem)
        with store.write() as writer:
            writer.update(replace(endpoint, active=False, suspended_at=now(), updated_at=now()))
