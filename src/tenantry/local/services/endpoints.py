"""Endpoints: a branch's one read_write compute and its read_only ones, whose addresses stay for life."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tenantry.local.refusals import bad_field, conflict, not_allowed, not_found, not_served
from tenantry.local.services import find, limits, views
from tenantry.local.services.rules import check_name
from tenantry.local.state.naming import new_endpoint_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import BranchRecord, EndpointRecord, now
from tenantry.neon import wire

if TYPE_CHECKING:
    from tenantry.core.ids import BranchId, EndpointId
    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import ProjectRecord

__all__ = [
    "check_compute",
    "create",
    "delete",
    "endpoint_record",
    "get",
    "list_all",
    "list_of_branch",
    "restart",
    "start",
    "suspend",
    "update",
]

LONGEST_NAME = 64
SMALLEST_CU = 0.25
LONGEST_SUSPEND_SECONDS = 604_800


def endpoint_record(
    project: ProjectRecord,
    branch_id: BranchId,
    wanted: wire.EndpointOptions,
    endpoint_id: EndpointId,
    port: int,
) -> EndpointRecord:
    """Return the endpoint that is asked for, or say what of it cannot be."""
    if wanted.type not in {"read_write", "read_only"}:
        raise bad_field("endpoint.type", f"{wanted.type!r} is neither read_write nor read_only")
    alone = wanted if isinstance(wanted, wire.EndpointCreate) else None  # else made together with its branch
    _check_settings(wanted.settings)
    defaults = project.default_endpoint_settings
    lowest = wanted.autoscaling_limit_min_cu or defaults.get("autoscaling_limit_min_cu") or SMALLEST_CU
    highest = wanted.autoscaling_limit_max_cu or defaults.get("autoscaling_limit_max_cu") or max(lowest, SMALLEST_CU)
    disabled = alone is not None and bool(alone.disabled)
    timeout = wanted.suspend_timeout_seconds
    at = now()
    record = EndpointRecord(
        id=endpoint_id,
        project_id=project.id,
        branch_id=branch_id,
        name=None if alone is None else _check_endpoint_name(alone.name),
        type=wanted.type,
        port=port,
        active=not disabled,
        disabled=disabled,
        autoscaling_limit_min_cu=lowest,
        autoscaling_limit_max_cu=highest,
        suspend_timeout_seconds=timeout if timeout is not None else defaults.get("suspend_timeout_seconds", 0),
        settings=wanted.settings or {},
        started_at=None if disabled else at,
        suspended_at=None,
        created_at=at,
        updated_at=at,
    )
    _check_limits(record)
    return record


def check_compute(
    engine: Engine,
    project: ProjectRecord,
    *,
    branch_id: BranchId | None,
    suspend_timeout_seconds: int | None,
    active: bool = True,
) -> None:
    """Raise what the engine's plan has against a compute that is made or started. A new branch has no id yet."""
    limits.check_suspend_timeout(engine.plan, suspend_timeout_seconds)
    if active:
        default = find.default_branch(engine, project.id)
        endpoints = engine.store.select(EndpointRecord, project_id=project.id)
        limits.check_active(engine.plan, endpoints, branch_id=branch_id, default_branch_id=default.id)


def _check_endpoint_name(name: str | None) -> str | None:
    if name is not None and len(name) > LONGEST_NAME:
        raise bad_field("endpoint.name", f"a name has 1 to {LONGEST_NAME} characters, and this one has {len(name)}")
    return check_name("endpoint.name", name)


def _check_settings(settings: dict[str, object] | None) -> None:
    if settings and any(settings.values()):
        raise not_served(f"the compute settings {sorted(settings)}", "leave endpoint.settings out")


def _check_limits(record: EndpointRecord) -> None:
    if not SMALLEST_CU <= record.autoscaling_limit_min_cu <= record.autoscaling_limit_max_cu:
        raise bad_field(
            "endpoint.autoscaling_limit_min_cu",
            f"{record.autoscaling_limit_min_cu} and {record.autoscaling_limit_max_cu} are no range of "
            f"{SMALLEST_CU} and more",
        )
    if not -1 <= record.suspend_timeout_seconds <= LONGEST_SUSPEND_SECONDS:
        raise bad_field(
            "endpoint.suspend_timeout_seconds",
            f"{record.suspend_timeout_seconds} is not within -1 (never) to {LONGEST_SUSPEND_SECONDS}",
        )


