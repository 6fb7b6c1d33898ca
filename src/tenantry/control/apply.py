"""Carrying a plan out: each step through Neon's API or a direct connection, branches side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tenantry.control import databases
from tenantry.control.observe import context_keys, owner_conninfo
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
from tenantry.core.errors import StepFailedError, TenantryError
from tenantry.core.ids import BranchId, ProjectId
from tenantry.neon import wire

if TYPE_CHECKING:
    from tenantry.control.actual import Actual
    from tenantry.control.plan import Plan
    from tenantry.control.wanted import Wanted
    from tenantry.core.conninfo import Conninfo
    from tenantry.core.layout import App
    from tenantry.neon.client import NeonClient
    from tenantry.secrets import Secrets
    from tenantry.session.signing import ContextKey

__all__ = ["Applied", "Hands", "Progress", "carry_out"]


class Progress(Protocol):
    """Called before each step, and once more at the end."""

    def __call__(self, done: int, total: int, label: str, /) -> object:
        """*done* of *total* steps are done, and *label* comes now."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """The steps that were carried out, in the order of the plan, and what the last look warned of."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what was done as JSON takes it."""
        return {"steps": [step.as_json() for step in self.steps], "warnings": list(self.warnings)}


class Hands:
    """Carries out one step. Knows the ids that names stand for, and how the owner connects to each branch."""

    def __init__(self, client: NeonClient, wanted: Wanted, secrets: Secrets, actual: Actual) -> None:
        self._client = client
        self._wanted = wanted
        self._secrets = secrets
        self._project = None if actual.project is None else actual.project.id
        self._ids = {branch.name: branch.id for branch in actual.branches if branch.id is not None}
        self._owners: dict[str, Conninfo] = {}

    async def do(self, step: Step) -> None:
        """Carry *step* out. Raises a `TenantryError`."""
        match step:
            case CreateProject():
                await self._create_project(step)
            case CreateBranch():
                await self._create_branch(step)
            case CreateEndpoint():
                endpoint = wire.EndpointCreate(branch_id=self._ids[step.branch], type="read_write")
                made = await self._client.create_project_endpoint(self._project_id(), endpoint)
                await self._client.wait_for_operations(made.operations)
            case ResetOwnerPassword():
                await self._reset_owner_password(step)
            case _:
                await self._do_inside(step)

    async def _do_inside(self, step: Step) -> None:
        owner = await self.owner(step.branch)
        layout, branch = self._wanted.layout, self._wanted.branch(step.branch)
        match step:
            case SetRolePasswords():
                await asyncio.to_thread(databases.set_passwords, owner, self._passwords(step.branch, step.roles))
            case EndCopiedSessions():
                await asyncio.to_thread(databases.end_copied_sessions, owner, step.schema)
            case PrepareDatabase():
                passwords = self._passwords(step.branch, branch.roles)
                await asyncio.to_thread(databases.prepare, owner, layout, branch.apps, passwords)
            case SetContextKeys():
                app = next(app for app in branch.apps if app.name == step.app)
                await asyncio.to_thread(databases.set_context_keys, owner, app, self._context_keys(step.branch, app))
            case Migrate():
                app = next(app for app in branch.apps if app.name == step.app)
                password = self._passwords(step.branch, (app.migrator_role,))[app.migrator_role]
                await asyncio.to_thread(databases.upgrade, owner.as_role(app.migrator_role, password), app)
            case SecureTables():
                app = next(app for app in branch.apps if app.name == step.app)
                await asyncio.to_thread(databases.secure, owner, layout, app)
            case _:
                raise AssertionError(f"nobody knows how to do {step!r}")

    async def owner(self, branch: str) -> Conninfo:
        """How the owner connects to *branch*."""
        if branch not in self._owners:
            branch_id = self._ids[branch]
            self._owners[branch] = await owner_conninfo(self._client, self._wanted, self._project_id(), branch_id)
        return self._owners[branch]

    def _project_id(self) -> ProjectId:
        if self._project is None:
            raise AssertionError("the project was to be created first")
        return self._project

    def _passwords(self, branch: str, roles: tuple[str, ...]) -> dict[str, str]:
        project, branch_id = self._project_id(), self._ids[branch]
        return {role: self._secrets.password(project, branch_id, role) for role in roles}

    def _context_keys(self, branch: str, app: App) -> tuple[ContextKey, ...]:
        return context_keys(self._wanted, self._secrets, self._project_id(), self._ids[branch], app)

    async def _create_project(self, step: CreateProject) -> None:
        made = await self._client.create_project(
            wire.ProjectCreate(
                name=step.project,
                region_id=step.region,
                pg_version=step.postgres,
                branch=wire.ProjectBranchOptions(name=step.branch, role_name=step.owner, database_name=step.database),
            )
        )
        await self._client.wait_for_operations(made.operations)
        first = await self._first_of_its_name(made.project)
        if first.id != made.project.id:
            # Another apply, or one that was killed, was earlier. Ours is seconds old and empty.
            await self._client.delete_project(made.project.id)
        self._project = ProjectId(first.id)

    async def _first_of_its_name(self, made: wire.Project) -> wire.Project:
        twins = [each async for each in self._client.list_projects(search=made.name) if each.name == made.name]
        return min(twins, key=lambda each: (each.created_at, each.id), default=made)

    async def _create_branch(self, step: CreateBranch) -> None:
        request = wire.BranchCreateRequest(
            branch=wire.BranchCreate(name=step.branch, parent_id=self._ids[step.parent]),
            endpoints=[wire.EndpointOptions(type="read_write")],
        )
        made = await self._client.create_project_branch(self._project_id(), request)
        await self._client.wait_for_operations(made.operations)
        self._ids[step.branch] = BranchId(made.branch.id)

    async def _reset_owner_password(self, step: ResetOwnerPassword) -> None:
        self._owners.pop(step.branch, None)
        made = await self._client.reset_project_branch_role_password(
            self._project_id(), self._ids[step.branch], step.role
        )
        await self._client.wait_for_operations(made.operations)


async def carry_out(plan: Plan, hands: Hands, wanted: Wanted, *, progress: Progress, done: int = 0, total: int) -> None:
    """Carry out *plan*: the steps of a branch in order, those of a child after its parent's, the rest side by side.

    *progress* counts on from *done*. After a failure every branch ends the step that it is in, and none begins
    another. Raises `StepFailedError` for the first that failed.
    """
    failures: list[StepFailedError] = []
    steps = {branch.name: plan.only(branch.name).steps for branch in wanted.branches()}
    children: dict[str | None, list[str]] = {}
    for branch in wanted.branches():
        children.setdefault(branch.parent, []).append(branch.name)

    async def grow(name: str) -> None:
        nonlocal done
        for step in steps[name]:
            if failures:
                return
            progress(done, total, f"{step.branch}: {step.describe()}")
            try:
                await hands.do(step)
            except TenantryError as error:
                failure = StepFailedError(f"{step.branch}: {step.describe()}", reason=str(error))
                failure.__cause__ = error
                failures.append(failure)
                return
            done += 1
        async with asyncio.TaskGroup() as group:
            for child in children.get(name, ()):
                group.create_task(grow(child))

    await grow(wanted.layout.default_branch)
    if failures:
        raise failures[0]
