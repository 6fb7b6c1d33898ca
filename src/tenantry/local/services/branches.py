"""Branches: listed, forked, changed and deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tenantry.local.history.moments import read_moment
from tenantry.local.refusals import bad_field, not_allowed, not_found
from tenantry.local.services import find, limits, views
from tenantry.local.services.endpoints import check_compute, endpoint_record
from tenantry.local.services.forks import Source, fork
from tenantry.local.services.paging import take_page
from tenantry.local.services.rules import (
    check_branch_create,
    check_branch_delete,
    check_expiry,
    check_name,
    check_unused_name,
    sole,
)
from tenantry.local.state.naming import new_branch_id, new_endpoint_id
from tenantry.local.state.operations import Step
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    DatabaseRecord,
    EndpointRecord,
    LineageRecord,
    RoleRecord,
    now,
)
from tenantry.neon import wire

if TYPE_CHECKING:
    from datetime import datetime

    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import ProjectRecord

__all__ = ["SortKey", "count", "create", "delete", "get", "history_names", "list_page", "set_as_default", "update"]

SortKey = Literal["name", "created_at", "updated_at"]

MOST_ANNOTATIONS = 50


def _matching(engine: Engine, project_id: str, search: str | None) -> list[BranchRecord]:
    wanted = (search or "").casefold()
    return [
        branch
        for branch in find.branches(engine, project_id)
        if wanted in branch.name.casefold() or wanted in branch.id
    ]


def list_page(
    engine: Engine,
    project_id: str,
    *,
    search: str | None,
    sort_by: SortKey,
    descending: bool,
    cursor: str | None,
    limit: int,
) -> wire.BranchesResponse:
    """Return a page of branches; `pagination.next` is absent on the last."""

    def key(branch: BranchRecord) -> tuple[str, str]:
        value: str | datetime = getattr(branch, sort_by)
        return (value if isinstance(value, str) else value.isoformat(timespec="microseconds"), branch.id)

    order = f"{sort_by} {'DESC' if descending else 'ASC'}"
    page = take_page(
        _matching(engine, project_id, search), key=key, order=order, descending=descending, cursor=cursor, limit=limit
    )
    return wire.BranchesResponse(
        branches=[views.branch(branch) for branch in page.items],
        annotations={branch.id: views.annotation(branch) for branch in page.items if branch.annotation},
        pagination=wire.BranchesPagination(
            next=page.last if page.more else None, sort_by=sort_by, sort_order="DESC" if descending else "ASC"
        ),
    )


def count(engine: Engine, project_id: str, *, search: str | None) -> wire.BranchCountResponse:
    """Return how many branches there are."""
    return wire.BranchCountResponse(count=len(_matching(engine, project_id, search)))


def get(engine: Engine, project_id: str, branch_id: str) -> wire.BranchResponse:
    """Return a branch and its annotation."""
    branch = find.branch(engine, project_id, branch_id)
    return wire.BranchResponse(branch=views.branch(branch), annotation=views.annotation(branch))


def _check_annotation(value: dict[str, str] | None) -> dict[str, str]:
    if value and len(value) > MOST_ANNOTATIONS:
        raise bad_field("annotation_value", f"it has {len(value)} names, and may have {MOST_ANNOTATIONS}")
    return value or {}


def create(engine: Engine, project_id: str, request: wire.BranchCreateRequest) -> wire.CreatedBranch:
    """Fork a branch, at its head or a moment of its past; with `endpoints`, start its compute.

    It has its parent's roles, databases and passwords; the child of a protected branch has passwords of its own. With
    `init_source` it has the schema alone: `parent-schema` makes a child, `schema-only` a root.
    """
    wanted = request.branch or wire.BranchCreate()
    options = request.endpoints or []
    if len(options) > 1:
        raise bad_field("endpoints", f"a branch has one read_write compute here, and {len(options)} are asked for")
    annotation = _check_annotation(request.annotation_value)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation, engine.computes.port() as port:
        project = find.project(engine, project_id)
        at = now()
        branches = find.branches(engine, project_id)
        parent, expires_at = check_branch_create(wanted, branches, now=at)
        moment = read_moment(
            wanted.parent_timestamp,
            wanted.parent_lsn,
            timestamp_field="branch.parent_timestamp",
            lsn_field="branch.parent_lsn",
            now=at,
        )
        init_source = wanted.init_source or "parent-data"
        source = Source(parent, moment, schema_only=init_source != "parent-data")
        is_child = init_source != "schema-only"
        usage = limits.usage_of(branches)
        after = usage.plus(branches=1, roots=not is_child, protected=bool(wanted.protected))
        limits.check_usage(engine.plan, usage, after)
        if options:
            check_compute(engine, project, branch_id=None, suspend_timeout_seconds=options[0].suspend_timeout_seconds)
        branch_id = new_branch_id()
        directory = engine.computes.new_directory(branch_id)
        endpoint = endpoint_record(project, branch_id, options[0], new_endpoint_id(), port) if options else None
        mutation.plan(
            [
                Step("create_branch", branch_id),
                *([Step("start_compute", branch_id, endpoint.id)] if endpoint is not None else []),
            ]
        )
        with mutation.step():
            made = fork(engine, mutation, project, source, directory, own={})
        branch = BranchRecord(
            id=branch_id,
            project_id=project.id,
            name=wanted.name or branch_id,
            directory=directory,
            parent_id=parent.id if is_child else None,
            parent_lsn=made.lsn if is_child else None,
            parent_timestamp=made.at if is_child else None,
            is_default=False,
            protected=bool(wanted.protected),
            expires_at=expires_at,
            ttl_interval_seconds=None if expires_at is None else round((expires_at - at).total_seconds()),
            init_source=init_source,
            annotation=annotation,
            clone_method=made.method,
            logical_size=made.bytes,
            restored_from=None,
            restored_as=None,
            last_reset_at=None,
            state_changed_at=now(),
            created_at=at,
            updated_at=at,
        )
        if endpoint is not None:
            with mutation.step():
                engine.computes.start_compute(project, branch, endpoint)
        with mutation.commit() as writer:
            writer.insert(branch)
            for record in made.owned_by(branch):
                writer.insert(record)
            if endpoint is not None:
                writer.insert(endpoint)
    return _created(engine, project, branch, endpoint, mutation)


def _created(
    engine: Engine,
    project: ProjectRecord,
    branch: BranchRecord,
    endpoint: EndpointRecord | None,
    mutation: Mutation,
) -> wire.CreatedBranch:
    roles = engine.store.select(RoleRecord, branch_id=branch.id)
    databases = engine.store.select(DatabaseRecord, branch_id=branch.id)
    pair = sole(roles, databases)
    uris = None
    if endpoint is not None and pair is not None:
        tls = engine.computes.binaries(project.pg_version).tls
        uris = [views.connection_uri(endpoint, *pair, tls=tls, pooled=engine.computes.pooler is not None)]
    return wire.CreatedBranch(
        branch=views.branch(branch),
        endpoints=[] if endpoint is None else [find.show_endpoint(engine, endpoint)],
        operations=[views.operation(operation) for operation in mutation.operations],
        roles=[views.role(role) for role in roles],
        databases=[views.database(database) for database in databases],
        connection_uris=uris,
    )


def update(engine: Engine, project_id: str, branch_id: str, request: wire.BranchUpdateRequest) -> wire.BranchOperations:
    """Rename a branch, protect it or not, and say when it expires; null for never."""
    wanted = request.branch
    name = check_name("branch.name", wanted.name)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        branches = find.branches(engine, project_id)
        if name is not None:
            check_unused_name(name, branches, besides=branch.id)
        at = now()
        protected = branch.protected if wanted.protected is None else wanted.protected
        usage = limits.usage_of(branches)
        limits.check_usage(engine.plan, usage, usage.plus(protected=protected - branch.protected))
        expires_at, ttl = branch.expires_at, branch.ttl_interval_seconds
        if "expires_at" in wanted.model_fields_set:
            expires_at, ttl = wanted.expires_at, None
        if expires_at is not None and (ttl is None or protected):
            expires_at = check_expiry(
                expires_at,
                now=at,
                protected=protected,
                default=branch.is_default,
                has_children=any(one.parent_id == branch.id for one in branches),
            )
            ttl = None if expires_at is None else round((expires_at - at).total_seconds())
        branch = replace(
            branch,
            name=name or branch.name,
            protected=protected,
            expires_at=expires_at,
            ttl_interval_seconds=ttl,
            updated_at=at,
        )
        with mutation.commit() as writer:
            writer.update(branch)
    return wire.BranchOperations(branch=views.branch(branch))


def set_as_default(engine: Engine, project_id: str, branch_id: str) -> wire.BranchOperations:
    """Make a branch the project's default in place of the one that was."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        if branch.expires_at is not None:
            raise not_allowed(f"branch {branch.name!r} ({branch.id}) expires: clear its expires_at first")
        before = find.default_branch(engine, project_id)
        if before.id != branch.id:
            at = now()
            branch = replace(branch, is_default=True, updated_at=at)
            with mutation.commit() as writer:
                writer.update(replace(before, is_default=False, updated_at=at))
                writer.update(branch)
    return wire.BranchOperations(branch=views.branch(branch))


