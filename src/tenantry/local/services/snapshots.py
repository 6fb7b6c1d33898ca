"""Snapshots: taken of a root branch at its head or a moment of its past, kept as clones, restored to branches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tenantry.core.ids import BranchId
from tenantry.local.history.moments import read_moment
from tenantry.local.refusals import bad_field, not_allowed, not_found
from tenantry.local.services import find, limits, views
from tenantry.local.services.forks import look_back, unpack
from tenantry.local.services.rules import check_name, check_roots, check_unused_name
from tenantry.local.state.naming import new_branch_id, new_snapshot_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import BranchRecord, RoleRecord, SnapshotRecord, now
from tenantry.neon import wire

if TYPE_CHECKING:
    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import EndpointRecord, ProjectRecord

__all__ = ["create", "delete", "finalize", "get", "list_all", "restore", "update"]


def _find(engine: Engine, project_id: str, snapshot_id: str) -> SnapshotRecord:
    find.project(engine, project_id)
    found = engine.store.get(SnapshotRecord, id=snapshot_id, project_id=project_id)
    if found is None:
        raise not_found("snapshot", snapshot_id)
    return found


def list_all(engine: Engine, project_id: str) -> wire.SnapshotsResponse:
    """Return a project's snapshots, the newest first."""
    find.project(engine, project_id)
    found = engine.store.select(SnapshotRecord, project_id=project_id, order="created_at DESC")
    return wire.SnapshotsResponse(snapshots=[views.snapshot(one) for one in found])


def get(engine: Engine, project_id: str, snapshot_id: str) -> wire.SnapshotResponse:
    """Return a snapshot."""
    return wire.SnapshotResponse(snapshot=views.snapshot(_find(engine, project_id, snapshot_id)))


def _expiry(value: datetime | None, at: datetime) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise bad_field("expires_at", f"{value.isoformat()} has no time zone: end it with Z")
    if value <= at:
        raise bad_field("expires_at", f"{value.isoformat()} is not in the future")
    return value.astimezone(UTC)


def create(
    engine: Engine,
    project_id: str,
    branch_id: str,
    *,
    name: str | None,
    timestamp: datetime | None,
    lsn: str | None,
    expires_at: datetime | None,
) -> wire.SnapshotOperations:
    """Take a snapshot of a root branch, at its head unless a moment is given."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branch = find.branch(engine, project_id, branch_id)
        at = now()
        limits.check_snapshots(engine.plan, len(engine.store.select(SnapshotRecord, project_id=project.id)))
        moment = read_moment(timestamp, lsn, timestamp_field="timestamp", lsn_field="lsn", now=at)
        if not engine.allow_child_restore:
            check_roots("snapshots", (branch,), find.branches(engine, project_id))
        expires = _expiry(expires_at, at)
        name = check_name("name", name) or f"{branch.name} at {at.isoformat(timespec='seconds')}"
        identifier = new_snapshot_id()
        vault = engine.computes.vault
        mutation.plan([Step("create_branch", branch.id), Step("timeline_archive", branch.id)])
        mutation.undo(lambda: vault.remove(identifier))
        with mutation.step():
            if moment is not None:
                directory = engine.computes.new_directory(branch.id)
                with look_back(engine, mutation, project, branch, moment=moment, directory=directory):
                    pass
                source = engine.computes.cluster(project, directory, port=0)
                report = vault.take_copy(source, identifier)
                engine.computes.remove(directory)
            else:
                with engine.computes.awake(project, branch) as cluster:
                    report = vault.take_copy(cluster, identifier)
        with mutation.step():
            pass
        roles = engine.store.select(RoleRecord, branch_id=branch.id)
        record = SnapshotRecord(
            id=identifier,
            project_id=project.id,
            name=name,
            source_branch_id=branch.id,
            lsn=lsn or report.lsn,
            timestamp=timestamp or at,
            expires_at=expires,
            roles={role.name: role.password for role in roles if role.password is not None},
            full_size=report.bytes,
            timeline=report.timeline,
            created_at=at,
        )
        with mutation.commit() as writer:
            writer.insert(record)
    return wire.SnapshotOperations(
        snapshot=views.snapshot(record), operations=[views.operation(one) for one in mutation.operations]
    )


def update(
    engine: Engine, project_id: str, snapshot_id: str, request: wire.SnapshotUpdateRequest
) -> wire.SnapshotResponse:
    """Rename a snapshot, and say when it expires; null for never."""
    wanted = request.snapshot
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        record = _find(engine, project_id, snapshot_id)
        expires = _expiry(wanted.expires_at, now()) if "expires_at" in wanted.model_fields_set else record.expires_at
        record = replace(record, name=check_name("snapshot.name", wanted.name) or record.name, expires_at=expires)
        with mutation.commit() as writer:
            writer.update(record)
    return wire.SnapshotResponse(snapshot=views.snapshot(record))


def delete(engine: Engine, project_id: str, snapshot_id: str) -> wire.OperationsOnly:
    """Delete a snapshot. Branches that were restored from it stay."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        record = _find(engine, project_id, snapshot_id)
        mutation.plan([Step("delete_timeline", record.source_branch_id)])
        with mutation.step():
            pass
        with mutation.commit() as writer:
            writer.delete(SnapshotRecord, id=record.id)
        engine.computes.vault.remove(record.id)
    return wire.OperationsOnly(operations=[views.operation(one) for one in mutation.operations])


