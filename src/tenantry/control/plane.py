"""The control plane: plan, apply, reset, and how to connect."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tenantry.control import databases
from tenantry.control.actual import Actual
from tenantry.control.apply import Applied, Hands, carry_out
from tenantry.control.branches import BranchNode, Reset, check_reset, grow_tree
from tenantry.control.errors import NoOperatorError, NotAppliedError, UnknownEnvironmentError
from tenantry.control.lock import hold_apply_lock
from tenantry.control.observe import context_keys, find_project, look_around, observe, owner_conninfo, wake
from tenantry.control.plan import Plan, make_plan
from tenantry.control.wanted import Wanted
from tenantry.core.errors import StepFailedError
from tenantry.core.ids import BranchId, ProjectId
from tenantry.migrations import read_history
from tenantry.neon.wire import BranchRestoreRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tenantry.control.apply import Progress
    from tenantry.control.steps import Step
    from tenantry.core.conninfo import Conninfo
    from tenantry.core.layout import App, Environment, Layout
    from tenantry.neon.client import NeonClient
    from tenantry.neon.wire import Branch
    from tenantry.secrets import Secrets
    from tenantry.session.signing import ContextKey

__all__ = ["ControlPlane", "RoleKind"]

RoleKind = Literal["app", "migrator", "owner", "partner", "platform"]

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an environment is: its project, its branch, and all branches beside it."""

    project: ProjectId
    branch: Branch
    nodes: tuple[BranchNode, ...]


