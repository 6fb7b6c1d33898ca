"""Operations, and the cursor that pages of them end with."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from tenantry.neon.wire.base import Wire

__all__ = [
    "CursorPagination",
    "Operation",
    "OperationResponse",
    "OperationsOnly",
    "OperationsResponse",
]


class Operation(Wire):
    """Work that a mutation started.

    `status`: scheduling, running, finished, failed, error, cancelling, cancelled, skipped.
    """

    id: str
    project_id: str
    branch_id: str | None = None
    endpoint_id: str | None = None
    action: str
    status: str
    error: str | None = None
    failures_count: int = 0
    created_at: datetime
    updated_at: datetime
    total_duration_ms: int = 0


class CursorPagination(Wire):
    """An opaque cursor. Always there on a page that is not empty, so the reader stops at an empty page."""

    cursor: str


class OperationResponse(Wire):
    """One operation."""

    operation: Operation


class OperationsResponse(Wire):
    """A page of operations, newest first."""

    operations: list[Operation]
    pagination: CursorPagination | None = None


class OperationsOnly(Wire):
    """The operations that delete something."""

    operations: list[Operation] = Field(default_factory=list[Operation])
