"""Statements that ran in no scope: seen on every SQLAlchemy engine of the process, protected or not."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tenantry.session.context import open_context

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["unscoped", "watch"]

_allowed: ContextVar[bool] = ContextVar("tenantry_testing_unscoped", default=False)


@contextmanager
def unscoped() -> Generator[None]:
    """Let the block run statements in no scope in a test that is marked `tenantry_scoped`, as an owner's DDL does."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


@contextmanager
def watch() -> Generator[list[str]]:
    """List the statements that run in no scope until the block ends, and those that are refused for it.

    Those of SQLAlchemy's engines; what a driver sends by itself is not seen.
    """
    from sqlalchemy import Engine, event  # noqa: PLC0415 - who does not use this need not have it

    seen: list[str] = []
    noted: set[int] = set()

    def is_out() -> bool:
        return open_context() is None and not _allowed.get()

    def before_execute(conn: Any, statement: Any, *rest: object) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        # A protected engine refuses here, so the statement reaches no cursor.
        if is_out():
            seen.append(" ".join(str(statement).split()))
            noted.add(id(conn))

    def before_cursor_execute(conn: Any, cursor: object, statement: str, *rest: object) -> None:  # noqa: ARG001 - as above
        if id(conn) in noted:
            noted.discard(id(conn))
        elif is_out():
            seen.append(" ".join(statement.split()))

    event.listen(Engine, "before_execute", before_execute)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_execute", before_execute)
        event.remove(Engine, "before_cursor_execute", before_cursor_execute)
