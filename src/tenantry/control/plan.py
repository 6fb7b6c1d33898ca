"""What is wanted against what is there: the steps between them. Pure: no connection, no clock, no environment.

A plan is folded: each step says what will be there after it, and the next is decided on that. So the plan of a branch
that is not there yet tells what the fork will inherit, and a plan cut short anywhere continues where it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tenantry import ddl
from tenantry.control.actual import BASE, Actual, BranchState
from tenantry.control.errors import LayoutMismatchError
from tenantry.control.steps import (
    CreateBranch,
    CreateEndpoint,
    CreateProject,
    EndCopiedSessions,
    Migrate,
    PrepareDatabase,
    ResetOwnerPassword,
    SecureTables,
    SetContextKeys,
    SetRolePasswords,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantry.control.wanted import Wanted, WantedBranch
    from tenantry.core.layout import App

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps from what is there to what is wanted, in order, and what is there beyond what is wanted."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def only(self, branch: str) -> Plan:
        """Return the steps of *branch* alone."""
        return replace(self, steps=tuple(step for step in self.steps if step.branch == branch))

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON takes it."""
        return {"steps": [step.as_json() for step in self.steps], "warnings": list(self.warnings)}


def make_plan(wanted: Wanted, actual: Actual) -> Plan:
    """Return the steps from *actual* to *wanted*, parents before children. Empty where nothing differs.

    Raises `LayoutMismatchError` where a branch has another parent or the default branch another name, and
    `UnknownRevisionError` where a database is at a revision that the app does not have.
    """
    check(wanted, actual)
    warnings = tuple(_warnings(wanted, actual))
    draft = _Draft(actual)
    for branch in wanted.branches():
        _plan_branch(wanted, branch, draft)
    return Plan(tuple(draft.steps), warnings)


class _Draft:
    """The steps so far, and what will be there after them."""

    def __init__(self, actual: Actual) -> None:
        self.actual = actual
        self.steps: list[Step] = []

    def add(self, *steps: Step) -> None:
        for step in steps:
            self.steps.append(step)
            self.actual = step.after(self.actual)

    def state(self, branch: WantedBranch) -> BranchState:
        found = self.actual.branch(branch.name)
        if found is None:
            raise AssertionError(f"{branch.name} was to be created first")
        if found.database is not None or branch.parent is None:
            return found
        parent = self.actual.branch(branch.parent)
        if parent is None:
            raise AssertionError(f"{branch.parent} was to be planned first")
        # Nothing could look into it: it holds what a fresh fork would, as far as anybody knows.
        self.actual = self.actual.with_branch(found.forked(parent))
        return self.state(branch)


def check(wanted: Wanted, actual: Actual) -> None:
    """Raise `LayoutMismatchError` if *actual* contradicts *wanted* in a way that no step mends."""
    default = next((branch for branch in actual.branches if branch.default), None)
    if default is not None and default.name != wanted.layout.default_branch:
        raise LayoutMismatchError(
            f"the default branch is {default.name}, and the layout wants {wanted.layout.default_branch}",
            way_out="set `default` under [branches] to its name, or rename the branch",
        )
    for branch in wanted.branches():
        found = actual.branch(branch.name)
        if found is not None and found.parent != branch.parent:
            raise LayoutMismatchError(
                f"branch {branch.name} is a child of {found.parent or 'no branch'}, and the layout wants it under "
                f"{branch.parent or 'no branch'}",
                way_out="a branch keeps its parent: change `parent` in the layout, or move its data and delete it",
            )


def _plan_branch(wanted: Wanted, branch: WantedBranch, draft: _Draft) -> None:
    if draft.actual.branch(branch.name) is None:
        draft.add(_create(wanted, branch))
    state = draft.state(branch)
    if not state.endpoint:
        draft.add(CreateEndpoint(branch.name))
    # Before anything else: until then whoever knows a password of the parent is in.
    if state.owner_password_inherited:
        draft.add(ResetOwnerPassword(branch.name, wanted.layout.project.owner))
    inherited = tuple(role for role in branch.roles if state.has_role(role) and role not in state.own_passwords)
    if inherited:
        draft.add(SetRolePasswords(branch.name, inherited))
    if branch.parent is not None and state.copied_sessions:
        draft.add(EndCopiedSessions(branch.name, wanted.layout.auth_schema))
    draft.add(*_prepare(wanted, branch, draft.state(branch)))
    for app in branch.apps:
        # Before the tables: they ask for a token as soon as they are secured.
        if app.context == "signed" and app.name not in draft.state(branch).own_context_keys:
            draft.add(SetContextKeys(branch.name, app.name, app.schema, app.context_keys))
        draft.add(*_migrate(wanted, branch, app, draft.state(branch)))
        draft.add(*_secure(branch, app, draft.state(branch)))


def _create(wanted: Wanted, branch: WantedBranch) -> Step:
    if branch.parent is not None:
        return CreateBranch(branch.name, branch.parent)
    project = wanted.layout.project
    return CreateProject(branch.name, project.name, project.region, project.postgres, project.database, project.owner)


def _prepare(wanted: Wanted, branch: WantedBranch, state: BranchState) -> Iterator[Step]:
    database = state.database
    if database is None:
        return
    changes: list[ddl.Change] = []
    if BASE not in state.settled:
        changes += ddl.base_changes(database, wanted.layout)
    for app in branch.apps:
        if f"app:{app.name}" not in state.settled:
            changes += ddl.app_changes(database, wanted.layout, app)
    if changes:
        yield PrepareDatabase(
            branch.name,
            apps=tuple(app.name for app in branch.apps),
            new_roles=tuple(role for role in branch.roles if not state.has_role(role)),
            changes=tuple(change.text for change in changes),
        )


def _migrate(wanted: Wanted, branch: WantedBranch, app: App, state: BranchState) -> Iterator[Step]:
    history = wanted.histories.get(app.name)
    if history is None:
        return
    pending = history.pending(state.revisions.get(app.schema, frozenset()), schema=app.schema)
    if pending:
        yield Migrate(branch.name, app.name, app.schema, tuple(revision.id for revision in pending))


def _secure(branch: WantedBranch, app: App, state: BranchState) -> Iterator[Step]:
    if state.database is None or f"tables:{app.name}" in state.settled:
        return
    unseen = f"unseen:{app.name}" in state.settled
    review = ddl.review_tables(state.database, app)
    if review.changes or review.refusals or unseen:
        yield SecureTables(
            branch.name,
            app=app.name,
            schema=app.schema,
            changes=tuple(change.text for change in review.changes),
            refusals=tuple(map(str, review.refusals)),
            unseen=unseen,
        )


def _warnings(wanted: Wanted, actual: Actual) -> Iterator[str]:
    project, spec = actual.project, wanted.layout.project
    if project is not None and project.region != spec.region:
        yield f"project {project.name} is in {project.region}, not in {spec.region}: a project keeps its region"
    if project is not None and project.postgres != spec.postgres:
        yield f"project {project.name} has Postgres {project.postgres}, not {spec.postgres}: a project keeps it"
    known = {branch.name: branch for branch in wanted.branches()}
    for branch in actual.branches:
        if branch.name not in known:
            yield f"branch {branch.name} is not in the layout: delete it in Neon if nobody needs it"
        elif branch.database is not None:
            for finding in ddl.findings(branch.database, wanted.layout, known[branch.name].apps):
                yield f"{branch.name}: {finding}"