class ControlPlane:
    """Makes a project what a layout says. Everything that it knows is in the arguments and in the project itself."""

    def __init__(self, client: NeonClient, layout: Layout, secrets: Secrets) -> None:
        self._client = client
        self._layout = layout
        self._secrets = secrets

    async def plan(self) -> Plan:
        """Return what `apply` would do now. Changes nothing."""
        wanted = await self._wanted()
        return make_plan(wanted, await observe(self._client, wanted, self._secrets))

    async def apply(self, *, progress: Progress | None = None) -> Applied:
        """Carry out the plan, and look again until nothing is left of it. Safe to repeat, and after a kill anywhere.

        Raises `StepFailedError` for what failed, and `ApplyRunningError` if somebody else is applying.
        """
        wanted = await self._wanted()
        show = progress or _silent
        created = await self._create_project(wanted, show)
        async with self._lock(wanted):
            return await self._apply(wanted, show, before=created)

    async def reset(self, app: str, environment: str, *, force: bool = False, dry_run: bool = False) -> Reset:
        """Make an environment what its parent is now, with passwords of its own again.

        What only it holds is lost. Raises `ResetRefusedError` for one that is not ephemeral, unless *force*, and for
        one that has children.
        """
        found_app, found = self._environment(app, environment)
        wanted = await self._wanted()
        branch = wanted.branch(found.branch)
        place = await self._place(found_app, found)
        check_reset(branch, place.nodes, force=force)
        parent = place.branch.parent_id
        if parent is None or branch.parent is None:
            raise AssertionError(f"{branch.name} is an environment and has no parent")
        at = datetime.now(UTC)
        if dry_run:
            return Reset(branch.name, branch.parent, at, done=False)
        async with self._lock(wanted):
            request = BranchRestoreRequest(source_branch_id=parent)
            restored = await self._client.restore_project_branch(place.project, place.branch.id, request)
            await self._client.wait_for_operations(restored.operations)
            await self._apply(wanted, _silent, only=branch.name)
        return Reset(branch.name, branch.parent, at, done=True)

    async def tree(self) -> tuple[BranchNode, ...]:
        """Return the branches that are there, each after its parent. Empty where there is no project."""
        project = await find_project(self._client, self._layout.project.name)
        if project is None:
            return ()
        branches = [branch async for branch in self._client.list_project_branches(project.id)]
        return grow_tree(branches, Wanted(self._layout).branches())

    async def connection(self, app: str, environment: str, role: RoleKind = "app") -> Conninfo:
        """How to connect to an environment. An application connects as `app`; row security does not bind `owner`."""
        wanted = Wanted(self._layout)
        found_app, found = self._environment(app, environment)
        place = await self._place(found_app, found)
        await wake(self._client, place.project, place.branch.id)
        owner = await owner_conninfo(self._client, wanted, place.project, place.branch.id)
        if role == "owner":
            return owner
        name = role_of(found_app, role)
        return owner.as_role(name, self._secrets.password(place.project, BranchId(place.branch.id), name))

    async def audit_log(self, app: str, environment: str, *, limit: int) -> tuple[dict[str, Any], ...]:
        """The latest *limit* uses of an environment by its operators, read as the owner: the newest first."""
        found_app, _ = self._environment(app, environment)
        if not found_app.operator_roles:
            raise NoOperatorError(app, "operators")
        owner = await self.connection(app, environment, "owner")
        return await asyncio.to_thread(databases.read_audit_log, owner, found_app, limit)

    async def context_key(self, app: str, environment: str) -> ContextKey:
        """The key with which an application signs its context there, the last of the layout's `context_keys`.

        It is good once `apply` has let it open the app. Raises `NotAppliedError` where there is no branch yet.
        """
        found_app, found = self._environment(app, environment)
        place = await self._place(found_app, found)
        branch_id = BranchId(place.branch.id)
        return context_keys(Wanted(self._layout), self._secrets, place.project, branch_id, found_app)[-1]

    async def _wanted(self) -> Wanted:
        apps = [(app.name, app.migrations) for app in self._layout.apps if app.migrations is not None]
        # Reading a folder runs the app's files, which may take their time.
        histories = {name: await asyncio.to_thread(read_history, source.path) for name, source in apps}
        return Wanted(self._layout, histories)

    async def _create_project(self, wanted: Wanted, progress: Progress) -> tuple[Step, ...]:
        """Make the project if it is not there: until then there is no database in which to hold a lock."""
        if await find_project(self._client, self._layout.project.name) is not None:
            return ()
        whole = make_plan(wanted, Actual())
        first = Plan(whole.steps[:1])
        hands = Hands(self._client, wanted, self._secrets, Actual())
        await carry_out(first, hands, wanted, progress=progress, total=len(whole.steps))
        return first.steps

    @asynccontextmanager
    async def _lock(self, wanted: Wanted) -> AsyncGenerator[None]:
        project = await find_project(self._client, self._layout.project.name)
        if project is None:
            raise NotAppliedError(f"project {self._layout.project.name}")
        branches, _ = await look_around(self._client, project.id)
        default = next((branch.id for branch in branches if branch.default), None)
        if default is None:
            raise NotAppliedError(f"the default branch of project {project.name}")
        await wake(self._client, project.id, default, create=True)
        lock = hold_apply_lock(await owner_conninfo(self._client, wanted, project.id, default))
        await asyncio.to_thread(lock.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(lock.__exit__, None, None, None)

    async def _apply(
        self, wanted: Wanted, progress: Progress, *, before: tuple[Step, ...] = (), only: str | None = None
    ) -> Applied:
        done = list(before)
        for _ in range(_ROUNDS):
            actual = await observe(self._client, wanted, self._secrets)
            plan = make_plan(wanted, actual)
            todo = plan if only is None else plan.only(only)
            if not todo:
                progress(len(done), len(done), "done")
                return Applied(tuple(done), plan.warnings)
            hands = Hands(self._client, wanted, self._secrets, actual)
            total = len(done) + len(todo.steps)
            await carry_out(todo, hands, wanted, progress=progress, done=len(done), total=total)
            done += todo.steps
        last = done[-1]
        raise StepFailedError(
            f"{last.branch}: {last.describe()}",
            reason="it was done, and what is there still differs: `tenantry plan` says in what",
        )

    async def _place(self, app: App, environment: Environment) -> _Place:
        project = await find_project(self._client, self._layout.project.name)
        what = f"environment {environment.name} of {app.name}"
        if project is None:
            raise NotAppliedError(what)
        branches = [branch async for branch in self._client.list_project_branches(project.id)]
        found = next((branch for branch in branches if branch.name == environment.branch), None)
        if found is None:
            raise NotAppliedError(what)
        return _Place(ProjectId(project.id), found, grow_tree(branches, Wanted(self._layout).branches()))

    def _environment(self, app: str, environment: str) -> tuple[App, Environment]:
        for found_app, found in self._layout.environments():
            if (found_app.name, found.name) == (app, environment):
                return found_app, found
        known = [f"{each.app} {each.name}" for _, each in self._layout.environments()]
        raise UnknownEnvironmentError(app, environment, known=known)


def role_of(app: App, kind: RoleKind) -> str:
    """The role of *app* that logs in as *kind*. Raises `NoOperatorError` where the layout has no such operator."""
    roles = {"app": app.app_role, "migrator": app.migrator_role}
    if kind in roles:
        return roles[kind]
    role = app.partner_role if kind == "partner" else app.platform_role
    if role not in app.operator_roles:
        raise NoOperatorError(app.name, kind)
    return role


def _silent(done: int, total: int, label: str, /) -> None:
    """Show nothing."""
