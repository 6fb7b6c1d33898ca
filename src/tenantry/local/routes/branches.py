"""`/projects/{project_id}/branches`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import branches, histories, restores
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]

DEFAULT_PAGE = 10_000
"""Neon's CLI looks for the default branch on the first page only."""

_SORT_KEYS: dict[str, branches.SortKey] = {"name": "name", "created_at": "created_at", "updated_at": "updated_at"}


def _list(call: Call) -> Answer:
    return Answer(
        200,
        branches.list_page(
            call.engine,
            call.project_id,
            search=call.text("search"),
            sort_by=call.choice("sort_by", _SORT_KEYS, default="updated_at"),
            descending=call.choice("sort_order", {"asc": False, "desc": True}, default="desc"),
            cursor=call.text("cursor"),
            limit=call.number("limit", default=DEFAULT_PAGE, highest=DEFAULT_PAGE),
        ),
    )


def _count(call: Call) -> Answer:
    return Answer(200, branches.count(call.engine, call.project_id, search=call.text("search")))


def _create(call: Call) -> Answer:
    request = call.body(wire.BranchCreateRequest, optional=True)
    return Answer(201, branches.create(call.engine, call.project_id, request))


def _get(call: Call) -> Answer:
    return Answer(200, branches.get(call.engine, call.project_id, call.branch_id))


def _update(call: Call) -> Answer:
    request = call.body(wire.BranchUpdateRequest)
    return Answer(200, branches.update(call.engine, call.project_id, call.branch_id, request))


def _delete(call: Call) -> Answer:
    call.flag("hard_delete")  # every delete is one here: there is nothing to recover from
    return Answer.gone_or(branches.delete(call.engine, call.project_id, call.branch_id))


def _restore(call: Call) -> Answer:
    request = call.body(wire.BranchRestoreRequest)
    return Answer(200, restores.restore(call.engine, call.project_id, call.branch_id, request))


def _history(call: Call) -> Answer:
    return Answer(200, histories.get(call.engine, call.project_id, call.branch_id))


def _set_as_default(call: Call) -> Answer:
    return Answer(200, branches.set_as_default(call.engine, call.project_id, call.branch_id))


_BRANCHES = "/projects/{project_id}/branches"
_BRANCH = f"{_BRANCHES}/{{branch_id}}"

ROUTES: list[Route] = [
    reading(_BRANCHES, _list),
    mutating("POST", _BRANCHES, _create),
    reading(f"{_BRANCHES}/count", _count),
    reading(_BRANCH, _get),
    mutating("PATCH", _BRANCH, _update),
    mutating("DELETE", _BRANCH, _delete),
    mutating("POST", f"{_BRANCH}/restore", _restore),
    mutating("POST", f"{_BRANCH}/set_as_default", _set_as_default),
    reading(f"{_BRANCH}/history", _history),  # the engine's own: Neon has no such route
    mutating("POST", f"{_BRANCH}/set_as_primary", _set_as_default),  # its former name, which PyPI's neon-api uses
]