def history_names(engine: Engine, branch: BranchRecord) -> list[str]:
    """Return what of the history vault goes with *branch*."""
    lineages = engine.store.select(LineageRecord, branch_id=branch.id)
    bases = [base for one in lineages for base in engine.store.select(BaseRecord, directory=one.directory)]
    return [*(base.id for base in bases), *(one.directory for one in lineages if one.ended_at is not None)]


def delete(engine: Engine, project_id: str, branch_id: str) -> wire.BranchOperations | None:
    """Delete a branch with its endpoint and data. None if there is no such branch."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        project = find.project(engine, project_id)
        branch = engine.store.get(BranchRecord, id=branch_id)
        if branch is None:
            return None
        if branch.project_id != project.id:
            raise not_found("branch", branch_id)
        check_branch_delete(branch, find.branches(engine, project_id))
        endpoint = engine.computes.endpoint_of(branch)
        active = endpoint is not None and endpoint.active
        mutation.plan(
            [
                *([Step("suspend_compute", branch.id, endpoint.id)] if endpoint is not None and active else []),
                Step("delete_timeline", branch.id),
            ]
        )
        if endpoint is not None and active:
            cluster = engine.computes.cluster(project, branch.directory, port=endpoint.port)
            mutation.undo(cluster.start)
            with mutation.step():
                cluster.stop()
        with mutation.step():
            pass
        history = history_names(engine, branch)
        # The row goes first: a directory that no branch names is garbage, which the next engine removes.
        with mutation.commit() as writer:
            writer.delete(BranchRecord, id=branch.id)
        engine.computes.remove(branch.directory)
        for name in history:
            engine.computes.vault.remove(name)
    return wire.BranchOperations(
        branch=views.branch(branch).model_copy(update={"pending_state": "storage_deleted"}),
        operations=[views.operation(operation) for operation in mutation.operations],
    )
