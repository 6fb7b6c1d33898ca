"""What stands between an asyncpg connection and its protocol, so that no statement is sent without its context.

asyncpg writes Bind, Execute and Sync for a statement. The context's own Bind and Execute, and BEGIN's, are written to
the transport just before: all up to Sync is one message group, one round trip, and outside a transaction block one
transaction (Postgres docs: "Extended Query Overview"). So BEGIN is only noted, and travels with what follows it.
"""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from asyncpg import FeatureNotSupportedError, InterfaceError, InvalidSQLStatementNameError, PostgresError

from tenantry.session.asyncpg.messages import EXECUTE, bind, parse, without_rows
from tenantry.session.asyncpg.texts import Asks, cleaning, ending, understand
from tenantry.session.context import Context, check_same, current_context
from tenantry.session.errors import CopyInError, LibraryError, TransactionControlError, TransactionOpenError
from tenantry.session.leftovers import EVERYTHING, NOTHING, Left
from tenantry.session.statements import Settings, are_public, set_locally, set_locally_with_literals, settings_of

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Awaitable, Callable

    from tenantry.session.asyncpg.texts import Text
    from tenantry.session.protection import Protection

__all__ = ["Guard"]

_NO_ROW = b"SELECT 0"
"""How Postgres answers a context statement that gave no row."""


