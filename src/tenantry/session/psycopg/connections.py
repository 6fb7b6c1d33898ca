"""`TenantConnection` and `AsyncTenantConnection`: psycopg's connections, each statement in the tenant's context."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, Connection
from psycopg._server_cursor_base import ServerCursorMixin
from psycopg.client_cursor import ClientCursorMixin
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.rows import Row

from tenantry.session.context import current_context
from tenantry.session.errors import ForeignCursorError
from tenantry.session.protection import DEFAULT, Protection
from tenantry.session.psycopg.checking import AsyncChecked, Checked
from tenantry.session.psycopg.hooks import GuardedConnection, GuardedCursor, GuardedServerCursor
from tenantry.session.psycopg.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Self

__all__ = ["AsyncTenantConnection", "TenantConnection"]


def _alone(conn: Any) -> bool:
    """Whether what is sent next is in autocommit and gets a transaction of its own."""
    idle = conn.pgconn.transaction_status == TransactionStatus.IDLE
    return conn.autocommit and idle and not conn.tenantry.open_door and conn.pgconn.pipeline_status == 0


def _broken_off(conn: Any) -> bool:
    return conn.pgconn.status == ConnStatus.OK and conn.pgconn.transaction_status != TransactionStatus.IDLE


class _SyncCursor(GuardedCursor):
    """What takes several calls, and so a transaction that spans them."""

    __slots__ = ()

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Generator[Any]:
        base: Any = super()
        with _transaction(self._conn), base.copy(statement, params, **options) as copy:
            yield copy

    def stream(self, query: Any, params: Any = None, **options: Any) -> Generator[Any]:
        base: Any = super()
        with _transaction(self._conn):
            yield from base.stream(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        base: Any = super()
        with _transaction(self._conn, batch=True):
            base.executemany(query, params_seq, returning=returning)


class _AsyncCursor(GuardedCursor):
    __slots__ = ()

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncGenerator[Any]:
        base: Any = super()
        async with _async_transaction(self._conn), base.copy(statement, params, **options) as copy:
            yield copy

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncGenerator[Any]:
        base: Any = super()
        async with _async_transaction(self._conn):
            async for row in base.stream(query, params, **options):
                yield row

    async def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        base: Any = super()
        async with _async_transaction(self._conn, batch=True):
            await base.executemany(query, params_seq, returning=returning)


@contextmanager
def _transaction(conn: Any, *, batch: bool = False) -> Generator[None]:
    """End the transaction that the block's first statement begins where *conn* is in autocommit.

    A batch brings its BEGIN and its COMMIT along.
    """
    alone = _alone(conn)
    conn.tenantry.batch = alone and batch
    try:
        yield
    except BaseException:
        conn.tenantry.batch = False
        if alone and _broken_off(conn):
            conn.rollback()
        raise
    if conn.tenantry.batch:
        conn.tenantry.ended()
        conn.tenantry.batch = False
    elif alone:
        conn.commit()


@asynccontextmanager
async def _async_transaction(conn: Any, *, batch: bool = False) -> AsyncGenerator[None]:
    alone = _alone(conn)
    conn.tenantry.batch = alone and batch
    try:
        yield
    except BaseException:
        conn.tenantry.batch = False
        if alone and _broken_off(conn):
            await conn.rollback()
        raise
    if conn.tenantry.batch:
        conn.tenantry.ended()
        conn.tenantry.batch = False
    elif alone:
        await conn.commit()


class _Guarded(GuardedConnection):
    """What both kinds of connections share: their state, and cursors of whatever class that are guarded."""

    protection: Protection = DEFAULT
    _shell: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.tenantry = State(self.protection)
        super().__init__(*args, **kwargs)

    @property
    def cursor_factory(self) -> Any:
        return self._cursor_factory

    @cursor_factory.setter
    def cursor_factory(self, factory: Any) -> None:
        self._cursor_factory = _guarded_factory(factory, self._shell)

    @property
    def server_cursor_factory(self) -> Any:
        return self._server_cursor_factory

    @server_cursor_factory.setter
    def server_cursor_factory(self, factory: Any) -> None:
        self._server_cursor_factory = _guarded_factory(factory, self._shell)

    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Any:  # noqa: FBT001, FBT002 - psycopg's signature
        """A block in a transaction of the scope, or in a savepoint of one. Raises as a statement does."""
        state = self.tenantry
        if not state.open_door:
            current_context()
            if state.in_transaction:
                state.check()
        base: Any = super()
        return base.transaction(savepoint_name, force_rollback)

    @classmethod
    def told(cls, protection: Protection) -> type[Self]:
        """The class of connections that are protected as *protection* says, e.g. for a pool's `connection_class`."""
        return _told(cls, protection)


class TenantConnection(Checked, _Guarded, Connection[Row]):  # pyright: ignore[reportIncompatibleVariableOverride] - a property takes the place of psycopg's attribute
    """A `psycopg.Connection` whose statements carry the tenant and user of the scope, for no round trip more."""

    _shell = _SyncCursor


class AsyncTenantConnection(AsyncChecked, _Guarded, AsyncConnection[Row]):  # pyright: ignore[reportIncompatibleVariableOverride] - as above
    """A `psycopg.AsyncConnection` whose statements carry the tenant and user of the scope, for no round trip more."""

    _shell = _AsyncCursor


@lru_cache
def _told(cls: Any, protection: Protection) -> Any:
    return type(cls.__name__, (cls,), {"protection": protection, "__module__": cls.__module__})


@lru_cache
def _guarded_class(cls: Any, shell: Any) -> Any:
    """*cls*, a psycopg cursor's class, guarded."""
    if issubclass(cls, GuardedCursor):
        return cls
    bases: Any = (shell, cls)
    if issubclass(cls, ServerCursorMixin):
        bases = (GuardedServerCursor, shell, cls)
    members = {"__slots__": (), "__module__": cls.__module__, "_as_text": issubclass(cls, ClientCursorMixin)}
    return type(f"Tenant{cls.__name__}", bases, members)


def _guarded_factory(factory: Any, shell: Any) -> Callable[..., Any]:
    if isinstance(factory, type):
        return _guarded_class(factory, shell)

    def make(*args: Any, **kwargs: Any) -> Any:
        cursor = factory(*args, **kwargs)
        if not isinstance(cursor, GuardedCursor):
            raise ForeignCursorError
        return cursor

    return make
