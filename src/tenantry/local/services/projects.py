"""Projects: made with a default branch, an owner, a database and a running compute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tenantry.local.errors import PostgresMissingError
from tenantry.local.refusals import bad_field, not_allowed, not_served
from tenantry.local.services import find, limits, views
from tenantry.local.services.branches import history_names
from tenantry.local.services.endpoints import endpoint_record
from tenantry.local.services.paging import take_page
from tenantry.local.services.rules import RESERVED_DATABASES, RESERVED_ROLES, check_identifier, check_name
from tenantry.local.state.naming import new_branch_id, new_endpoint_id, new_password, new_project_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import (
    BranchRecord,
    DatabaseRecord,
    EndpointRecord,
    LineageRecord,
    OperationRecord,
    ProjectRecord,
    RoleRecord,
    SnapshotRecord,
    now,
)
from tenantry.neon import wire

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tenantry.local.engine import Engine
    from tenantry.local.plans import Plan

__all__ = ["ORGANIZATION_ID", "REGIONS", "create", "delete", "get", "list_page", "update"]

ORGANIZATION_ID = "org-local-00000000"

REGIONS = {
    "aws-us-east-1": "AWS US East 1 (N. Virginia)",
    "aws-us-east-2": "AWS US East 2 (Ohio)",
    "aws-us-west-2": "AWS US West 2 (Oregon)",
    "aws-eu-central-1": "AWS Europe Central 1 (Frankfurt)",
    "aws-eu-west-2": "AWS Europe West 2 (London)",
    "aws-ap-southeast-1": "AWS Asia Pacific 1 (Singapore)",
    "aws-ap-southeast-2": "AWS Asia Pacific 2 (Sydney)",
    "aws-sa-east-1": "AWS South America East 1 (São Paulo)",
    "azure-eastus2": "Azure East US 2 (Virginia)",
    "azure-westus3": "Azure West US 3 (Arizona)",
    "azure-gwc": "Azure Germany West Central (Frankfurt)",
}
"""A project keeps the region it was made for, though all of them are this machine here."""

DEFAULT_REGION = "aws-us-east-2"
DEFAULT_POSTGRES = 17
POSTGRES_VERSIONS = range(14, 19)
DEFAULT_HISTORY_SECONDS = 86_400
LONGEST_HISTORY_SECONDS = 2_592_000


def list_page(
    engine: Engine, *, cursor: str | None, limit: int, search: str | None, org_id: str | None, recoverable: bool
) -> wire.ProjectsResponse:
    """Return a page of projects, newest first. Deleted ones are gone, so none is recoverable."""
    of_org = org_id in (None, ORGANIZATION_ID) and not recoverable
    wanted = (search or "").casefold()
    page = take_page(
        [
            project
            for project in (engine.store.select(ProjectRecord) if of_org else [])
            if wanted in project.name.casefold() or wanted in project.id
        ],
        key=lambda project: (project.created_at.isoformat(timespec="microseconds"), project.id),
        order="projects",
        descending=True,
        cursor=cursor,
        limit=limit,
    )
    maps: dict[str, Any] = {"applications": {}, "integrations": {}}
    return wire.ProjectsResponse(
        projects=[show(project) for project in page.items],
        pagination=wire.CursorPagination(cursor=page.last) if page.last else None,
        **maps,
    )


def show(project: ProjectRecord) -> wire.Project:
    """Show a project as one of the only organization."""
    return views.project(project).model_copy(update={"org_id": ORGANIZATION_ID})


def get(engine: Engine, project_id: str) -> wire.ProjectResponse:
    """Return a project."""
    return wire.ProjectResponse(project=show(find.project(engine, project_id)))


def _record(wanted: wire.ProjectCreate, plan: Plan) -> ProjectRecord:
    """Return the project that is asked for, or say what of it cannot be."""
    at = now()
    identifier = new_project_id()
    region = wanted.region_id or DEFAULT_REGION
    if region not in REGIONS:
        raise bad_field("project.region_id", f"{region!r} is no region of Neon: one of {', '.join(sorted(REGIONS))}")
    major = DEFAULT_POSTGRES if wanted.pg_version is None else wanted.pg_version
    if major not in POSTGRES_VERSIONS:
        raise bad_field("project.pg_version", f"{major} is not one of {', '.join(map(str, POSTGRES_VERSIONS))}")
    if wanted.store_passwords is False:
        raise not_served("projects without stored passwords", "leave project.store_passwords out")
    if wanted.org_id not in (None, ORGANIZATION_ID):
        raise bad_field("project.org_id", f"{wanted.org_id!r} is not an organization here: {ORGANIZATION_ID!r} is")
    limits.check_history(plan, wanted.history_retention_seconds)
    return ProjectRecord(
        id=identifier,
        name=check_name("project.name", wanted.name) or identifier,
        pg_version=major,
        region_id=region,
        history_retention_seconds=_history(
            wanted.history_retention_seconds, limits.allowed_history(plan, DEFAULT_HISTORY_SECONDS)
        ),
        settings=_kept(wanted.settings),
        default_endpoint_settings=_checked_defaults({}, _kept(wanted.default_endpoint_settings), plan),
        superuser_password=new_password(),
        created_at=at,
        updated_at=at,
    )


def _kept(settings: BaseModel | None) -> dict[str, Any]:
    """Return what was given of *settings*; null is as good as absent."""
    return {} if settings is None else settings.model_dump(mode="json", exclude_none=True)


def _history(seconds: int | None, default: int) -> int:
    if seconds is None:
        return default
    if not 0 <= seconds <= LONGEST_HISTORY_SECONDS:
        raise bad_field("project.history_retention_seconds", f"{seconds} is not within 0 to {LONGEST_HISTORY_SECONDS}")
    return seconds


def create(engine: Engine, request: wire.ProjectCreateRequest) -> wire.CreatedProject:
    """Make a project: its default branch, the branch's owner and database, and a running read_write endpoint."""
    wanted = request.project
    project = _record(wanted, engine.plan)
    options_of_endpoint = _endpoint_options(wanted)
    limits.check_projects(engine.plan, len(engine.store.select(ProjectRecord)))
    options = wanted.branch or wire.ProjectBranchOptions()
    at = project.created_at
    database_name = check_identifier(
        "project.branch.database_name", options.database_name or "neondb", reserved=RESERVED_DATABASES
    )
    role_name = check_identifier(
        "project.branch.role_name", options.role_name or f"{database_name}_owner", reserved=RESERVED_ROLES
    )
    branch_id = new_branch_id()
    branch = BranchRecord(
        id=branch_id,
        project_id=project.id,
        name=check_name("project.branch.name", options.name) or "main",
        directory=engine.computes.new_directory(branch_id),
        parent_id=None,
        parent_lsn=None,
        parent_timestamp=None,
        is_default=True,
        protected=False,
        expires_at=None,
        ttl_interval_seconds=None,
        init_source="parent-data",
        annotation=options.annotations or {},
        clone_method=None,
        logical_size=None,
        restored_from=None,
        restored_as=None,
        last_reset_at=None,
        state_changed_at=at,
        created_at=at,
        updated_at=at,
    )
    role = RoleRecord(branch_id=branch_id, name=role_name, password=new_password(), created_at=at, updated_at=at)
    database = DatabaseRecord(
        branch_id=branch_id, name=database_name, owner_name=role_name, created_at=at, updated_at=at
    )
    try:
        engine.computes.binaries(project.pg_version)
    except PostgresMissingError as exc:
        raise not_allowed(f"project.pg_version: {exc}") from exc
    with engine.operations.mutation(project.id) as mutation, engine.computes.port() as port:
        endpoint = endpoint_record(project, branch_id, options_of_endpoint, new_endpoint_id(), port)
        mutation.plan([Step("create_timeline", branch_id), Step("start_compute", branch_id, endpoint.id)])
        cluster = engine.computes.cluster(project, branch.directory, port=port)
        mutation.undo(lambda: engine.computes.remove(branch.directory))
        with mutation.step():
            cluster.init()
            base, report = engine.computes.vault.take_base(cluster)
            mutation.undo(lambda: engine.computes.vault.remove(base.id))
        lineage = LineageRecord(
            directory=branch.directory,
            project_id=project.id,
            branch_id=branch.id,
            ancestor=None,
            timeline=report.timeline,
            wal_from=base.start_lsn,
            began_at=base.taken_at,
            began_lsn=base.end_lsn,
        )
        with mutation.step():
            cluster.start()
            cluster.ensure_role(role.name, role.password)
            cluster.create_database(database.name, role.name)
        with mutation.commit() as writer:
            for record in (project, branch, lineage, base, endpoint, role, database):
                writer.insert(record)
    stored = find.database(engine, branch, database.name)
    tls = engine.computes.binaries(project.pg_version).tls
    return wire.CreatedProject(
        project=show(project),
        branch=views.branch(branch),
        connection_uris=[
            views.connection_uri(endpoint, role, stored, tls=tls, pooled=engine.computes.pooler is not None)
        ],
        roles=[views.role(role, with_password=True)],
        databases=[views.database(stored)],
        endpoints=[find.show_endpoint(engine, endpoint)],
        operations=[views.operation(operation) for operation in mutation.operations],
    )


