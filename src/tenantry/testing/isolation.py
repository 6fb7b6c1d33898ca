"""`assert_isolated`: try to reach another tenant through an application's own sessions, and see it fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tenantry.session.context import tenant_scope
from tenantry.testing.attacks import Attempt, Outcome, attempts_on, carry_out, hole, own_rows
from tenantry.testing.errors import NotIsolatedError, VacuousTestError
from tenantry.testing.statements import unscoped
from tenantry.testing.tenants import row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from tenantry.core.tenant import TenantId
    from tenantry.testing.tenants import Table, TwoTenants

__all__ = ["assert_isolated", "async_assert_isolated"]

_Steps: TypeAlias = "Generator[tuple[TenantId, Attempt], Outcome, None]"


def assert_isolated(session_factory: Callable[[], Session], two_tenants: TwoTenants) -> None:
    """Let each tenant try to read, change, delete, plant and give away rows of the other's, in every tenant table.

    Each attempt runs in a session of *session_factory* inside the tenant's scope, and is rolled back. Before it, both
    must see their own rows, and the same statement must work for a role that no policy binds: an attempt that could
    not succeed shows nothing.

    Raises `NotIsolatedError`, with the table and what got through, or `VacuousTestError`.
    """
    steps = _steps(two_tenants)
    try:
        tenant, attempt = next(steps)
        while True:
            with tenant_scope(tenant), session_factory() as session:
                outcome = carry_out(session, attempt)
            tenant, attempt = steps.send(outcome)
    except StopIteration:
        return


async def async_assert_isolated(session_factory: Callable[[], AsyncSession], two_tenants: TwoTenants) -> None:
    """`assert_isolated` for a factory of `AsyncSession`."""
    steps = _steps(two_tenants)
    try:
        tenant, attempt = next(steps)
        while True:
            with tenant_scope(tenant):
                async with session_factory() as session:
                    outcome = await session.run_sync(carry_out, attempt)
            tenant, attempt = steps.send(outcome)
    except StopIteration:
        return


def _steps(two_tenants: TwoTenants) -> _Steps:
    """Yields who is to try what, is sent what came of it, and raises at the end if anything got through."""
    holes: list[str] = []
    tables = two_tenants.tables()
    for table in tables:
        for tenant in () if table.is_partition else two_tenants:
            seen = yield tenant, own_rows(table, tenant)
            if not seen.rows and seen.sqlstate is None:
                raise VacuousTestError(
                    f"tenant {tenant} does not see its own rows of {table.name}",
                    way_out="see that the policy lets it, and that the sessions reach the database of `two_tenants`",
                )
    for table in tables:
        for own, other in ((two_tenants.a, two_tenants.b), (two_tenants.b, two_tenants.a)):
            for attempt in _with_teeth(two_tenants, table, own=own, other=other):
                outcome = yield own, attempt
                found = hole(attempt, outcome, own=own, other=other)
                if found is not None:
                    holes.append(found)
    if holes:
        raise NotIsolatedError(holes)


def _with_teeth(two_tenants: TwoTenants, table: Table, *, own: TenantId, other: TenantId) -> tuple[Attempt, ...]:
    """The attempts, each of which was seen to work where no policy is in its way."""
    admin_dsn = two_tenants.admin_dsn
    with psycopg.connect(admin_dsn) as conn:
        row = row_of(conn, table, other)
    if row is None:  # a partition in which the other has nothing
        return ()
    attempts = attempts_on(table, other=other, row=json.dumps(row))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(admin_dsn), poolclass=NullPool)
    with unscoped(), engine.connect() as conn:
        outcomes = [(attempt, carry_out(conn, attempt)) for attempt in attempts]
    toothless = [attempt for attempt, outcome in outcomes if hole(attempt, outcome, own=own, other=other) is None]
    if toothless:
        raise VacuousTestError(
            f"{table.name}: not even the role of `admin_dsn` {toothless[0].deed} tenant {other}",
            way_out="let `admin_dsn` name a superuser, or a role with BYPASSRLS that may write the table",
        )
    return attempts
