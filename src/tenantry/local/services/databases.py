"""Databases that the API makes. Those made by SQL live in Postgres alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tenantry.local.refusals import conflict
from tenantry.local.services import find, limits, views
from tenantry.local.services.roles import apply_config
from tenantry.local.services.rules import RESERVED_DATABASES, check_identifier
from tenantry.local.state.records import DatabaseRecord, now
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
        at = now()
        with apply_config(engine, mutation, branch) as cluster:
            if not _was_cut_short(engine, branch, name):
                _check_not_in_postgres(cluster, name)
            _mark(engine, branch, name)
            cluster.drop_database(name)
            cluster.create_database(name, owner.name)
        with mutation.commit() as writer:
            writer.insert(
                DatabaseRecord(branch_id=branch.id, name=name, owner_name=owner.name, created_at=at, updated_at=at)
            )
            writer.delete_meta(_mark_key(branch, name))
    return _answer(find.database(engine, branch, name), mutation)


def _mark_key(branch: BranchRecord, name: str) -> str:
    return f"making database {name} in {branch.directory}"


def _mark(engine: Engine, branch: BranchRecord, name: str) -> None:
    """Remember that a database is being made: what an engine that died left of it is ours to drop."""
    with engine.store.write() as writer:
        writer.set_meta(_mark_key(branch, name), "")


def _was_cut_short(engine: Engine, branch: BranchRecord, name: str) -> bool:
    return engine.store.meta(_mark_key(branch, name)) is not None


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
        with apply_config(engine, mutation, branch) as cluster:
            if new_name is not None:
                _check_not_in_postgres(cluster, new_name)
            if owner is not None and owner != database.owner_name:
                cluster.alter_database_owner(name, owner)
                mutation.undo(lambda: cluster.alter_database_owner(name, database.owner_name))
            if new_name is not None:
                cluster.rename_database(name, new_name)
        database = replace(
            database,
            name=new_name or database.name,
            owner_name=owner or database.owner_name,
            updated_at=now(),
        )
        with mutation.commit() as writer:
            writer.update(database)
    return _answer(database, mutation)


def delete(engine: Engine, project_id: str, branch_id: str, name: str) -> wire.DatabaseOperations | None:
    """Drop a database and end the connections to it. None if there is no such database."""
    with engine.operations.mutation(find.project(engine, project_id).id) as mutation:
        branch = find.branch(engine, project_id, branch_id)
        database = engine.store.get(DatabaseRecord, branch_id=branch.id, name=name)
        if database is None:
            return None
        with apply_config(engine, mutation, branch) as cluster:
            cluster.drop_database(name)
        with mutation.commit() as writer:
            writer.delete(DatabaseRecord, id=database.id)
    return _answer(database, mutation)