def restore(
    engine: Engine, project_id: str, snapshot_id: str, request: wire.SnapshotRestoreRequest
) -> wire.BranchOperations:
    """Make a root branch from a snapshot. With `finalize_restore` it takes the target branch's place at once."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        snapshot = _find(engine, project_id, snapshot_id)
        every = find.branches(engine, project_id)
        at = now()
        target_id = request.target_branch_id or snapshot.source_branch_id
        target = next((one for one in every if one.id == target_id), None)
        if request.target_branch_id and target is None:
            raise not_found("target branch", request.target_branch_id)
        name = check_name("name", request.name) or f"{snapshot.name} ({at.isoformat(timespec='milliseconds')})"
        check_unused_name(name, every)
        usage = limits.usage_of(every)
        limits.check_usage(engine.plan, usage, usage.plus(branches=1, roots=1))
        if request.finalize_restore:
            target = _check_target(target, target_id)
        branch_id = new_branch_id()
        directory = engine.computes.new_directory(branch_id)
        endpoint = engine.computes.endpoint_of(target) if request.finalize_restore and target is not None else None
        mutation.plan([Step("create_branch", branch_id), *_moving(endpoint, branch_id)])
        with mutation.step():
            made = unpack(engine, mutation, project, snapshot.id, directory, known=snapshot.roles)
        branch = BranchRecord(
            id=branch_id,
            project_id=project.id,
            name=name,
            directory=directory,
            parent_id=None,
            parent_lsn=None,
            parent_timestamp=None,
            is_default=False,
            protected=False,
            expires_at=None,
            ttl_interval_seconds=None,
            init_source="parent-data",
            annotation={},
            clone_method=made.method,
            logical_size=made.bytes,
            restored_from=BranchId(snapshot.id),
            # Whom it is to replace, until that is done.
            restored_as=None if target is None else target.id,
            last_reset_at=None,
            state_changed_at=at,
            created_at=at,
            updated_at=at,
        )
        before = branch
        if request.finalize_restore:
            assert target is not None
            branch, replaced, moved = _take_place(engine, mutation, project, branch, target=target, endpoint=endpoint)
        else:
            replaced, moved = None, None
        with mutation.commit() as writer:
            writer.insert(before)
            for record in made.owned_by(branch):
                writer.insert(record)
            for record in (replaced, *([] if replaced is None else [branch]), moved):
                if record is not None:
                    writer.update(record)
    return wire.BranchOperations(
        branch=views.branch(branch), operations=[views.operation(one) for one in mutation.operations]
    )


def finalize(
    engine: Engine, project_id: str, branch_id: str, request: wire.FinalizeRestoreRequest
) -> wire.BranchOperations:
    """Have a branch that was restored from a snapshot take the place of the one it is meant for.

    It takes that one's name, compute and place as the default; that one is renamed, and stays.
    """
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branch = find.branch(engine, project_id, branch_id)
        if not (branch.restored_from or "").startswith("snap-") or branch.restored_as is None:
            raise not_allowed(
                f"branch {branch.name!r} ({branch.id}) waits for no end of a restore: "
                "restore a snapshot first, without finalize_restore"
            )
        target_id = branch.restored_as
        target = _check_target(engine.store.get(BranchRecord, id=target_id, project_id=project_id), target_id)
        given = check_name("name", request.name)
        if given is not None:
            check_unused_name(given, find.branches(engine, project_id))
        endpoint = engine.computes.endpoint_of(target)
        mutation.plan([*_moving(endpoint, branch.id)])
        branch, replaced, moved = _take_place(
            engine, mutation, project, branch, target=target, endpoint=endpoint, old_name=given
        )
        with mutation.commit() as writer:
            for record in (replaced, branch, moved):
                if record is not None:
                    writer.update(record)
    return wire.BranchOperations(
        branch=views.branch(branch), operations=[views.operation(one) for one in mutation.operations]
    )


def _check_target(target: BranchRecord | None, target_id: str | None) -> BranchRecord:
    if target is None:
        raise not_found("target branch", str(target_id))
    if target.protected:
        raise not_allowed(f"branch {target.name!r} ({target.id}) is protected: set protected to false first")
    return target


def _moving(endpoint: EndpointRecord | None, branch_id: BranchId) -> list[Step]:
    if endpoint is None or not endpoint.active:
        return []
    return [Step("suspend_compute", branch_id, endpoint.id), Step("start_compute", branch_id, endpoint.id)]


def _take_place(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    branch: BranchRecord,
    *,
    target: BranchRecord,
    endpoint: EndpointRecord | None,
    old_name: str | None = None,
) -> tuple[BranchRecord, BranchRecord, EndpointRecord | None]:
    """Move the compute of *target* to *branch*, and return both branches and the endpoint as they are then."""
    if engine.computes.endpoint_of(branch) is not None and endpoint is not None:
        raise not_allowed(
            f"branch {branch.name!r} ({branch.id}) has a compute of its own: delete it, so that it can take over "
            f"that of {target.name!r}"
        )
    at = now()
    if endpoint is not None and endpoint.active:
        old = engine.computes.cluster(project, target.directory, port=endpoint.port)
        new = engine.computes.cluster(project, branch.directory, port=endpoint.port)
        mutation.undo(old.start)
        with mutation.step():
            old.stop()
        mutation.undo(new.kill)
        with mutation.step():
            new.start()
    replaced = replace(
        target,
        name=old_name or f"{target.name} (old {at.isoformat(timespec='milliseconds')})",
        is_default=False,
        updated_at=at,
    )
    placed = replace(
        branch,
        name=target.name,
        is_default=target.is_default,
        restored_as=None,
        state_changed_at=at,
        updated_at=at,
    )
    return placed, replaced, None if endpoint is None else replace(endpoint, branch_id=branch.id, updated_at=at)
