"""The same guard by what psycopg documents alone, for one whose private parts are not as `hooks` knows them.

Slower: the context is a statement of its own, so a transaction costs a round trip more, and a statement in autocommit
two or three. What a rollback leaves is removed after it and not with it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor, Connection, Cursor, ServerCursor, errors, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import Row, tuple_row

from tenantry.session.context import current_context
from tenantry.session.errors import ForeignCursorError, HeldCursorError, TransactionOpenError
from tenantry.session.leftovers import NOTHING, Left, clean_after, clean_before, read
from tenantry.session.protection import DEFAULT, Protection
from tenantry.session.psycopg.checking import AsyncChecked, Checked
from tenantry.session.psycopg.state import WHO, State
from tenantry.session.statements import set_locally, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Self

__all__ = ["AsyncPlainTenantConnection", "PlainTenantConnection"]


def _text_of(query: Any, conn: Any) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(conn)
    return query.decode(conn.info.encoding, "replace") if isinstance(query, bytes) else str(query)


def _idle(conn: Any) -> bool:
    return conn.info.transaction_status == TransactionStatus.IDLE


def _needs(conn: Any, query: Any) -> str:
    """What *query* needs before it: a transaction around it, a context before it, or nothing more."""
    state: State = conn.tenantry
    if state.open_door:
        return "nothing"
    reading = read(_text_of(query, conn))
    if reading.count == 0 and conn.autocommit:
        return "nothing"
    reading.check()
    if conn.pgconn.pipeline_status and state.in_transaction:
        state.check()
    elif _idle(conn) or conn.pgconn.pipeline_status:
        current_context()
        state.left |= reading.left
        return "transaction" if conn.autocommit else "context"
    elif not state.in_transaction:
        raise TransactionOpenError
    state.check()
    state.left |= reading.left
    return "nothing"


def _refuse_held(cursor: Any) -> None:
    state: State = cursor.connection.tenantry
    if state.open_door:
        return
    current_context()
    if cursor.withhold:
        raise HeldCursorError(cursor.name)
    if cursor.connection.autocommit and _idle(cursor.connection):
        raise errors.NoActiveSqlTransaction(
            "a server-side cursor lives in a transaction: open it inside `with conn.transaction():`"
        )


class _Cursor(Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        with _sending(self.connection, query):
            return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        with _sending(self.connection, query):
            super().executemany(query, params_seq, returning=returning)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Generator[Any]:
        with _sending(self.connection, query):
            yield from super().stream(query, params, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Generator[Any]:
        with _sending(self.connection, statement), super().copy(statement, params, **options) as copy:
            yield copy


class _AsyncCursor(AsyncCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        async with _async_sending(self.connection, query):
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        async with _async_sending(self.connection, query):
            await super().executemany(query, params_seq, returning=returning)

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncGenerator[Any]:
        async with _async_sending(self.connection, query):
            async for row in super().stream(query, params, **options):
                yield row

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncGenerator[Any]:
        async with _async_sending(self.connection, statement), super().copy(statement, params, **options) as copy:
            yield copy


class _ServerCursor(ServerCursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        _refuse_held(self)
        with _sending(self.connection, query):
            return super().execute(query, params, **options)

    def fetchmany(self, size: int = 0) -> list[Any]:
        _check(self.connection)
        return super().fetchmany(size)

    def fetchone(self) -> Any:
        _check(self.connection)
        return super().fetchone()

    def fetchall(self) -> list[Any]:
        _check(self.connection)
        return super().fetchall()

    def __next__(self) -> Any:
        _check(self.connection)
        return super().__next__()


class _AsyncServerCursor(AsyncServerCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        _refuse_held(self)
        async with _async_sending(self.connection, query):
            return await super().execute(query, params, **options)

    async def fetchmany(self, size: int = 0) -> list[Any]:
        _check(self.connection)
        return await super().fetchmany(size)

    async def fetchone(self) -> Any:
        _check(self.connection)
        return await super().fetchone()

    async def fetchall(self) -> list[Any]:
        _check(self.connection)
        return await super().fetchall()

    async def __anext__(self) -> Any:
        _check(self.connection)
        return await super().__anext__()


def _check(conn: Any) -> None:
    if not conn.tenantry.open_door:
        conn.tenantry.check()


@contextmanager
def _sending(conn: Any, query: Any) -> Generator[None]:
    needs = _needs(conn, query)
    if needs == "transaction":
        with conn.transaction():
            yield
        return
    if needs == "context":
        _enter(conn, Cursor(conn, row_factory=tuple_row))
    yield


@asynccontextmanager
async def _async_sending(conn: Any, query: Any) -> AsyncGenerator[None]:
    needs = _needs(conn, query)
    if needs == "transaction":
        async with conn.transaction():
            yield
        return
    if needs == "context":
        await _async_enter(conn, AsyncCursor(conn, row_factory=tuple_row))
    yield


def _context_of(conn: Any) -> tuple[bytes, tuple[str, ...]]:
    """The statement that sets the context, and until it is known asks who answers."""
    state: State = conn.tenantry
    state.enter(conn)
    query, values = set_locally(settings_of(current_context(), state.protection))
    asks = state.pooled is None and not conn.pgconn.pipeline_status
    return (query + WHO if asks else query).encode(), values


def _enter(conn: Any, cursor: Any) -> None:
    cursor.execute(*_context_of(conn), prepare=False)
    conn.tenantry.begun()
    if conn.tenantry.pooled is None and not conn.pgconn.pipeline_status:
        conn.tenantry.take_pid(conn, cursor.fetchone()[-1])


async def _async_enter(conn: Any, cursor: Any) -> None:
    await cursor.execute(*_context_of(conn), prepare=False)
    conn.tenantry.begun()
    if conn.tenantry.pooled is None and not conn.pgconn.pipeline_status:
        conn.tenantry.take_pid(conn, (await cursor.fetchone())[-1])


class _Plain:
    """What both kinds share: their state, and cursors of these classes alone."""

    protection: Protection = DEFAULT
    tenantry: State

    @classmethod
    def told(cls, protection: Protection) -> type[Self]:
        """The class of connections that are protected as *protection* says."""
        return _told(cls, protection)

    def _begins(self) -> bool:
        """Whether a block that is entered now is the transaction and no savepoint. Refuses it outside its scope."""
        conn: Any = self
        if conn.tenantry.open_door:
            return False
        current_context()
        if conn.tenantry.in_transaction and not (_idle(conn) and not conn.pgconn.pipeline_status):
            conn.tenantry.check()
            return False
        return True


@lru_cache
def _told(cls: Any, protection: Protection) -> Any:
    return type(cls.__name__, (cls,), {"protection": protection, "__module__": cls.__module__})


class PlainTenantConnection(Checked, _Plain, Connection[Row]):
    """`TenantConnection`, by what psycopg documents alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenantry = State(self.protection)
        self.cursor_factory = _Cursor  # pyright: ignore[reportAttributeAccessIssue] - its rows are of any type
        self.server_cursor_factory = _ServerCursor  # pyright: ignore[reportAttributeAccessIssue] - as above

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Make a cursor that is guarded."""
        _refuse_other_classes(self, _Cursor, _ServerCursor)
        return super().cursor(*args, **kwargs)

    @contextmanager
    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Generator[Any]:  # noqa: FBT001, FBT002 - psycopg's signature
        """A block in a transaction of the scope, or in a savepoint of one."""
        begins = self._begins()
        left = NOTHING
        try:
            with super().transaction(savepoint_name, force_rollback) as transaction:
                if begins:
                    _enter(self, Cursor(self, row_factory=tuple_row))
                yield transaction
                left = self.tenantry.what_to_clean()
                for text in clean_before(left) if begins and not force_rollback else ():
                    Cursor(self).execute(text.encode())
        except BaseException:
            if begins:
                left = self.tenantry.what_to_clean()
                self.tenantry.ended()
                self._clean(left)
            raise
        if begins:
            self.tenantry.ended()
            if force_rollback:
                self._clean(left)

    def commit(self) -> None:
        """Commit, and remove before that what the transaction's statements left."""
        if self.info.transaction_status == TransactionStatus.INTRANS and not self.tenantry.open_door:
            for text in clean_before(self.tenantry.what_to_clean()):
                Cursor(self).execute(text.encode())
        super().commit()
        self.tenantry.ended()

    def rollback(self) -> None:
        """Roll back, and remove after that what a rollback does not."""
        left = self.tenantry.what_to_clean()
        super().rollback()
        self.tenantry.ended()
        self._clean(left)

    def _clean(self, left: Left) -> None:
        if self.tenantry.open_door or self.closed:
            return
        for text in clean_after(left):
            Cursor(self).execute(text.encode())
        super().commit()


