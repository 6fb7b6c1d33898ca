"""Changes inside a branch's Postgres that the store tells of: written down before they begin, so that none stays half.

Postgres and the store cannot commit together. So what is to be done is in the store first; it can be done again from
any point, and whoever finds it there, the next change of the branch or the next engine, does it to its end.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import psycopg

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.errors import ClusterProblem, ForeignRoleError
from tenantry.local.state.records import BranchRecord, DatabaseRecord, ProjectRecord, RoleRecord, now

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster
    from tenantry.local.computes import Computes
    from tenantry.local.state.store import Store, Writer

__all__ = ["Change", "begin", "carry_out", "finish", "finish_all", "give_up", "lost", "record"]

log = logging.getLogger(__name__)

_END_SESSIONS_OF_ROLE = """
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = %s
"""
_CONNECTION_EXCEPTIONS = ("08", "57P")
_IS_THERE = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of the role or database *name*. None where a kind has no use for a part, or leaves it."""

    kind: Literal[
        "create_role", "delete_role", "reset_password", "create_database", "delete_database", "update_database"
    ]
    name: str
    new_name: str | None = None
    owner: str | None = None
    password: str | None = field(default=None, repr=False)


def _key(branch: BranchRecord) -> str:
    return f"change of {branch.directory}"


def begin(store: Store, branch: BranchRecord, change: Change) -> None:
    """Write *change* down. From here on it will be done, by us or by a later engine, unless it is given up."""
    with store.write() as writer:
        writer.set_meta(_key(branch), json.dumps(asdict(change)))


def lost(exc: Exception) -> bool:
    """Whether Postgres went away, so that nobody knows how far a change came; else it refused the change."""
    state = exc.sqlstate if isinstance(exc, psycopg.Error) else None
    return isinstance(exc, ClusterProblem | psycopg.OperationalError) and (
        state is None or state.startswith(_CONNECTION_EXCEPTIONS)
    )


def give_up(store: Store, branch: BranchRecord, cluster: Cluster, change: Change) -> None:
    """Undo and forget a change that was begun, since Postgres refused it."""
    if change.kind == "create_database":
        with suppress(psycopg.Error):
            cluster.drop_database(change.name)
    with store.write() as writer:
        writer.delete_meta(_key(branch))


def carry_out(cluster: Cluster, change: Change) -> None:
    """Make Postgres as *change* says. Safe to repeat, from wherever an earlier try ended."""
    match change.kind:
        case "create_role":
            cluster.ensure_role(change.name, change.password, no_login=change.password is None)
        case "delete_role":
            _end_sessions(cluster, change.name)
            cluster.drop_role(change.name)
        case "reset_password":
            assert change.password is not None
            cluster.set_role_password(change.name, change.password)
            _end_sessions(cluster, change.name)
        case "create_database":
            assert change.owner is not None
            cluster.drop_database(change.name)  # an earlier try may have left it without its grants
            cluster.create_database(change.name, change.owner)
        case "delete_database":
            cluster.drop_database(change.name)
        case "update_database":
            if not _is_there(cluster, change.name):
                return  # it has its new name already, and had its new owner before that
            if change.owner is not None:
                cluster.alter_database_owner(change.name, change.owner)
            if change.new_name is not None:
                cluster.rename_database(change.name, change.new_name)


def _end_sessions(cluster: Cluster, role: str) -> None:
    with cluster.connect() as connection:
        connection.execute(_END_SESSIONS_OF_ROLE, [role])


def _is_there(cluster: Cluster, database: str) -> bool:
    with cluster.connect() as connection:
        return connection.execute(_IS_THERE, [database]).fetchone() is not None


def record(store: Store, writer: Writer, branch: BranchRecord, change: Change) -> None:
    """Let the store tell of *change*, and strike it from what is to be done."""
    at = now()
    role = store.get(RoleRecord, branch_id=branch.id, name=change.name)
    database = store.get(DatabaseRecord, branch_id=branch.id, name=change.name)
    match change.kind:
        case "create_role":
            writer.insert(
                RoleRecord(
                    branch_id=branch.id, name=change.name, password=change.password, created_at=at, updated_at=at
                )
            )
        case "delete_role":
            writer.delete(RoleRecord, branch_id=branch.id, name=change.name)
        case "reset_password" if role is not None:
            writer.update(replace(role, password=change.password, updated_at=at))
        case "create_database":
            assert change.owner is not None
            writer.insert(
                DatabaseRecord(
                    branch_id=branch.id, name=change.name, owner_name=change.owner, created_at=at, updated_at=at
                )
            )
        case "delete_database":
            writer.delete(DatabaseRecord, branch_id=branch.id, name=change.name)
        case "update_database" if database is not None:
            writer.update(
                replace(
                    database,
                    name=change.new_name or database.name,
                    owner_name=change.owner or database.owner_name,
                    updated_at=at,
                )
            )
        case _:
            log.warning("%s of %r: the store has no such thing any more", change.kind, change.name)
    writer.delete_meta(_key(branch))


def finish(store: Store, branch: BranchRecord, cluster: Cluster) -> None:
    """Do what was begun on *branch* and not finished, if there is such a thing."""
    text = store.meta(_key(branch))
    if text is None:
        return
    change = Change(**json.loads(text))
    log.warning("finishing a change of branch %s that was cut short: %r", branch.id, change)
    try:
        carry_out(cluster, change)
    except (ForeignRoleError, psycopg.Error) as problem:
        if lost(problem):
            raise
        log.warning("it is given up: %s", problem)
        give_up(store, branch, cluster, change)
        return
    with store.write() as writer:
        record(store, writer, branch, change)


def finish_all(store: Store, computes: Computes) -> None:
    """Finish what an engine that died had begun. A branch whose Postgres does not start keeps its change for later."""
    projects = {project.id: project for project in store.select(ProjectRecord)}
    for branch in store.select(BranchRecord):
        if store.meta(_key(branch)) is None:
            continue
        try:
            with computes.awake(projects[branch.project_id], branch) as cluster:
                finish(store, branch, cluster)
        except (EnvironmentProblem, psycopg.Error) as problem:
            log.warning("a change of branch %s stays unfinished: %s", branch.id, problem)
