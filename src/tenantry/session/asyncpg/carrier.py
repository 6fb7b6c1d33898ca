"""How SQLAlchemy's engines over asyncpg come to connections that carry the context: a `Carrier` of `sqlalchemy.py`."""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy.util import await_only

from tenantry.core.errors import UsageError
from tenantry.session.asyncpg.choice import TenantConnection
from tenantry.session.asyncpg.connection import GuardedConnection
from tenantry.session.asyncpg.documented import DocumentedConnection
from tenantry.session.asyncpg.pool import closed_on_error, holds_prepared_statements

if TYPE_CHECKING:
    from tenantry.session.protection import Protection

__all__ = ["arm", "connect", "opened", "rest"]

_OURS = (GuardedConnection, DocumentedConnection)

_SQLALCHEMYS = ("async_creator_fn", "prepared_statement_cache_size", "prepared_statement_name_func")
"""What SQLAlchemy takes out of the options before it calls asyncpg (its docs: "PostgreSQL", asyncpg)."""

_holds: dict[tuple[str, ...], bool] = {}
"""Whether the server at an address holds prepared statements, as the first connection there found."""


def connect(protection: Protection, arguments: list[Any], options: dict[str, Any], *, asynchronous: bool) -> None:  # noqa: ARG001 - asyncpg is asynchronous
    """Change the *options* with which SQLAlchemy will connect, so that the connection is one of ours.

    Prepared statements, asyncpg's and SQLAlchemy's, are turned off where they cannot be held, unless
    `statement_cache_size` says it. The first connection to an address is asked.
    """
    options["connection_class"] = _class(options.get("connection_class"), protection)
    if "statement_cache_size" in options:
        return
    address = tuple(str(options.get(name)) for name in ("host", "port", "user", "database", "dsn"))
    if protection.pooler_prepares:
        return
    if address not in _holds:
        spare = await_only(_first(arguments, options, protection, address))
        if spare is not None:
            options["async_creator_fn"] = spare
    if not _holds[address]:
        options["statement_cache_size"] = options["prepared_statement_cache_size"] = 0


async def _first(
    arguments: list[Any], options: dict[str, Any], protection: Protection, address: tuple[str, ...]
) -> Any:
    """Find out whether statements are held, and give what gives the connection that was asked, if they are."""
    creator = options.get("async_creator_fn", asyncpg.connect)
    passed = {name: value for name, value in options.items() if name not in _SQLALCHEMYS}
    connection = await creator(*arguments, **passed)
    if not _is_ours(connection):
        _holds[address] = True  # `opened` refuses it
    else:
        async with closed_on_error(connection):
            _holds[address] = await holds_prepared_statements(connection, said=protection.pooler_prepares)
    if not _holds[address]:
        await connection.close()
        return None

    async def give(*_: Any, **__: Any) -> Any:
        return connection

    return give


def _is_ours(connection: Any) -> bool:
    return issubclass(type(connection), _OURS)  # to asyncpg's metaclass, any connection is an instance of any class


def _class(given: type[Any] | None, protection: Protection) -> type[Any]:
    """Ours, or where the application gave a class of its own, one that is both."""
    if given is None:
        return TenantConnection.protected_by(protection)
    if not issubclass(given, _OURS):
        given = type(f"Tenant{given.__name__}", (TenantConnection, given), {})
    return given.protected_by(protection)


def opened(connection: Any, protection: Protection) -> None:  # noqa: ARG001 - its class was told
    """Let all pass through *connection* while it is set up. Raises `UsageError` for one that is not ours."""
    if not _is_ours(connection):
        raise UsageError(
            f"this engine's own `async_creator` makes a {type(connection).__name__}, which carries no tenant: let it "
            "call `asyncpg.connect(..., connection_class=TenantConnection.protected_by(Protection(...)))` with the "
            "class of tenantry.session.asyncpg"
        )
    connection.let_pass(passing=True)


def arm(connection: Any) -> bool:
    """Let nothing through from now on but the statements of a scope. False for a connection that is not ours."""
    if not _is_ours(connection):
        return False
    connection.let_pass(passing=False)
    return True


def rest(connection: Any) -> bool:
    """Let the pool's own questions through again. False where a transaction is open, or something was left."""
    if not _is_ours(connection):
        return False
    connection.let_pass(passing=True)
    return not connection.is_in_transaction() and not connection.get_reset_query()