def _endpoint_options(wanted: wire.ProjectCreate) -> wire.EndpointOptions:
    """The settings of the endpoint that a project is made with: those of the request, over the project's defaults."""
    given = wanted.model_dump(include={"autoscaling_limit_min_cu", "autoscaling_limit_max_cu"}, exclude_none=True)
    return wire.EndpointOptions.model_validate(_kept(wanted.default_endpoint_settings) | given)


def _checked_defaults(before: dict[str, Any], given: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what endpoints are to be made with, or say which value cannot be used."""
    limits.check_suspend_timeout(plan, given.get("suspend_timeout_seconds"))
    settings = before | given
    lowest, highest = settings.get("autoscaling_limit_min_cu"), settings.get("autoscaling_limit_max_cu")
    if lowest is not None and highest is not None and lowest > highest:
        raise bad_field(
            "project.default_endpoint_settings.autoscaling_limit_min_cu",
            f"{lowest} is more than autoscaling_limit_max_cu, which is {highest}",
        )
    return settings


def update(engine: Engine, project_id: str, request: wire.ProjectUpdateRequest) -> wire.ProjectResponse:
    """Change what of a project can change."""
    wanted = request.project
    name = check_name("project.name", wanted.name)
    limits.check_history(engine.plan, wanted.history_retention_seconds)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        given = _kept(wanted.default_endpoint_settings)
        changed = replace(
            project,
            name=name or project.name,
            history_retention_seconds=_history(wanted.history_retention_seconds, project.history_retention_seconds),
            settings=project.settings | _kept(wanted.settings),
            default_endpoint_settings=_checked_defaults(project.default_endpoint_settings, given, engine.plan),
            updated_at=now(),
        )
        with mutation.commit() as writer:
            writer.update(changed)
    return wire.ProjectResponse(project=show(changed))


def delete(engine: Engine, project_id: str) -> wire.ProjectResponse:
    """Delete a project with its branches, endpoints, roles, databases and operations."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branches = find.branches(engine, project_id)
        protected = sorted(branch.name for branch in branches if branch.protected)
        if protected:
            raise not_allowed(
                f"project {project.name!r} ({project.id}) has protected branches ({', '.join(protected)}): "
                "set their protected to false first"
            )
        vaulted = [
            *(name for branch in branches for name in history_names(engine, branch)),
            *(snapshot.id for snapshot in engine.store.select(SnapshotRecord, project_id=project.id)),
        ]
        # The rows go first: what they do not name is garbage, so a kill from here on leaves nothing half.
        with mutation.commit() as writer:
            writer.delete(OperationRecord, project_id=project.id)
            writer.delete(EndpointRecord, project_id=project.id)
            writer.delete(ProjectRecord, id=project.id)
        for branch in branches:
            engine.computes.remove(branch.directory)
        for name in vaulted:
            engine.computes.vault.remove(name)
    return wire.ProjectResponse(project=show(project))
