"""A fork: a data directory cloned from a branch, and the roles and databases that came with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tenantry.local.services.rules import passwords_after_clone
from tenantry.local.state.naming import new_password
from tenantry.local.state.records import BranchRecord, DatabaseRecord, RoleRecord, now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenantry.local.engine import Engine
    from tenantry.local.state.operations import Mutation
    from tenantry.local.state.records import ProjectRecord

__all__ = ["Fork", "fork"]


@dataclass(frozen=True, slots=True)
class Fork:
    """What a clone is: how it was copied, up to which LSN, and whose roles and databases are in it."""

    method: str
    bytes: int
    lsn: str
    roles: tuple[RoleRecord, ...]
    databases: tuple[DatabaseRecord, ...]
    passwords: Mapping[str, str] = field(repr=False)

    def owned_by(self, branch: BranchRecord) -> list[RoleRecord | DatabaseRecord]:
        """Return the roles and databases as records of *branch*."""
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
        ]


def fork(
    engine: Engine,
    mutation: Mutation,
    project: ProjectRecord,
    source: BranchRecord,
    directory: str,
    *,
    own: Mapping[str, str],
) -> Fork:
    """Clone *source* to *directory*, which is removed if the mutation fails.

    *own* are the passwords that the branch had before, by role, if it is not new: it keeps them.
    """
    roles = tuple(engine.store.select(RoleRecord, branch_id=source.id))
    passwords = passwords_after_clone(
        roles,
        own=own,
        source_protected=source.protected,
        fresh={role.name: new_password() for role in roles},
    )
    mutation.undo(lambda: engine.computes.remove(directory))
    report = engine.computes.fork(project, source, directory, passwords=passwords)
    return Fork(
        method=report.method,
        bytes=report.bytes,
        lsn=str(report.lsn),
        roles=roles,
        databases=tuple(engine.store.select(DatabaseRecord, branch_id=source.id)),
        passwords=passwords,
    )
