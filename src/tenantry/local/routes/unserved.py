"""What Neon serves and this engine does not yet: an answer that says so, since a wrong one would be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.refusals import not_served
from tenantry.local.routes.calling import Answer, Call, mutating, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import Route

__all__ = ["ROUTES"]

_PROJECT = "/projects/{project_id}"
_BRANCH = f"{_PROJECT}/branches/{{branch_id}}"

_PATHS = [
    ("GET", f"{_BRANCH}/schema", "the schema of a branch"),
    ("GET", f"{_BRANCH}/compare_schema", "schema diffs"),
    ("POST", f"{_BRANCH}/snapshot", "snapshots"),
    ("POST", f"{_BRANCH}/finalize_restore", "snapshots"),
    ("GET", f"{_BRANCH}/backup_schedule", "snapshots"),
    ("PUT", f"{_BRANCH}/backup_schedule", "snapshots"),
    ("POST", f"{_BRANCH}/recover", "the recovery of deleted branches"),
    ("POST", f"{_BRANCH}/anonymize", "anonymized branches"),
    ("POST", f"{_PROJECT}/branch_anonymized", "anonymized branches"),
    ("POST", f"{_PROJECT}/recover", "the recovery of deleted projects"),
    ("GET", f"{_PROJECT}/snapshots", "snapshots"),
    ("GET", f"{_PROJECT}/snapshots/{{snapshot_id}}", "snapshots"),
    ("PATCH", f"{_PROJECT}/snapshots/{{snapshot_id}}", "snapshots"),
    ("DELETE", f"{_PROJECT}/snapshots/{{snapshot_id}}", "snapshots"),
    ("POST", f"{_PROJECT}/snapshots/{{snapshot_id}}/restore", "snapshots"),
]


def _refusing(what: str) -> Callable[[Call], Answer]:
    def refuse(_call: Call) -> Answer:
        raise not_served(what, "use a project on Neon for it")

    return refuse


ROUTES: list[Route] = [
    reading(path, _refusing(what)) if method == "GET" else mutating(method, path, _refusing(what))
    for method, path, what in _PATHS
]
