"""A fork: a data directory made from a branch, its head or a moment of its past, with the roles and databases in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tenantry.core.ids import BranchId
from tenantry.local.clusters.emptying import empty
from tenantry.local.clusters.wal import format_lsn, parse_lsn, read_control, segment_start
from tenantry.local.history.files import mark, switch_point
from tenantry.local.history.moments import find_lineage, plan_replay
from tenantry.local.services.rules import passwords_after_clone, passwords_of_the_past
from tenantry.local.state.naming import new_password
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    DatabaseRecord,
    LineageRecord,
    RoleRecord,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime

    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.engine import Engine
    from tenantry.local.history.moments import Moment
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import ProjectRecord

__all__ = ["Fork", "Source", "fork", "look_back", "rooted", "unpack", "window_start"]


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork is: how it was copied, up to which LSN and time, whose roles and databases are in it, and its past.

    `lineage` and `base` are those of a directory that is nobody's yet: `owned_by` says whose.
    """

    method: str
    bytes: int
    lsn: str
    at: datetime
    roles: tuple[RoleRecord, ...]
    databases: tuple[DatabaseRecord, ...]
    passwords: Mapping[str, str] = field(repr=False)
    lineage: LineageRecord
    base: BaseRecord | None = None

    def owned_by(
        self, branch: BranchRecord, *, since: datetime | None = None
    ) -> list[RoleRecord | DatabaseRecord | LineageRecord | BaseRecord]:
        """Return the roles, the databases and the history as records of *branch*.

        It shows them *since* a time: until then its clients saw what it had before.
        """
        at = now()
        return [
            *(
                replace(
                    role,
                    branch_id=branch.id,
                    password=self.passwords.get(role.name, role.password),
                    created_at=at,
                    updated_at=at,
                )
                for role in self.roles
            ),
            *(
                replace(database, id=None, branch_id=branch.id, created_at=at, updated_at=at)
                for database in self.databases
            ),
            replace(self.lineage, branch_id=branch.id, began_at=since or self.lineage.began_at),
            *([] if self.base is None else [self.base]),
        ]


@dataclass(frozen=True, slots=True)
class Source:
    """What a fork is made from: a branch, at its head or at *moment*; *schema_only* leaves the rows behind."""

    branch: BranchRecord
    moment: Moment | None = None
    schema_only: bool = False


def window_start(project: ProjectRecord, at: datetime) -> datetime:
    """Return the earliest time that a project's history goes back to."""
    return at - timedelta(seconds=project.history_retention_seconds)


def fork(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    source: Source,
    directory: str,
    *,
    own: Mapping[str, str],
) -> Fork:
    """Make *directory* from *source*. It is removed if the mutation fails, and its base with it.

    *own* are the passwords that the branch had before, by role, if it is not new: it keeps them.
    """
    mutation.undo(lambda: engine.computes.remove(directory))
    if source.moment is not None:
        return _fork_past(engine, mutation, project, source, directory, own=own)
    branch = source.branch
    at = now()
    roles = tuple(engine.store.select(RoleRecord, branch_id=branch.id))
    passwords = passwords_after_clone(
        roles,
        own=own,
        source_protected=branch.protected,
        fresh={role.name: new_password() for role in roles},
    )
    report = engine.computes.fork(project, branch, directory, passwords=passwords)
    made = Fork(
        method=report.method,
        bytes=report.bytes,
        lsn=report.lsn,
        at=at,
        roles=roles,
        databases=tuple(engine.store.select(DatabaseRecord, branch_id=branch.id)),
        passwords=passwords,
        # No base: its parent's history up to here is its own.
        lineage=LineageRecord(
            directory=directory,
            project_id=project.id,
            branch_id=branch.id,
            ancestor=branch.directory,
            timeline=report.timeline,
            wal_from=format_lsn(segment_start(parse_lsn(report.start))),
            began_at=at,
            began_lsn=report.lsn,
        ),
    )
    if not source.schema_only:
        return made
    with engine.computes.open(project, directory) as cluster:
        empty(cluster)
    return rooted(engine, mutation, project, made, directory)


