"""Which class of connections fits the asyncpg that is installed."""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tenantry.session.asyncpg import pool
from tenantry.session.asyncpg.connection import GuardedConnection
from tenantry.session.asyncpg.documented import DocumentedConnection
from tenantry.session.asyncpg.hooks import misfits
from tenantry.session.protection import DEFAULT, Protection

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TenantConnection", "choose", "create_pool"]

_log = logging.getLogger("tenantry.session")


def choose() -> type[GuardedConnection | DocumentedConnection]:
    """The class that joins the context to its statement, or else the slower one of documented API alone."""
    found = misfits()
    if not found:
        return GuardedConnection
    _log.warning(
        "this asyncpg differs from those that tenantry knows (%s): each statement takes more round trips, until "
        "tenantry is upgraded or asyncpg is pinned to an older release",
        "; ".join(found),
    )
    return DocumentedConnection


_chosen = choose()


class TenantConnection(_chosen):  # type: ignore[misc, valid-type] - it is decided once, and both have the same methods
    """An asyncpg connection that sends nothing without the tenant and user of the scope.

    Give it to `asyncpg.connect(..., connection_class=TenantConnection)` or take a pool from `create_pool`. All methods
    are asyncpg's. A statement outside a transaction is one of its own, and its context travels with it: one round trip,
    two where it may leave something on the connection. `conn.transaction()` sends BEGIN and the context with the first
    statement, and belongs to the tenant it began for; what a statement may leave on the connection is removed in the
    message that ends the transaction. Through PgBouncer before 1.21 give `statement_cache_size=0`, as asyncpg asks for;
    `create_pool` finds out by itself.

    Statements raise `NoTenantError`, `TenantChangedError` or `UserChangedError` before anything is sent, COPY into a
    table with row security `CopyInError`, `add_listener` `ListenerError`, and text that would end a transaction among
    other statements `TransactionControlError`. Errors of Postgres and asyncpg come as they are.
    """


def create_pool(
    dsn: str | None = None,
    *,
    protection: Protection = DEFAULT,
    connection_class: Any = TenantConnection,
    connect: Callable[..., Any] | None = None,
    **options: Any,
) -> Any:
    """A pool like `asyncpg.create_pool(dsn, ...)` of `TenantConnection`s, with the same *options*.

    Without `statement_cache_size` its first connection asks whether the server behind it holds prepared statements, and
    turns them off where it does not: where the server's process id is not the one that the connection was told, a
    pooler is between, and one that holds them renames them. That takes three statements, once a pool; *protection* can
    say it instead (`pooler_prepares`). The first connection is checked as `protect` checks an engine's, and
    `UnsafeRoleError` or `UnsafeServerError` say what is wrong with it. A connection goes back without a message where
    nothing was left on it.
    """
    return pool.create_pool(
        dsn,
        connection_class=connection_class.protected_by(protection),
        protection=protection,
        connect=connect,
        **options,
    )
