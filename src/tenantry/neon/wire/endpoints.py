"""Endpoints: the addresses of computes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.operations import Operation

__all__ = [
    "Endpoint",
    "EndpointCreate",
    "EndpointCreateRequest",
    "EndpointOperations",
    "EndpointOptions",
    "EndpointResponse",
    "EndpointUpdate",
    "EndpointUpdateRequest",
    "EndpointsResponse",
]


class EndpointOptions(Request):
    """An endpoint to make together with a branch."""

    type: str = "read_write"
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    suspend_timeout_seconds: int | None = None
    provisioner: str | None = None
    settings: dict[str, Any] | None = None


class Endpoint(Wire):
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


class EndpointCreateRequest(Request):
    """`POST /projects/{project_id}/endpoints`."""

    endpoint: EndpointCreate


class EndpointUpdate(Request):
    """What of an endpoint can change."""

    branch_id: str | None = None
    name: str | None = None
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    suspend_timeout_seconds: int | None = None
    disabled: bool | None = None
    settings: dict[str, Any] | None = None


class EndpointUpdateRequest(Request):
    """`PATCH /projects/{project_id}/endpoints/{endpoint_id}`."""

    endpoint: EndpointUpdate


class EndpointResponse(Wire):
    """One endpoint."""

    endpoint: Endpoint


class EndpointsResponse(Wire):
    """The endpoints of a project or of a branch."""

    endpoints: list[Endpoint]


class EndpointOperations(Wire):
    """An endpoint and the operations that a change of it started."""

    endpoint: Endpoint
    operations: list[Operation] = Field(default_factory=list[Operation])
