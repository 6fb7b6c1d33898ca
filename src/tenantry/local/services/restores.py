"""Restore, which Neon's console calls reset: a branch takes the data of another, and keeps its id and address."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tenantry.local.services import find, limits, views
from tenantry.local.services.forks import fork
from tenantry.local.services.rules import check_restore
from tenantry.local.state.naming import new_branch_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import DatabaseRecord, RoleRecord, now
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantry.local.engine import Engine
    from tenantry.local.services.rules import Restore
    from tenantry.local.state.records import BranchRecord, EndpointRecord

__all__ = ["restore"]


def restore(
    engine: Engine, project_id: str, branch_id: str, request: wire.BranchRestoreRequest
) -> wire.BranchOperations:
    """Give a branch the data at the head of `source_branch_id`. All that only it held is lost or preserved.

    The clone is made beside the old data, the compute changes over, and one commit makes the clone the branch's
    own: a kill at any point leaves the old data or the new. Its connection strings stay; connections end.
    """
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branch = find.branch(engine, project_id, branch_id)
        branches = find.branches(engine, project_id)
        plan = check_restore(branch, request, branches)
        if plan.preserve_under_name is not None:
            usage = limits.usage_of(branches)
            limits.check_usage(engine.plan, usage, usage.plus(branches=1))
        endpoint = engine.computes.endpoint_of(branch)
        active = endpoint if endpoint is not None and endpoint.active else None
        directory = engine.computes.new_directory(branch.id)
        own_roles = engine.store.select(RoleRecord, branch_id=branch.id)
        own_databases = engine.store.select(DatabaseRecord, branch_id=branch.id)
        mutation.plan(_steps(branch, active, preserved=plan.preserve_under_name is not None))

        at = now()
        with mutation.step():
            made = fork(
                engine,
                mutation,
                project,
                plan.source,
                directory,
                own={role.name: role.password for role in own_roles if role.password is not None},
            )
        if active is not None:
            old = engine.computes.cluster(project, branch.directory, port=active.port)
            new = engine.computes.cluster(project, directory, port=active.port)
            mutation.undo(old.start)
            with mutation.step():
                old.stop()
            mutation.undo(new.kill)
            with mutation.step():
                new.start()
        if plan.preserve_under_name is None:
            with mutation.step():
                pass
        backup = _backup(branch, plan)
        restored = replace(
            branch,
            directory=directory,
            parent_id=plan.source.id,
            parent_lsn=made.lsn,
            parent_timestamp=at,
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
            for record in made.owned_by(restored):
                writer.insert(record)
            if backup is not None:
                writer.insert(backup)
                for child in plan.children:
                    # The source may be one of them, and then it is the restored branch's parent and moves as well.
                    writer.update(replace(child, parent_id=backup.id, updated_at=now()))
                for role in own_roles:
                    writer.insert(replace(role, branch_id=backup.id))
                for database in own_databases:
                    writer.insert(replace(database, branch_id=backup.id))
        if backup is None:
            engine.computes.remove(branch.directory)
    return wire.BranchOperations(
        branch=views.branch(restored), operations=[views.operation(operation) for operation in mutation.operations]
    )


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
        restored_as=branch.id,
        annotation={},
        expires_at=None,
        ttl_interval_seconds=None,
        state_changed_at=at,
        created_at=at,
        updated_at=at,
    )
