"""Waking a compute for who connects to it, and putting to sleep those that nobody uses."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tenantry.core.errors import EnvironmentProblem, TenantryError
from tenantry.local.clusters.idleness import Sample, last_use, suspend_after, take_sample
from tenantry.local.clusters.ports import BEHIND, BEHIND_POOLER
from tenantry.local.clusters.processes import read_pid_file
from tenantry.local.errors import PortTakenError
from tenantry.local.plans import PLANS
from tenantry.local.proxy.greetings import Refused
from tenantry.local.proxy.refusing import refusing_context
from tenantry.local.proxy.relay import Address, Relay
from tenantry.local.refusals import Refusal
from tenantry.local.state.operations import Step
from tenantry.local.state.records import BranchRecord, EndpointRecord, ProjectRecord, now

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tenantry.core.ids import EndpointId, ProjectId
    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.computes import Computes
    from tenantry.local.plans import Plan
    from tenantry.local.proxy.relay import Backend
    from tenantry.local.state.operations import Mutation, Operations
    from tenantry.local.state.store import Store

__all__ = ["Power"]

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_HOLD_SECONDS = 120.0
_NEON_ERROR = "XX000"


class Power:
    """The addresses of all endpoints, and the computes behind them. Its `open` and `wake` are the relay's `Doors`."""

    def __init__(
        self, store: Store, computes: Computes, *, suspend_timeout_seconds: int, plan: Plan = PLANS["none"]
    ) -> None:
        self._store = store
        self._computes = computes
        self._default = suspend_timeout_seconds
        self.plan = plan
        self._paths: dict[EndpointId, Path] = {}
        self._known: dict[ProjectId, dict[EndpointId, int]] = {}
        self._unheard: dict[EndpointId, ProjectId] = {}
        self._shut: set[EndpointId] = set()
        self._used: dict[EndpointId, float] = {}
        self._looked: dict[EndpointId, float] = {}
        self._samples: dict[EndpointId, Sample] = {}
        self._settling = threading.Lock()
        self._end = threading.Event()
        self._relay: Relay | None = None
        self._operations: Operations | None = None
        self._sweeper = threading.Thread(target=self._sweep, name="tenantry-suspend", daemon=True)

    def begin(self, operations: Operations) -> None:
        """Listen on every address, and begin to look for idle computes."""
        self._operations = operations
        self._relay = Relay(self, certificate=refusing_context)
        for project in self._store.select(ProjectRecord):
            self.settle(project.id)
        self._sweeper.start()

    def close(self) -> None:
        """End all connections and let go of the addresses. Safe to repeat."""
        self._end.set()
        if self._relay is not None:
            self._relay.close()
        if self._sweeper.ident is not None:
            self._sweeper.join()

    # ---- addresses

    def settle(self, project_id: ProjectId) -> None:
        """Listen where endpoints of a project are, and end the connections to those that are no more.

        An address that another program has is told to the log; the others work.
        """
        if self._relay is None:
            return
        with self._settling:
            self._settle(self._relay, project_id)

    def _settle(self, relay: Relay, project_id: ProjectId) -> None:
        before, ports = self._known.get(project_id, {}), self._store.ports(project_id)
        listened: dict[EndpointId, int] = {}
        for endpoint_id, port in ports.items():
            if before.get(endpoint_id) == port:
                listened[endpoint_id] = port
                continue
            if self._hear(relay, project_id, endpoint_id, port):
                listened[endpoint_id] = port
        for endpoint_id in [one for one, of in self._unheard.items() if of == project_id and one not in ports]:
            del self._unheard[endpoint_id]
        for endpoint_id in before.keys() - ports.keys():
            self._forget(endpoint_id)
            if self._computes.pooler is not None:
                self._computes.pooler.stop(before[endpoint_id])
            relay.cut(endpoint_id)
        self._known[project_id] = listened
        if project_id in self._computes.standbys.values():
            self._computes.drop_standbys(project_id, keep=self._standbys_of(project_id))

    def _hear(self, relay: Relay, project_id: ProjectId, endpoint_id: EndpointId, port: int) -> bool:
        """Listen on an address, if nobody else does. It is tried again and again, and told once."""
        try:
            relay.listen(Address(port, endpoint_id))
            if self._computes.pooler is not None:
                relay.listen(Address(port, endpoint_id, pooled=True))
        except PortTakenError as problem:
            if endpoint_id not in self._unheard:
                log.warning("endpoint %s cannot be reached at its address: %s", endpoint_id, problem)
            self._unheard[endpoint_id] = project_id
            return False
        self._unheard.pop(endpoint_id, None)
        return True

    def _standbys_of(self, project_id: ProjectId) -> set[str]:
        branches = {branch.id: branch for branch in self._store.select(BranchRecord, project_id=project_id)}
        endpoints = self._store.select(EndpointRecord, project_id=project_id, type="read_only")
        return {self._computes.directory_of(branches[one.branch_id], one) for one in endpoints}

    def listen(self, endpoint: EndpointRecord) -> None:
        """Listen on the address of *endpoint*, if that was not possible before. Raises `PortTakenError`."""
        if self._relay is not None:
            self._relay.listen(Address(endpoint.port, endpoint.id))
            if self._computes.pooler is not None:
                self._relay.listen(Address(endpoint.port, endpoint.id, pooled=True))

    def _forget(self, endpoint_id: EndpointId) -> None:
        for kept in (self._paths, self._used, self._looked, self._samples):
            kept.pop(endpoint_id, None)

    # ---- the relay's questions

    def open(self, address: Address) -> Backend | None:
        """Return where the compute takes connections now; None if it sleeps, or is about to."""
        path = self._paths.get(address.endpoint_id)
        if path is None or address.endpoint_id in self._shut or not _takes_connections(path, address.port):
            return None
        return _behind(address)

    def wake(self, address: Address) -> Backend | Refused:
        """Start the compute if it sleeps, as an operation like any other. A change of its project is waited for."""
        assert self._operations is not None
        endpoint = self._store.get(EndpointRecord, id=address.endpoint_id)
        if endpoint is None:
            return _GONE
        try:
            if not self._is_awake(endpoint):
                with self._operations.mutation(
                    endpoint.project_id, unasked=True, wait_seconds=_HOLD_SECONDS
                ) as mutation:
                    refused = self._wake(mutation, endpoint.id)
                if refused is not None:
                    return refused
            if address.pooled:
                self._start_pooler(endpoint)
        except Refusal as refusal:
            return Refused(refusal.message)
        except EnvironmentProblem as problem:
            log.warning("endpoint %s was not woken: %s", endpoint.id, problem)
            return Refused(f"the compute of endpoint {endpoint.id} did not start: {problem}")
        return _behind(address)

    def _start_pooler(self, endpoint: EndpointRecord) -> None:
        branch = self._store.get(BranchRecord, id=endpoint.branch_id)
        project = self._store.get(ProjectRecord, id=endpoint.project_id)
        if self._computes.pooler is not None and branch is not None and project is not None:
            self._computes.pooler.start(self._computes.compute(project, branch, endpoint))

    def _is_awake(self, endpoint: EndpointRecord) -> bool:
        branch = self._store.get(BranchRecord, id=endpoint.branch_id)
        if branch is None or not endpoint.active or endpoint.id in self._shut:
            return False
        path = self._computes.path_of(branch, endpoint)
        if endpoint.id in self._paths and self._paths[endpoint.id] == path:
            return False  # `open` looked there, and nobody took the connection
        self._paths[endpoint.id] = path
        return _takes_connections(path, endpoint.port)

    def _wake(self, mutation: Mutation, endpoint_id: EndpointId) -> Refused | None:
        endpoint = self._store.get(EndpointRecord, id=endpoint_id)
        branch = None if endpoint is None else self._store.get(BranchRecord, id=endpoint.branch_id)
        if endpoint is None or branch is None:
            return _GONE
        if endpoint.disabled:
            return _DISABLED
        if not endpoint.active and not self._may_be_active(branch):
            return _TOO_MANY
        project = self._store.get(ProjectRecord, id=endpoint.project_id)
        assert project is not None
        cluster = self._computes.compute(project, branch, endpoint)
        if not (endpoint.active and _answers(cluster)):
            mutation.plan([Step("start_compute", branch.id, endpoint.id)])
            with mutation.step():
                self._computes.start_compute(project, branch, endpoint)
            with mutation.commit() as writer:
                writer.update(replace(endpoint, active=True, started_at=now(), updated_at=now()))
        self._paths[endpoint.id] = self._computes.path_of(branch, endpoint)
        return None

    def _may_be_active(self, branch: BranchRecord) -> bool:
        """Whether the plan allows a compute of *branch* beside those of its project that are active."""
        default = self._store.get(BranchRecord, project_id=branch.project_id, is_default=True)
        active = self._store.select(EndpointRecord, project_id=branch.project_id, active=True)
        return self.plan.allows_active(
            (one.branch_id for one in active), more=branch.id, default=None if default is None else default.id
        )

    # ---- sleep

    def _sweep(self) -> None:
        while not self._end.wait(_TICK_SECONDS):
            try:
                for project_id in set(self._unheard.values()):
                    self.settle(project_id)
                for endpoint in self._store.select(EndpointRecord, active=True):
                    self._look_at(endpoint)
            except Exception:
                if not self._end.is_set():
                    log.exception("looking for idle computes failed, and is tried again")

    def _look_at(self, endpoint: EndpointRecord) -> None:
        """Suspend the compute of *endpoint* if nobody has used it for its time."""
        after = suspend_after(endpoint.suspend_timeout_seconds, default=self._default)
        at = time.time()
        looked = min(at, self._looked.get(endpoint.id, at if endpoint.id not in self._looked else 0.0))
        self._looked.setdefault(endpoint.id, looked)
        # Twice in that time, so that who came straight over the socket and left is missed no longer than half of it.
        if after is None or self._end.is_set() or at - looked < after / 2:
            return
        self._looked[endpoint.id] = at
        if at - self._last_use(endpoint, at) < after:
            return
        assert self._operations is not None
        try:
            with self._operations.mutation(endpoint.project_id, unasked=True) as mutation, self._closed_to(endpoint):
                current = self._store.get(EndpointRecord, id=endpoint.id)
                if current is None or not current.active or at - self._last_use(current, at) < after:
                    return
                self._suspend(mutation, current)
        except Refusal:
            # Somebody changes the project, which is a use of it; we come back.
            pass
        except TenantryError as problem:
            log.warning("endpoint %s was not suspended: %s", endpoint.id, problem)

    @contextmanager
    def _closed_to(self, endpoint: EndpointRecord) -> Generator[None]:
        """Hold who connects to *endpoint* during the block, and have it woken for them afterwards."""
        self._shut.add(endpoint.id)
        try:
            yield
        finally:
            self._shut.discard(endpoint.id)

    def _last_use(self, endpoint: EndpointRecord, at: float) -> float:
        """Return when the compute of *endpoint* was last used: by what passed here, then by what Postgres says."""
        assert self._relay is not None
        known = max(
            0.0 if endpoint.started_at is None else endpoint.started_at.timestamp(),
            self._relay.touched(endpoint.id) or 0.0,
            self._used.get(endpoint.id, 0.0),
        )
        branch = self._store.get(BranchRecord, id=endpoint.branch_id)
        project = self._store.get(ProjectRecord, id=endpoint.project_id)
        if branch is None or project is None:
            return at
        cluster = self._computes.compute(project, branch, endpoint)
        if not cluster.running:
            return known
        sample = take_sample(cluster)
        if sample is None:
            return at
        used = last_use(sample, self._samples.get(endpoint.id), known=known, at=at)
        self._samples[endpoint.id], self._used[endpoint.id] = sample, used
        return used

    def _suspend(self, mutation: Mutation, endpoint: EndpointRecord) -> None:
        branch = self._store.get(BranchRecord, id=endpoint.branch_id)
        project = self._store.get(ProjectRecord, id=endpoint.project_id)
        assert branch is not None
        assert project is not None
        mutation.plan([Step("suspend_compute", branch.id, endpoint.id)])
        with mutation.step():
            self._computes.stop_compute(project, branch, endpoint)
        with mutation.commit() as writer:
            writer.update(replace(endpoint, active=False, suspended_at=now(), updated_at=now()))
        self._forget(endpoint.id)
        log.info("suspended the idle endpoint %s", endpoint.id)


# Neon's own words and codes.
_GONE = Refused(
    "The requested endpoint could not be found, or you don't have access to it. "
    "Please check the provided ID and try again.",
    sqlstate=_NEON_ERROR,
)
_TOO_MANY = Refused(
    "You have exceeded the limit of concurrently active endpoints. "
    "Please suspend some endpoints or contact our support team to increase the limit.",
    sqlstate=_NEON_ERROR,
    hint="The local engine has this limit from the plan that it was given.",
)
_DISABLED = Refused("The endpoint has been disabled. Enable it using Neon API and retry.", sqlstate=_NEON_ERROR)


def _behind(address: Address) -> Backend:
    return (BEHIND_POOLER if address.pooled else BEHIND), address.port


def _takes_connections(path: Path, port: int) -> bool:
    found = read_pid_file(path)
    return found is not None and found.ready and found.port == port


def _answers(cluster: Cluster) -> bool:
    """Whether the postmaster takes connections: a file that says so may be one that a killed postmaster left."""
    return cluster.running and _takes_connections(cluster.data, cluster.port)