class AsyncPlainTenantConnection(AsyncChecked, _Plain, AsyncConnection[Row]):
    """`AsyncTenantConnection`, by what psycopg documents alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenantry = State(self.protection)
        self.cursor_factory = _AsyncCursor  # pyright: ignore[reportAttributeAccessIssue] - as above
        self.server_cursor_factory = _AsyncServerCursor  # pyright: ignore[reportAttributeAccessIssue] - as above

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Make a cursor that is guarded."""
        _refuse_other_classes(self, _AsyncCursor, _AsyncServerCursor)
        return super().cursor(*args, **kwargs)

    @asynccontextmanager
    async def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> AsyncGenerator[Any]:  # noqa: FBT001, FBT002 - as above
        """A block in a transaction of the scope, or in a savepoint of one."""
        begins = self._begins()
        left = NOTHING
        try:
            async with super().transaction(savepoint_name, force_rollback) as transaction:
                if begins:
                    await _async_enter(self, AsyncCursor(self, row_factory=tuple_row))
                yield transaction
                left = self.tenantry.what_to_clean()
                for text in clean_before(left) if begins and not force_rollback else ():
                    await AsyncCursor(self).execute(text.encode())
        except BaseException:
            if begins:
                left = self.tenantry.what_to_clean()
                self.tenantry.ended()
                await self._clean(left)
            raise
        if begins:
            self.tenantry.ended()
            if force_rollback:
                await self._clean(left)

    async def commit(self) -> None:
        """Commit, and remove before that what the transaction's statements left."""
        if self.info.transaction_status == TransactionStatus.INTRANS and not self.tenantry.open_door:
            for text in clean_before(self.tenantry.what_to_clean()):
                await AsyncCursor(self).execute(text.encode())
        await super().commit()
        self.tenantry.ended()

    async def rollback(self) -> None:
        """Roll back, and remove after that what a rollback does not."""
        left = self.tenantry.what_to_clean()
        await super().rollback()
        self.tenantry.ended()
        await self._clean(left)

    async def _clean(self, left: Left) -> None:
        if self.tenantry.open_door or self.closed:
            return
        for text in clean_after(left):
            await AsyncCursor(self).execute(text.encode())
        await super().commit()


def _refuse_other_classes(conn: Any, client_side: type, server_side: type) -> None:
    if conn.cursor_factory is not client_side or conn.server_cursor_factory is not server_side:
        raise ForeignCursorError
