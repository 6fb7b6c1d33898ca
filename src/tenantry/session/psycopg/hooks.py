"""The guard that rides on psycopg's own generators: the one place that leans on what psycopg keeps private.

Whatever psycopg sends for its callers passes `_start_query` and `_convert_query` of a cursor or `_exec_command` of a
connection, sync and async alike. `seam` says whether this psycopg has them as they are needed here; where it has not,
`fallback` guards with what is documented.
"""

# ruff: noqa: SLF001, FBT001 - what is private is named here and nowhere else, and the signatures are psycopg's
# pyright: reportPrivateUsage=false

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from psycopg import errors, pq
from psycopg._preparing import Prepare
from psycopg.adapt import Transformer

from tenantry.session.context import current_context
from tenantry.session.errors import ForeignCursorError, HeldCursorError, TransactionOpenError
from tenantry.session.leftovers import NOTHING, Reading, clean_after, clean_before, read
from tenantry.session.psycopg.wire import collect, run_text, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import BaseConnection
    from psycopg._cursor_base import BaseCursor
    from psycopg._queries import PostgresQuery
    from psycopg._server_cursor_base import ServerCursorMixin
    from psycopg.abc import Params, PQGen, Query
    from psycopg.pq.abc import PGresult

    from tenantry.session.psycopg.state import State

    _Connection = BaseConnection[Any]
    _Cursor = BaseCursor[Any, Any]
    _ServerCursor = ServerCursorMixin[Any, Any]
else:
    _Connection = _Cursor = _ServerCursor = object

__all__ = ["GuardedConnection", "GuardedCursor", "GuardedServerCursor"]

_IDLE = pq.TransactionStatus.IDLE
_FAILED = pq.TransactionStatus.INERROR
_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
_ERROR = pq.ExecStatus.FATAL_ERROR
_NO, _SHOULD = Prepare.NO, Prepare.SHOULD
_COMMIT, _ROLLBACK = b"COMMIT", b"ROLLBACK"

# What psycopg sends of its own that shows or writes no row, and so passes in whatever scope.
_ENDING = (b"COMMIT", b"ROLLBACK", b"RELEASE", b"CLOSE", b"DEALLOCATE", b"SELECT 1 FROM pg_catalog.pg_cursors")


@lru_cache(maxsize=2048)
def _read_cached(query: bytes, encoding: str) -> Reading:
    return read(query.decode(encoding, "replace"))


def _read(query: bytes, encoding: str) -> Reading:
    # Beyond this length psycopg does not cache either.
    return _read_cached(query, encoding) if len(query) <= 4096 else read(query.decode(encoding, "replace"))  # noqa: PLR2004


