"""What is there, as values: the project, its branches, and what their databases hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenantry.core.ids import BranchId, ProjectId
    from tenantry.ddl import DatabaseState

__all__ = ["Actual", "BranchState", "ProjectState"]

BASE = "base"


@dataclass(frozen=True, slots=True)
class BranchState:
    """A branch. `database` is None where nothing could look: it has no endpoint, or the layout does not know it.

    `own_passwords` are the roles that log in with the password that is derived for this branch, and `own_context_keys`
    the apps that exactly the keys derived for it open. `settled` names the topics that a planned step has brought to
    what is wanted since `database` was read.
    """

    name: str
    parent: str | None
    id: BranchId | None = None
    default: bool = False
    endpoint: bool = True
    owner_password_inherited: bool = False
    own_passwords: frozenset[str] = frozenset()
    own_context_keys: frozenset[str] = frozenset()
    copied_sessions: bool = False
    database: DatabaseState | None = None
    revisions: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    settled: frozenset[str] = frozenset()

    def has_role(self, role: str) -> bool:
        """Whether *role* is there, or a planned step makes it."""
        return f"role:{role}" in self.settled or (self.database is not None and role in self.database.roles)

    def settle(self, *topics: str) -> BranchState:
        """Return this branch with *topics* as wanted."""
        return replace(self, settled=self.settled | set(topics))

    def forked(self, parent: BranchState) -> BranchState:
        """Return this branch with what a fork of *parent* inherits: everything, and every password."""
        return replace(
            self,
            owner_password_inherited=True,
            own_passwords=frozenset(),
            own_context_keys=frozenset(),
            copied_sessions=True,
            database=parent.database,
            revisions=parent.revisions,
            settled=parent.settled,
        )


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A Neon project."""

    id: ProjectId | None
    name: str
    region: str
    postgres: int


@dataclass(frozen=True, slots=True)
class Actual:
    """All that was observed. An empty one stands for a project that is not there."""

    project: ProjectState | None = None
    branches: tuple[BranchState, ...] = ()

    def branch(self, name: str) -> BranchState | None:
        """The branch called *name*, or None."""
        return next((branch for branch in self.branches if branch.name == name), None)

    def with_branch(self, branch: BranchState) -> Actual:
        """Return this with *branch* in place of the one of the same name, or added."""
        if self.branch(branch.name) is None:
            return replace(self, branches=(*self.branches, branch))
        return replace(self, branches=tuple(branch if each.name == branch.name else each for each in self.branches))