class Guard:
    """The protocol of one connection, with the context before each statement that is sent through it.

    With *prepares*, BEGIN and the context statement are kept as prepared statements; a pooler that cannot hold them
    gets each anew. While not `guarded`, everything passes as it is.
    """

    def __init__(self, protocol: Any, transport: Transport, protection: Protection, *, prepares: bool) -> None:
        self.guarded = True
        self.left: Left = NOTHING
        self._protocol = protocol
        self._transport = transport
        self._protection = protection
        self._always = protection.checkin == "always"
        self._prepares = prepares
        self._context: Context | None = None
        self._unsent: str | None = None
        self._failed = False
        self._uncertain = False
        self._doubtful = False
        self._busy = False
        self._in_a_block = False
        self._numbers = count(1)
        self._names: dict[str, str] = {}
        self._fresh: list[str] = []
        self._last: tuple[Context, str | None, bytes] | None = None
        self.is_connected = protocol.is_connected
        self._get_timeout = protocol._get_timeout  # noqa: SLF001 - asyncpg's own name, see `hooks`

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun, for the caller: its BEGIN may not have been sent yet."""
        return self._context is not None or self._protocol.is_in_transaction()

    # What asyncpg calls.

    async def prepare(self, stmt_name: str, query: str, timeout: Any, **options: Any) -> Any:
        """Parse and describe *query*, which runs nothing."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.prepare(stmt_name, query, timeout, **options)

        if not self.guarded:
            return await send(timeout)
        if self._doubtful:
            await self._settle()
        self._admit()
        return await self._send(send, timeout, group=self._unsent is not None, counts=False)

    async def bind_execute(
        self, state: Any, args: Any, portal_name: str, limit: int, return_extra: bool, timeout: Any
    ) -> Any:
        """Run a prepared statement."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.bind_execute(state, args, portal_name, limit, True, timeout)

        if not self.guarded:
            return await self._protocol.bind_execute(state, args, portal_name, limit, return_extra, timeout)
        if self._doubtful:
            await self._settle()
        text = understand(state.query)
        if text.plain and not self._always:
            answer = await self._send(send, timeout, group=True, context=self._admit())
        elif text.asks is Asks.BEGIN:
            self._begin(text, state.query)
            return ([], b"BEGIN", True) if return_extra else []
        elif text.asks in {Asks.COMMIT, Asks.ROLLBACK, Asks.MIXED}:
            raise TransactionControlError(text.control)
        else:
            answer = await self._run(text, send, timeout, group=True)
        rows, status, complete = answer
        if status == _NO_ROW and rows:  # the context's: the statement itself was left at *limit* rows
            status, complete = None, False
        return (rows, status, complete) if return_extra else rows

    async def bind_execute_many(self, state: Any, args: Any, portal_name: str, timeout: Any, return_rows: bool) -> Any:
        """Run a prepared statement for many rows."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.bind_execute_many(state, args, portal_name, timeout, return_rows)

        # In a block of its own: asyncpg sends no Sync where no row comes, or one with its own ROLLBACK.
        return await self._statement(state.query, send, timeout)

    async def bind(self, state: Any, args: Any, portal_name: str, timeout: Any) -> Any:
        """Open a portal."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.bind(state, args, portal_name, timeout)

        return await self._statement(state.query, send, timeout)

    async def execute(self, state: Any, portal_name: str, limit: int, return_extra: bool, timeout: Any) -> Any:
        """Fetch more of a portal."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.execute(state, portal_name, limit, return_extra, timeout)

        return await self._statement(state.query, send, timeout)

    async def copy_out(self, copy_stmt: str, sink: Any, timeout: Any) -> Any:
        """COPY … TO STDOUT."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.copy_out(copy_stmt, sink, timeout)

        return await self._statement(copy_stmt, send, timeout)

    async def copy_in(
        self, copy_stmt: str, reader: Any, data: Any, records: Any, record_stmt: Any, timeout: Any
    ) -> Any:
        """COPY … FROM STDIN, which Postgres has for tables without row security."""

        def send(timeout: Any) -> Awaitable[Any]:
            return self._protocol.copy_in(copy_stmt, reader, data, records, record_stmt, timeout)

        try:
            return await self._statement(copy_stmt, send, timeout)
        except FeatureNotSupportedError as exc:
            if self.guarded:
                raise CopyInError(copy_stmt) from exc
            raise

    async def query(self, query: str, timeout: Any) -> str:
        """Run a text, which may hold several statements."""
        if not self.guarded:
            return await self._protocol.query(query, timeout)
        if self._doubtful:
            await self._settle()
        text = understand(query)
        if text.asks is Asks.COMMIT or text.asks is Asks.ROLLBACK:
            return await self._end(text, query, timeout)
        if text.asks is Asks.BEGIN:
            self._begin(text, query)
            return "BEGIN"
        if text.asks is Asks.MIXED:
            raise TransactionControlError(text.control)
        if self._context is None and text.plain and not self._always:
            settings = settings_of(self._admit(), self._protection)
            if are_public(settings):
                return await self._send(lambda timeout: self._query_after(settings, query, timeout), timeout)
        return await self._run(text, lambda timeout: self._protocol.query(query, timeout), timeout)

    # How it is sent.

    async def _statement(self, query: str, send: Callable[[Any], Awaitable[Any]], timeout: Any) -> Any:
        if not self.guarded:
            return await send(timeout)
        if self._doubtful:
            await self._settle()
        text = understand(query)
        if text.asks is not Asks.WORK:
            raise TransactionControlError(text.control or query)
        return await self._run(text, send, timeout, block=True)

    async def _run(
        self,
        text: Text,
        send: Callable[[Any], Awaitable[Any]],
        timeout: Any,
        *,
        group: bool = False,
        block: bool = False,
    ) -> Any:
        """Send a statement with its context: before it in one *group* if it can be, else in a block of its own."""
        now = self._admit()
        if Left.LIBRARY in text.left:
            raise LibraryError
        if text.asks is Asks.FINISH_PREPARED:
            return await self._send(send, timeout)
        if text.asks is Asks.PREPARE and self.left:
            await self._clean()
        left = EVERYTHING if self._always else text.left
        if self._context is None and (left or block or not group):
            return await self._in_block(now, left, send, timeout, group=group)
        self.left |= left
        if self._unsent is not None and not group:
            await self._send(self._flush, timeout, group=True, counts=False)
        return await self._send(send, timeout, group=group, context=now)

    async def _in_block(
        self, now: Context, left: Left, send: Callable[[Any], Awaitable[Any]], timeout: Any, *, group: bool
    ) -> Any:
        """Send a statement in a transaction of its own, which commits with what removes *left*."""
        self._context, self._unsent, self.left, self._in_a_block = now, "BEGIN", self.left | left, True
        try:
            try:
                if not group:
                    await self._send(self._flush, timeout, group=True, counts=False)
                result = await self._send(send, timeout, group=group)
            except BaseException:
                with suppress(PostgresError, InterfaceError, OSError):  # the caller sees the statement's own error
                    await self._end(understand("ROLLBACK"), "ROLLBACK", None)
                raise
            await self._end(understand("COMMIT"), "COMMIT", timeout)
        finally:
            self._in_a_block = False
        return result

    async def _send(
        self,
        send: Callable[[Any], Awaitable[Any]],
        timeout: Any,
        *,
        group: bool = False,
        counts: bool = True,
        context: Context | None = None,
    ) -> Any:
        """Send one operation of asyncpg's, in a *group* with what must come before it."""
        if self._busy:
            raise InterfaceError("cannot perform operation: another operation is in progress")
        self._busy = True
        before, written = self._protocol.queries_count, False
        try:
            if self._protocol._is_cancelling():  # noqa: SLF001 - asyncpg's own name, see `hooks`
                timeout = await self._protocol._wait_for_cancellation(self._get_timeout(timeout))  # noqa: SLF001 - as above
            if group and self._protocol.is_connected():
                written = self._write(context)
            result = await send(timeout)
        except BaseException as exc:
            await self._recover(exc, unsent=written and counts and self._protocol.queries_count == before)
            raise
        else:
            self._fresh.clear()
            self._failed = False
            if counts and self._unsent is None and not self._protocol.is_in_transaction():
                self._context = None  # as PREPARE TRANSACTION ends it
            return result
        finally:
            self._busy = False

    async def _recover(self, exc: BaseException, *, unsent: bool) -> None:
        """Bring the connection in order after *exc*."""
        for text in self._fresh:
            self._names.pop(text, None)
        self._fresh.clear()
        if isinstance(exc, InvalidSQLStatementNameError):  # DEALLOCATE ALL or DISCARD ALL took ours as well
            self._names.clear()
            self._last = None
        if unsent and self._protocol.is_connected():
            # asyncpg refused the arguments before it sent anything, so what we wrote waits for a Sync.
            await self._protocol.close_portal("", None)
        if not isinstance(exc, PostgresError):
            self._uncertain = self._uncertain or not unsent
        else:
            self._failed = self._context is not None and self._protocol.is_in_transaction()
            if not self._failed and self._unsent is None:
                self._context = None

    def _write(self, context: Context | None) -> bool:
        """Write BEGIN, if one waits, and the context. Whether anything had to be."""
        begin = self._unsent
        if self._context is not None:
            if begin is None:
                return False
            context, self._unsent = self._context, None
        assert context is not None
        last = self._last
        if last is not None and last[0] is context and last[1] == begin:
            self._transport.write(last[2])
            return True
        query, values = set_locally(settings_of(context, self._protection), numeric=True)
        data = (self._messages(begin, ()) if begin else b"") + self._messages(without_rows(query), values)
        if not self._fresh and self._protection.key is None:  # a Parse is not sent twice, and a token does not last
            self._last = context, begin, data
        self._transport.write(data)
        return True

    def _messages(self, query: str, values: tuple[str, ...]) -> bytes:
        name = self._names.get(query, "") if self._prepares else ""
        if name:
            return bind(name, values) + EXECUTE
        if self._prepares:
            name = self._names[query] = f"tenantry_{next(self._numbers)}"
            self._fresh.append(query)
        return parse(name, query) + bind(name, values) + EXECUTE

    async def _flush(self, timeout: Any) -> None:
        """Send nothing but a Sync, which ends the group that was written before it."""
        await self._protocol.close_portal("", timeout)

    async def _query_after(self, settings: Settings, query: str, timeout: Any) -> str:
        """Run *query* and, before it in the same message and transaction, the context."""
        head = set_locally_with_literals(settings) + "; "
        try:
            return await self._protocol.query(head + query, timeout)
        except PostgresError as exc:
            exc.query = query  # type: ignore[attr-defined] - asyncpg sets it on every error
            place: str | None = getattr(exc, "position", None)
            if place is not None:
                exc.position = str(int(place) - len(head))  # type: ignore[attr-defined] - as above
            raise

    # The transaction.

    def _admit(self) -> Context:
        """The context of now. Raises where there is none, or where the open transaction is another's."""
        now = current_context()
        if self._busy or self._in_a_block:
            raise InterfaceError("cannot perform operation: another operation is in progress")
        if self._context is not None:
            check_same(self._context, now)
        elif self._protocol.is_in_transaction():
            raise TransactionOpenError
        return now

    def _begin(self, text: Text, query: str) -> None:
        now = self._admit()
        if self._context is not None:
            raise TransactionControlError(text.control)
        self._context, self._unsent, self._failed = now, query, False

    async def _end(self, text: Text, query: str, timeout: Any) -> str:
        """Commit or roll back, in any scope or none, and remove in the same message what was left."""
        if self._unsent is not None:
            self._context = self._unsent = None
            return "COMMIT" if text.asks is Asks.COMMIT else "ROLLBACK"
        commits = text.asks is Asks.COMMIT and not self._failed
        message = query
        if self.left is not NOTHING:
            message = ending(query, self.left, commits=commits, uncertain=self._uncertain)
        try:
            await self._send(lambda timeout: self._protocol.query(message, timeout), timeout)
        except PostgresError:
            if self._protocol.is_in_transaction():  # the clean-up failed, and so COMMIT was not reached
                await self._protocol.query(ending("ROLLBACK", self.left, commits=False), None)
            self.forget()
            raise
        except BaseException:
            self._doubtful = True
            raise
        self.forget()
        return "COMMIT" if commits else "ROLLBACK"

    async def _settle(self) -> None:
        """End a transaction of which it is not known whether its end was reached."""
        if self._protocol.is_connected():
            message = ending("ROLLBACK", self.left, commits=False, uncertain=True)
            await self._send(lambda timeout: self._protocol.query(message, timeout), None)
            self.forget()

    def forget(self) -> None:
        """Note that no transaction is open and nothing is left."""
        self._context = self._unsent = None
        self._failed = self._uncertain = self._doubtful = False
        self.left = NOTHING

    async def _clean(self) -> None:
        message = cleaning(self.left)
        await self._send(lambda timeout: self._protocol.query(message, timeout), None)
        self.left = NOTHING
