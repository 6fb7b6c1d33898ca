"""`/projects/{project_id}/operations` and `/projects/{project_id}/connection_uri`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, reading
from tenantry.local.services import connections

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]

LARGEST_PAGE = 1000


def _list(call: Call) -> Answer:
    return Answer(
        200,
        connections.list_operations(
            call.engine,
            call.project_id,
            cursor=call.text("cursor"),
            limit=call.number("limit", default=LARGEST_PAGE, highest=LARGEST_PAGE),
        ),
    )


def _get(call: Call) -> Answer:
    return Answer(200, connections.get_operation(call.engine, call.project_id, call.path["operation_id"]))


def _connection_uri(call: Call) -> Answer:
    return Answer(
        200,
        connections.connection_uri(
            call.engine,
            call.project_id,
            database_name=call.needed("database_name"),
            role_name=call.needed("role_name"),
            branch_id=call.text("branch_id"),
            endpoint_id=call.text("endpoint_id"),
            pooled=call.flag("pooled"),
        ),
    )


ROUTES: list[Route] = [
    reading("/projects/{project_id}/operations", _list),
    reading("/projects/{project_id}/operations/{operation_id}", _get),
    reading("/projects/{project_id}/connection_uri", _connection_uri),
]
