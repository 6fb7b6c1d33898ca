"""`/projects/{project_id}/snapshots`, and what of snapshots stands below a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.services import snapshots
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]


def _create(call: Call) -> Answer:
    return Answer(
        200,
        snapshots.create(
            call.engine,
            call.project_id,
            call.branch_id,
            name=call.text("name"),
            timestamp=call.time("timestamp"),
            lsn=call.text("lsn"),
            expires_at=call.time("expires_at"),
        ),
    )


def _list(call: Call) -> Answer:
    return Answer(200, snapshots.list_all(call.engine, call.project_id))


def _get(call: Call) -> Answer:
    return Answer(200, snapshots.get(call.engine, call.project_id, call.path["snapshot_id"]))


def _update(call: Call) -> Answer:
    request = call.body(wire.SnapshotUpdateRequest)
    return Answer(200, snapshots.update(call.engine, call.project_id, call.path["snapshot_id"], request))


def _delete(call: Call) -> Answer:
    return Answer(202, snapshots.delete(call.engine, call.project_id, call.path["snapshot_id"]))


def _restore(call: Call) -> Answer:
    request = call.body(wire.SnapshotRestoreRequest, optional=True)
    return Answer(200, snapshots.restore(call.engine, call.project_id, call.path["snapshot_id"], request))


def _finalize(call: Call) -> Answer:
    request = call.body(wire.FinalizeRestoreRequest, optional=True)
    return Answer(200, snapshots.finalize(call.engine, call.project_id, call.branch_id, request))


_BRANCH = "/projects/{project_id}/branches/{branch_id}"
_SNAPSHOTS = "/projects/{project_id}/snapshots"
_SNAPSHOT = f"{_SNAPSHOTS}/{{snapshot_id}}"

ROUTES: list[Route] = [
    mutating("POST", f"{_BRANCH}/snapshot", _create),
    mutating("POST", f"{_BRANCH}/finalize_restore", _finalize),
    reading(_SNAPSHOTS, _list),
    reading(_SNAPSHOT, _get),
    mutating("PATCH", _SNAPSHOT, _update),
    mutating("DELETE", _SNAPSHOT, _delete),
    mutating("POST", f"{_SNAPSHOT}/restore", _restore),
]
