"""Neon's shapes on the wire, shared by the client, which reads them, and the local engine, which writes them.

Field names, defaults and what is required follow Neon's published OpenAPI (`https://neon.com/api_spec/release/v2.json`).
Readers are tolerant: unknown fields are kept and unknown words of an enumeration are plain strings, since Neon adds to
both without a new version. Times are RFC 3339 in UTC with second precision or better.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = [
    "AllowedIps",
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
    "ConnectionParameters",
    "ConnectionUri",
    "ConnectionUriResponse",
    "CreatedBranch",
    "CreatedProject",
    "CurrentUser",
    "CursorPagination",
    "Database",
    "DatabaseCreate",
    "DatabaseCreateRequest",
    "DatabaseOperations",
    "DatabaseResponse",
    "DatabaseUpdate",
    "DatabaseUpdateRequest",
    "DatabasesResponse",
    "DefaultEndpointSettings",
    "Endpoint",
    "EndpointCreate",
    "EndpointCreateRequest",
    "EndpointOperations",
    "EndpointOptions",
    "EndpointResponse",
    "EndpointUpdate",
    "EndpointUpdateRequest",
    "EndpointsResponse",
    "ErrorBody",
    "FinalizeRestoreRequest",
    "MaintenanceWindow",
    "Operation",
    "OperationResponse",
    "OperationsOnly",
    "OperationsResponse",
    "Organization",
    "OrganizationsResponse",
    "PreloadLibraries",
    "Project",
    "ProjectBranchOptions",
    "ProjectCreate",
    "ProjectCreateRequest",
    "ProjectQuota",
    "ProjectResponse",
    "ProjectSettings",
    "ProjectUpdate",
    "ProjectUpdateRequest",
    "ProjectsResponse",
    "Region",
    "RegionsResponse",
    "Role",
    "RoleCreate",
    "RoleCreateRequest",
    "RoleOperations",
    "RolePasswordResponse",
    "RoleResponse",
    "RolesResponse",
    "Snapshot",
    "SnapshotOperations",
    "SnapshotResponse",
    "SnapshotRestoreRequest",
    "SnapshotUpdate",
    "SnapshotUpdateRequest",
    "SnapshotsResponse",
]


class _Wire(BaseModel):
    """A body that is read: unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Request(BaseModel):
    """A body that is sent. Send it with `model_dump(mode="json", exclude_unset=True)`."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ErrorBody(_Wire):
    """What Neon answers with a status of 400 or more. `code` is often empty."""

    request_id: str | None = None
    code: str = ""
    message: str = ""


# --- operations -------------------------------------------------------------------------------------------------


class Operation(_Wire):
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


class CursorPagination(_Wire):
    """An opaque cursor. Always there on a page that is not empty, so the reader stops at an empty page."""

    cursor: str


class OperationResponse(_Wire):
    """One operation."""

    operation: Operation


class OperationsResponse(_Wire):
    """A page of operations, newest first."""

    operations: list[Operation]
    pagination: CursorPagination | None = None


# --- projects ---------------------------------------------------------------------------------------------------


class Project(_Wire):
    """A project: region, Postgres version, quota and history window belong here and to no branch."""

    id: str
    name: str
    platform_id: str
    region_id: str
    pg_version: int
    proxy_host: str
    owner_id: str
    store_passwords: bool
    creation_source: str
    history_retention_seconds: int
    created_at: datetime
    updated_at: datetime
    provisioner: str = "k8s-pod"
    default_endpoint_settings: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    branch_logical_size_limit: int = 0
    branch_logical_size_limit_bytes: int = 0
    active_time: int = 0
    active_time_seconds: int = 0
    cpu_used_sec: int = 0
    compute_time_seconds: int = 0
    written_data_bytes: int = 0
    data_transfer_bytes: int = 0
    data_storage_bytes_hour: int = 0
    synthetic_storage_size: int = 0
    consumption_period_start: datetime
    consumption_period_end: datetime
    org_id: str | None = None


class ProjectBranchOptions(_Request):
    """The default branch of a project that is about to be made."""

    name: str | None = None
    role_name: str | None = None
    database_name: str | None = None
    annotations: dict[str, str] | None = None


class ProjectQuota(_Request):
    """Consumption limits of a project; 0 is none."""

    active_time_seconds: int | None = Field(default=None, ge=0)
    compute_time_seconds: int | None = Field(default=None, ge=0)
    written_data_bytes: int | None = Field(default=None, ge=0)
    data_transfer_bytes: int | None = Field(default=None, ge=0)
    logical_size_bytes: int | None = Field(default=None, ge=0)


class AllowedIps(_Request):
    """Who may connect; an empty list is everybody."""

    ips: list[str] | None = None
    protected_branches_only: bool | None = None


class MaintenanceWindow(_Request):
    """When Neon may restart computes: days from 1, Monday, and times as `HH:MM` in UTC."""

    weekdays: list[int]
    start_time: str
    end_time: str


class PreloadLibraries(_Request):
    """Libraries that computes load at their start."""

    use_defaults: bool | None = None
    enabled_libraries: list[str] | None = None


class ProjectSettings(_Request):
    """Settings of a project. The local engine keeps and shows them, and does nothing by them."""

    quota: ProjectQuota | None = None
    allowed_ips: AllowedIps | None = None
    enable_logical_replication: bool | None = None
    maintenance_window: MaintenanceWindow | None = None
    block_public_connections: bool | None = None
    block_vpc_connections: bool | None = None
    audit_log_level: Literal["base", "extended", "full"] | None = None
    hipaa: bool | None = None
    preload_libraries: PreloadLibraries | None = None


class DefaultEndpointSettings(_Request):
    """What the endpoints of a project are made with."""

    autoscaling_limit_min_cu: float | None = Field(default=None, ge=0.25)
    autoscaling_limit_max_cu: float | None = Field(default=None, ge=0.25)
    suspend_timeout_seconds: int | None = Field(default=None, ge=-1, le=604_800)
    pg_settings: dict[str, str] | None = None
    pgbouncer_settings: dict[str, str] | None = None


class ProjectCreate(_Request):
    """A project to make."""

    name: str | None = None
    region_id: str | None = None
    pg_version: int | None = None
    store_passwords: bool | None = None
    history_retention_seconds: int | None = None
    branch: ProjectBranchOptions | None = None
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    default_endpoint_settings: DefaultEndpointSettings | None = None
    settings: ProjectSettings | None = None
    org_id: str | None = None


class ProjectCreateRequest(_Request):
    """`POST /projects`."""

    project: ProjectCreate


class ProjectUpdate(_Request):
    """What of a project can change."""

    name: str | None = None
    history_retention_seconds: int | None = None
    default_endpoint_settings: DefaultEndpointSettings | None = None
    settings: ProjectSettings | None = None


class ProjectUpdateRequest(_Request):
    """`PATCH /projects/{project_id}`."""

    project: ProjectUpdate


class ProjectResponse(_Wire):
    """One project, and the operations of a change to it."""

    project: Project
    operations: list[Operation] = Field(default_factory=list[Operation])


class ProjectsResponse(_Wire):
    """A page of projects."""

    projects: list[Project]
    pagination: CursorPagination | None = None


# --- branches ---------------------------------------------------------------------------------------------------


class Branch(_Wire):
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


class Annotation(_Wire):
    """Key and value pairs that a caller hung on a branch."""

    object: dict[str, Any] = Field(default_factory=dict[str, Any])
    value: dict[str, Any] = Field(default_factory=dict[str, Any])
    created_at: datetime | None = None
    updated_at: datetime | None = None


class BranchCreate(_Request):
    """A branch to make. Without `parent_id` it is forked from the default branch."""

    name: str | None = None
    parent_id: str | None = None
    parent_lsn: str | None = None
    parent_timestamp: datetime | None = None
    protected: bool | None = None
    init_source: str | None = None
    archived: bool | None = None
    expires_at: datetime | None = None


class EndpointOptions(_Request):
    """An endpoint to make together with a branch."""

    type: str = "read_write"
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    suspend_timeout_seconds: int | None = None
    provisioner: str | None = None
    settings: dict[str, Any] | None = None


class BranchCreateRequest(_Request):
    """`POST /projects/{project_id}/branches`. No endpoint is made unless one is asked for."""

    branch: BranchCreate | None = None
    endpoints: list[EndpointOptions] | None = None
    annotation_value: dict[str, str] | None = None


class BranchUpdate(_Request):
    """What of a branch can change."""

    name: str | None = None
    protected: bool | None = None
    expires_at: datetime | None = None


class BranchUpdateRequest(_Request):
    """`PATCH /projects/{project_id}/branches/{branch_id}`."""

    branch: BranchUpdate


class BranchRestoreRequest(_Request):
    """`POST .../restore`. With the parent's id as the source this is what Neon's console calls reset."""

    source_branch_id: str
    source_lsn: str | None = None
    source_timestamp: datetime | None = None
    preserve_under_name: str | None = None


class Snapshot(_Wire):
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


class SnapshotResponse(_Wire):
    """One snapshot."""

    snapshot: Snapshot


class SnapshotsResponse(_Wire):
    """The snapshots of a project."""

    snapshots: list[Snapshot]


class SnapshotOperations(SnapshotResponse):
    """A snapshot, and the operations that make it."""

    operations: list[Operation] = Field(default_factory=list[Operation])


class OperationsOnly(_Wire):
    """The operations that delete something."""

    operations: list[Operation] = Field(default_factory=list[Operation])


class SnapshotUpdate(_Request):
    """What of a snapshot can change."""

    name: str | None = None
    expires_at: datetime | None = None


class SnapshotUpdateRequest(_Request):
    """`PATCH /projects/{project_id}/snapshots/{snapshot_id}`."""

    snapshot: SnapshotUpdate


class SnapshotRestoreRequest(_Request):
    """`POST .../snapshots/{snapshot_id}/restore`. The target is the branch that it is of, unless one is named."""

    name: str | None = None
    target_branch_id: str | None = None
    finalize_restore: bool | None = None


class FinalizeRestoreRequest(_Request):
    """`POST .../finalize_restore`. `name` is what the branch that is replaced is called from then on."""

    name: str | None = None


class BranchResponse(_Wire):
    """One branch with its annotation."""

    branch: Branch
    annotation: Annotation | None = None


class BranchesPagination(_Wire):
    """`next` is absent on the last page."""

    next: str | None = None
    sort_by: str = "updated_at"
    sort_order: str = "DESC"


class BranchesResponse(_Wire):
    """A page of branches."""

    branches: list[Branch]
    annotations: dict[str, Annotation] = Field(default_factory=dict[str, Annotation])
    pagination: BranchesPagination | None = None


class BranchCountResponse(_Wire):
    """How many branches a project has."""

    count: int


class BranchOperations(_Wire):
    """A branch and the operations that a change of it started."""

    branch: Branch
    operations: list[Operation] = Field(default_factory=list[Operation])


class BranchSchema(_Wire):
    """The tables of a database, each with its columns and constraints."""

    tables: list[dict[str, Any]]


class BranchSchemaResponse(_Wire):
    """`GET .../schema`: one of the two, as `format` says. The name `json` is taken, by Pydantic."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    sql: str | None = None
    json_schema: BranchSchema | None = Field(default=None, alias="json")


