"""`/projects/{project_id}/branches/{branch_id}/schema` and `compare_schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating
from tenantry.local.services import schemas

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _when(call: Call, prefix: str = "") -> schemas.When:
    return schemas.When(call.time(f"{prefix}timestamp"), call.text(f"{prefix}lsn"), prefix)


def _get(call: Call) -> Answer:
    return Answer(
        200,
        schemas.get(
            call.engine,
            call.project_id,
            call.branch_id,
            database=call.needed("db_name"),
            as_json=call.choice("format", {"sql": False, "json": True}, default="sql"),
            when=_when(call),
        ),
    )


def _compare(call: Call) -> Answer:
    return Answer(
        200,
        schemas.compare(
            call.engine,
            call.project_id,
            call.branch_id,
            base_branch_id=call.text("base_branch_id"),
            database=call.needed("db_name"),
            when=_when(call),
            base_when=_when(call, "base_"),
        ),
    )


_BRANCH = "/projects/{project_id}/branches/{branch_id}"

# A compute that sleeps is woken for them, which takes a mutation's thread and time.
ROUTES: list[Route] = [
    mutating("GET", f"{_BRANCH}/schema", _get),
    mutating("GET", f"{_BRANCH}/compare_schema", _compare),
]
