"""The public API as users write it: `make check` reads this strictly, and nothing here is run.

A wrong use carries an ignore, and an ignore that is not needed is an error: so each is shown to be refused.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tenantry import (
    Tenant,
    TenantState,
    argument,
    current_tenant,
    current_user,
    in_scope,
    job_payload,
    job_scope,
    tenant_scope,
)
from tenantry.session.asyncpg import create_pool
from tenantry.session.protection import Protection
from tenantry.session.psycopg import async_tenant_transaction, tenant_transaction
from tenantry.session.sqlalchemy import protect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from tenantry.session.context import Context


def scopes(tenant_id: UUID) -> None:
    with tenant_scope(tenant_id) as tenant:
        assert_type(tenant, Tenant)
    with tenant_scope(Tenant("acme"), user=7):
        assert_type(current_tenant(), Tenant)
        assert_type(current_user(), str | None)
    with tenant_scope(1.5):  # pyright: ignore[reportArgumentType] - no tenant has half an id
        pass
    with tenant_scope():  # pyright: ignore[reportCallIssue] - whose?
        pass
    with tenant_scope(tenant_id, "ada"):  # pyright: ignore[reportCallIssue] - a user is named by keyword
        pass


@tenant_scope(argument("tenant_id"), user=argument("user"))
async def decorated(tenant_id: UUID, user: str = "ada") -> int:
    return 1


@tenant_scope("acme")
async def decorated_stream() -> AsyncGenerator[int]:
    yield 1


async def wrapped(tenant_id: UUID, asked: object) -> None:
    assert_type(await decorated(tenant_id), int)
    _ = await decorated("acme")  # pyright: ignore[reportArgumentType] - a decorated function keeps its signature
    assert_type(decorated_stream(), AsyncGenerator[int])
    assert_type(await in_scope(decorated)(tenant_id), int)
    assert_type(await in_scope(decorated(tenant_id)), int)


async def jobs(payload: object) -> None:
    assert_type(job_payload(), dict[str, str | int | None])

    async def look_up(context: Context) -> TenantState:
        return TenantState.ACTIVE

    with job_scope(payload, check=lambda context: TenantState.DELETED) as tenant:
        assert_type(tenant, Tenant)
    async with job_scope(payload, check=look_up) as tenant:
        assert_type(tenant, Tenant)
    with job_scope(payload):  # pyright: ignore[reportCallIssue] - much may have happened since it was queued
        pass
    with job_scope(payload, check=lambda context: True):  # pyright: ignore[reportArgumentType] - a state, not a truth
        pass


def engines(url: str) -> None:
    assert_type(protect(create_engine(url)), Engine)
    assert_type(protect(create_async_engine(url), tenant_column="org_id"), AsyncEngine)
    assert_type(protect(create_engine(url), allow_unsafe="a reason"), Engine)
    assert_type(protect(create_engine(url), allow_unsafe={"bypassrls": "a reason"}), Engine)
    protect(url)  # pyright: ignore[reportArgumentType] - an engine, not where to find one


def plain(dsn: str) -> None:
    with psycopg.connect(dsn) as conn, tenant_transaction(conn) as same:
        assert_type(same, psycopg.Connection[tuple[Any, ...]])
    with tenant_transaction(dsn):  # pyright: ignore[reportArgumentType] - a connection, not where to find one
        pass


async def plain_async(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn, async_tenant_transaction(conn) as same:
        assert_type(same, psycopg.AsyncConnection[tuple[Any, ...]])


async def plain_asyncpg(url: str) -> None:
    async with create_pool(url, min_size=1, protection=Protection(checkin="always")) as pool:
        await pool.fetch("SELECT 1")
    create_pool(url, protection="always")  # pyright: ignore[reportArgumentType] - a value, not its name
