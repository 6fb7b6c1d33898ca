"""`/projects/{project_id}/branches/{branch_id}/roles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import roles
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _list(call: Call) -> Answer:
    return Answer(200, roles.list_all(call.engine, call.project_id, call.branch_id))


def _create(call: Call) -> Answer:
    return Answer(201, roles.create(call.engine, call.project_id, call.branch_id, call.body(wire.RoleCreateRequest)))


def _get(call: Call) -> Answer:
    return Answer(200, roles.get(call.engine, call.project_id, call.branch_id, call.name))


def _delete(call: Call) -> Answer:
    return Answer.gone_or(roles.delete(call.engine, call.project_id, call.branch_id, call.name))


def _reveal_password(call: Call) -> Answer:
    return Answer(200, roles.reveal_password(call.engine, call.project_id, call.branch_id, call.name))


def _reset_password(call: Call) -> Answer:
    return Answer(200, roles.reset_password(call.engine, call.project_id, call.branch_id, call.name))


_ROLES = "/projects/{project_id}/branches/{branch_id}/roles"
# A role's name may hold a slash, so the longer paths come first.
_ROLE = f"{_ROLES}/{{name:path}}"

ROUTES: list[Route] = [
    reading(_ROLES, _list),
    mutating("POST", _ROLES, _create),
    reading(f"{_ROLE}/reveal_password", _reveal_password),
    mutating("POST", f"{_ROLE}/reveal_password", _reveal_password),  # PyPI's neon-api asks so
    mutating("POST", f"{_ROLE}/reset_password", _reset_password),
    reading(_ROLE, _get),
    mutating("DELETE", _ROLE, _delete),
]