class BranchSchemaCompareResponse(_Wire):
    """`GET .../compare_schema`: a unified diff, empty where there is no difference."""

    diff: str


# --- endpoints --------------------------------------------------------------------------------------------------


class Endpoint(_Wire):
    """A compute's address. `current_state`: init, active, idle. `host` may carry a port on the local engine."""

    id: str
    project_id: str
    branch_id: str
    host: str
    name: str | None = None
    type: str
    region_id: str
    current_state: str
    pending_state: str | None = None
    autoscaling_limit_min_cu: float
    autoscaling_limit_max_cu: float
    suspend_timeout_seconds: int
    provisioner: str
    pooler_enabled: bool = False
    pooler_mode: str = "transaction"
    disabled: bool = False
    passwordless_access: bool = True
    proxy_host: str
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    creation_source: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    suspended_at: datetime | None = None
    last_active: datetime | None = None


class EndpointCreate(EndpointOptions):
    """An endpoint to make for a branch that exists."""

    branch_id: str
    name: str | None = None
    disabled: bool | None = None
    pooler_enabled: bool | None = None


class EndpointCreateRequest(_Request):
    """`POST /projects/{project_id}/endpoints`."""

    endpoint: EndpointCreate


class EndpointUpdate(_Request):
    """What of an endpoint can change."""

    branch_id: str | None = None
    name: str | None = None
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    suspend_timeout_seconds: int | None = None
    disabled: bool | None = None
    settings: dict[str, Any] | None = None


