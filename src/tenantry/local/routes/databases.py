"""`/projects/{project_id}/branches/{branch_id}/databases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import databases
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _list(call: Call) -> Answer:
    return Answer(200, databases.list_all(call.engine, call.project_id, call.branch_id))


def _create(call: Call) -> Answer:
    request = call.body(wire.DatabaseCreateRequest)
    return Answer(201, databases.create(call.engine, call.project_id, call.branch_id, request))


def _get(call: Call) -> Answer:
    return Answer(200, databases.get(call.engine, call.project_id, call.branch_id, call.name))


def _update(call: Call) -> Answer:
    request = call.body(wire.DatabaseUpdateRequest)
    return Answer(200, databases.update(call.engine, call.project_id, call.branch_id, call.name, request))


def _delete(call: Call) -> Answer:
    return Answer.gone_or(databases.delete(call.engine, call.project_id, call.branch_id, call.name))


_DATABASES = "/projects/{project_id}/branches/{branch_id}/databases"
_DATABASE = f"{_DATABASES}/{{name:path}}"

ROUTES: list[Route] = [
    reading(_DATABASES, _list),
    mutating("POST", _DATABASES, _create),
    reading(_DATABASE, _get),
    mutating("PATCH", _DATABASE, _update),
    mutating("DELETE", _DATABASE, _delete),
]
