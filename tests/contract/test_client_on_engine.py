"""The Neon client against the local engine: every method, its errors, pages, and branches made side by side."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest

from tenantry.local.app import create_app
from tenantry.neon import client as client_module
from tenantry.neon import wire
from tenantry.neon.client import NeonClient
from tenantry.neon.errors import NeonError, NotFoundError, UnauthorizedError

if TYPE_CHECKING:
    from tenantry.local.engine import Engine
    from tests.plugins.engine import Project

METHODS = {name for name, _ in inspect.getmembers(NeonClient, inspect.isfunction) if not name.startswith("_")}


class Noting(NeonClient):
    """A client that notes which of its methods were asked for."""

    def __init__(self, engine: Engine, *, key: str | None = None) -> None:
        transport = httpx2.ASGITransport(create_app(engine))
        super().__init__(key or engine.api_key, base_url="http://engine/api/v2", transport=transport)
        self.noted: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            self.noted.add(name)
        return super().__getattribute__(name)


def fork(name: str | None = None) -> wire.BranchCreateRequest:
    return wire.BranchCreateRequest(
        branch=wire.BranchCreate(name=name or f"b-{secrets.token_hex(4)}"),
        endpoints=[wire.EndpointOptions(type="read_write")],
    )


def query(uri: str, statement: str) -> Any:
    with psycopg.connect(uri, autocommit=True, connect_timeout=10) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


async def account(client: NeonClient) -> None:
    assert (await client.get_current_user_info()).id
    assert isinstance(await client.get_current_user_organizations(), list)
    assert await client.get_active_regions()


async def a_project(client: NeonClient) -> str:
    made = await client.create_project(wire.ProjectCreate(name=f"p-{secrets.token_hex(4)}", pg_version=17))
    await client.wait_for_operations(made.operations)
    project_id = made.project.id
    assert made.project.pg_version == 17
    assert project_id in {each.id async for each in client.list_projects()}
    changed = await client.update_project(project_id, wire.ProjectUpdate(name="renamed"))
    assert (await client.get_project(project_id)).name == changed.project.name == "renamed"
    operations = [each async for each in client.list_project_operations(project_id)]
    assert {each.id for each in made.operations} <= {each.id for each in operations}
    assert (await client.get_project_operation(project_id, operations[0].id)).id == operations[0].id
    return project_id


async def branches(client: NeonClient, project_id: str) -> wire.CreatedBranch:
    made = await client.create_project_branch(project_id, fork("dev"))
    await client.wait_for_operations(made.operations)
    dev = made.branch.id
    listed = {each.name: each async for each in client.list_project_branches(project_id)}
    assert listed["dev"].id == dev
    assert await client.count_project_branches(project_id) == len(listed) == 2
    await client.update_project_branch(project_id, dev, wire.BranchUpdate(name="development"))
    assert (await client.get_project_branch(project_id, dev)).branch.name == "development"
    assert made.connection_uris
    uri = made.connection_uris[0].connection_uri.get_secret_value()
    query(uri, "create table only_here ()")
    assert made.branch.parent_id
    reset = wire.BranchRestoreRequest(source_branch_id=made.branch.parent_id)
    await client.wait_for_operations((await client.restore_project_branch(project_id, dev, reset)).operations)
    assert query(uri, "select to_regclass('only_here')") is None
    return made


async def endpoints(client: NeonClient, project_id: str, branch_id: str) -> None:
    (endpoint,) = [each async for each in client.list_project_branch_endpoints(project_id, branch_id)]
    assert endpoint.id in {each.id async for each in client.list_project_endpoints(project_id)}
    await client.update_project_endpoint(project_id, endpoint.id, wire.EndpointUpdate(suspend_timeout_seconds=300))
    assert (await client.get_project_endpoint(project_id, endpoint.id)).suspend_timeout_seconds == 300
    for move, state in (
        (client.suspend_project_endpoint, "idle"),
        (client.start_project_endpoint, "active"),
        (client.restart_project_endpoint, "active"),
    ):
        await client.wait_for_operations((await move(project_id, endpoint.id)).operations)
        assert (await client.get_project_endpoint(project_id, endpoint.id)).current_state == state
    gone = await client.delete_project_endpoint(project_id, endpoint.id)
    assert gone
    await client.wait_for_operations(gone.operations)
    made = await client.create_project_endpoint(project_id, wire.EndpointCreate(branch_id=branch_id))
    await client.wait_for_operations(made.operations)


async def roles_and_databases(client: NeonClient, project_id: str, branch_id: str) -> None:
    name = "Röle /x?"
    made = await client.create_project_branch_role(project_id, branch_id, wire.RoleCreate(name=name))
    await client.wait_for_operations(made.operations)
    assert made.role.password
    assert name in {each.name async for each in client.list_project_branch_roles(project_id, branch_id)}
    assert (await client.get_project_branch_role(project_id, branch_id, name)).password is None
    assert await client.get_project_branch_role_password(project_id, branch_id, name) == made.role.password
    renewed = await client.reset_project_branch_role_password(project_id, branch_id, name)
    assert renewed.role.password != made.role.password

    database = wire.DatabaseCreate(name="shop", owner_name=name)
    await client.create_project_branch_database(project_id, branch_id, database)
    assert (await client.get_project_branch_database(project_id, branch_id, "shop")).owner_name == name
    await client.update_project_branch_database(project_id, branch_id, "shop", wire.DatabaseUpdate(name="store"))
    assert "store" in {each.name async for each in client.list_project_branch_databases(project_id, branch_id)}
    uri = await client.get_connection_uri(
        project_id, database_name="store", role_name=name, branch_id=branch_id, pooled=False
    )
    assert query(uri.get_secret_value(), "select current_user || ' in ' || current_database()") == f"{name} in store"
    assert await client.delete_project_branch_database(project_id, branch_id, "store")
    assert await client.delete_project_branch_role(project_id, branch_id, name)
    assert await client.delete_project_branch_role(project_id, branch_id, name) is None


def test_every_method_does_on_the_engine_what_it_does_on_neon(session_engine):
    async def work() -> set[str]:
        async with Noting(session_engine) as client:
            await account(client)
            project_id = await a_project(client)
            made = await branches(client, project_id)
            await endpoints(client, project_id, made.branch.id)
            await roles_and_databases(client, project_id, made.branch.id)
            spare = await client.create_project_branch(project_id)
            assert await client.delete_project_branch(project_id, spare.branch.id)
            assert await client.delete_project_branch(project_id, spare.branch.id) is None
            await client.set_default_project_branch(project_id, made.branch.id)
            assert (await client.get_project_branch(project_id, made.branch.id)).branch.default
            assert await client.delete_project(project_id)
        return client.noted

    assert asyncio.run(work()) == METHODS


def test_branches_that_are_asked_for_side_by_side_are_all_made(session_engine, own_project: Project):
    names = [f"side-{number}" for number in range(4)]

    async def work() -> set[str]:
        async with Noting(session_engine) as client:
            made = await asyncio.gather(
                *(
                    client.create_project_branch(
                        own_project.id, wire.BranchCreateRequest(branch=wire.BranchCreate(name=name))
                    )
                    for name in names
                )
            )
            await client.wait_for_operations(operation for each in made for operation in each.operations)
            return {each.name async for each in client.list_project_branches(own_project.id)}

    assert set(names) < asyncio.run(work())


def test_a_listing_goes_through_all_pages(session_engine, own_project: Project, monkeypatch):
    made = {own_project.fork(compute=False).name for _ in range(3)}
    monkeypatch.setattr(client_module, "_PAGE", "1")

    async def work() -> tuple[list[str], list[str], list[str]]:
        async with Noting(session_engine) as client:
            return (
                [each.name async for each in client.list_project_branches(own_project.id)],
                [each.id async for each in client.list_project_operations(own_project.id)],
                [each.id async for each in client.list_projects()],
            )

    branch_names, operation_ids, project_ids = asyncio.run(work())

    assert sorted(branch_names) == sorted(made | {own_project.main.name})
    assert len(operation_ids) == len(set(operation_ids)) >= 4
    assert project_ids.count(own_project.id) == 1


def test_errors_have_their_classes_and_the_request_id(session_engine, own_project: Project):
    async def work() -> list[NeonError]:
        caught: list[NeonError] = []
        async with Noting(session_engine) as client, Noting(session_engine, key="wrong") as stranger:
            for attempt in (
                client.get_project("nobody"),
                client.get_project_branch(own_project.id, "br-no-such-branch1"),
                client.delete_project_branch(own_project.id, own_project.main.id),
                client.create_project_branch(own_project.id, fork(own_project.main.name)),
                stranger.get_current_user_info(),
            ):
                with pytest.raises(NeonError) as error:
                    await attempt
                caught.append(error.value)
        return caught

    errors = asyncio.run(work())

    assert [type(each) for each in errors[:2]] == [NotFoundError, NotFoundError]
    assert type(errors[-1]) is UnauthorizedError
    assert all(each.request_id and each.message for each in errors)
