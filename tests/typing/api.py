"""The public API as users write it: `make check` reads this strictly, and nothing here is run.

A wrong use carries an ignore, and an ignore that is not needed is an error: so each is shown to be refused.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tenantry import Tenant, current_tenant, current_user, tenant_scope
from tenantry.session.psycopg import async_tenant_transaction, tenant_transaction
from tenantry.session.sqlalchemy import protect

if TYPE_CHECKING:
    from uuid import UUID


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


def engines(url: str) -> None:
    assert_type(protect(create_engine(url)), Engine)
    assert_type(protect(create_async_engine(url), tenant_column="org_id"), AsyncEngine)
    protect(url)  # pyright: ignore[reportArgumentType] - an engine, not where to find one


def plain(dsn: str) -> None:
    with psycopg.connect(dsn) as conn, tenant_transaction(conn) as same:
        assert_type(same, psycopg.Connection[tuple[Any, ...]])
    with tenant_transaction(dsn):  # pyright: ignore[reportArgumentType] - a connection, not where to find one
        pass


async def plain_async(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn, async_tenant_transaction(conn) as same:
        assert_type(same, psycopg.AsyncConnection[tuple[Any, ...]])
