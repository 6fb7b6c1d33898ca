"""Databases that the API makes. Those made by SQL live in Postgres alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local import changes
from tenantry.local.changes import Change
from tenantry.local.refusals import conflict
from tenantry.local.services import find, limits, views
from tenantry.local.services.roles import apply_config
from tenantry.local.services.rules import RESERVED_DATABASES, check_identifier
from tenantry.local.state.records import DatabaseRecord
from tenantry.neon import wire

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import BranchRecord

__all__ = ["create", "delete", "get", "list_all", "update"]

IS_THERE = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"


def list_all(engine: Engine, project_id: str, branch_id: str) -> wire.DatabasesResponse:
    """Return the databases of a branch."""
    branch = find.branch(engine, project_id, branch_id)
    found = engine.store.select(DatabaseRecord, branch_id=branch.id, order="name")
    return wire.DatabasesResponse(databases=[views.database(database) for database in found])


def get(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.DatabaseResponse:
    """Return a database."""
    branch = find.branch(engine, project_id, branch_id)
    return wire.DatabaseResponse(database=views.database(find.database(engine, branch, name)))


def _answer(database: DatabaseRecord, mutation: Mutation) -> wire.DatabaseOperations:
    return wire.DatabaseOperations(
        database=views.database(database),
        operations=[views.operation(operation) for operation in mutation.operations],
    )


def _check_unused(engine: Engine, branch: BranchRecord, name: str) -> None:
    if engine.store.get(DatabaseRecord, branch_id=branch.id, name=name) is not None:
        raise conflict(f"database already exists; database_name:{name!r}")


def _check_not_in_postgres(cluster: Cluster, name: str) -> None:
    with cluster.connect() as connection:
        if connection.execute(IS_THERE, [name]).fetchone() is not None:
            raise conflict(f"database already exists; database_name:{name!r}: it was made by SQL, so drop it by SQL")


def create(
    engine: Engine, project_id: str, branch_id: str, request: wire.DatabaseCreateRequest
) -> wire.DatabaseOperations:
    """Make a database that belongs to a role of the branch."""
    name = check_identifier("database.name", request.database.name, reserved=RESERVED_DATABASES)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        _check_unused(engine, branch, name)
        owner = find.role(engine, branch, request.database.owner_name)
        limits.check_databases(engine.plan, len(engine.store.select(DatabaseRecord, branch_id=branch.id)))
        change = Change("create_database", name, owner=owner.name)
        apply_config(engine, mutation, branch, change, check=lambda cluster: _check_not_in_postgres(cluster, name))
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    return _answer(find.database(engine, branch, name), mutation)


def update(
    engine: Engine, project_id: str, branch_id: str, name: str, request: wire.DatabaseUpdateRequest
) -> wire.DatabaseOperations:
    """Rename a database, which ends the connections to it, or give it to another role."""
    wanted = request.database
    new_name = None
    if wanted.name is not None and wanted.name != name:
        new_name = check_identifier("database.name", wanted.name, reserved=RESERVED_DATABASES)
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        database = find.database(engine, branch, name)
        if new_name is not None:
            _check_unused(engine, branch, new_name)
        owner = None if wanted.owner_name is None else find.role(engine, branch, wanted.owner_name).name
        change = Change(
            "update_database", name, new_name=new_name, owner=None if owner == database.owner_name else owner
        )

        def check(cluster: Cluster) -> None:
            if new_name is not None:
                _check_not_in_postgres(cluster, new_name)

        apply_config(engine, mutation, branch, change, check=check)
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    return _answer(find.database(engine, branch, new_name or name), mutation)


def delete(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.DatabaseOperations | None:
    """Drop a database and end the connections to it. None if there is no such database."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        database = engine.store.get(DatabaseRecord, branch_id=branch.id, name=name)
        if database is None:
            return None
        change = Change("delete_database", name)
        apply_config(engine, mutation, branch, change)
        with mutation.commit() as writer:
            changes.record(engine.store, writer, branch, change)
    return _answer(database, mutation)
