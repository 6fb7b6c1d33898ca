"""The steps of a plan. Each says what it does, in words and in JSON, and what will be there after it."""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tenantry.control.actual import BASE, Actual, BranchState, ProjectState
from tenantry.ddl import DatabaseState

__all__ = [
    "CreateBranch",
    "CreateEndpoint",
    "CreateProject",
    "EndCopiedSessions",
    "Migrate",
    "PrepareDatabase",
    "ResetOwnerPassword",
    "SecureTables",
    "SetContextKeys",
    "SetRolePasswords",
    "Step",
]


@dataclass(frozen=True, slots=True)
class Step(abc.ABC):
    """Something to do on one branch. Safe to repeat: what it finds done already it leaves."""

    kind: ClassVar[str]
    branch: str

    @abc.abstractmethod
    def describe(self) -> str:
        """Say what it does, in one short line without the branch's name."""

    def details(self) -> tuple[str, ...]:
        """Return what it does one by one, where the line sums it up."""
        return ()

    @abc.abstractmethod
    def after(self, actual: Actual) -> Actual:
        """Return what will be there once it is done."""

    def as_json(self) -> dict[str, Any]:
        """Return the step as JSON takes it."""
        fields: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"step": self.kind, **fields, "text": self.describe(), "details": list(self.details())}

    def _branch(self, actual: Actual) -> BranchState:
        found = actual.branch(self.branch)
        if found is None:
            raise AssertionError(f"{self.kind} was planned before {self.branch} was created")
        return found


@dataclass(frozen=True, slots=True)
class CreateProject(Step):
    """Make the project with its default branch, database and owner."""

    kind: ClassVar[str] = "create_project"
    project: str
    region: str
    postgres: int
    database: str
    owner: str

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"create project {self.project} in {self.region} with Postgres {self.postgres}"

    def after(self, actual: Actual) -> Actual:  # noqa: ARG002, D102 - as in Step
        default = BranchState(
            self.branch, None, default=True, database=DatabaseState(name=self.database, reader=self.owner)
        )
        return Actual(ProjectState(None, self.project, self.region, self.postgres), (default,))


@dataclass(frozen=True, slots=True)
class CreateBranch(Step):
    """Fork a branch from its parent, with an endpoint."""

    kind: ClassVar[str] = "create_branch"
    parent: str

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"create branch from {self.parent}"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        parent = actual.branch(self.parent)
        if parent is None:
            raise AssertionError(f"{self.branch} was planned before its parent {self.parent}")
        return actual.with_branch(BranchState(self.branch, self.parent).forked(parent))


@dataclass(frozen=True, slots=True)
class CreateEndpoint(Step):
    """Give a branch that has no compute one."""

    kind: ClassVar[str] = "create_endpoint"

    def describe(self) -> str:  # noqa: D102 - as in Step
        return "create an endpoint"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        return actual.with_branch(replace(self._branch(actual), endpoint=True))


@dataclass(frozen=True, slots=True)
class ResetOwnerPassword(Step):
    """Give the owner another password than the parent's, which a fork inherits."""

    kind: ClassVar[str] = "reset_owner_password"
    role: str

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"give {self.role} a password of its own"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        return actual.with_branch(replace(self._branch(actual), owner_password_inherited=False))


@dataclass(frozen=True, slots=True)
class SetRolePasswords(Step):
    """Give roles that are there the passwords that are derived for this branch."""

    kind: ClassVar[str] = "set_role_passwords"
    roles: tuple[str, ...]

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"give {' and '.join(self.roles)} passwords of their own"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        branch = self._branch(actual)
        return actual.with_branch(replace(branch, own_passwords=branch.own_passwords | set(self.roles)))


@dataclass(frozen=True, slots=True)
class EndCopiedSessions(Step):
    """Make worthless what the branch's copy of the auth schema could be logged in with."""

    kind: ClassVar[str] = "end_copied_sessions"
    schema: str

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"end the sessions copied with {self.schema}"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        return actual.with_branch(replace(self._branch(actual), copied_sessions=False))


@dataclass(frozen=True, slots=True)
class PrepareDatabase(Step):
    """Make extensions, the auth schema, roles, schemas and their grants, in one transaction."""

    kind: ClassVar[str] = "prepare_database"
    apps: tuple[str, ...]
    new_roles: tuple[str, ...]
    changes: tuple[str, ...]

    def describe(self) -> str:  # noqa: D102 - as in Step
        what = (
            ["extensions", "the auth schema"]
            if not self.apps
            else [f"roles, schema and grants of {each}" for each in self.apps]
        )
        return f"prepare the database: {' and '.join(what)} ({_counted(len(self.changes), 'change')})"

    def details(self) -> tuple[str, ...]:  # noqa: D102 - as in Step
        return self.changes

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        branch = self._branch(actual)
        topics = [BASE, *(f"app:{app}" for app in self.apps), *(f"role:{role}" for role in self.new_roles)]
        prepared = replace(branch, own_passwords=branch.own_passwords | set(self.new_roles))
        return actual.with_branch(prepared.settle(*topics))


@dataclass(frozen=True, slots=True)
class SetContextKeys(Step):
    """Let the keys that are derived for this branch sign the context of an app, and no others. Their numbers only."""

    kind: ClassVar[str] = "set_context_keys"
    app: str
    schema: str
    keys: tuple[int, ...]

    def describe(self) -> str:  # noqa: D102 - as in Step
        which = f"key {self.keys[0]}" if len(self.keys) == 1 else f"keys {' and '.join(map(str, self.keys))}"
        return f"let {which} of {self.app} sign its context, and no other"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        branch = self._branch(actual)
        return actual.with_branch(replace(branch, own_context_keys=branch.own_context_keys | {self.app}))


@dataclass(frozen=True, slots=True)
class Migrate(Step):
    """Bring an app's schema to head, each revision in a transaction of its own."""

    kind: ClassVar[str] = "migrate"
    app: str
    schema: str
    revisions: tuple[str, ...]

    def describe(self) -> str:  # noqa: D102 - as in Step
        return f"migrate {self.schema} to {self.revisions[-1]} ({', '.join(self.revisions)})"

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        branch = self._branch(actual)
        at = {**branch.revisions, self.schema: frozenset({self.revisions[-1]})}
        # What the migrations made is not walled in yet, whatever was before.
        settled = branch.settled - {f"tables:{self.app}"} | {f"unseen:{self.app}"}
        return actual.with_branch(replace(branch, revisions=at, settled=settled))


@dataclass(frozen=True, slots=True)
class SecureTables(Step):
    """Wall in every table of an app's schema and give the app role its grants, in one transaction.

    `unseen` says that migrations before this step may make more than `changes` tells. With `refusals` it fails
    unless those migrations mend them.
    """

    kind: ClassVar[str] = "secure_tables"
    app: str
    schema: str
    changes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    unseen: bool = False

    def describe(self) -> str:  # noqa: D102 - as in Step
        what = "what the migrations make" if self.unseen else _counted(len(self.changes), "change")
        refused = f", {_counted(len(self.refusals), 'REFUSAL')}" if self.refusals else ""
        return f"wall in the tables of {self.schema}: row security and grants ({what}{refused})"

    def details(self) -> tuple[str, ...]:  # noqa: D102 - as in Step
        return (*self.changes, *(f"REFUSED: {refusal}" for refusal in self.refusals))

    def after(self, actual: Actual) -> Actual:  # noqa: D102 - as in Step
        branch = self._branch(actual)
        settled = branch.settled - {f"unseen:{self.app}"} | {f"tables:{self.app}"}
        return actual.with_branch(replace(branch, settled=settled))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
