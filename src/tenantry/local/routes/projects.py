"""`/projects`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import projects
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _list(call: Call) -> Answer:
    return Answer(
        200,
        projects.list_page(
            call.engine,
            cursor=call.text("cursor"),
            limit=call.number("limit", default=10, highest=400),
            search=call.text("search"),
            org_id=call.text("org_id"),
            recoverable=call.flag("recoverable"),
        ),
    )


def _list_shared(_call: Call) -> Answer:
    return Answer(200, wire.ProjectsResponse(projects=[]))


def _create(call: Call) -> Answer:
    return Answer(201, projects.create(call.engine, call.body(wire.ProjectCreateRequest)))


def _get(call: Call) -> Answer:
    return Answer(200, projects.get(call.engine, call.project_id))


def _update(call: Call) -> Answer:
    return Answer(200, projects.update(call.engine, call.project_id, call.body(wire.ProjectUpdateRequest)))


def _delete(call: Call) -> Answer:
    return Answer(200, projects.delete(call.engine, call.project_id))


ROUTES: list[Route] = [
    reading("/projects", _list),
    mutating("POST", "/projects", _create),
    reading("/projects/shared", _list_shared),
    reading("/projects/{project_id}", _get),
    mutating("PATCH", "/projects/{project_id}", _update),
    mutating("DELETE", "/projects/{project_id}", _delete),
]