class GuardedConnection(_Connection):
    """Mixed into a psycopg connection: what begins a transaction brings the context along, what ends it cleans up."""

    tenantry: State

    def _start_query(self) -> PQGen[None]:
        if not self.tenantry.open_door:
            raise ForeignCursorError
        yield from super()._start_query()

    def _exec_command(self, command: Any, result_format: pq.Format = _TEXT) -> PQGen[PGresult | None]:
        state = self.tenantry
        if state.open_door:
            return (yield from super()._exec_command(command, result_format))
        self._check_connection_ok()
        text: bytes = command if isinstance(command, bytes) else self._as_bytes(command)
        if text.startswith(b"BEGIN"):
            return (yield from self.tenantry_begin(text))
        if text in {_COMMIT, _ROLLBACK} or text.startswith(b"PREPARE TRANSACTION"):
            return (yield from self._end(text))
        if not text.startswith(_ENDING):
            state.check()
        return (yield from super()._exec_command(text, result_format))

    def _as_bytes(self, command: Any) -> bytes:
        return command.encode(self.pgconn._encoding) if isinstance(command, str) else command.as_bytes(self)

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        if name is None:
            self.tenantry.names.clear()
        yield from super()._deallocate(name)

    def tenantry_begin(self, command: bytes) -> PQGen[PGresult | None]:
        """Begin a transaction with *command* and its context, in one message. Raises `NoTenantError`."""
        state = self.tenantry
        state.enter(self)
        if self._pipeline:
            self._queue(command)
            self._queue(state.query, state.values)
            state.begun()
            return None
        if state.left:  # of a pipeline that failed
            yield from run_text(self.pgconn, _joined(clean_after(state.left)))
        self.pgconn.enter_pipeline_mode()
        self.pgconn.send_query_params(command, None)
        self.pgconn.send_query_params(state.query_to_learn if state.pooled is None else state.query, state.values)
        self.pgconn.pipeline_sync()
        results = yield from collect(self.pgconn)
        state.begun()
        succeeded(self.pgconn, results)
        state.learn(self, results[-1])
        return results[0]

    def tenantry_start(self) -> PQGen[None]:
        """See that what is sent next is sent in a transaction of the scope. A pipeline's own will do in autocommit."""
        state = self.tenantry
        if state.open_door:
            yield from super()._start_query()
        elif state.in_transaction and (self._pipeline or self.pgconn.transaction_status != _IDLE):
            state.check()
        elif self._pipeline is None:
            if self.pgconn.transaction_status != _IDLE:
                raise TransactionOpenError
            yield from self.tenantry_begin(b"BEGIN" if self._autocommit else self._get_tx_start_command())
        elif self._autocommit:
            if state.began_for is not None and not state.same():
                yield from self._pipeline._sync_gen()
            self._queue_context()
        else:
            yield from self.tenantry_begin(self._get_tx_start_command())
            yield from self._pipeline._sync_gen()  # as psycopg does, which looks at the status

    def _queue_context(self) -> None:
        state = self.tenantry
        state.enter(self)
        self._queue(state.query, state.values)

    def _queue(self, text: bytes, values: list[bytes] | None = None) -> None:
        assert self._pipeline
        self._pipeline.command_queue.append(partial(self.pgconn.send_query_params, text, values))
        self._pipeline.result_queue.append(None)

    def tenantry_clean_pipeline(self) -> PQGen[None]:
        """Remove what the pipeline's statements left before the Sync that ends them, and commit if they are a batch."""
        state = self.tenantry
        assert self._pipeline
        for text in clean_before(state.what_to_clean()):
            self._queue(text.encode())
        if state.batch:
            self._queue(_COMMIT)  # whoever made it a batch sees whether it succeeds
        else:
            state.left = NOTHING
        yield from self._pipeline._communicate_gen()

    def _end(self, command: bytes) -> PQGen[PGresult | None]:
        """End the transaction, and remove in the same message what its statements left."""
        state = self.tenantry
        left = state.what_to_clean()
        if command == _ROLLBACK or self.pgconn.transaction_status == _FAILED:
            texts = (command, *(text.encode() for text in clean_after(left)))
        else:
            texts = (*(text.encode() for text in clean_before(left)), command)
        if self._pipeline:
            for text in texts:
                self._queue(text)
            state.ended()
            return None
        if len(texts) == 1:
            result = yield from super()._exec_command(command)
            state.ended()
            return result
        results = yield from run_text(self.pgconn, b"; ".join(texts))
        if self.pgconn.transaction_status == _IDLE:
            state.ended()
        succeeded(self.pgconn, results)
        return results[-1]

    def tenantry_undo(self) -> PQGen[None]:
        """Roll back what a failed group left open."""
        if self.pgconn.status == pq.ConnStatus.OK and self.pgconn.transaction_status != _IDLE:
            yield from self._end(_ROLLBACK)


def _joined(texts: Iterable[str]) -> bytes:
    return "; ".join(texts).encode()


