"""What this engine has none of: the empty list, or the 404 of a thing that is off, by which clients go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.local.refusals import Refusal, not_allowed
from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import Route

__all__ = ["ROUTES"]

_PROJECT = "/projects/{project_id}"
_BRANCH = f"{_PROJECT}/branches/{{branch_id}}"

_EMPTY_LISTS: dict[str, dict[str, Any]] = {
    "/consumption_history/projects": {"projects": []},
    "/consumption_history/v2/branches": {"branches": []},
    "/consumption_history/v2/projects": {"projects": []},
    f"{_BRANCH}/buckets": {"buckets": []},
    f"{_BRANCH}/functions": {"functions": []},
    f"{_PROJECT}/available_preload_libraries": {"libraries": []},
    f"{_PROJECT}/jwks": {"jwks": []},
    f"{_PROJECT}/permissions": {"project_permissions": []},
    f"{_PROJECT}/vpc_endpoints": {"endpoints": []},
}

# Two operations have a 404 of their own shape.
_NOT_ENABLED = {
    f"{_BRANCH}/ai_gateway": ("AI_GATEWAY_NOT_ENABLED", "ai_gateway_unavailable"),
    f"{_BRANCH}/storage": ("STORAGE_NOT_ENABLED", "region_unavailable"),
}

# An empty list of credentials would make Neon's CLI ask for a new one.
_OFF = {
    f"{_BRANCH}/auth": "Neon Auth",
    f"{_BRANCH}/credentials": "credentials",
    f"{_BRANCH}/data-api/{{database_name}}": "the Data API",
}


def _check_path(call: Call) -> None:
    if "branch_id" in call.path:
        find.branch(call.engine, call.project_id, call.branch_id)
    elif "project_id" in call.path:
        find.project(call.engine, call.project_id)


def _empty(body: dict[str, Any]) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        _check_path(call)
        return Answer(200, body)

    return answer


def _off(what: str) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        _check_path(call)
        raise Refusal(404, f"{what}: not enabled; the local engine does not have it")

    return answer


def _not_enabled(code: str, reason: str) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        try:
            _check_path(call)
        except Refusal as missing:
            return Answer(404, {"code": code, "message": missing.message, "reason": "branch_not_found"})
        return Answer(404, {"code": code, "message": "the local engine does not have it", "reason": reason})

    return answer


def _recover_project(call: Call) -> Answer:
    project = find.project(call.engine, call.project_id)  # a deleted one is gone for good: 404
    raise not_allowed(f"project {project.name!r} ({project.id}) is not deleted, so there is nothing to recover")


def _recover_branch(call: Call) -> Answer:
    branch = find.branch(call.engine, call.project_id, call.branch_id)
    raise not_allowed(f"branch {branch.name!r} ({branch.id}) is not deleted, so there is nothing to recover")


ROUTES: list[Route] = [
    *(reading(path, _empty(body)) for path, body in _EMPTY_LISTS.items()),
    *(reading(path, _not_enabled(*how)) for path, how in _NOT_ENABLED.items()),
    *(reading(path, _off(what)) for path, what in _OFF.items()),
    mutating("POST", f"{_PROJECT}/recover", _recover_project),
    mutating("POST", f"{_BRANCH}/recover", _recover_branch),
]
