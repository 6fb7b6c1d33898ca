"""The schema of a branch's database, and how it differs from another branch's."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import psycopg

from tenantry.local.clusters.dump import dump_schema, read_tables
from tenantry.local.errors import ClusterProblem
from tenantry.local.history.moments import read_moment
from tenantry.local.refusals import bad_field, locked, not_found
from tenantry.local.services import find
from tenantry.local.services.forks import look_back
from tenantry.local.state.records import now
from tenantry.neon import wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.history.moments import Moment
    from tenantry.local.state.records import BranchRecord

__all__ = ["When", "compare", "get", "unified_diff"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class When:
    """Which moment of a branch is meant; neither is its head."""

    timestamp: datetime | None = None
    lsn: str | None = None
    prefix: str = ""

    def moment(self) -> Moment | None:
        """Return the moment. Raises a 400 if it is none, or two."""
        names = {"timestamp_field": f"{self.prefix}timestamp", "lsn_field": f"{self.prefix}lsn"}
        return read_moment(self.timestamp, self.lsn, **names, now=now())


def get(
    engine: Engine, project_id: str, branch_id: str, *, database: str, as_json: bool, when: When
) -> wire.BranchSchemaResponse:
    """Return the schema of a database of a branch, as SQL or as JSON."""
    branch, moment = find.branch(engine, project_id, branch_id), when.moment()
    if as_json:
        tables = _read(engine, branch, moment, database, read_tables)
        return wire.BranchSchemaResponse(json=wire.BranchSchema(tables=tables))
    return wire.BranchSchemaResponse(sql=_read(engine, branch, moment, database, dump_schema))


def compare(
    engine: Engine,
    project_id: str,
    branch_id: str,
    *,
    base_branch_id: str | None,
    database: str,
    when: When,
    base_when: When,
) -> wire.BranchSchemaCompareResponse:
    """Return what makes the base's schema the branch's, as a unified diff; the base is the parent by default."""
    branch = find.branch(engine, project_id, branch_id)
    moment, base_moment = when.moment(), base_when.moment()
    wanted = base_branch_id or branch.parent_id
    if wanted is None:
        raise bad_field(
            "base_branch_id", f"branch {branch.name!r} ({branch.id}) has no parent: name a branch to compare it with"
        )
    base = find.branch(engine, project_id, wanted)
    before = _read(engine, base, base_moment, database, dump_schema)
    after = _read(engine, branch, moment, database, dump_schema)
    return wire.BranchSchemaCompareResponse(diff=unified_diff(before, after, name=database))


def unified_diff(before: str, after: str, *, name: str) -> str:
    """Return the difference as git prints it; empty where there is none."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), fromfile=f"a/{name}", tofile=f"b/{name}"
    )
    return "".join(lines)


def _read(
    engine: Engine, branch: BranchRecord, moment: Moment | None, database: str, read: Callable[[Cluster, str], T]
) -> T:
    if moment is None:
        return _read_head(engine, branch, find.database(engine, branch, database).name, read)
    project = find.project(engine, branch.project_id)
    directory = engine.computes.new_directory(branch.id)
    with engine.operations.mutation(project.id) as mutation:
        current = find.branch(engine, project.id, branch.id)
        try:
            with look_back(engine, mutation, project, current, moment=moment, directory=directory) as cluster:
                if database not in {name for name, _ in cluster.shown_databases()}:
                    raise not_found("database", database)
                return read(cluster, database)
        finally:
            engine.computes.remove(directory)


def _read_head(engine: Engine, branch: BranchRecord, database: str, read: Callable[[Cluster, str], T]) -> T:
    """Read from the branch's cluster: beside mutations if it is awake, else as one, since it must be woken."""
    project = find.project(engine, branch.project_id)
    endpoint = engine.computes.endpoint_of(branch)
    if endpoint is not None and endpoint.active and engine.computes.serves(branch):
        try:
            return read(engine.computes.cluster(project, branch.directory, port=endpoint.port), database)
        except (ClusterProblem, psycopg.OperationalError) as exc:
            if engine.computes.serves(branch) and find.branch(engine, project.id, branch.id) == branch:
                raise
            raise locked() from exc  # a mutation took it from under us
    with engine.operations.mutation(project.id):
        current = find.branch(engine, project.id, branch.id)
        with engine.computes.awake(project, current) as cluster:
            return read(cluster, database)
