"""`/projects/{project_id}/endpoints`, and those of one branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import endpoints
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _list(call: Call) -> Answer:
    return Answer(200, endpoints.list_all(call.engine, call.project_id))


def _list_of_branch(call: Call) -> Answer:
    return Answer(200, endpoints.list_of_branch(call.engine, call.project_id, call.branch_id))


def _create(call: Call) -> Answer:
    return Answer(201, endpoints.create(call.engine, call.project_id, call.body(wire.EndpointCreateRequest)))


def _get(call: Call) -> Answer:
    return Answer(200, endpoints.get(call.engine, call.project_id, call.endpoint_id))


def _update(call: Call) -> Answer:
    request = call.body(wire.EndpointUpdateRequest)
    return Answer(200, endpoints.update(call.engine, call.project_id, call.endpoint_id, request))


def _delete(call: Call) -> Answer:
    return Answer.gone_or(endpoints.delete(call.engine, call.project_id, call.endpoint_id))


def _start(call: Call) -> Answer:
    return Answer(200, endpoints.start(call.engine, call.project_id, call.endpoint_id))


def _suspend(call: Call) -> Answer:
    return Answer(200, endpoints.suspend(call.engine, call.project_id, call.endpoint_id))


def _restart(call: Call) -> Answer:
    return Answer(200, endpoints.restart(call.engine, call.project_id, call.endpoint_id))


_ENDPOINTS = "/projects/{project_id}/endpoints"
_ENDPOINT = f"{_ENDPOINTS}/{{endpoint_id}}"

ROUTES: list[Route] = [
    reading(_ENDPOINTS, _list),
    reading("/projects/{project_id}/branches/{branch_id}/endpoints", _list_of_branch),
    mutating("POST", _ENDPOINTS, _create),
    reading(_ENDPOINT, _get),
    mutating("PATCH", _ENDPOINT, _update),
    mutating("DELETE", _ENDPOINT, _delete),
    mutating("POST", f"{_ENDPOINT}/start", _start),
    mutating("POST", f"{_ENDPOINT}/suspend", _suspend),
    mutating("POST", f"{_ENDPOINT}/restart", _restart),
]