def list_all(engine: Engine, project_id: str) -> wire.EndpointsResponse:
    """Return the endpoints of a project."""
    find.project(engine, project_id)
    found = engine.store.select(EndpointRecord, project_id=project_id, order="created_at")
    return wire.EndpointsResponse(endpoints=[find.show_endpoint(engine, record) for record in found])


def list_of_branch(engine: Engine, project_id: str, branch_id: str) -> wire.EndpointsResponse:
    """Return the endpoints of a branch."""
    branch = find.branch(engine, project_id, branch_id)
    found = engine.store.select(EndpointRecord, branch_id=branch.id, order="created_at")
    return wire.EndpointsResponse(endpoints=[find.show_endpoint(engine, record) for record in found])


def get(engine: Engine, project_id: str, endpoint_id: str) -> wire.EndpointResponse:
    """Return an endpoint."""
    return wire.EndpointResponse(endpoint=find.show_endpoint(engine, find.endpoint(engine, project_id, endpoint_id)))


def _answer(engine: Engine, endpoint: EndpointRecord, mutation: Mutation) -> wire.EndpointOperations:
    return wire.EndpointOperations(
        endpoint=find.show_endpoint(engine, endpoint),
        operations=[views.operation(operation) for operation in mutation.operations],
    )


def create(engine: Engine, project_id: str, request: wire.EndpointCreateRequest) -> wire.EndpointOperations:
    """Make a compute of a branch and start it: its one read_write, or one more read_only."""
    project = find.project(engine, project_id)
    with engine.operations.mutation(project.id) as mutation, engine.computes.port() as port:
        project = find.project(engine, project_id)
        branch = engine.store.get(BranchRecord, id=request.endpoint.branch_id, project_id=project.id)
        if branch is None:
            raise not_found("branch", request.endpoint.branch_id)
        if request.endpoint.pooler_enabled and engine.computes.pooler is None:
            raise not_served("pooled endpoints without PgBouncer", "install it (`apt-get install pgbouncer`)")
        endpoint = endpoint_record(project, branch.id, request.endpoint, new_endpoint_id(), port)
        there = engine.computes.endpoint_of(branch)
        if there is not None and endpoint.type == "read_write":
            raise conflict(f"read-write endpoint already exists; branch_id:{branch.id!r}, endpoint_id:{there.id!r}")
        check_compute(
            engine,
            project,
            branch_id=branch.id,
            suspend_timeout_seconds=request.endpoint.suspend_timeout_seconds,
            active=endpoint.active,
        )
        if endpoint.type == "read_write":
            # They follow the primary that they were started with; the next connection starts them anew.
            for standby in engine.store.select(EndpointRecord, branch_id=branch.id, type="read_only"):
                engine.computes.stop_compute(project, branch, standby)
        if endpoint.active:
            _run(engine, mutation, project, branch, endpoint)
        with mutation.commit() as writer:
            writer.insert(endpoint)
    return _answer(engine, endpoint, mutation)


def _run(
    engine: Engine, mutation: Mutation, project: ProjectRecord, branch: BranchRecord, endpoint: EndpointRecord
) -> None:
    """Start the compute as the mutation's only step."""
    mutation.plan([Step("start_compute", branch.id, endpoint.id)])
    mutation.undo(lambda: engine.computes.stop_compute(project, branch, endpoint))
    with mutation.step():
        engine.power.listen(endpoint)
        engine.computes.start_compute(project, branch, endpoint)


def _branch_of(engine: Engine, endpoint: EndpointRecord) -> BranchRecord:
    return find.branch(engine, endpoint.project_id, endpoint.branch_id)


