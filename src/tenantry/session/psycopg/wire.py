"""Groups of messages over libpq: several statements sent together, and their answers, as psycopg's generators are.

Like those they can be taken up again after an interruption: psycopg cancels the query and drains the same generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import errors, pq
from psycopg.waiting import Ready, Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["collect", "run_text", "succeeded"]

_OK = pq.ConnStatus.OK
_SYNC = pq.ExecStatus.PIPELINE_SYNC
_ABORTED = pq.ExecStatus.PIPELINE_ABORTED
_ERROR = pq.ExecStatus.FATAL_ERROR
_COPIES = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
_READ, _BOTH, _CAN_READ = Wait.R, Wait.RW, Ready.R


def collect(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """Send what is queued in pipeline mode up to one Sync, leave the mode, and return the results before the Sync.

    One result for each command that was queued, or fewer where the connection was lost after an error.
    """
    if pgconn.flush():
        yield from _flush(pgconn)
    results: list[PGresult] = []
    get_result, is_busy = pgconn.get_result, pgconn.is_busy
    while True:
        while is_busy():
            while not (yield _READ):
                pass
            if not _consume(pgconn, results):
                return results
        result = get_result()
        if result is None:  # between two commands
            if pgconn.status != _OK:
                return _lost(results)
            continue
        if result.status == _SYNC:
            break
        results.append(result)
    pgconn.exit_pipeline_mode()
    _notify(pgconn)
    return results


def run_text(pgconn: PGconn, text: bytes) -> PQGen[list[PGresult]]:
    """Send *text*, of one or several statements, as one simple query, and return a result for each that was reached.

    Where a statement copies, its result is the last, and the copy is open.
    """
    pgconn.send_query(text)
    yield from _flush(pgconn)
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            while not (yield _READ):
                pass
            if not _consume(pgconn, results):
                return results
        result = pgconn.get_result()
        if result is None:
            break
        results.append(result)
        if result.status in _COPIES:
            break
    _notify(pgconn)
    return results


def _flush(pgconn: PGconn) -> PQGen[None]:
    while pgconn.flush():
        while not (ready := (yield _BOTH)):
            pass
        if ready & _CAN_READ:
            pgconn.consume_input()


def _consume(pgconn: PGconn, results: list[PGresult]) -> bool:
    """Read what came in. False where the connection is lost and an error among *results* says why."""
    try:
        pgconn.consume_input()
    except errors.OperationalError:
        if any(result.status == _ERROR for result in results):
            return False
        raise
    return True


def _lost(results: list[PGresult]) -> list[PGresult]:
    if any(result.status == _ERROR for result in results):
        return results
    raise errors.OperationalError("the connection was lost before the answer came")


def succeeded(pgconn: PGconn, results: Sequence[PGresult]) -> None:
    """Raise the error of the first of *results* that has one. What it kept from running has none of its own."""
    for result in results:
        if result.status == _ERROR:
            raise errors.error_from_result(result, encoding=_encoding(pgconn))
        if result.status not in _GOOD and result.status not in _COPIES and result.status != _ABORTED:
            raise errors.InternalError(f"unexpected answer {pq.ExecStatus(result.status).name}")


def _encoding(pgconn: Any) -> str:
    return pgconn._encoding  # noqa: SLF001 - psycopg has no public name for the codec of a connection's texts


def _notify(pgconn: Any) -> None:
    while notification := pgconn.notifies():
        if pgconn.notify_handler:
            pgconn.notify_handler(notification)
