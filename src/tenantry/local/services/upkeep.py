"""What is done now and then: expired branches and snapshots deleted, history and logs shortened, bases taken."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.clusters.folders import LOG
from tenantry.local.clusters.processes import postmaster_of, read_pid_file
from tenantry.local.clusters.programs import cap_log
from tenantry.local.clusters.wal import SEGMENT_BYTES, State, read_control
from tenantry.local.history.files import needed_by_slots, read_head
from tenantry.local.history.keeping import Clock, decide, wants_base
from tenantry.local.refusals import Refusal
from tenantry.local.services import branches, snapshots
from tenantry.local.services.forks import window_start
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    EndpointRecord,
    LineageRecord,
    ProjectRecord,
    SnapshotRecord,
    now,
)

if TYPE_CHECKING:
    from datetime import datetime

    from tenantry.local.engine import Engine

__all__ = ["Upkeep", "attach"]

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
GRACE = timedelta(seconds=60)
"""So long what has left the window is kept: a replay that began when it was inside may be copying it."""


def attach(engine: Engine) -> None:
    """Have *engine* do its upkeep from now on. Safe to repeat."""
    engine.background.repeat(Upkeep(engine).run, seconds=EVERY_SECONDS)


@dataclass(slots=True)
class Upkeep:
    """The upkeep of one engine. Its clock goes on between runs and never ahead of the time that passed."""

    engine: Engine
    grace: timedelta = GRACE
    clock: Clock = field(default_factory=lambda: Clock(now(), time.monotonic()))

    def run(self) -> None:
        """Do what is due now. What cannot be done is told to the log, and tried by the next run."""
        self.clock = self.clock.advance(wall=now(), steady=time.monotonic())
        self._delete_expired(self.clock.wall)
        for log_file in self.engine.computes.folder.glob(f"*/{LOG}"):
            _try(lambda one=log_file: cap_log(one))
        for project in self.engine.store.select(ProjectRecord):
            if self.engine.background.ending:
                return
            self._keep_history(project, window_start(project, self.clock.wall))

    def _delete_expired(self, at: datetime) -> None:
        store = self.engine.store
        for branch in store.select(BranchRecord):
            if branch.expires_at is not None and branch.expires_at <= at:
                log.info("branch %s (%s) has expired and is deleted", branch.name, branch.id)
                _try(lambda branch=branch: branches.delete(self.engine, branch.project_id, branch.id))
        for snapshot in store.select(SnapshotRecord):
            if snapshot.expires_at is not None and snapshot.expires_at <= at:
                log.info("snapshot %s (%s) has expired and is deleted", snapshot.name, snapshot.id)
                _try(lambda one=snapshot: snapshots.delete(self.engine, one.project_id, one.id))

    def _keep_history(self, project: ProjectRecord, start: datetime) -> None:
        store, vault = self.engine.store, self.engine.computes.vault
        lineages = store.select(LineageRecord, project_id=project.id)
        by_directory = {one.directory: one for one in lineages}
        bases = [base for one in lineages for base in store.select(BaseRecord, directory=one.directory)]
        for lineage in lineages:
            data = self.engine.computes.folder / lineage.directory
            if lineage.ended_at is None and data.is_dir():
                head = read_head(data) + SEGMENT_BYTES
                if wants_base(lineage, by_directory, bases, head=head, window_start=start):
                    _try(lambda one=lineage: self._take_base(project, one))
        due = decide(lineages, bases, window_start=start - self.grace)
        with store.write() as writer:
            for name in due.lineages:
                writer.delete(LineageRecord, directory=name)
            for name in due.bases:
                writer.delete(BaseRecord, id=name)
        for name in (*due.lineages, *due.bases):
            vault.remove(name)
        for directory, position in due.floors.items():
            _try(lambda one=by_directory[directory], before=position: self._drop_wal(project, one, before))

    def _drop_wal(self, project: ProjectRecord, lineage: LineageRecord, before: int) -> None:
        computes = self.engine.computes
        if computes.vault.has_slots(lineage):
            found = read_pid_file(computes.folder / lineage.directory)
            if found is None or found.port is None or not found.ready:
                return  # what its slots need is not told while it sleeps
            needed = needed_by_slots(computes.cluster(project, lineage.directory, port=found.port))
            before = before if needed is None else min(before, needed)
        computes.vault.drop_wal(lineage, before=before)

    def _take_base(self, project: ProjectRecord, lineage: LineageRecord) -> None:
        """Take a base of *lineage* beside all else: neither does it wait for a mutation, nor a mutation for it."""
        store, computes = self.engine.store, self.engine.computes
        data = computes.folder / lineage.directory
        if postmaster_of(data) is None and read_control(data).state != State.SHUT_DOWN:
            # It never ran since it was cloned, or was killed: its files are not whole before it has run once.
            endpoint = store.get(EndpointRecord, branch_id=lineage.branch_id, type="read_write")
            if endpoint is not None and endpoint.active:
                return
            with self.engine.operations.mutation(project.id), computes.open(project, lineage.directory):
                pass
        found = read_pid_file(data)
        cluster = computes.cluster(project, lineage.directory, port=found.port or 0 if found is not None else 0)
        base, _ = computes.vault.take_base(cluster, wake=False)
        with store.write() as writer:
            kept = store.get(LineageRecord, directory=lineage.directory)
            if kept is not None and kept.ended_at is None:
                writer.insert(base)
                return
        computes.vault.remove(base.id)


def _try(action: object) -> None:
    assert callable(action)
    try:
        action()
    except Refusal as refusal:
        log.info("not now: %s", refusal)
    except (EnvironmentProblem, OSError, psycopg.Error) as problem:
        log.warning("upkeep could not do all: %s", problem)
