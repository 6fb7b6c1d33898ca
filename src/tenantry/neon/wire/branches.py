"""Branches, their annotations and their schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.endpoints import EndpointOptions
from tenantry.neon.wire.operations import Operation

__all__ = [
    "Annotation",
    "Branch",
    "BranchCountResponse",
    "BranchCreate",
    "BranchCreateRequest",
    "BranchOperations",
    "BranchResponse",
    "BranchRestoreRequest",
    "BranchSchema",
    "BranchSchemaCompareResponse",
    "BranchSchemaResponse",
    "BranchUpdate",
    "BranchUpdateRequest",
    "BranchesPagination",
    "BranchesResponse",
]


class Branch(Wire):
    """A copy-on-write fork of the databases of its parent at one moment.

    `current_state`: init, resetting, ready, archived.
    """

    id: str
    project_id: str
    parent_id: str | None = None
    parent_lsn: str | None = None
    parent_timestamp: datetime | None = None
    name: str
    current_state: str
    pending_state: str | None = None
    state_changed_at: datetime
    creation_source: str
    created_at: datetime
    updated_at: datetime
    last_reset_at: datetime | None = None
    expires_at: datetime | None = None
    ttl_interval_seconds: int | None = None
    restore_status: str | None = None
    restored_from: str | None = None
    restored_as: str | None = None
    default: bool
    primary: bool = False
    protected: bool
    init_source: str | None = None
    logical_size: int | None = None
    cpu_used_sec: int = 0
    compute_time_seconds: int = 0
    active_time_seconds: int = 0
    written_data_bytes: int = 0
    data_transfer_bytes: int = 0


class Annotation(Wire):
    """Key and value pairs that a caller hung on a branch."""

    object: dict[str, Any] = Field(default_factory=dict[str, Any])
    value: dict[str, Any] = Field(default_factory=dict[str, Any])
    created_at: datetime | None = None
    updated_at: datetime | None = None


class BranchCreate(Request):
    """A branch to make. Without `parent_id` it is forked from the default branch."""

    name: str | None = None
    parent_id: str | None = None
    parent_lsn: str | None = None
    parent_timestamp: datetime | None = None
    protected: bool | None = None
    init_source: str | None = None
    archived: bool | None = None
    expires_at: datetime | None = None


class BranchCreateRequest(Request):
    """`POST /projects/{project_id}/branches`. No endpoint is made unless one is asked for."""

    branch: BranchCreate | None = None
    endpoints: list[EndpointOptions] | None = None
    annotation_value: dict[str, str] | None = None


class BranchUpdate(Request):
    """What of a branch can change."""

    name: str | None = None
    protected: bool | None = None
    expires_at: datetime | None = None


class BranchUpdateRequest(Request):
    """`PATCH /projects/{project_id}/branches/{branch_id}`."""

    branch: BranchUpdate


class BranchRestoreRequest(Request):
    """`POST .../restore`. With the parent's id as the source this is what Neon's console calls reset."""

    source_branch_id: str
    source_lsn: str | None = None
    source_timestamp: datetime | None = None
    preserve_under_name: str | None = None


class BranchResponse(Wire):
    """One branch with its annotation."""

    branch: Branch
    annotation: Annotation | None = None


class BranchesPagination(Wire):
    """`next` is absent on the last page."""

    next: str | None = None
    sort_by: str = "updated_at"
    sort_order: str = "DESC"


class BranchesResponse(Wire):
    """A page of branches."""

    branches: list[Branch]
    annotations: dict[str, Annotation] = Field(default_factory=dict[str, Annotation])
    pagination: BranchesPagination | None = None


class BranchCountResponse(Wire):
    """How many branches a project has."""

    count: int


class BranchOperations(Wire):
    """A branch and the operations that a change of it started."""

    branch: Branch
    operations: list[Operation] = Field(default_factory=list[Operation])


class BranchSchema(Wire):
    """The tables of a database, each with its columns and constraints."""

    tables: list[dict[str, Any]]


class BranchSchemaResponse(Wire):
    """`GET .../schema`: one of the two, as `format` says. The name `json` is taken, by Pydantic."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    sql: str | None = None
    json_schema: BranchSchema | None = Field(default=None, alias="json")


class BranchSchemaCompareResponse(Wire):
    """`GET .../compare_schema`: a unified diff, empty where there is no difference."""

    diff: str
