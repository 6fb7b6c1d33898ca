"""Snapshots, and restoring them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.operations import Operation

__all__ = [
    "FinalizeRestoreRequest",
    "Snapshot",
    "SnapshotOperations",
    "SnapshotResponse",
    "SnapshotRestoreRequest",
    "SnapshotUpdate",
    "SnapshotUpdateRequest",
    "SnapshotsResponse",
]


class Snapshot(Wire):
    """A branch as it was at one moment, kept until it is deleted."""

    id: str
    name: str
    lsn: str | None = None
    timestamp: datetime | None = None
    source_branch_id: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    manual: bool | None = None
    full_size: int | None = None


class SnapshotResponse(Wire):
    """One snapshot."""

    snapshot: Snapshot


class SnapshotsResponse(Wire):
    """The snapshots of a project."""

    snapshots: list[Snapshot]


class SnapshotOperations(SnapshotResponse):
    """A snapshot, and the operations that make it."""

    operations: list[Operation] = Field(default_factory=list[Operation])


class SnapshotUpdate(Request):
    """What of a snapshot can change."""

    name: str | None = None
    expires_at: datetime | None = None


class SnapshotUpdateRequest(Request):
    """`PATCH /projects/{project_id}/snapshots/{snapshot_id}`."""

    snapshot: SnapshotUpdate


class SnapshotRestoreRequest(Request):
    """`POST .../snapshots/{snapshot_id}/restore`. The target is the branch that it is of, unless one is named."""

    name: str | None = None
    target_branch_id: str | None = None
    finalize_restore: bool | None = None


class FinalizeRestoreRequest(Request):
    """`POST .../finalize_restore`. `name` is what the branch that is replaced is called from then on."""

    name: str | None = None
