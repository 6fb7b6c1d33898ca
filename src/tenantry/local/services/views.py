"""Records as Neon shows them: pure, and the one place where an address or a URI is composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import SecretStr

from tenantry.local.clusters.ports import HOST, POOLED
from tenantry.neon import wire

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.local.state.records import (
        BranchRecord,
        DatabaseRecord,
        EndpointRecord,
        OperationRecord,
        ProjectRecord,
        RoleRecord,
        SnapshotRecord,
    )

__all__ = [
    "HOST",
    "OWNER_ID",
    "annotation",
    "branch",
    "connection_uri",
    "database",
    "endpoint",
    "operation",
    "project",
    "role",
    "snapshot",
    "uri",
]

OWNER_ID = "local-owner"
_PROVISIONER = "k8s-pod"


def project(record: ProjectRecord) -> wire.Project:
    """A project. What Neon bills is zero here: nothing is."""
    month = record.created_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return wire.Project(
        id=record.id,
        name=record.name,
        platform_id=record.region_id.partition("-")[0],
        region_id=record.region_id,
        pg_version=record.pg_version,
        proxy_host=HOST,
        owner_id=OWNER_ID,
        store_passwords=True,
        creation_source="console",
        history_retention_seconds=record.history_retention_seconds,
        created_at=record.created_at,
        updated_at=record.updated_at,
        provisioner=_PROVISIONER,
        default_endpoint_settings=record.default_endpoint_settings,
        settings=record.settings,
        consumption_period_start=month,
        consumption_period_end=next_month,
    )


def branch(record: BranchRecord) -> wire.Branch:
    """A branch. It is always `ready`: an answer comes when the work is done. How it was cloned is added."""
    extra: dict[str, Any] = {} if record.clone_method is None else {"clone_method": record.clone_method}
    return wire.Branch(
        id=record.id,
        project_id=record.project_id,
        parent_id=record.parent_id,
        parent_lsn=record.parent_lsn,
        parent_timestamp=record.parent_timestamp,
        name=record.name,
        current_state="ready",
        state_changed_at=record.state_changed_at,
        creation_source="console",
        created_at=record.created_at,
        updated_at=record.updated_at,
        last_reset_at=record.last_reset_at,
        expires_at=record.expires_at,
        default=record.is_default,
        primary=record.is_default,
        protected=record.protected,
        init_source=record.init_source,
        logical_size=record.logical_size,
        ttl_interval_seconds=record.ttl_interval_seconds,
        restore_status="restored" if record.restored_from else None,
        restored_from=record.restored_from,
        restored_as=record.restored_as,
        **extra,
    )


def snapshot(record: SnapshotRecord) -> wire.Snapshot:
    """A snapshot. All of them are manual."""
    return wire.Snapshot(
        id=record.id,
        name=record.name,
        lsn=record.lsn,
        timestamp=record.timestamp,
        source_branch_id=record.source_branch_id,
        created_at=record.created_at,
        expires_at=record.expires_at,
        manual=True,
        full_size=record.full_size,
    )


def annotation(record: BranchRecord) -> wire.Annotation:
    """What a caller hung on a branch."""
    return wire.Annotation(
        object={"type": "console/branch", "id": record.id},
        value=record.annotation,
        created_at=record.created_at,
        updated_at=record.created_at,
    )


def endpoint(
    record: EndpointRecord, project: ProjectRecord, *, running: bool, sockets: Path, pooled: bool
) -> wire.Endpoint:
    """An endpoint; `active` only while its postmaster lives.

    The folder of its Unix socket is added, and the address of its pooler, which is its own where there is no pooler.
    """
    extra: dict[str, Any] = {"unix_socket_directory": str(sockets), "pooler_host": address(record, pooled=pooled)}
    return wire.Endpoint(
        id=record.id,
        project_id=record.project_id,
        branch_id=record.branch_id,
        host=address(record),
        name=record.name,
        type=record.type,
        region_id=project.region_id,
        current_state="active" if running else "idle",
        autoscaling_limit_min_cu=record.autoscaling_limit_min_cu,
        autoscaling_limit_max_cu=record.autoscaling_limit_max_cu,
        suspend_timeout_seconds=record.suspend_timeout_seconds,
        provisioner=_PROVISIONER,
        pooler_enabled=pooled,
        pooler_mode="transaction",
        disabled=record.disabled,
        passwordless_access=False,
        proxy_host=HOST,
        settings=record.settings,
        creation_source="console",
        created_at=record.created_at,
        updated_at=record.updated_at,
        started_at=record.started_at,
        suspended_at=record.suspended_at,
        last_active=record.started_at,
        **extra,
    )


def role(record: RoleRecord, *, with_password: bool = False) -> wire.Role:
    """A role; its password only in the answer that made it."""
    return wire.Role(
        branch_id=record.branch_id,
        name=record.name,
        password=SecretStr(record.password) if with_password and record.password is not None else None,
        protected=False,
        authentication_method="password" if record.password is not None else "no_login",
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def database(record: DatabaseRecord) -> wire.Database:
    """A database."""
    assert record.id is not None
    return wire.Database(
        id=record.id,
        branch_id=record.branch_id,
        name=record.name,
        owner_name=record.owner_name,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def operation(record: OperationRecord) -> wire.Operation:
    """An operation."""
    return wire.Operation(
        id=record.id,
        project_id=record.project_id,
        branch_id=record.branch_id,
        endpoint_id=record.endpoint_id,
        action=record.action,
        status=record.status,
        error=record.error,
        failures_count=record.failures_count,
        created_at=record.created_at,
        updated_at=record.updated_at,
        total_duration_ms=record.total_duration_ms,
    )


def address(record: EndpointRecord, *, pooled: bool = False) -> str:
    """`127.0.0.1:PORT`: the host that Neon would give, and the port that tells endpoints apart on one machine."""
    return f"{POOLED if pooled else HOST}:{record.port}"


def uri(*, host: str, database: str, role: str, password: str, tls: bool, pooled: bool = False) -> str:
    """Compose a connection URI as Neon does; without TLS it says `prefer`, and a pooled one binds no channel."""
    options = (
        "sslmode=prefer" if not tls else "sslmode=require" if pooled else "sslmode=require&channel_binding=require"
    )
    user, secret, name = quote(role, safe=""), quote(password, safe=""), quote(database, safe="")
    return f"postgresql://{user}:{secret}@{host}/{name}?{options}"


def connection_uri(
    endpoint: EndpointRecord, role: RoleRecord, database: DatabaseRecord, *, tls: bool, pooled: bool
) -> wire.ConnectionUri:
    """Compose the URI and its parts. The pooler's address is the direct one where there is no pooler."""
    assert role.password is not None
    host = address(endpoint)
    return wire.ConnectionUri(
        connection_uri=SecretStr(
            uri(host=host, database=database.name, role=role.name, password=role.password, tls=tls)
        ),
        connection_parameters=wire.ConnectionParameters(
            database=database.name,
            password=SecretStr(role.password),
            role=role.name,
            host=host,
            pooler_host=address(endpoint, pooled=pooled),
        ),
    )
