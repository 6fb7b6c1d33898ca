"""What the engine remembers: one frozen value a row of `schema.sql`, field for column."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from tenantry.core.ids import BranchId, EndpointId, OperationId, ProjectId

__all__ = [
    "BaseRecord",
    "BranchRecord",
    "DatabaseRecord",
    "EndpointRecord",
    "LineageRecord",
    "OperationRecord",
    "ProjectRecord",
    "Record",
    "RoleRecord",
    "SnapshotRecord",
    "now",
]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRecord:
    """A project. `superuser_password` opens every cluster of it, since a clone has its parent's roles."""

    id: ProjectId
    name: str
    pg_version: int
    region_id: str
    history_retention_seconds: int
    settings: Json
    default_endpoint_settings: Json
    superuser_password: str = field(repr=False)
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRecord:
    """A branch. `directory` names its data directory: what no branch names is garbage, so a swap is one commit."""

    id: BranchId
    project_id: ProjectId
    name: str
    directory: str
    parent_id: BranchId | None
    parent_lsn: str | None
    parent_timestamp: datetime | None
    is_default: bool
    protected: bool
    expires_at: datetime | None
    ttl_interval_seconds: int | None
    init_source: str
    annotation: Json
    clone_method: str | None
    logical_size: int | None
    restored_from: BranchId | None
    restored_as: BranchId | None
    last_reset_at: datetime | None
    state_changed_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    """A compute's address, kept for life. `active` is what is wanted: an engine that opens starts it again."""

    id: EndpointId
    project_id: ProjectId
    branch_id: BranchId
    name: str | None
    type: str
    port: int
    active: bool
    disabled: bool
    autoscaling_limit_min_cu: float
    autoscaling_limit_max_cu: float
    suspend_timeout_seconds: int
    settings: Json
    started_at: datetime | None
    suspended_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """A role that the API made. Its password is None if it cannot log in."""

    branch_id: BranchId
    name: str
    password: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRecord:
    """A database that the API made. `id` is None until the store gives it a number."""

    id: int | None = None
    branch_id: BranchId
    name: str
    owner_name: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """An operation. `number` orders them; None until the store gives it."""

    number: int | None = None
    id: OperationId
    project_id: ProjectId
    branch_id: BranchId | None
    endpoint_id: EndpointId | None
    action: str
    status: Literal["scheduling", "running", "finished", "failed", "cancelled"]
    error: str | None
    failures_count: int
    total_duration_ms: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRecord:
    """What a data directory holds of the past: its own WAL from `wal_from` on, and before that its `ancestor`'s.

    Moments from `began_at` or `began_lsn` on are its branch's. One that ended belongs to a branch that was reset.
    """

    directory: str
    project_id: ProjectId
    branch_id: BranchId
    ancestor: str | None
    timeline: int
    wal_from: str
    began_at: datetime
    began_lsn: str
    ended_at: datetime | None = None
    ended_lsn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRecord:
    """A copy of a data directory from which WAL is replayed. It stands for every moment from `end_lsn` on."""

    id: str
    directory: str
    timeline: int
    start_lsn: str
    end_lsn: str
    taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot. `roles` are the passwords that its branch's roles had, by name; null for one that cannot log in."""

    id: str
    project_id: ProjectId
    name: str
    source_branch_id: BranchId | None
    lsn: str | None
    timestamp: datetime | None
    expires_at: datetime | None
    roles: Json = field(repr=False)
    full_size: int
    timeline: int
    created_at: datetime


Record = (
    ProjectRecord
    | BranchRecord
    | EndpointRecord
    | RoleRecord
    | DatabaseRecord
    | OperationRecord
    | LineageRecord
    | BaseRecord
    | SnapshotRecord
)


def now() -> datetime:
    """The time in UTC, as records carry it."""
    return datetime.now(UTC)
