"""What a way to the database is to an attack: a few verbs over a pool that holds few connections."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import psycopg

from tenantry.core.errors import TenantContextError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.isolation.matrix.arena import Address

__all__ = ["ALL", "NOT_THERE", "Row", "Way", "Work", "state_of"]

Row = tuple[Any, ...]

ALL = "SELECT tenant_id FROM shop.documents"

NOT_THERE = {"42P01", "34000", "55000", "26000", "42704", "42883", "3F000", "42501"}
"""How Postgres answers who looks for what is not there: a table, cursor, sequence value, statement, object."""


def state_of(exc: BaseException) -> str | None:
    """The SQLSTATE that an error of any driver carries."""
    inner = getattr(exc, "orig", exc)
    return getattr(inner, "sqlstate", None) or getattr(inner, "pgcode", None)


class Work(ABC):
    """A transaction on a connection that was checked out."""

    @abstractmethod
    async def rows(self, query: str) -> list[Row]:
        """Run *query* as text and return its rows."""

    @abstractmethod
    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """A savepoint that is released at the end of the block, or rolled back to where it raises."""

    @abstractmethod
    async def half_read(self, query: str) -> list[Row]:
        """Begin to read the rows of *query*, take the first and leave the rest unread."""

    async def look(self, query: str) -> list[Row]:
        """Run *query* to find what another left. Empty where it is not there, or where it was refused."""
        try:
            return await self.rows(query)
        except TenantContextError:
            return []
        except Exception as exc:
            if state_of(exc) in NOT_THERE:
                return []
            raise


class Way(ABC):
    """One way of a driver to the database, through a pool of *size* connections of the tenants' own role."""

    name: str
    waits = True
    """Whether a statement of it can be cancelled by cancelling its task."""

    def __init__(self, address: Address, *, size: int = 1, careless: bool = False, prepares: bool = False) -> None:
        self.address = address
        self.size = size
        self.prepares = prepares or None  # told that the pooler holds prepared statements, whatever it is
        self.careless = careless  # what was begun is not rolled back when a connection is given back

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def work(self) -> AbstractAsyncContextManager[Work]:
        """A transaction on a connection of the pool, which commits unless the block raises."""

    @abstractmethod
    async def single(self, query: str) -> list[Row]:
        """Run one statement as the way does it outside of a transaction of the caller's."""

    @abstractmethod
    async def own_probe(self, query: str) -> list[Row]:
        """Run *query* on a connection of the pool, round every guard, and commit it."""

    @abstractmethod
    def paths(self) -> Mapping[str, Callable[[], Awaitable[list[Any]]]]:
        """Each path through the driver that returns rows: the tenant ids of all documents that it sees."""

    async def probe(self, query: str) -> list[Row]:
        """Run *query* in the server's session that the pool's last transaction used, without a tenant."""
        if not self.address.pooled:
            return await self.own_probe(query)
        with psycopg.connect(self.address.dsn, autocommit=True, prepare_threshold=None) as conn:
            cursor = conn.execute(query)  # type: ignore[arg-type] - the attack's own text
            return cursor.fetchall() if cursor.description else []

    async def look(self, query: str) -> list[Row]:
        """Look for *query* in a transaction of its own."""
        try:
            async with self.work() as work:
                return await work.look(query)
        except Exception as exc:  # a failed look leaves a failed transaction, whose commit some drivers refuse
            if state_of(exc) in NOT_THERE | {"25P02"}:
                return []
            raise

    async def peek(self, query: str) -> list[Row]:
        """Look for *query* by `probe`."""
        try:
            return await self.probe(query)
        except Exception as exc:
            if state_of(exc) in NOT_THERE:
                return []
            raise

    async def cancelled(self, query: str) -> None:
        """Begin *query* in a transaction and cancel it while it runs."""
        started = asyncio.Event()

        async def run() -> None:
            async with self.work() as work:
                await work.rows("SELECT 1")
                started.set()
                await work.rows(query)

        task = asyncio.create_task(run())
        await started.wait()
        await asyncio.sleep(0.03)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
