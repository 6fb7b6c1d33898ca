"""Pools of guarded connections, with prepared statements only where the server behind them can hold them."""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import asyncpg

from tenantry.session.safety import SafetyCheck

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tenantry.session.protection import Protection

__all__ = ["closed_on_error", "create_pool", "holds_prepared_statements"]

_PROBE = (
    "SELECT pg_catalog.pg_backend_pid() AS pid, EXISTS "
    "(SELECT FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.=) $1) AS held"
)


async def holds_prepared_statements(connection: Any, *, said: bool | None = None) -> bool:
    """Whether a prepared statement of *connection* will be there for its later statements.

    It is where no pooler is between: the server's own process id is the one that the connection was told (Postgres
    docs: "BackendKeyData"), while a pooler makes up its own. A pooler that keeps track of prepared statements gives
    them names of its own on each server, as PgBouncer 1.21 and newer do (its docs: `max_prepared_statements`); one that
    does not passes the name on, and the next transaction may be on a server that has never seen it.

    What was *said* of the pooler goes before what is found of it, and makes no difference where there is none. Costs a
    transaction of up to three statements. *connection* lets them through without a tenant.
    """
    name = f"tenantry_probe_{token_hex(8)}"
    async with connection.transaction():
        statement = await connection.prepare(_PROBE, name=name)
        found = await statement.fetchrow(name)
        if found["held"]:  # by that name, so whoever is next on this server would find it
            await connection.execute(f'DEALLOCATE "{name}"')
    if found["pid"] == connection.get_server_pid():
        return True
    return not found["held"] if said is None else said


class _Connector:
    """What a pool connects with. Its first connection is asked how the others are made, and whether it is safe."""

    def __init__(self, connect: Callable[..., Any], protection: Protection, *, asks: bool) -> None:
        self._connect = connect
        self._said = protection.pooler_prepares
        self._holds = True if not asks or self._said else None
        self._asking = asyncio.Lock()
        self._safety = SafetyCheck(protection.allow_unsafe)

    async def __call__(self, *args: Any, **options: Any) -> Any:
        async with self._asking:
            if self._holds is None:
                connection = await self._connect(*args, **options)
                async with closed_on_error(connection):
                    self._holds = await holds_prepared_statements(connection, said=self._said)
                if self._holds:
                    return await self._safe(connection)
                await connection.close()
        if not self._holds:
            options["statement_cache_size"] = 0
        return await self._safe(await self._connect(*args, **options))

    async def _safe(self, connection: Any) -> Any:
        if not self._safety.passed:
            async with closed_on_error(connection):
                await self._safety.run_async(connection.fetchval)
        return connection


@asynccontextmanager
async def closed_on_error(connection: Any) -> AsyncGenerator[None]:
    """Let what the block sends through *connection* pass without a tenant, and close it if that fails."""
    try:
        with connection.unguarded():
            yield
    except BaseException:
        connection.terminate()
        raise


def create_pool(dsn: str | None, *, protection: Protection, connect: Callable[..., Any] | None, **options: Any) -> Any:
    """See `choice.create_pool`."""
    connector = _Connector(connect or asyncpg.connect, protection, asks="statement_cache_size" not in options)
    return asyncpg.create_pool(dsn, connect=connector, **options)