@contextmanager
def look_back(
    engine: Engine, mutation: Mutation, project: ProjectRecord, source: BranchRecord, *, moment: Moment, directory: str
) -> Generator[Cluster]:
    """Make *directory* what *source* was at *moment*. Its cluster runs for the block, and is left stopped."""
    mutation.undo(lambda: engine.computes.remove(directory))
    label = f"branch {source.name!r} ({source.id})"
    with engine.computes.awake(project, source) as cluster:
        ends = mark(cluster)
    lineages = engine.store.select(LineageRecord, project_id=project.id)
    lineage = find_lineage(
        moment,
        [one for one in lineages if one.branch_id == source.id],
        window_start=window_start(project, now()),
        head=ends.head,
        label=label,
    )
    plan = plan_replay(
        moment,
        lineage,
        lineages,
        [base for one in lineages for base in engine.store.select(BaseRecord, directory=one.directory)],
        head=(ends.flushed if lineage.ended_lsn is None else parse_lsn(lineage.ended_lsn)) - 1,
        label=label,
    )
    with engine.computes.replay(project, plan, directory) as cluster:
        yield cluster


def _fork_past(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    source: Source,
    directory: str,
    *,
    own: Mapping[str, str],
) -> Fork:
    branch, moment = source.branch, source.moment
    assert moment is not None
    known = {
        role.name: role.password
        for role in engine.store.select(RoleRecord, branch_id=branch.id)
        if role.password is not None and not branch.protected
    }
    with look_back(engine, mutation, project, branch, moment=moment, directory=directory) as cluster:
        made = _as_found(project, cluster, directory, known=known | dict(own), moment=moment)
        if source.schema_only:
            empty(cluster)
    return rooted(engine, mutation, project, made, directory)


def unpack(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    snapshot: str,
    directory: str,
    *,
    known: Mapping[str, str],
) -> Fork:
    """Make *directory* from a snapshot, whose roles get the passwords *known*, by name."""
    mutation.undo(lambda: engine.computes.remove(directory))
    with engine.computes.unpack(project, snapshot, directory) as cluster:
        made = _as_found(project, cluster, directory, known=known, moment=None)
    return rooted(engine, mutation, project, made, directory)


def _as_found(
    project: ProjectRecord,
    cluster: Cluster,
    directory: str,
    *,
    known: Mapping[str, str],
    moment: Moment | None,
) -> Fork:
    """Read which roles and databases a cluster of the past has, and give the roles passwords that we know."""
    at = now()
    found = cluster.shown_roles()
    passwords = passwords_of_the_past(found, known=known, fresh={name: new_password() for name, _ in found})
    for name, password in passwords.items():
        cluster.set_role_password(name, password)
    # Whose they are is said later.
    nobody = BranchId("")
    lsn = switch_point(cluster.data) or format_lsn(read_control(cluster.data).checkpoint)
    return Fork(
        method="copy",
        bytes=0,
        lsn=format_lsn(moment.lsn) if moment is not None and moment.lsn is not None else lsn,
        at=moment.at if moment is not None and moment.at is not None else at,
        roles=tuple(
            RoleRecord(branch_id=nobody, name=name, password=passwords.get(name), created_at=at, updated_at=at)
            for name, _ in found
        ),
        databases=tuple(
            DatabaseRecord(branch_id=nobody, name=name, owner_name=owner, created_at=at, updated_at=at)
            for name, owner in cluster.shown_databases()
        ),
        passwords=passwords,
        lineage=LineageRecord(
            directory=directory,
            project_id=project.id,
            branch_id=nobody,
            ancestor=None,
            timeline=0,
            wal_from=lsn,
            began_at=at,
            began_lsn=lsn,
        ),
    )


def rooted(engine: Engine, mutation: Mutation, project: ProjectRecord, made: Fork, directory: str) -> Fork:
    """Return *made* with a base of its own: nothing of its history is in another directory."""
    cluster = engine.computes.cluster(project, directory, port=0)
    base, report = engine.computes.vault.take_base(cluster)
    mutation.undo(lambda: engine.computes.vault.remove(base.id))
    lineage = replace(
        made.lineage,
        ancestor=None,
        timeline=report.timeline,
        wal_from=format_lsn(segment_start(parse_lsn(base.start_lsn))),
        began_at=base.taken_at,
        began_lsn=base.end_lsn,
    )
    engine.computes.vault.drop_wal(lineage, before=parse_lsn(base.start_lsn))
    return replace(made, lineage=lineage, base=base, method=report.method, bytes=report.bytes)
