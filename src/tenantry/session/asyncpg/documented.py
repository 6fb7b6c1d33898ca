"""The same over asyncpg's documented API alone, for a release in which `hooks` misses something.

Slower: BEGIN and the context are messages of their own, and so is what cleans up. What asyncpg sends through the
methods of other objects is checked where those are handed out.
"""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from asyncpg import Connection, FeatureNotSupportedError

from tenantry.session.asyncpg.texts import Asks, cleaning, understand
from tenantry.session.context import Context, check_same, current_context
from tenantry.session.errors import (
    CopyInError,
    LibraryError,
    ListenerError,
    TransactionControlError,
    TransactionOpenError,
)
from tenantry.session.leftovers import EVERYTHING, NOTHING, Left
from tenantry.session.protection import DEFAULT, Protection
from tenantry.session.statements import set_locally, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

__all__ = ["DocumentedConnection", "tenant_transaction"]


@asynccontextmanager
async def tenant_transaction(conn: Any, **options: Any) -> AsyncGenerator[Any]:
    """Run the block in a transaction of any asyncpg connection that carries the tenant and user of the scope.

    *options* are those of asyncpg's `transaction()`. On a connection that is no `TenantConnection`, nothing checks the
    statements inside: keep to one scope. A block inside another is a savepoint of the same tenant.

    Raises `NoTenantError`, and `TransactionOpenError` where a plain connection is in a transaction already.
    """
    query, values = set_locally(settings_of(current_context(), DEFAULT), numeric=True)
    covered = hasattr(conn, "unguarded")
    if not covered and conn.is_in_transaction():
        raise TransactionOpenError
    async with conn.transaction(**options):
        if not covered:
            await conn.execute(query, *values)
        yield conn


def _covered(method: Callable[..., Any]) -> Callable[..., Any]:
    """*method* of a connection, in a transaction that carries the tenant."""

    @wraps(method)
    async def send(self: DocumentedConnection, *args: Any, **options: Any) -> Any:
        if self.passes():
            return await method(self, *args, **options)
        text = args[0] if args and method.__name__ not in _OF_A_TABLE else ""
        async with self.within(text):
            return await method(self, *args, **options)

    return send


_OF_A_TABLE = {"copy_from_table", "copy_to_table", "copy_records_to_table"}


