"""Connection URIs, and the operations that tell what became of a mutation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from tenantry.local.clusters.poolers import NO_POOLER
from tenantry.local.refusals import not_allowed, not_found
from tenantry.local.services import find, views
from tenantry.local.services.paging import encode_cursor, read_cursor
from tenantry.local.state.records import OperationRecord
from tenantry.neon import wire

if TYPE_CHECKING:
    from tenantry.local.engine import Engine

__all__ = ["connection_uri", "get_operation", "list_operations"]


def connection_uri(
    engine: Engine,
    project_id: str,
    *,
    database_name: str,
    role_name: str,
    branch_id: str | None,
    endpoint_id: str | None,
    pooled: bool,
) -> wire.ConnectionUriResponse:
    """Return the URI of a database for a role, on the default branch's read_write endpoint if none is named."""
    if endpoint_id is not None:
        endpoint = find.endpoint(engine, project_id, endpoint_id)
        if branch_id is not None and endpoint.branch_id != branch_id:
            find.branch(engine, project_id, branch_id)
            raise not_allowed(f"endpoint {endpoint_id!r} serves branch {endpoint.branch_id!r}, not {branch_id!r}")
        branch = find.branch(engine, project_id, endpoint.branch_id)
    else:
        branch = (
            find.default_branch(engine, project_id) if branch_id is None else find.branch(engine, project_id, branch_id)
        )
        found = engine.computes.endpoint_of(branch)
        if found is None:
            raise not_found("read-write endpoint of branch", branch.id)
        endpoint = found
    database = find.database(engine, branch, database_name)
    role = find.role(engine, branch, role_name)
    if role.password is None:
        raise not_allowed(f"role {role_name!r} cannot log in: name another in role_name")
    tls = engine.computes.binaries(find.project(engine, project_id).pg_version).tls
    uri = views.uri(
        host=views.address(endpoint, pooled=pooled and engine.computes.pooler is not None),
        database=database.name,
        role=role.name,
        password=role.password,
        tls=tls,
        pooled=pooled,
    )
    note: dict[str, Any] = {"note": NO_POOLER} if pooled and engine.computes.pooler is None else {}
    return wire.ConnectionUriResponse(uri=SecretStr(uri), **note)


def list_operations(engine: Engine, project_id: str, *, cursor: str | None, limit: int) -> wire.OperationsResponse:
    """Return a page of a project's operations, newest first."""
    find.project(engine, project_id)
    before = None if cursor is None else read_cursor(cursor, "operations", (int,))[0]
    found = engine.store.operations(project_id, before=before, limit=limit)
    last = found[-1].number if found else None
    return wire.OperationsResponse(
        operations=[views.operation(operation) for operation in found],
        pagination=None if last is None else wire.CursorPagination(cursor=encode_cursor("operations", [last])),
    )


def get_operation(engine: Engine, project_id: str, operation_id: str) -> wire.OperationResponse:
    """Return an operation."""
    find.project(engine, project_id)
    found = engine.store.get(OperationRecord, id=operation_id, project_id=project_id)
    if found is None:
        raise not_found("operation", operation_id)
    return wire.OperationResponse(operation=views.operation(found))
