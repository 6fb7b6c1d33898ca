"""What of a branch's past is kept, and the room that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.local.history.files import bytes_below
from tenantry.local.services import find
from tenantry.local.services.forks import window_start
from tenantry.local.state.records import BaseRecord, LineageRecord, now

if TYPE_CHECKING:
    from tenantry.local.engine import Engine

__all__ = ["get"]


def get(engine: Engine, project_id: str, branch_id: str) -> dict[str, Any]:
    """Return from when on a branch can be had, and the bytes on disk of its data, its WAL and its bases.

    `data_bytes` counts blocks that are shared with other branches by reflink in full.
    """
    project = find.project(engine, project_id)
    branch = find.branch(engine, project_id, branch_id)
    vault = engine.computes.vault
    lineages = engine.store.select(LineageRecord, branch_id=branch.id)
    bases = [base for one in lineages for base in engine.store.select(BaseRecord, directory=one.directory)]
    first = min((one.began_at for one in lineages), default=branch.created_at)
    wal = sum(bytes_below(vault.wal_of(one)) for one in lineages)
    running = bytes_below(engine.computes.folder / branch.directory / "pg_wal")
    return {
        "history": {
            "branch_id": branch.id,
            "begins_at": max(first, window_start(project, now())),
            "history_retention_seconds": project.history_retention_seconds,
            "data_bytes": bytes_below(engine.computes.folder / branch.directory) - running,
            "wal_bytes": wal,
            "bases": len(bases),
            "base_bytes": sum(bytes_below(vault.folder / base.id) for base in bases),
        }
    }
