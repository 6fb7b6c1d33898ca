"""Finding what a path names, or a 404 that names it; and showing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.refusals import not_found
from tenantry.local.services import views
from tenantry.local.state.records import BranchRecord, DatabaseRecord, EndpointRecord, ProjectRecord, RoleRecord

if TYPE_CHECKING:
    from tenantry.local.engine import Engine
    from tenantry.neon import wire

__all__ = ["branch", "branches", "database", "default_branch", "endpoint", "project", "role", "show_endpoint"]


def project(engine: Engine, project_id: str) -> ProjectRecord:
    """Return the project."""
    found = engine.store.get(ProjectRecord, id=project_id)
    if found is None:
        raise not_found("project", project_id)
    return found


def branches(engine: Engine, project_id: str) -> list[BranchRecord]:
    """Return the branches of a project that is there."""
    project(engine, project_id)
    return engine.store.select(BranchRecord, project_id=project_id)


def branch(engine: Engine, project_id: str, branch_id: str) -> BranchRecord:
    """Return the branch, if it is one of the project."""
    project(engine, project_id)
    found = engine.store.get(BranchRecord, id=branch_id, project_id=project_id)
    if found is None:
        raise not_found("branch", branch_id)
    return found


def default_branch(engine: Engine, project_id: str) -> BranchRecord:
    """Return the project's default branch."""
    project(engine, project_id)
    found = engine.store.get(BranchRecord, project_id=project_id, is_default=True)
    assert found is not None, "a project has a default branch"
    return found


def endpoint(engine: Engine, project_id: str, endpoint_id: str) -> EndpointRecord:
    """Return the endpoint, if it is one of the project."""
    project(engine, project_id)
    found = engine.store.get(EndpointRecord, id=endpoint_id, project_id=project_id)
    if found is None:
        raise not_found("endpoint", endpoint_id)
    return found


def role(engine: Engine, branch: BranchRecord, name: str) -> RoleRecord:
    """Return the role of the branch, if the API made it."""
    found = engine.store.get(RoleRecord, branch_id=branch.id, name=name)
    if found is None:
        raise not_found("role", name)
    return found


def database(engine: Engine, branch: BranchRecord, name: str) -> DatabaseRecord:
    """Return the database of the branch, if the API made it."""
    found = engine.store.get(DatabaseRecord, branch_id=branch.id, name=name)
    if found is None:
        raise not_found("database", name)
    return found


def show_endpoint(engine: Engine, record: EndpointRecord) -> wire.Endpoint:
    """Show an endpoint as it is now: a postmaster that died is not active, whatever was wanted."""
    branch = engine.store.get(BranchRecord, id=record.branch_id)
    running = record.active and branch is not None and engine.computes.serves_endpoint(branch, record)
    return views.endpoint(
        record,
        project(engine, record.project_id),
        running=running,
        sockets=engine.computes.sockets,
        pooled=engine.computes.pooler is not None,
    )
