"""`/projects/{project_id}/branches/{branch_id}/schema` and `compare_schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating
from tenantry.local.services import schemas

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _get(call: Call) -> Answer:
    schemas.check_moment(lsn=call.text("lsn"), timestamp=call.text("timestamp"))
    return Answer(
        200,
        schemas.get(
            call.engine,
            call.project_id,
            call.branch_id,
            database=call.needed("db_name"),
            as_json=call.choice("format", {"sql": False, "json": True}, default="sql"),
        ),
    )


def _compare(call: Call) -> Answer:
    schemas.check_moment(lsn=call.text("lsn"), timestamp=call.text("timestamp"))
    schemas.check_moment(lsn=call.text("base_lsn"), timestamp=call.text("base_timestamp"), prefix="base_")
    return Answer(
        200,
        schemas.compare(
            call.engine,
            call.project_id,
            call.branch_id,
            base_branch_id=call.text("base_branch_id"),
            database=call.needed("db_name"),
        ),
    )


_BRANCH = "/projects/{project_id}/branches/{branch_id}"

# A compute that sleeps is woken for them, which takes a mutation's thread and time.
ROUTES: list[Route] = [
    mutating("GET", f"{_BRANCH}/schema", _get),
    mutating("GET", f"{_BRANCH}/compare_schema", _compare),
]
