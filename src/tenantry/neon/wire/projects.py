"""Projects and their settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.operations import CursorPagination, Operation

__all__ = [
    "AllowedIps",
    "DefaultEndpointSettings",
    "MaintenanceWindow",
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
]


class Project(Wire):
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


class ProjectBranchOptions(Request):
    """The default branch of a project that is about to be made."""

    name: str | None = None
    role_name: str | None = None
    database_name: str | None = None
    annotations: dict[str, str] | None = None


class ProjectQuota(Request):
    """Consumption limits of a project; 0 is none."""

    active_time_seconds: int | None = Field(default=None, ge=0)
    compute_time_seconds: int | None = Field(default=None, ge=0)
    written_data_bytes: int | None = Field(default=None, ge=0)
    data_transfer_bytes: int | None = Field(default=None, ge=0)
    logical_size_bytes: int | None = Field(default=None, ge=0)


class AllowedIps(Request):
    """Who may connect; an empty list is everybody."""

    ips: list[str] | None = None
    protected_branches_only: bool | None = None


class MaintenanceWindow(Request):
    """When Neon may restart computes: days from 1, Monday, and times as `HH:MM` in UTC."""

    weekdays: list[int]
    start_time: str
    end_time: str


class PreloadLibraries(Request):
    """Libraries that computes load at their start."""

    use_defaults: bool | None = None
    enabled_libraries: list[str] | None = None


class ProjectSettings(Request):
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


class DefaultEndpointSettings(Request):
    """What the endpoints of a project are made with."""

    autoscaling_limit_min_cu: float | None = Field(default=None, ge=0.25)
    autoscaling_limit_max_cu: float | None = Field(default=None, ge=0.25)
    suspend_timeout_seconds: int | None = Field(default=None, ge=-1, le=604_800)
    pg_settings: dict[str, str] | None = None
    pgbouncer_settings: dict[str, str] | None = None


class ProjectCreate(Request):
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


class ProjectCreateRequest(Request):
    """`POST /projects`."""

    project: ProjectCreate


class ProjectUpdate(Request):
    """What of a project can change."""

    name: str | None = None
    history_retention_seconds: int | None = None
    default_endpoint_settings: DefaultEndpointSettings | None = None
    settings: ProjectSettings | None = None


class ProjectUpdateRequest(Request):
    """`PATCH /projects/{project_id}`."""

    project: ProjectUpdate


class ProjectResponse(Wire):
    """One project, and the operations of a change to it."""

    project: Project
    operations: list[Operation] = Field(default_factory=list[Operation])


class ProjectsResponse(Wire):
    """A page of projects."""

    projects: list[Project]
    pagination: CursorPagination | None = None
