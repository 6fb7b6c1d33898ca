"""Restore, which Neon's console calls reset: a branch takes the data of another, and keeps its id and address."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.clusters.wal import format_lsn
from tenantry.local.history.files import mark
from tenantry.local.services import find, limits, views
from tenantry.local.services.forks import Source, fork
from tenantry.local.services.rules import check_restore
from tenantry.local.state.naming import new_branch_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import DatabaseRecord, LineageRecord, RoleRecord, now
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantry.local.engine import Engine
    from tenantry.local.services.rules import Restore
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import BranchRecord, EndpointRecord, ProjectRecord
    from tenantry.local.state.store import Writer

__all__ = ["restore"]

log = logging.getLogger(__name__)


def restore(
    engine: Engine, project_id: str, branch_id: str, request: wire.BranchRestoreRequest
) -> wire.BranchOperations:
    """Give a branch the data of `source_branch_id`, its head or a moment of its past.

    What only the branch held is preserved, or to be had by time until its history window has passed it.

    The clone is made beside the old data, the compute changes over, and one commit makes the clone the branch's
    own: a kill at any point leaves the old data or the new. Its connection strings stay; connections end.
    """
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branch = find.branch(engine, project_id, branch_id)
        branches = find.branches(engine, project_id)
        at = now()
        plan = check_restore(branch, request, branches, now=at, allow_children=engine.allow_child_restore)
        if plan.preserve_under_name is not None:
            usage = limits.usage_of(branches)
            limits.check_usage(engine.plan, usage, usage.plus(branches=1, roots=branch.parent_id is None))
        endpoint = engine.computes.endpoint_of(branch)
        active = endpoint if endpoint is not None and endpoint.active else None
        directory = engine.computes.new_directory(branch.id)
        own = _Own.read(engine, branch)
        mutation.plan(_steps(branch, active, preserved=plan.preserve_under_name is not None))

        with mutation.step():
            made = fork(engine, mutation, project, Source(plan.source, plan.moment), directory, own=own.passwords)
        ended = _change_over(
            engine, mutation, project, branch, directory, active=active, ends=plan.preserve_under_name is None
        )
        backup = _backup(branch, plan)
        restored = replace(
            branch,
            directory=directory,
            parent_id=backup.id if backup is not None and plan.source.id == branch.id else plan.source.id,
            parent_lsn=made.lsn,
            parent_timestamp=made.at,
            clone_method=made.method,
            logical_size=made.bytes,
            restored_from=plan.source.id,
            last_reset_at=at,
            expires_at=None
            if branch.ttl_interval_seconds is None
            else at + timedelta(seconds=branch.ttl_interval_seconds),
            state_changed_at=now(),
            updated_at=now(),
        )
        with mutation.commit() as writer:
            writer.update(restored)
            writer.delete(RoleRecord, branch_id=branch.id)
            writer.delete(DatabaseRecord, branch_id=branch.id)
            if backup is not None:
                _preserve(writer, backup, own, plan)
            elif ended is not None:
                writer.update(ended)
            else:
                writer.delete(LineageRecord, directory=branch.directory)
            for record in made.owned_by(restored, since=None if ended is None else ended.ended_at):
                writer.insert(record)
        if ended is not None:
            engine.computes.vault.retire(branch.directory)
        if backup is None:
            engine.computes.remove(branch.directory)
    return wire.BranchOperations(
        branch=views.branch(restored), operations=[views.operation(operation) for operation in mutation.operations]
    )


@dataclass(frozen=True, slots=True)
class _Own:
    """What hangs on a branch before it is restored."""

    roles: tuple[RoleRecord, ...]
    databases: tuple[DatabaseRecord, ...]
    lineages: tuple[LineageRecord, ...]

    @classmethod
    def read(cls, engine: Engine, branch: BranchRecord) -> _Own:
        return cls(
            roles=tuple(engine.store.select(RoleRecord, branch_id=branch.id)),
            databases=tuple(engine.store.select(DatabaseRecord, branch_id=branch.id)),
            lineages=tuple(engine.store.select(LineageRecord, branch_id=branch.id)),
        )

    @property
    def passwords(self) -> dict[str, str]:
        return {role.name: role.password for role in self.roles if role.password is not None}


def _change_over(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    branch: BranchRecord,
    directory: str,
    *,
    active: EndpointRecord | None,
    ends: bool,
) -> LineageRecord | None:
    """Have the compute serve *directory*, and return the branch's lineage as it ends, if it *ends*."""
    if active is None:
        ended = _end_history(engine, project, branch) if ends else None
    else:
        old = engine.computes.cluster(project, branch.directory, port=active.port)
        new = engine.computes.cluster(project, directory, port=active.port)
        mutation.undo(old.start)
        with mutation.step():
            ended = _end_history(engine, project, branch) if ends else None
            old.stop()
        mutation.undo(new.kill)
        with mutation.step():
            new.start()
    if ends:
        with mutation.step():
            pass
    return ended


def _preserve(writer: Writer, backup: BranchRecord, own: _Own, plan: Restore) -> None:
    """Write the branch that keeps the old data: its children, roles, databases and past go with it."""
    writer.insert(backup)
    for child in plan.children:
        # The source may be one of them, and then it is the restored branch's parent and moves as well.
        writer.update(replace(child, parent_id=backup.id, updated_at=now()))
    for record in (*own.roles, *own.databases):
        writer.insert(replace(record, branch_id=backup.id))
    for lineage in own.lineages:
        writer.update(replace(lineage, branch_id=backup.id))


def _end_history(engine: Engine, project: ProjectRecord, branch: BranchRecord) -> LineageRecord | None:
    """Return the branch's lineage as it ends now, or None where its data can no longer be read."""
    lineage = engine.store.get(LineageRecord, directory=branch.directory)
    if lineage is None:
        return None
    at = now()
    try:
        with engine.computes.awake(project, branch) as cluster:
            ends = mark(cluster)
    except (EnvironmentProblem, psycopg.Error) as problem:
        # A restore is how one gets out of this.
        log.warning("the history of branch %s (%s) ends unread: %s", branch.name, branch.id, problem)
        return None
    return replace(lineage, ended_at=at, ended_lsn=format_lsn(ends.flushed))


def _steps(branch: BranchRecord, active: EndpointRecord | None, *, preserved: bool) -> Iterator[Step]:
    yield Step("create_branch", branch.id)
    if active is not None:
        yield Step("suspend_compute", branch.id, active.id)
        yield Step("start_compute", branch.id, active.id)
    if not preserved:
        yield Step("delete_timeline", branch.id)


def _backup(branch: BranchRecord, plan: Restore) -> BranchRecord | None:
    """Return the branch that keeps the old data, under the name that is asked for. It has no compute."""
    if plan.preserve_under_name is None:
        return None
    at = now()
    return replace(
        branch,
        id=new_branch_id(),
        name=plan.preserve_under_name,
        is_default=False,
        restored_from=None,
        restored_as=branch.id,
        annotation={},
        expires_at=None,
        ttl_interval_seconds=None,
        state_changed_at=at,
        created_at=at,
        updated_at=at,
    )