class DocumentedConnection(Connection):
    """See `TenantConnection`."""

    protection: ClassVar[Protection] = DEFAULT

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guarded = True
        self._own_task: Any = None
        self._left: Left = NOTHING
        self._began_for: Context | None = None

    @classmethod
    def protected_by(cls, protection: Protection) -> type[DocumentedConnection]:
        """The class of connections that *protection* is told."""
        return type(cls.__name__, (cls,), {"protection": protection})

    @contextmanager
    def unguarded(self) -> Generator[None]:
        """Let what the block sends pass as it is: what sets a connection up, before any tenant's work."""
        self._guarded = False
        try:
            yield
        finally:
            self._guarded = True

    def let_pass(self, *, passing: bool) -> None:
        """Let what is sent pass as it is from now on, or not."""
        self._guarded = not passing

    def passes(self) -> bool:
        """Whether what is sent now is asyncpg's own, or ours."""
        return not self._guarded or (self._own_task is not None and self._own_task is asyncio.current_task())

    @contextmanager
    def own(self) -> Generator[None]:
        """Let this task's own messages pass: those that begin and end transactions."""
        before, self._own_task = self._own_task, asyncio.current_task()
        try:
            yield
        finally:
            self._own_task = before

    def admit(self, text: str) -> None:
        """Check the scope against the open transaction, and note what *text* leaves."""
        now = current_context()
        if self._began_for is not None:
            check_same(self._began_for, now)
        elif self.is_in_transaction():
            raise TransactionOpenError
        understood = understand(text)
        if understood.asks is not Asks.WORK:
            raise TransactionControlError(understood.control or text)
        if Left.LIBRARY in understood.left:
            raise LibraryError
        always = self.protection.checkin == "always"
        self._left |= EVERYTHING if always else understood.left

    @asynccontextmanager
    async def within(self, text: str) -> AsyncGenerator[None]:
        """Let the block send *text* in the open transaction, or in one of its own."""
        self.admit(text)
        if self._began_for is not None:
            with self.own():
                yield
            return
        async with self.transaction():
            with self.own():
                yield

    def transaction(self, **options: Any) -> Any:
        """Give a transaction, or a savepoint in one, that carries the tenant."""
        inner = super().transaction(**options)
        return inner if self.passes() else _Transaction(self, inner)

    async def begin(self, transaction: Any) -> bool:
        """Start *transaction* and send the context. Whether it is the outermost."""
        now = current_context()
        if self._began_for is not None:
            check_same(self._began_for, now)
            with self.own():
                await transaction.start()
            return False
        query, values = set_locally(settings_of(now, self.protection), numeric=True)
        with self.own():
            await transaction.start()
            try:
                await self.execute(query, *values)
            except BaseException:
                await transaction.rollback()
                raise
        self._began_for = now
        return True

    async def end(self, transaction: Any, *, commits: bool, outermost: bool) -> None:
        """Commit or roll back *transaction*, and remove what was left."""
        with self.own():
            if not outermost:
                await (transaction.commit() if commits else transaction.rollback())
                return
            message, self._left, self._began_for = cleaning(self._left), NOTHING, None
            try:
                await (transaction.commit() if commits else transaction.rollback())
            finally:
                if message and not self.is_closed():
                    await self.execute(message)

    async def prepare(self, query: str, **options: Any) -> Any:
        """Give a prepared statement whose methods are checked."""
        if self.passes():
            return await super().prepare(query, **options)
        current_context()
        with self.own():
            statement = await super().prepare(query, **options)
        return _Statement(self, statement, query)

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """Give a cursor whose steps are checked."""
        inner = super().cursor(query, *args, **options)
        return inner if self.passes() else _Cursor(self, inner, query)

    async def copy_to_table(self, table_name: str, **options: Any) -> Any:
        """Refuse what Postgres refuses with the way out."""
        return await self._copy_into(super().copy_to_table, table_name, options)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """Refuse what Postgres refuses with the way out."""
        return await self._copy_into(super().copy_records_to_table, table_name, options)

    async def _copy_into(self, copy: Callable[..., Any], table_name: str, options: Any) -> Any:
        if self.passes():
            return await copy(table_name, **options)
        try:
            async with self.within("COPY"):
                return await copy(table_name, **options)
        except FeatureNotSupportedError as exc:
            raise CopyInError(f"COPY {table_name} FROM STDIN") from exc

    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> NoReturn:  # noqa: ARG002 - asyncpg's signature
        """Refuse, with `ListenerError`."""
        raise ListenerError(channel)

    def get_reset_query(self) -> str:
        """What removes what was left on the connection; empty where nothing was."""
        return cleaning(self._left)

    async def reset(self, *, timeout: float | None = None) -> None:
        """Roll back what is open, and remove what was left."""
        with self.unguarded():
            await super().reset(timeout=timeout)
        self._left, self._began_for = NOTHING, None

    execute = _covered(Connection.execute)
    executemany = _covered(Connection.executemany)
    fetch = _covered(Connection.fetch)
    fetchrow = _covered(Connection.fetchrow)
    fetchval = _covered(Connection.fetchval)
    fetchmany = _covered(Connection.fetchmany)
    copy_from_table = _covered(Connection.copy_from_table)
    copy_from_query = _covered(Connection.copy_from_query)


class _Transaction:
    def __init__(self, conn: DocumentedConnection, inner: Any) -> None:
        self._conn = conn
        self._inner = inner
        self._outermost = False

    async def start(self) -> None:
        self._outermost = await self._conn.begin(self._inner)

    async def commit(self) -> None:
        await self._conn.end(self._inner, commits=True, outermost=self._outermost)

    async def rollback(self) -> None:
        await self._conn.end(self._inner, commits=False, outermost=self._outermost)

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, exc: object, tb: object) -> None:
        await (self.commit() if kind is None else self.rollback())


class _Statement:
    def __init__(self, conn: DocumentedConnection, inner: Any, query: str) -> None:
        self._conn = conn
        self._inner = inner
        self._query = query

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in {"fetch", "fetchrow", "fetchval", "fetchmany", "executemany", "explain"}:
            return found

        async def send(*args: Any, **options: Any) -> Any:
            async with self._conn.within(self._query):
                return await found(*args, **options)

        return send

    def cursor(self, *args: Any, **options: Any) -> Any:
        return _Cursor(self._conn, self._inner.cursor(*args, **options), self._query)


class _Cursor:
    def __init__(self, conn: DocumentedConnection, inner: Any, query: str) -> None:
        self._conn = conn
        self._inner = inner
        self._query = query

    async def __aiter__(self) -> AsyncGenerator[Any]:
        rows = aiter(self._inner)
        while True:
            self._conn.admit(self._query)
            with self._conn.own():
                try:
                    row = await anext(rows)
                except StopAsyncIteration:
                    return
            yield row

    def __await__(self) -> Generator[Any, None, _Cursor]:
        self._conn.admit(self._query)
        with self._conn.own():
            self._inner = yield from self._inner.__await__()
        return self

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)

        async def send(*args: Any, **options: Any) -> Any:
            self._conn.admit(self._query)
            return await found(*args, **options)

        return send
