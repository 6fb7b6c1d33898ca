"""The schema of a branch's database, and how it differs from another branch's."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

import psycopg

from tenantry.local.clusters.dump import dump_schema, read_tables
from tenantry.local.errors import ClusterProblem
from tenantry.local.refusals import bad_field, locked, not_served
from tenantry.local.services import find
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.state.records import BranchRecord

__all__ = ["check_moment", "compare", "get", "unified_diff"]

T = TypeVar("T")


def check_moment(*, lsn: str | None, timestamp: str | None, prefix: str = "") -> None:
    """Raise a 400 if both are given, a 501 if one is: only the head's schema can be read."""
    if lsn is not None and timestamp is not None:
        raise bad_field(f"{prefix}lsn", f"it cannot be given together with {prefix}timestamp")
    if lsn is not None or timestamp is not None:
        raise not_served("the schema of a past moment", f"leave {prefix}lsn and {prefix}timestamp out to read the head")


def get(
    engine: Engine,
    project_id: str,
    branch_id: str,
    *,
    database: str,
    as_json: bool,
) -> wire.BranchSchemaResponse:
    """Return the schema of a database at the head of a branch, as SQL or as JSON."""
    branch = find.branch(engine, project_id, branch_id)
    name = find.database(engine, branch, database).name
    if as_json:
        tables = _read(engine, branch, lambda cluster: read_tables(cluster, name))
        return wire.BranchSchemaResponse(json=wire.BranchSchema(tables=tables))
    return wire.BranchSchemaResponse(sql=_read(engine, branch, lambda cluster: dump_schema(cluster, name)))


def compare(
    engine: Engine, project_id: str, branch_id: str, *, base_branch_id: str | None, database: str
) -> wire.BranchSchemaCompareResponse:
    """Return what makes the base's schema the branch's, as a unified diff; the base is the parent by default."""
    branch = find.branch(engine, project_id, branch_id)
    wanted = base_branch_id or branch.parent_id
    if wanted is None:
        raise bad_field(
            "base_branch_id", f"branch {branch.name!r} ({branch.id}) has no parent: name a branch to compare it with"
        )
    base = find.branch(engine, project_id, wanted)
    for one in (base, branch):
        find.database(engine, one, database)
    before, after = (_read(engine, one, lambda cluster: dump_schema(cluster, database)) for one in (base, branch))
    return wire.BranchSchemaCompareResponse(diff=unified_diff(before, after, name=database))


def unified_diff(before: str, after: str, *, name: str) -> str:
    """Return the difference as git prints it; empty where there is none."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), fromfile=f"a/{name}", tofile=f"b/{name}"
    )
    return "".join(lines)


def _read(engine: Engine, branch: BranchRecord, read: Callable[[Cluster], T]) -> T:
    """Read from the branch's cluster: beside mutations if it is awake, else as one, since it must be woken."""
    project = find.project(engine, branch.project_id)
    endpoint = engine.computes.endpoint_of(branch)
    if endpoint is not None and endpoint.active and engine.computes.serves(branch):
        try:
            return read(engine.computes.cluster(project, branch.directory, port=endpoint.port))
        except (ClusterProblem, psycopg.OperationalError) as exc:
            if engine.computes.serves(branch) and find.branch(engine, project.id, branch.id) == branch:
                raise
            raise locked() from exc  # a mutation took it from under us
    with engine.operations.mutation(project.id):
        current = find.branch(engine, project.id, branch.id)
        with engine.computes.awake(project, current) as cluster:
            return read(cluster)
