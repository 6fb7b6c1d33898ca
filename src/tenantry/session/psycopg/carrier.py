"""How SQLAlchemy's engines over psycopg come to connections that carry the context: a `Carrier` of `sqlalchemy.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.core.errors import UsageError
from tenantry.session.psycopg.chosen import AsyncTenantConnection, TenantConnection

if TYPE_CHECKING:
    from tenantry.session.protection import Protection

__all__ = ["arm", "connect", "opened", "rest"]

_OURS = (TenantConnection, AsyncTenantConnection)


def connect(protection: Protection, arguments: list[Any], options: dict[str, Any], *, asynchronous: bool) -> Any:
    """A connection of ours, or for asyncio None and *options* by which SQLAlchemy makes one."""
    if asynchronous:
        options.setdefault("async_creator_fn", AsyncTenantConnection.told(protection).connect_unchecked)
        return None
    return TenantConnection.told(protection).connect_unchecked(*arguments, **options)


def opened(connection: Any, protection: Protection) -> None:
    """Let all pass through *connection* while it is set up. Raises `UsageError` for one that is not ours."""
    if not isinstance(connection, _OURS):
        name = "AsyncTenantConnection" if type(connection).__name__.startswith("Async") else "TenantConnection"
        raise UsageError(
            f"this engine's own `creator` makes a {type(connection).__name__}, which carries no tenant: let it call "
            f"`{name}.connect(...)` of tenantry.session.psycopg"
        )
    connection.tenantry.protect(protection)
    connection.tenantry.open_door = True


def arm(connection: Any) -> bool:
    """Let nothing through from now on but the statements of a scope. False for a connection that is not ours."""
    if not isinstance(connection, _OURS):
        return False
    connection.tenantry.open_door = False
    return True


def rest(connection: Any) -> bool:  # noqa: ARG001 - a pool's pings are known by their text
    """Leave *connection* as it is between its uses."""
    return True