class EndpointUpdateRequest(_Request):
    """`PATCH /projects/{project_id}/endpoints/{endpoint_id}`."""

    endpoint: EndpointUpdate


class EndpointResponse(_Wire):
    """One endpoint."""

    endpoint: Endpoint


class EndpointsResponse(_Wire):
    """The endpoints of a project or of a branch."""

    endpoints: list[Endpoint]


class EndpointOperations(_Wire):
    """An endpoint and the operations that a change of it started."""

    endpoint: Endpoint
    operations: list[Operation] = Field(default_factory=list[Operation])


# --- roles and databases ----------------------------------------------------------------------------------------


class Role(_Wire):
    """A role. `password` is there only in the answer that made it or reset it, and never shows in a `repr`."""

    branch_id: str
    name: str
    password: SecretStr | None = None
    protected: bool = False
    authentication_method: str = "password"
    created_at: datetime
    updated_at: datetime


class RoleCreate(_Request):
    """A role to make. Neon gives it BYPASSRLS, CREATEROLE, CREATEDB and REPLICATION."""

    name: str
    no_login: bool | None = None


class RoleCreateRequest(_Request):
    """`POST .../roles`."""

    role: RoleCreate


class RoleResponse(_Wire):
    """One role, without its password."""

    role: Role


class RolesResponse(_Wire):
    """The roles of a branch."""

    roles: list[Role]


