"""The tenant scope for SQLAlchemy: `protect(engine)` covers Session, AsyncSession and Core connections.

Listeners on the engine see every transaction and every statement that goes through it, so no path round them is left:
flushes, bulk operations, `session.connection()`, streams, refreshes and text alike. What they decide stands in
`context`, `statements` and `dml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tenantry.core.errors import TenantChangedError, UsageError
from tenantry.core.names import TENANT_COLUMN
from tenantry.session import orm
from tenantry.session.context import check_same, current_context
from tenantry.session.dml import check_nested, prepare
from tenantry.session.errors import AutocommitError, TransactionOpenError, TwoPhaseError
from tenantry.session.statements import enter_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

__all__ = ["protect"]

_Engine = TypeVar("_Engine", bound=Engine | AsyncEngine)


@dataclass(frozen=True, slots=True)
class _Guard:
    """The listeners of one engine. `tenant_column` is what the column is called in its tables."""

    tenant_column: str

    def begin(self, conn: Connection) -> None:
        """Send the context as the first statement of a transaction that is about to begin."""
        context = current_context()
        dbapi = conn.connection
        if conn.dialect.detect_autocommit_setting(dbapi.dbapi_connection):  # pyright: ignore[reportArgumentType] - it is connected here
            raise AutocommitError
        query, params = enter_tenant(
            context.tenant, context.user, numeric=conn.dialect.paramstyle.startswith("numeric")
        )
        cursor = dbapi.cursor()
        try:
            cursor.execute(query, params)
            cursor.close()
        except BaseException as exc:
            _fail(conn, exc, query)
            raise
        dbapi.info[orm.ENTERED] = orm.Entered(context, self.tenant_column)

    def begin_twophase(self, conn: Connection, xid: object) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Refuse: psycopg begins such a transaction only on an idle connection, where no context was sent yet."""
        raise TwoPhaseError

    def end(self, conn: Connection) -> None:
        """Forget the context, which Postgres drops with the transaction."""
        if not conn.invalidated:
            conn.info.pop(orm.ENTERED, None)

    def before_execute(
        self,
        conn: Connection,  # noqa: ARG002 - SQLAlchemy's signature
        statement: Any,
        multiparams: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        options: object,  # noqa: ARG002 - as above
    ) -> tuple[Any, Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """Fill in and check the tenant of the rows that are about to be written."""
        rows = list(multiparams) or ([params] if params else [])
        tenant = current_context().tenant
        statement, rows = prepare(statement, rows, tenant=tenant, column_name=self.tenant_column)
        return (statement, rows, {}) if len(rows) > 1 else (statement, [], rows[0] if rows else {})

    def before_cursor_execute(  # noqa: PLR0917 - SQLAlchemy's signature
        self,
        conn: Connection,
        cursor: object,  # noqa: ARG002 - SQLAlchemy's signature
        statement: str,  # noqa: ARG002 - as above
        parameters: object,  # noqa: ARG002 - as above
        context: Any,
        executemany: bool,  # noqa: ARG002, FBT001 - as above
    ) -> None:
        """Refuse whatever does not belong to the tenant that the transaction began for."""
        entered: orm.Entered | None = conn.info.get(orm.ENTERED)
        now = current_context()
        if entered is None:
            raise TransactionOpenError
        check_same(entered.context, now)
        if entered.objects_of is not None and entered.objects_of != now.tenant:
            raise TenantChangedError(began_for=entered.objects_of, now=now.tenant)
        compiled = getattr(context, "compiled", None)
        if getattr(compiled, "ctes", None):
            rows: list[dict[str, Any]] = context.compiled_parameters
            check_nested(
                context.invoked_statement, rows[0] if rows else {}, tenant=now.tenant, column_name=self.tenant_column
            )


def _fail(conn: Connection, exc: BaseException, query: str) -> None:
    """Do what SQLAlchemy does when a statement fails: it does not watch over what a listener sends."""
    errors = conn.dialect.loaded_dbapi.Error
    known = isinstance(exc, errors)
    if not known or conn.dialect.is_disconnect(exc, conn.connection, None):  # pyright: ignore[reportArgumentType] - the proxy has the driver's methods
        # Cancelled or cut off half way: what the connection would answer next is not known.
        conn.invalidate(exc)
    if known:
        raise DBAPIError.instance(
            query, None, exc, errors, connection_invalidated=conn.invalidated, dialect=conn.dialect
        ) from exc


_protected: WeakKeyDictionary[Engine, str] = WeakKeyDictionary()


def protect(engine: _Engine, *, tenant_column: str = TENANT_COLUMN) -> _Engine:
    """Let nothing through *engine* but the statements of a `tenant_scope`, and return it.

    Call it before the engine is used; again changes nothing. Engines made from it by `execution_options()` are
    protected too. Each transaction carries the tenant and user of the scope it began in. In every table that has
    *tenant_column*, inserts get the tenant where they name none. Two-phase transactions and AUTOCOMMIT are refused.

    Statements raise `NoTenantError`, `TenantChangedError`, `UserChangedError` or `ForeignTenantError` before anything
    is sent.
    """
    sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if _protected.get(sync) == tenant_column:
        return engine
    if sync in _protected:
        raise UsageError(
            f"this engine is protected by the column {_protected[sync]!r}: make an engine of its own for the tables "
            f"whose tenant column is {tenant_column!r}"
        )
    _protected[sync] = tenant_column
    guard = _Guard(tenant_column)
    event.listen(sync, "begin", guard.begin)
    event.listen(sync, "begin_twophase", guard.begin_twophase)
    event.listen(sync, "commit", guard.end)
    event.listen(sync, "rollback", guard.end)
    event.listen(sync, "before_execute", guard.before_execute, retval=True)
    event.listen(sync, "before_cursor_execute", guard.before_cursor_execute)
    orm.listen()
    return engine
