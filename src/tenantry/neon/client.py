"""Neon's API v2: a method an operationId, in snake case.

Reads answer the thing itself, listings yield the things of all pages, and mutations answer what changed together with
the operations that they started; pass those to `wait_for_operations`. Deletions answer None where the thing was gone
already. Whatever a server refused undone (423, 429, 503) is sent again for a while, and a GET after a network fault;
no other mutation is ever sent twice. Each method raises a `NeonError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from tenantry.neon import wire
from tenantry.neon.errors import OperationFailedError, OperationTimeoutError
from tenantry.neon.exchange import Exchange, Pace, path_of
from tenantry.neon.operations import failed, pending, seconds_before_poll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    import httpx2

__all__ = ["DEFAULT_BASE_URL", "NeonClient"]

DEFAULT_BASE_URL = "https://console.neon.tech/api/v2"

_PAGE = "100"


class NeonClient:
    """A client of Neon, or of a local engine that speaks the same API. Use it as an async context manager.

    *timeout_seconds* bounds each wait for the network, not a request with its retries: that is *pace*'s policy.
    *trust_env* lets the proxy variables of the environment apply. Raises `SettingError` for a key or an address that
    cannot be one; nothing is sent before the first method is called.
    """

    def __init__(
        self,
        api_key: SecretStr | str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout_seconds: float = 60,
        trust_env: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._exchange = Exchange(
            api_key if isinstance(api_key, SecretStr) else SecretStr(api_key),
            base_url=base_url,
            transport=transport,
            timeout_seconds=timeout_seconds,
            trust_env=trust_env,
            pace=pace or Pace(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The client is of no use afterwards."""
        await self._exchange.aclose()

    # --- the account ----------------------------------------------------------------------------------------------

    async def get_current_user_info(self) -> wire.CurrentUser:
        """Whose key it is."""
        return await self._exchange.read("/users/me", wire.CurrentUser)

    async def get_current_user_organizations(self) -> list[wire.Organization]:
        """The organizations that the key's owner belongs to."""
        return (await self._exchange.read("/users/me/organizations", wire.OrganizationsResponse)).organizations

    async def get_active_regions(self) -> list[wire.Region]:
        """The regions that a project can be made in."""
        return (await self._exchange.read("/regions", wire.RegionsResponse)).regions

    # --- projects -------------------------------------------------------------------------------------------------

    def list_projects(self, *, org_id: str | None = None, search: str | None = None) -> AsyncIterator[wire.Project]:
        """Every project that the key can see, of one organization or with *search* in its name or id."""
        return self._exchange.pages(
            "/projects",
            wire.ProjectsResponse,
            items=lambda page: page.projects,
            identity=lambda project: project.id,
            cursor=lambda page: page.pagination and page.pagination.cursor,
            query={"limit": _PAGE, "org_id": org_id, "search": search},
        )

    async def create_project(self, project: wire.ProjectCreate) -> wire.CreatedProject:
        """Make a project with a default branch, an endpoint, a role and a database."""
        body = wire.ProjectCreateRequest(project=project)
        return await self._exchange.change("POST", "/projects", wire.CreatedProject, project_id=None, body=body)

    async def get_project(self, project_id: str) -> wire.Project:
        """One project."""
        return (await self._exchange.read(_project(project_id), wire.ProjectResponse)).project

    async def update_project(self, project_id: str, project: wire.ProjectUpdate) -> wire.ProjectResponse:
        """Change what is set in *project*."""
        body = wire.ProjectUpdateRequest(project=project)
        path = _project(project_id)
        return await self._exchange.change("PATCH", path, wire.ProjectResponse, project_id=project_id, body=body)

    async def delete_project(self, project_id: str) -> wire.ProjectResponse | None:
        """Delete a project with all its branches."""
        return await self._exchange.delete(_project(project_id), wire.ProjectResponse, project_id=project_id)

    async def get_connection_uri(
        self,
        project_id: str,
        *,
        database_name: str,
        role_name: str,
        branch_id: str | None = None,
        endpoint_id: str | None = None,
        pooled: bool = False,
    ) -> SecretStr:
        """A connection URI with its password; without *branch_id* that of the default branch."""
        query = {
            "database_name": database_name,
            "role_name": role_name,
            "branch_id": branch_id,
            "endpoint_id": endpoint_id,
            "pooled": "true" if pooled else "false",
        }
        path = _project(project_id, "connection_uri")
        return (await self._exchange.read(path, wire.ConnectionUriResponse, query=query)).uri

    # --- operations -----------------------------------------------------------------------------------------------

    def list_project_operations(self, project_id: str) -> AsyncIterator[wire.Operation]:
        """The operations of a project, newest first."""
        return self._exchange.pages(
            _project(project_id, "operations"),
            wire.OperationsResponse,
            items=lambda page: page.operations,
            identity=lambda operation: operation.id,
            cursor=lambda page: page.pagination and page.pagination.cursor,
            query={"limit": _PAGE},
        )

    async def get_project_operation(self, project_id: str, operation_id: str) -> wire.Operation:
        """One operation."""
        path = _project(project_id, "operations", operation_id)
        return (await self._exchange.read(path, wire.OperationResponse)).operation

    async def wait_for_operations(
        self, operations: Iterable[wire.Operation], *, timeout_seconds: float = 300, longest_poll_seconds: float = 1
    ) -> list[wire.Operation]:
        """Look at *operations* until each has ended well, and return them as they are then, in the order given.

        Nothing is sent if they have ended already. Raises `OperationFailedError` as soon as one has failed, and
        `OperationTimeoutError` if some have not ended after *timeout_seconds*.
        """
        pace = self._exchange.pace
        latest = {operation.id: operation for operation in operations}
        deadline = pace.clock() + timeout_seconds
        poll = 0
        while True:
            if bad := failed(latest.values()):
                raise OperationFailedError(bad)
            under_way = pending(latest.values())
            if not under_way:
                return list(latest.values())
            left = deadline - pace.clock()
            if left <= 0:
                raise OperationTimeoutError(under_way, timeout_seconds=timeout_seconds)
            poll += 1
            await pace.sleep(min(seconds_before_poll(poll, longest=longest_poll_seconds), left))
            for each in under_way:
                latest[each.id] = await self.get_project_operation(each.project_id, each.id)

    # --- branches -------------------------------------------------------------------------------------------------

    def list_project_branches(self, project_id: str, *, search: str | None = None) -> AsyncIterator[wire.Branch]:
        """The branches of a project, or those with *search* in their name or id."""
        return self._exchange.pages(
            _project(project_id, "branches"),
            wire.BranchesResponse,
            items=lambda page: page.branches,
            identity=lambda branch: branch.id,
            cursor=lambda page: page.pagination and page.pagination.next,
            # Oldest first: a branch that is made or changed meanwhile does not move the others to another page.
            query={"limit": _PAGE, "search": search, "sort_by": "created_at", "sort_order": "asc"},
        )

    async def count_project_branches(self, project_id: str, *, search: str | None = None) -> int:
        """How many branches a project has, or how many with *search* in their name or id."""
        path = _project(project_id, "branches", "count")
        return (await self._exchange.read(path, wire.BranchCountResponse, query={"search": search})).count

    async def create_project_branch(
        self, project_id: str, request: wire.BranchCreateRequest | None = None
    ) -> wire.CreatedBranch:
        """Fork a branch, by default from the default branch; no endpoint is made unless *request* asks for one."""
        path = _project(project_id, "branches")
        body = request or wire.BranchCreateRequest()
        return await self._exchange.change("POST", path, wire.CreatedBranch, project_id=project_id, body=body)

    async def get_project_branch(self, project_id: str, branch_id: str) -> wire.BranchResponse:
        """One branch with its annotation."""
        return await self._exchange.read(_branch(project_id, branch_id), wire.BranchResponse)

    async def update_project_branch(
        self, project_id: str, branch_id: str, branch: wire.BranchUpdate
    ) -> wire.BranchOperations:
        """Change what is set in *branch*; an `expires_at` of None is set too, and ends the expiry."""
        body = wire.BranchUpdateRequest(branch=branch)
        path = _branch(project_id, branch_id)
        return await self._exchange.change("PATCH", path, wire.BranchOperations, project_id=project_id, body=body)

    async def delete_project_branch(self, project_id: str, branch_id: str) -> wire.BranchOperations | None:
        """Delete a branch and its endpoints. Refused for the default branch and for one with children."""
        path = _branch(project_id, branch_id)
        return await self._exchange.delete(path, wire.BranchOperations, project_id=project_id)

    async def restore_project_branch(
        self, project_id: str, branch_id: str, request: wire.BranchRestoreRequest
    ) -> wire.BranchOperations:
        """Make the branch what the source is, under the same name and endpoints. With the parent it is a reset."""
        path = _branch(project_id, branch_id, "restore")
        return await self._exchange.change("POST", path, wire.BranchOperations, project_id=project_id, body=request)

    async def set_default_project_branch(self, project_id: str, branch_id: str) -> wire.BranchOperations:
        """Make the branch the default one."""
        path = _branch(project_id, branch_id, "set_as_default")
        return await self._exchange.change("POST", path, wire.BranchOperations, project_id=project_id)

    # --- endpoints ------------------------------------------------------------------------------------------------

    async def list_project_endpoints(self, project_id: str) -> AsyncIterator[wire.Endpoint]:
        """The endpoints of a project. Neon answers them on one page."""
        for endpoint in (
            await self._exchange.read(_project(project_id, "endpoints"), wire.EndpointsResponse)
        ).endpoints:
            yield endpoint

    async def list_project_branch_endpoints(self, project_id: str, branch_id: str) -> AsyncIterator[wire.Endpoint]:
        """The endpoints of a branch. Neon answers them on one page."""
        path = _branch(project_id, branch_id, "endpoints")
        for endpoint in (await self._exchange.read(path, wire.EndpointsResponse)).endpoints:
            yield endpoint

    async def create_project_endpoint(self, project_id: str, endpoint: wire.EndpointCreate) -> wire.EndpointOperations:
        """Make an endpoint for a branch."""
        body = wire.EndpointCreateRequest(endpoint=endpoint)
        path = _project(project_id, "endpoints")
        return await self._exchange.change("POST", path, wire.EndpointOperations, project_id=project_id, body=body)

    async def get_project_endpoint(self, project_id: str, endpoint_id: str) -> wire.Endpoint:
        """One endpoint."""
        return (await self._exchange.read(_endpoint(project_id, endpoint_id), wire.EndpointResponse)).endpoint

    async def update_project_endpoint(
        self, project_id: str, endpoint_id: str, endpoint: wire.EndpointUpdate
    ) -> wire.EndpointOperations:
        """Change what is set in *endpoint*."""
        body = wire.EndpointUpdateRequest(endpoint=endpoint)
        path = _endpoint(project_id, endpoint_id)
        return await self._exchange.change("PATCH", path, wire.EndpointOperations, project_id=project_id, body=body)

    async def delete_project_endpoint(self, project_id: str, endpoint_id: str) -> wire.EndpointOperations | None:
        """Delete an endpoint; its connections drop."""
        path = _endpoint(project_id, endpoint_id)
        return await self._exchange.delete(path, wire.EndpointOperations, project_id=project_id)

    async def start_project_endpoint(self, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
        """Start the compute."""
        return await self._move_endpoint(project_id, endpoint_id, "start")

    async def suspend_project_endpoint(self, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
        """Stop the compute until the next connection."""
        return await self._move_endpoint(project_id, endpoint_id, "suspend")

    async def restart_project_endpoint(self, project_id: str, endpoint_id: str) -> wire.EndpointOperations:
        """Stop the compute and start it again; its connections drop."""
        return await self._move_endpoint(project_id, endpoint_id, "restart")

    async def _move_endpoint(self, project_id: str, endpoint_id: str, verb: str) -> wire.EndpointOperations:
        path = _endpoint(project_id, endpoint_id, verb)
        return await self._exchange.change("POST", path, wire.EndpointOperations, project_id=project_id)

    # --- roles ----------------------------------------------------------------------------------------------------

    async def list_project_branch_roles(self, project_id: str, branch_id: str) -> AsyncIterator[wire.Role]:
        """The roles of a branch, without passwords. Neon answers them on one page."""
        for role in (await self._exchange.read(_branch(project_id, branch_id, "roles"), wire.RolesResponse)).roles:
            yield role

    async def create_project_branch_role(
        self, project_id: str, branch_id: str, role: wire.RoleCreate
    ) -> wire.RoleOperations:
        """Make a role; the answer holds its password. It bypasses row security, so it is never an application's."""
        body = wire.RoleCreateRequest(role=role)
        path = _branch(project_id, branch_id, "roles")
        return await self._exchange.change("POST", path, wire.RoleOperations, project_id=project_id, body=body)

    async def get_project_branch_role(self, project_id: str, branch_id: str, role_name: str) -> wire.Role:
        """One role, without its password."""
        path = _branch(project_id, branch_id, "roles", role_name)
        return (await self._exchange.read(path, wire.RoleResponse)).role

    async def delete_project_branch_role(
        self, project_id: str, branch_id: str, role_name: str
    ) -> wire.RoleOperations | None:
        """Delete a role."""
        path = _branch(project_id, branch_id, "roles", role_name)
        return await self._exchange.delete(path, wire.RoleOperations, project_id=project_id)

    async def get_project_branch_role_password(self, project_id: str, branch_id: str, role_name: str) -> SecretStr:
        """A role's password. Refused with 412 where the project does not store passwords."""
        path = _branch(project_id, branch_id, "roles", role_name, "reveal_password")
        return (await self._exchange.read(path, wire.RolePasswordResponse)).password

    async def reset_project_branch_role_password(
        self, project_id: str, branch_id: str, role_name: str
    ) -> wire.RoleOperations:
        """Give a role another password, which the answer holds."""
        path = _branch(project_id, branch_id, "roles", role_name, "reset_password")
        return await self._exchange.change("POST", path, wire.RoleOperations, project_id=project_id)

    # --- databases ------------------------------------------------------------------------------------------------

    async def list_project_branch_databases(self, project_id: str, branch_id: str) -> AsyncIterator[wire.Database]:
        """The databases of a branch. Neon answers them on one page."""
        path = _branch(project_id, branch_id, "databases")
        for database in (await self._exchange.read(path, wire.DatabasesResponse)).databases:
            yield database

    async def create_project_branch_database(
        self, project_id: str, branch_id: str, database: wire.DatabaseCreate
    ) -> wire.DatabaseOperations:
        """Make a database."""
        body = wire.DatabaseCreateRequest(database=database)
        path = _branch(project_id, branch_id, "databases")
        return await self._exchange.change("POST", path, wire.DatabaseOperations, project_id=project_id, body=body)

    async def get_project_branch_database(self, project_id: str, branch_id: str, name: str) -> wire.Database:
        """One database."""
        path = _branch(project_id, branch_id, "databases", name)
        return (await self._exchange.read(path, wire.DatabaseResponse)).database

    async def update_project_branch_database(
        self, project_id: str, branch_id: str, name: str, database: wire.DatabaseUpdate
    ) -> wire.DatabaseOperations:
        """Rename a database, or give it another owner."""
        body = wire.DatabaseUpdateRequest(database=database)
        path = _branch(project_id, branch_id, "databases", name)
        return await self._exchange.change("PATCH", path, wire.DatabaseOperations, project_id=project_id, body=body)

    async def delete_project_branch_database(
        self, project_id: str, branch_id: str, name: str
    ) -> wire.DatabaseOperations | None:
        """Delete a database."""
        path = _branch(project_id, branch_id, "databases", name)
        return await self._exchange.delete(path, wire.DatabaseOperations, project_id=project_id)


def _project(project_id: str, *rest: str) -> str:
    return path_of("projects", project_id, *rest)


def _branch(project_id: str, branch_id: str, *rest: str) -> str:
    return path_of("projects", project_id, "branches", branch_id, *rest)


def _endpoint(project_id: str, endpoint_id: str, *rest: str) -> str:
    return path_of("projects", project_id, "endpoints", endpoint_id, *rest)
