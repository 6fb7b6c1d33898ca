"""Roles that the API makes, with Neon's attributes. Roles made by SQL live in Postgres alone."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tenantry.local.errors import ForeignRoleError
from tenantry.local.refusals import Refusal, conflict, not_allowed
from tenantry.local.services import find, limits, views
from tenantry.local.services.rules import RESERVED_ROLES, check_identifier
from tenantry.local.state.naming import new_password
from tenantry.local.state.operations import Step
from tenantry.local.state.records import DatabaseRecord, RoleRecord, now
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Generator

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import BranchRecord

__all__ = ["apply_config", "create", "delete", "get", "list_all", "reset_password", "reveal_password"]

END_SESSIONS_OF_ROLE = """
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = %s
"""


@contextmanager
def apply_config(engine: Engine, mutation: Mutation, branch: BranchRecord) -> Generator[Cluster]:
    """Run the mutation's one step, `apply_config`, on the branch's cluster, which is woken for it if it sleeps."""
    endpoint = engine.computes.endpoint_of(branch)
    mutation.plan([Step("apply_config", branch.id, None if endpoint is None else endpoint.id)])
    project = find.project(engine, branch.project_id)
    with mutation.step(), engine.computes.awake(project, branch) as cluster:
        yield cluster


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
        at = now()
        password = None if request.role.no_login else new_password()
        role = RoleRecord(branch_id=branch.id, name=name, password=password, created_at=at, updated_at=at)
        with apply_config(engine, mutation, branch) as cluster:
            try:
                cluster.ensure_role(name, password, no_login=password is None)
            except ForeignRoleError as exc:
                raise conflict(f"role already exists; role_name:{name!r}: {exc}") from exc
        with mutation.commit() as writer:
            writer.insert(role)
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
        with apply_config(engine, mutation, branch) as cluster:
            with cluster.connect() as connection:
                connection.execute(END_SESSIONS_OF_ROLE, [name])
            cluster.drop_role(name)
        with mutation.commit() as writer:
            writer.delete(RoleRecord, branch_id=branch.id, name=name)
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
        new = new_password()
        with apply_config(engine, mutation, branch) as cluster:
            cluster.set_role_password(name, new)
            with cluster.connect() as connection:
                connection.execute(END_SESSIONS_OF_ROLE, [name])
        role = replace(role, password=new, updated_at=now())
        with mutation.commit() as writer:
            writer.update(role)
    return _answer(role, mutation, with_password=True)
