"""Roles that the API makes, with Neon's attributes. Roles made by SQL live in Postgres alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import psycopg

from tenantry.core.errors import TenantryError
from tenantry.local import changes
from tenantry.local.changes import Change
from tenantry.local.errors import ForeignRoleError
from tenantry.local.refusals import Refusal, conflict, not_allowed, not_found
from tenantry.local.services import find, limits, views
from tenantry.local.services.rules import RESERVED_ROLES, check_identifier
from tenantry.local.state.naming import new_password
from tenantry.local.state.operations import Step
from tenantry.local.state.records import DatabaseRecord, RoleRecord
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import BranchRecord

__all__ = ["apply_config", "create", "delete", "get", "list_all", "reset_password", "reveal_password"]

log = logging.getLogger(__name__)


def apply_config(
    engine: Engine,
    mutation: Mutation,
    branch: BranchRecord,
    change: Change,
    *,
    check: Callable[[Cluster], None] = lambda _cluster: None,
) -> None:
    """Carry *change* out on the branch's cluster as the mutation's one step, `apply_config`; one that sleeps is woken.

    *check* may refuse before anything is done. A postmaster that dies meanwhile is started again, and the change with
    it; what cannot be finished now is finished later, so the caller records it with `changes.record`.
    """
    endpoint = engine.computes.endpoint_of(branch)
    mutation.plan([Step("apply_config", branch.id, None if endpoint is None else endpoint.id)])
    project = find.project(engine, branch.project_id)
    with mutation.step(), engine.computes.awake(project, branch) as cluster:
        changes.finish(engine.store, branch, cluster)
        check(cluster)
        changes.begin(engine.store, branch, change)
        try:
            _insist(cluster, change)
        except (TenantryError, psycopg.Error) as problem:
            if not changes.lost(problem):
                changes.give_up(engine.store, branch, cluster, change)
            raise


def _insist(cluster: Cluster, change: Change) -> None:
    try:
        changes.carry_out(cluster, change)
    except psycopg.OperationalError as problem:
        if not changes.lost(problem):
            raise
        log.warning("Postgres was lost while a role or database was changed, and is started again: %s", problem)
        cluster.start()
        changes.carry_out(cluster, change)


def list_all(engine: Engine, project_id: str, branch_id: str) -> wire.RolesResponse:
    """Return the roles of a branch."""
    branch = find.branch(engine, project_id, branch_id)
    found = engine.store.select(RoleRecord, branch_id=branch.id, order="name")
    return wire.RolesResponse(roles=[views.role(role) for role in found])


def get(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.RoleResponse:
    """Return a role."""
    return wire.RoleResponse(role=views.role(find.role(engine, find.branch(engine, project_id, branch_id), name)))


def _answer(role: RoleRecord, mutation: Mutation, *, with_password: bool) -> wire.RoleOperations:
    return wire.RoleOperations(
        role=views.role(role, with_password=with_password),
        operations=[views.operation(operation) for operation in mutation.operations],
    )


def create(engine: Engine, project_id: str, branch_id: str, request: wire.RoleCreateRequest) -> wire.RoleOperations:
    """Make a role; the answer holds its password."""
    name = check_identifier("role.name", request.role.name, reserved=RESERVED_ROLES)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        if engine.store.get(RoleRecord, branch_id=branch.id, name=name) is not None:
            raise conflict(f"role already exists; role_name:{name!r}")
        limits.check_roles(engine.plan, len(engine.store.select(RoleRecord, branch_id=branch.id)))
        password = None if request.role.no_login else new_password()
        change = Change("create_role", name, password=password)
        try:
            apply_config(engine, mutation, branch, change)
        except ForeignRoleError as exc:
            raise conflict(f"role already exists; role_name:{name!r}: {exc}") from exc
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    role = find.role(engine, branch, name)
    return _answer(role, mutation, with_password=True)


def delete(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.RoleOperations | None:
    """Drop a role; what it owned goes to the owners of the databases. None if there is no such role."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        role = engine.store.get(RoleRecord, branch_id=branch.id, name=name)
        if role is None:
            return None
        owned = engine.store.select(DatabaseRecord, branch_id=branch.id, owner_name=name, order="name")
        if owned:
            names = ", ".join(repr(database.name) for database in owned)
            raise not_allowed(f"role {name!r} owns {names}: give or delete them first")
        change = Change("delete_role", name)
        apply_config(engine, mutation, branch, change)
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    return _answer(role, mutation, with_password=False)


def reveal_password(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.RolePasswordResponse:
    """Return a role's password in clear."""
    role = views.role(find.role(engine, find.branch(engine, project_id, branch_id), name), with_password=True)
    if role.password is None:
        raise Refusal(412, f"role {name!r} has no password: it cannot log in")
    return wire.RolePasswordResponse(password=role.password)


def reset_password(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.RoleOperations:
    """Give a role a new password, which the answer holds, and end its connections."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        role = find.role(engine, branch, name)
        if role.password is None:
            raise not_allowed(f"role {name!r} cannot log in, so it has no password to reset")
        change = Change("reset_password", name, password=new_password())
        try:
            apply_config(engine, mutation, branch, change)
        except psycopg.errors.UndefinedObject as exc:  # SQL dropped it, of which the store knows nothing
            raise not_found("role", name) from exc
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    return _answer(find.role(engine, branch, name), mutation, with_password=True)
