"""The connection classes that this psycopg allows: those of `connections`, or the slower ones of `fallback`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tenantry.session.psycopg.seam import missing

__all__ = ["AsyncTenantConnection", "TenantConnection", "choose"]


def choose(unlike: tuple[str, ...]) -> tuple[Any, Any]:
    """The sync and the async class, where *unlike* is what `seam.missing` found."""
    if not unlike:
        from tenantry.session.psycopg import connections  # noqa: PLC0415 - it does not load where it does not fit

        return connections.TenantConnection, connections.AsyncTenantConnection
    from tenantry.session.psycopg import fallback  # noqa: PLC0415 - as above

    logging.getLogger("tenantry").warning(
        "this psycopg differs from those that tenantry knows (%s), so its transactions cost a round trip more: "
        "upgrade psycopg or tenantry",
        ", ".join(unlike),
    )
    return fallback.PlainTenantConnection, fallback.AsyncPlainTenantConnection


if TYPE_CHECKING:
    from tenantry.session.psycopg.connections import AsyncTenantConnection, TenantConnection
else:
    TenantConnection, AsyncTenantConnection = choose(missing())