def start(engine: Engine, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
    """Start a compute. One that runs stays as it is, and no operation is made."""
    project = find.project(engine, project_id)
    with engine.operations.mutation(project.id) as mutation:
        endpoint = find.endpoint(engine, project_id, endpoint_id)
        branch = _branch_of(engine, endpoint)
        if endpoint.disabled:
            raise not_allowed(f"endpoint {endpoint.id} is disabled: set disabled to false first")
        if endpoint.active and engine.computes.compute(project, branch, endpoint).running:
            return _answer(engine, endpoint, mutation)
        if not endpoint.active:
            check_compute(engine, project, branch_id=branch.id, suspend_timeout_seconds=None)
        _run(engine, mutation, project, branch, endpoint)
        endpoint = replace(endpoint, active=True, started_at=now(), updated_at=now())
        with mutation.commit() as writer:
            writer.update(endpoint)
    return _answer(engine, endpoint, mutation)


def suspend(engine: Engine, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
    """Stop a compute; its address stays. One that sleeps stays as it is, and no operation is made."""
    project = find.project(engine, project_id)
    with engine.operations.mutation(project.id) as mutation:
        endpoint = find.endpoint(engine, project_id, endpoint_id)
        if not endpoint.active:
            return _answer(engine, endpoint, mutation)
        endpoint = _suspend(engine, mutation, project, endpoint)
    return _answer(engine, endpoint, mutation)


def _suspend(engine: Engine, mutation: Mutation, project: ProjectRecord, endpoint: EndpointRecord) -> EndpointRecord:
    branch = _branch_of(engine, endpoint)
    mutation.plan([Step("suspend_compute", branch.id, endpoint.id)])
    with mutation.step():
        engine.computes.stop_compute(project, branch, endpoint)
    endpoint = replace(endpoint, active=False, suspended_at=now(), updated_at=now())
    with mutation.commit() as writer:
        writer.update(endpoint)
    return endpoint


def restart(engine: Engine, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
    """Stop a compute and start it again."""
    project = find.project(engine, project_id)
    with engine.operations.mutation(project.id) as mutation:
        endpoint = find.endpoint(engine, project_id, endpoint_id)
        if endpoint.disabled:
            raise not_allowed(f"endpoint {endpoint.id} is disabled: set disabled to false first")
        branch = _branch_of(engine, endpoint)
        if not endpoint.active:
            check_compute(engine, project, branch_id=branch.id, suspend_timeout_seconds=None)
        mutation.plan([Step("suspend_compute", branch.id, endpoint.id), Step("start_compute", branch.id, endpoint.id)])
        with mutation.step():
            engine.computes.stop_compute(project, branch, endpoint)
        with mutation.step():
            engine.power.listen(endpoint)
            engine.computes.start_compute(project, branch, endpoint)
        endpoint = replace(endpoint, active=True, started_at=now(), updated_at=now())
        with mutation.commit() as writer:
            writer.update(endpoint)
    return _answer(engine, endpoint, mutation)


def update(
    engine: Engine, project_id: str, endpoint_id: str, request: wire.EndpointUpdateRequest
) -> wire.EndpointOperations:
    """Change an endpoint. `disabled` stops it."""
    wanted = request.endpoint
    project = find.project(engine, project_id)
    if wanted.branch_id:
        raise not_served("moving an endpoint to another branch", "make an endpoint on that branch")
    _check_settings(wanted.settings)
    name = _check_endpoint_name(wanted.name)
    limits.check_suspend_timeout(engine.plan, wanted.suspend_timeout_seconds)
    with engine.operations.mutation(project.id) as mutation:
        endpoint = find.endpoint(engine, project_id, endpoint_id)
        given = {
            field: getattr(wanted, field)
            for field in ("autoscaling_limit_min_cu", "autoscaling_limit_max_cu", "suspend_timeout_seconds", "disabled")
            if getattr(wanted, field) is not None
        }
        endpoint = replace(endpoint, name=name or endpoint.name, updated_at=now(), **given)
        _check_limits(endpoint)
        if endpoint.disabled and endpoint.active:
            endpoint = _suspend(engine, mutation, project, endpoint)
        else:
            with mutation.commit() as writer:
                writer.update(endpoint)
    return _answer(engine, endpoint, mutation)


def delete(engine: Engine, project_id: str, endpoint_id: str) -> wire.EndpointOperations | None:
    """Delete an endpoint; the branch keeps its data. None if there is no such endpoint."""
    project = find.project(engine, project_id)
    with engine.operations.mutation(project.id) as mutation:
        endpoint = engine.store.get(EndpointRecord, id=endpoint_id)
        if endpoint is None:
            return None
        if endpoint.project_id != project.id:
            raise not_found("endpoint", endpoint_id)
        branch = _branch_of(engine, endpoint)
        if branch.protected:
            raise not_allowed(
                f"endpoint {endpoint.id} serves the protected branch {branch.name!r}: set protected to false first"
            )
        was, active = endpoint, endpoint.active
        mutation.plan([Step("suspend_compute", branch.id, endpoint.id)])
        if active:
            mutation.undo(lambda: engine.computes.start_compute(project, branch, was))
        with mutation.step():
            engine.computes.stop_compute(project, branch, endpoint)
        endpoint = replace(endpoint, active=False, suspended_at=now(), updated_at=now())
        with mutation.commit() as writer:
            writer.delete(EndpointRecord, id=endpoint.id)
    return _answer(engine, endpoint, mutation)
