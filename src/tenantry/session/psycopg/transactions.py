"""The tenant scope for plain psycopg 3: `tenant_transaction` and, for its async connections, the same with `async`."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, LiteralString
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, Connection, pq

from tenantry.session.context import Context, check_same, current_context
from tenantry.session.errors import TransactionOpenError
from tenantry.session.protection import DEFAULT
from tenantry.session.statements import set_locally, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from psycopg.rows import Row  # pyright: ignore[reportPrivateImportUsage] - psycopg documents it as the row's type

__all__ = ["async_tenant_transaction", "tenant_transaction"]

_SENDING = ("execute", "executemany", "stream", "copy")

_began_for: WeakKeyDictionary[Any, Context] = WeakKeyDictionary()


@contextmanager
def tenant_transaction(conn: Connection[Row]) -> Generator[Connection[Row]]:
    """Run the block in a transaction of *conn* that carries the tenant and user of the scope, and yield *conn*.

    The transaction commits at the end of the block and rolls back if it raises; a block inside another is a
    savepoint. An autocommit connection gets a transaction too. Each `execute`, `executemany`, `stream` and `copy`
    inside is refused once the scope is another's.

    Raises `NoTenantError`, `TenantChangedError`, `UserChangedError`, or `TransactionOpenError` where *conn* is in a
    transaction of another making, before anything is sent.
    """
    query = _enter(conn)
    with conn.transaction():
        if query is None:
            yield conn
            return
        conn.execute(*query)
        with _checked(conn):
            yield conn


@asynccontextmanager
async def async_tenant_transaction(conn: AsyncConnection[Row]) -> AsyncGenerator[AsyncConnection[Row]]:
    """`tenant_transaction` for an `AsyncConnection`."""
    query = _enter(conn)
    async with conn.transaction():
        if query is None:
            yield conn
            return
        await conn.execute(*query)
        with _checked(conn):
            yield conn


def _enter(conn: Connection[Any] | AsyncConnection[Any]) -> tuple[LiteralString, tuple[str, ...]] | None:
    """The statement that the transaction begins with, or None where one of the same tenant is open already."""
    context = current_context()
    began_for = _began_for.get(conn)
    if began_for is not None:
        check_same(began_for, context)
        return None
    if conn.info.transaction_status != pq.TransactionStatus.IDLE:
        # A setting made now would outlive the savepoint that this block would be.
        raise TransactionOpenError
    return set_locally(settings_of(context, DEFAULT))


@contextmanager
def _checked(conn: Any) -> Generator[None]:
    """Let *conn* make cursors that check the scope, until the block ends."""
    context = current_context()
    factories = conn.cursor_factory, conn.server_cursor_factory
    _began_for[conn] = context
    conn.cursor_factory, conn.server_cursor_factory = map(_checking, factories)
    try:
        yield
    finally:
        conn.cursor_factory, conn.server_cursor_factory = factories
        del _began_for[conn]


@lru_cache
def _checking(factory: Any) -> Any:
    """*factory*'s class of cursors, checking the scope before each method that sends something.

    The methods are no coroutines even where *factory*'s are: they check when they are called and hand on its answer.
    """

    def checking(name: str) -> Any:
        method = getattr(factory, name)

        @wraps(method)
        def check_and_send(self: Any, *args: Any, **kwargs: Any) -> Any:
            _check(self)
            return method(self, *args, **kwargs)

        return check_and_send

    return type(f"Tenant{factory.__name__}", (factory,), {name: checking(name) for name in _SENDING})


def _check(cursor: Any) -> None:
    began_for = _began_for.get(cursor.connection)
    if began_for is None:
        raise TransactionOpenError
    check_same(began_for, current_context())
