"""The check of psycopg's connections that no engine checks: of the first to each database by each role."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg.rows import tuple_row

from tenantry.session.safety import COMMIT, Allowance, SafetyCheck

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["AsyncChecked", "Checked", "forget"]

_passed: set[tuple[Allowance, frozenset[tuple[str, str]]]] = set()


def forget() -> None:
    """Have the next connection to each database checked again, as in a process that just began."""
    _passed.clear()


@contextmanager
def _check(conn: Any) -> Generator[SafetyCheck | None]:
    """What *conn* has to pass, with its guard open meanwhile; None if another to the same place has passed it."""
    allowed: Allowance = conn.tenantry.protection.allow_unsafe
    key = allowed, frozenset(conn.info.get_parameters().items())  # neither the password nor what is set later
    if key in _passed:
        yield None
        return
    conn.tenantry.open_door = True
    try:
        yield SafetyCheck(allowed)
    finally:
        conn.tenantry.open_door = False
    _passed.add(key)


class Checked:
    """Mixed into a sync connection: `connect` gives none that is unsafe, `connect_unchecked` any."""

    if not TYPE_CHECKING:  # it takes and returns what psycopg's does

        @classmethod
        def connect(cls, *args: Any, **options: Any) -> Any:
            """Connect as psycopg does. Raises `UnsafeRoleError` or `UnsafeServerError` for what is closed then."""
            conn = super().connect(*args, **options)

            def fetch(statement: str) -> Any:
                if statement == COMMIT:
                    return conn.commit()
                cursor = conn.cursor(row_factory=tuple_row).execute(statement)
                row = cursor.fetchone() if cursor.description else None
                return row and row[0]

            try:
                with _check(conn) as check:
                    if check is not None:
                        check.run(fetch, begun=not conn.autocommit)
            except BaseException:
                conn.close()
                raise
            return conn

    @classmethod
    def connect_unchecked(cls, *args: Any, **options: Any) -> Any:
        """Psycopg's own `connect`, for whoever checks by itself."""
        base: Any = super()
        return base.connect(*args, **options)


class AsyncChecked:
    """`Checked` for an async connection."""

    if not TYPE_CHECKING:

        @classmethod
        async def connect(cls, *args: Any, **options: Any) -> Any:
            """Connect as psycopg does, with the check of `Checked`."""
            conn = await super().connect(*args, **options)

            async def fetch(statement: str) -> Any:
                if statement == COMMIT:
                    return await conn.commit()
                cursor = await conn.cursor(row_factory=tuple_row).execute(statement)
                row = await cursor.fetchone() if cursor.description else None
                return row and row[0]

            try:
                with _check(conn) as check:
                    if check is not None:
                        await check.run_async(fetch, begun=not conn.autocommit)
            except BaseException:
                await conn.close()
                raise
            return conn

    @classmethod
    async def connect_unchecked(cls, *args: Any, **options: Any) -> Any:
        """Psycopg's own `connect`, for whoever checks by itself."""
        base: Any = super()
        return await base.connect(*args, **options)