class RoleOperations(_Wire):
    """A role and the operations that a change of it started."""

    role: Role
    operations: list[Operation] = Field(default_factory=list[Operation])


class RolePasswordResponse(_Wire):
    """A role's password in clear."""

    password: SecretStr


class Database(_Wire):
    """A database of a branch. Its id is a number."""

    id: int
    branch_id: str
    name: str
    owner_name: str
    created_at: datetime
    updated_at: datetime


class DatabaseCreate(_Request):
    """A database to make."""

    name: str
    owner_name: str


class DatabaseCreateRequest(_Request):
    """`POST .../databases`."""

    database: DatabaseCreate


class DatabaseUpdate(_Request):
    """What of a database can change."""

    name: str | None = None
    owner_name: str | None = None


class DatabaseUpdateRequest(_Request):
    """`PATCH .../databases/{name}`."""

    database: DatabaseUpdate


class DatabaseResponse(_Wire):
    """One database."""

    database: Database


class DatabasesResponse(_Wire):
    """The databases of a branch."""

    databases: list[Database]


class DatabaseOperations(_Wire):
    """A database and the operations that a change of it started."""

    database: Database
    operations: list[Operation] = Field(default_factory=list[Operation])


# --- connection URIs, and the answers that carry several shapes ---------------------------------------------------


class ConnectionParameters(_Wire):
    """The parts of a connection URI."""

    database: str
    role: str
    password: SecretStr
    host: str
    pooler_host: str


class ConnectionUri(_Wire):
    """A connection URI with its password, and its parts."""

    connection_uri: SecretStr
    connection_parameters: ConnectionParameters


class ConnectionUriResponse(_Wire):
    """`GET /projects/{project_id}/connection_uri`."""

    uri: SecretStr


class CreatedProject(ProjectResponse):
    """Everything that `POST /projects` made."""

    branch: Branch
    connection_uris: list[ConnectionUri] = Field(default_factory=list[ConnectionUri])
    roles: list[Role] = Field(default_factory=list[Role])
    databases: list[Database] = Field(default_factory=list[Database])
    endpoints: list[Endpoint] = Field(default_factory=list[Endpoint])


class CreatedBranch(BranchOperations):
    """Everything that `POST .../branches` made. No `connection_uris` if the parent has several roles or databases."""

    endpoints: list[Endpoint] = Field(default_factory=list[Endpoint])
    roles: list[Role] = Field(default_factory=list[Role])
    databases: list[Database] = Field(default_factory=list[Database])
    connection_uris: list[ConnectionUri] | None = None


# --- the account ------------------------------------------------------------------------------------------------


class CurrentUser(_Wire):
    """`GET /users/me`: whose key it is, and what the plan allows."""

    id: str
    email: str = ""
    login: str = ""
    name: str = ""
    plan: str = ""
    projects_limit: int | None = None
    branches_limit: int | None = None


class Organization(_Wire):
    """An organization that owns projects."""

    id: str
    name: str
    handle: str = ""
    plan: str = ""


class OrganizationsResponse(_Wire):
    """`GET /users/me/organizations`."""

    organizations: list[Organization]


class Region(_Wire):
    """A region that a project can be made in."""

    region_id: str
    name: str
    default: bool = False


class RegionsResponse(_Wire):
    """`GET /regions`."""

    regions: list[Region]
