"""Looking at what is there, through Neon's API and into each database. Changes nothing, but wakes idle computes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tenantry.control import databases
from tenantry.control.actual import Actual, BranchState, ProjectState
from tenantry.control.errors import LayoutMismatchError
from tenantry.core.conninfo import Conninfo
from tenantry.core.ids import BranchId, ProjectId
from tenantry.neon.wire import EndpointCreate

if TYPE_CHECKING:
    from tenantry.control.databases import Inside
    from tenantry.control.wanted import Wanted, WantedBranch
    from tenantry.core.layout import App
    from tenantry.neon.client import NeonClient
    from tenantry.neon.wire import Branch, Endpoint, Project
    from tenantry.secrets import Secrets
    from tenantry.session.signing import ContextKey

__all__ = ["context_keys", "find_project", "look_around", "observe", "owner_conninfo", "wake"]


_MOVING = frozenset({"init", "resetting"})
_UNDER_WAY = frozenset({"scheduling", "running", "cancelling"})


async def find_project(client: NeonClient, name: str) -> Project | None:
    """Return the project called *name*, or None. Raises `LayoutMismatchError` if there are several."""
    found = [project async for project in client.list_projects(search=name) if project.name == name]
    if len(found) > 1:
        ids = " and ".join(sorted(project.id for project in found))
        raise LayoutMismatchError(
            f"{len(found)} projects are called {name}: {ids}", way_out="rename or delete all but one"
        )
    return found[0] if found else None


async def owner_conninfo(client: NeonClient, wanted: Wanted, project_id: str, branch_id: str) -> Conninfo:
    """How the owner that Neon made connects to a branch. Only the control plane logs in as the owner."""
    spec = wanted.layout.project
    uri = await client.get_connection_uri(
        project_id, branch_id=branch_id, database_name=spec.database, role_name=spec.owner
    )
    return Conninfo.from_uri(uri.get_secret_value())


async def wake(client: NeonClient, project_id: str, branch_id: str, *, create: bool = False) -> None:
    """Start the compute of a branch if it is idle. One that has none gets one, if asked to *create* it."""
    found = [
        endpoint
        async for endpoint in client.list_project_branch_endpoints(project_id, branch_id)
        if endpoint.type == "read_write"
    ]
    if found:
        await _start(client, found[0])
    elif create:
        made = await client.create_project_endpoint(project_id, EndpointCreate(branch_id=branch_id, type="read_write"))
        await client.wait_for_operations(made.operations)


async def _start(client: NeonClient, endpoint: Endpoint) -> None:
    if endpoint.current_state == "idle":
        started = await client.start_project_endpoint(endpoint.project_id, endpoint.id)
        await client.wait_for_operations(started.operations)


async def observe(client: NeonClient, wanted: Wanted, secrets: Secrets) -> Actual:
    """Return what is there of what is *wanted*, and the names of what else the project has."""
    project = await find_project(client, wanted.layout.project.name)
    if project is None:
        return Actual()
    branches, endpoints = await look_around(client, project.id)
    look = _Look(client, wanted, secrets, names={branch.id: branch.name for branch in branches}, endpoints=endpoints)
    found = await asyncio.gather(*(look.at(branch) for branch in branches))
    seen = {branch.id: each for branch, each in zip(branches, found, strict=True)}
    return Actual(
        ProjectState(ProjectId(project.id), project.name, project.region_id, project.pg_version),
        tuple(_compare_owners(seen[branch.id], seen.get(branch.parent_id or "")) for branch in branches),
    )


async def look_around(client: NeonClient, project_id: str) -> tuple[list[Branch], dict[str, Endpoint]]:
    """Return the branches of a project, and their endpoints by the branch's id, once nothing is under way there.

    An apply that was killed leaves its last request running in Neon.
    """
    branches, endpoints = await asyncio.gather(_branches(client, project_id), _endpoints(client, project_id))
    moving = [each for each in (*branches, *endpoints.values()) if each.current_state in _MOVING or each.pending_state]
    if not moving and any(branch.default for branch in branches):
        return branches, endpoints
    running = [each async for each in client.list_project_operations(project_id) if each.status in _UNDER_WAY]
    await client.wait_for_operations(running)
    return await asyncio.gather(_branches(client, project_id), _endpoints(client, project_id))


async def _branches(client: NeonClient, project_id: str) -> list[Branch]:
    return [branch async for branch in client.list_project_branches(project_id)]


async def _endpoints(client: NeonClient, project_id: str) -> dict[str, Endpoint]:
    return {
        endpoint.branch_id: endpoint
        async for endpoint in client.list_project_endpoints(project_id)
        if endpoint.type == "read_write"
    }


def context_keys(
    wanted: Wanted, secrets: Secrets, project: ProjectId, branch: BranchId, app: App
) -> tuple[ContextKey, ...]:
    """Return the keys that shall open *app* on *branch*, the one that the application signs with last."""
    database = wanted.layout.project.database
    return tuple(
        secrets.context_key(project, branch, database=database, schema=app.schema, number=number)
        for number in app.context_keys
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What every look at a branch needs: who asks, for what, and what the project has."""

    client: NeonClient
    wanted: Wanted
    secrets: Secrets
    names: dict[str, str]
    endpoints: dict[str, Endpoint]

    async def at(self, branch: Branch) -> tuple[BranchState, Conninfo | None]:
        """Return what *branch* is, and how its owner connects if somebody looked inside."""
        endpoint = self.endpoints.get(branch.id)
        state = BranchState(
            branch.name,
            None if branch.parent_id is None else self.names.get(branch.parent_id, branch.parent_id),
            id=BranchId(branch.id),
            default=branch.default,
            endpoint=endpoint is not None,
        )
        as_wanted = next((each for each in self.wanted.branches() if each.name == branch.name), None)
        if as_wanted is None or endpoint is None:
            return state, None
        await _start(self.client, endpoint)
        owner = await owner_conninfo(self.client, self.wanted, branch.project_id, branch.id)
        inside, own = await asyncio.gather(
            asyncio.to_thread(databases.look_inside, owner, self.wanted.layout, as_wanted.apps),
            self._own_passwords(branch, as_wanted, owner),
        )
        seen = replace(
            state,
            own_passwords=own,
            own_context_keys=self._own_context_keys(branch, as_wanted, inside),
            copied_sessions=inside.copied_sessions,
            database=inside.database,
            revisions=inside.revisions,
        )
        return seen, owner

    def _own_context_keys(self, branch: Branch, as_wanted: WantedBranch, inside: Inside) -> frozenset[str]:
        place = ProjectId(branch.project_id), BranchId(branch.id)
        keys = {
            app.name: frozenset(key.id for key in context_keys(self.wanted, self.secrets, *place, app))
            for app in as_wanted.apps
        }
        return frozenset(name for name, found in inside.context_keys.items() if found == keys[name])

    async def _own_passwords(self, branch: Branch, as_wanted: WantedBranch, owner: Conninfo) -> frozenset[str]:
        project, branch_id = ProjectId(branch.project_id), BranchId(branch.id)
        tries = [
            asyncio.to_thread(databases.try_login, owner.as_role(role, self.secrets.password(project, branch_id, role)))
            for role in as_wanted.roles
        ]
        got_in = await asyncio.gather(*tries)
        return frozenset(role for role, worked in zip(as_wanted.roles, got_in, strict=True) if worked)


def _compare_owners(
    seen: tuple[BranchState, Conninfo | None], parent: tuple[BranchState, Conninfo | None] | None
) -> BranchState:
    state, conninfo = seen
    parents = parent[1] if parent else None
    if conninfo is None or parents is None:
        return state
    return replace(state, owner_password_inherited=conninfo.password == parents.password)