class GuardedCursor(_Cursor):
    """Mixed into a psycopg cursor: its statements are read, and the first of a transaction travels with its context."""

    __slots__ = ()
    _as_text = False  # psycopg writes the parameters into the text

    def _start_query(self, query: Query | None = None) -> PQGen[None]:
        self._anew(query)
        yield from self._conn.tenantry_start()

    def _anew(self, query: Query | None) -> None:
        # as psycopg does
        if self.closed:
            raise errors.InterfaceError("the cursor is closed")
        self._reset()
        if not self._last_query or (self._last_query is not query):
            self._last_query = None
            self._tx = Transformer(self)

    def _convert_query(self, query: Query, params: Params | None = None) -> PostgresQuery:
        pgq = super()._convert_query(query, params)
        state = self._conn.tenantry
        if not state.open_door:
            state.note(_read(pgq.query, self._pgconn._encoding))
        return pgq

    def _get_prepared(self, pgq: PostgresQuery, prepare: bool | None = None) -> tuple[Prepare, bytes]:
        # A pooler that cannot hold prepared statements would give them to others, so first see whether there is one.
        return (_NO, b"") if self._conn.tenantry.pooled is None else super()._get_prepared(pgq, prepare)

    def _execute_gen(
        self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> PQGen[None]:
        conn = self._conn
        if self._pgconn.transaction_status != _IDLE or conn._pipeline or conn.tenantry.open_door:
            yield from super()._execute_gen(query, params, prepare=prepare, binary=binary)
            if conn._pipeline and conn.tenantry.left and not conn.tenantry.in_transaction:
                yield from conn.tenantry_clean_pipeline()
            return
        self._anew(query)
        self._query = pgq = self._query_cls(self._tx)
        pgq.convert(query, params)
        reading = _read(pgq.query, self._pgconn._encoding)
        if reading.plain and not self._as_text:
            yield from self._send_with_context(pgq, reading, prepare, binary)
        elif reading.count == 0 and conn._autocommit:  # a ping
            yield from self._maybe_prepare_gen(pgq, prepare=False)
        else:
            reading.check()
            if not self._as_text and (pgq.params or binary or self.format == _BINARY):
                yield from self._send_with_context(pgq, reading, prepare, binary)
            else:
                yield from self._send_as_text(pgq, reading)
        self._last_query = query
        if conn._prepared._to_flush:
            yield from conn._prepared.maintain_gen(conn)

    def _send_with_context(
        self, pgq: PostgresQuery, reading: Reading, prepare: bool | None, binary: bool | None
    ) -> PQGen[None]:
        """Send the statement and its context as one group, with a BEGIN before it or up to one Sync.

        What leaves something gets a transaction block of its own where the connection is in autocommit: an error then
        does not hand the connection on before it was cleaned.
        """
        conn, pgconn = self._conn, self._pgconn
        state: State = conn.tenantry
        state.enter(conn)
        if state.left:
            yield from run_text(pgconn, _joined(clean_after(state.left)))
            state.left = NOTHING
        fmt = self.format if binary is None else (_BINARY if binary else _TEXT)
        prep, name = self._get_prepared(pgq, prepare)
        clean = state.clean_with(reading) if conn._autocommit and (reading.left or state.always) else ()
        pgconn.enter_pipeline_mode()
        try:
            at = self._queue_context(begin=bool(clean))
            if prep is _NO:
                pgconn.send_query_params(
                    pgq.query, pgq.params, param_formats=pgq.formats, param_types=pgq.types, result_format=fmt
                )
            else:
                if prep is _SHOULD:
                    pgconn.send_prepare(name, pgq.query, param_types=pgq.types)
                    at += 1
                pgconn.send_query_prepared(name, pgq.params, param_formats=pgq.formats, result_format=fmt)
            for text in clean:
                pgconn.send_query_params(text, None)
        except BaseException:
            yield from self._drain()
            raise
        pgconn.pipeline_sync()
        key = conn._prepared.maybe_add_to_cache(pgq, prep, name)
        results = yield from collect(pgconn)
        if results[-1].status not in _GOOD:
            yield from self._after_error(results, reading)
        if not conn._autocommit:
            state.in_transaction, state.left = True, reading.left
        if state.pooled is None:
            state.learn(conn, results[at - 1])
        mine = results[at : at + 1]
        if key is not None:
            conn._prepared.validate(key, prep, name, mine)
        self._set_results(mine)

    def _queue_context(self, *, begin: bool) -> int:
        """Queue what goes before the statement, and return how many results that will have."""
        conn, pgconn = self._conn, self._pgconn
        state: State = conn.tenantry
        count = 1
        if not conn._autocommit or begin:
            command = b"BEGIN" if begin else conn._begin_statement or conn._get_tx_start_command()
            pgconn.send_query_params(command, None)
            count = 2
        if conn._prepared.prepare_threshold is None or state.pooled is None:
            pgconn.send_query_params(state.query_to_learn if state.pooled is None else state.query, state.values)
            return count
        ours = state.names.get(state.query)
        if ours is None:
            ours = state.new_name()
            pgconn.send_prepare(ours, state.query)
            count += 1
        pgconn.send_query_prepared(ours, state.values)
        return count

    def _after_error(self, results: list[PGresult], reading: Reading) -> PQGen[None]:
        """Raise the error among *results*. What is in autocommit is left in no transaction."""
        conn = self._conn
        state: State = conn.tenantry
        if self._pgconn.transaction_status == _IDLE:
            state.ended()
        else:
            state.in_transaction, state.left = True, reading.left
        state.names.clear()  # where the error came first, ours was not prepared
        if conn._autocommit:
            yield from conn.tenantry_undo()
        succeeded(self._pgconn, results)

    def _drain(self) -> PQGen[None]:
        """Leave pipeline mode where a statement could not be queued."""
        if self._pgconn.status == pq.ConnStatus.OK:
            self._pgconn.pipeline_sync()
            yield from collect(self._pgconn)
            yield from self._conn.tenantry_undo()

    def _send_as_text(self, pgq: PostgresQuery, reading: Reading) -> PQGen[None]:
        """Send text of several statements, or with its parameters written into it, as one simple query.

        The context goes with it as literals, or where it may not, ahead of it.
        """
        conn = self._conn
        state: State = conn.tenantry
        state.enter(conn)
        context = state.literals(conn)
        begin = b"BEGIN" if conn._autocommit else conn._get_tx_start_command()
        before, after = list[bytes](), state.clean_with(reading) if conn._autocommit else ()
        if context is None:
            yield from conn.tenantry_begin(begin)
            after = after or ((_COMMIT,) if conn._autocommit else ())
        else:
            before = [context] if conn._autocommit and not after else [begin, context]
        # A line of its own: the text may end in a comment.
        results = yield from run_text(self._pgconn, b"; ".join([*before, pgq.query + b"\n", *after]))
        if results[-1].status not in _GOOD:
            yield from self._after_error(results, reading)
        if not conn._autocommit:
            state.in_transaction, state.left = True, reading.left
        if before:
            state.learn(conn, results[len(before) - 1])
        mine = results[len(before) : len(results) - len(after)]
        self._check_results(mine)
        self._set_results(mine)

    def _executemany_gen_pipeline(
        self,
        query: Query,
        params_seq: Iterable[Params],
        returning: bool,
    ) -> PQGen[None]:
        conn = self._conn
        state: State = conn.tenantry
        if state.batch:
            yield from conn.tenantry_begin(b"BEGIN")
        yield from super()._executemany_gen_pipeline(query, params_seq, returning)
        if state.batch or (state.left and not state.in_transaction and not state.open_door):
            yield from conn.tenantry_clean_pipeline()


class GuardedServerCursor(GuardedCursor, _ServerCursor):
    """Mixed into a psycopg server-side cursor, which lives in a transaction and ends with it."""

    __slots__ = ()

    def _declare_gen(self, query: Query, params: Params | None = None, binary: bool | None = None) -> PQGen[None]:
        if not self._conn.tenantry.open_door:
            current_context()
            if self._withhold:
                raise HeldCursorError(self._name)
            if self._conn._autocommit and self._pgconn.transaction_status == _IDLE:
                raise errors.NoActiveSqlTransaction(
                    "a server-side cursor lives in a transaction: open it inside `with conn.transaction():`"
                )
        yield from super()._declare_gen(query, params, binary)
