"""The tenant scope for SQLAlchemy: `protect(engine)` covers Session, AsyncSession and Core connections.

Listeners on the engine see every transaction and every statement that SQLAlchemy sends through it: flushes, bulk
operations, `session.connection()`, streams, refreshes and text alike. What they decide stands in `context`,
`statements` and `dml`. A driver whose connections can carry the context themselves has a `Carrier`: the context then
travels with the first statement, AUTOCOMMIT is scoped too, and so is the driver's own connection, `conn.connection`.
For others the context is a statement before the first, and of what passes the engine by, the database refuses all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from tenantry.core.errors import UsageError
from tenantry.core.names import TENANT_COLUMN, check_schema_name
from tenantry.session import orm
from tenantry.session.context import check_same, current_context, open_context
from tenantry.session.dml import check_nested, prepare
from tenantry.session.errors import AutocommitError, TransactionOpenError
from tenantry.session.operating import operate
from tenantry.session.protection import Protection
from tenantry.session.safety import SafetyCheck, allowance
from tenantry.session.statements import set_locally, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

    from tenantry.session.signing import ContextKey
    from tenantry.session.statements import Settings

__all__ = ["Carrier", "protect"]

_Engine = TypeVar("_Engine", bound=Engine | AsyncEngine)


class Carrier(Protocol):
    """How a driver's connections come to carry the context themselves: what a driver's module `carrier` offers."""

    def connect(
        self, protection: Protection, arguments: list[Any], options: dict[str, Any], *, asynchronous: bool
    ) -> Any:
        """Make a connection, or change the *arguments* and *options* with which SQLAlchemy will, and return None."""
        ...

    def opened(self, connection: Any, protection: Protection) -> None:
        """Look at *connection*, the driver's own, which was just made: all passes until it is armed."""
        ...

    def arm(self, connection: Any) -> bool:
        """Let nothing through *connection* from now on but the statements of a scope. False if it was not `opened`."""
        ...

    def rest(self, connection: Any) -> bool:
        """Let the pool's own questions through *connection* again. False if it is not fit for another tenant."""
        ...


def _carrier(driver: str) -> Carrier | None:
    """The carrier for SQLAlchemy's *driver*, or None where the context goes as a statement of its own."""
    match driver:
        case "psycopg":
            from tenantry.session.psycopg import carrier  # noqa: PLC0415 - a driver is imported by who uses it

            return carrier
        case "asyncpg":
            from tenantry.session.asyncpg import carrier  # noqa: PLC0415 - as above

            return carrier
        case _:
            return None


@dataclass(frozen=True, slots=True)
class _Guard:
    """The listeners of one engine."""

    protection: Protection
    carrier: Carrier | None

    def do_connect(self, dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Make connections that carry the context. Listeners of the application's own came before."""
        assert self.carrier is not None
        return self.carrier.connect(self.protection, arguments, options, asynchronous=dialect.is_async)

    def connect(self, dbapi_connection: object, record: ConnectionPoolEntry) -> None:  # noqa: ARG002 - as above
        """Let SQLAlchemy and the application set up a new connection, which has no tenant yet."""
        assert self.carrier is not None
        self.carrier.opened(record.driver_connection, self.protection)

    def checkout(self, dbapi_connection: object, record: ConnectionPoolEntry, proxy: object) -> None:  # noqa: ARG002 - as above
        """From here on work is done on the connection. One from before it was protected is replaced."""
        assert self.carrier is not None
        if not self.carrier.arm(record.driver_connection):
            raise DisconnectionError("this connection was made before the engine was protected")

    def checkin(self, dbapi_connection: object, record: ConnectionPoolEntry) -> None:  # noqa: ARG002 - as above
        """Let the pool look after the connection, which is in nobody's hands."""
        assert self.carrier is not None
        if record.driver_connection is not None and not self.carrier.rest(record.driver_connection):
            record.invalidate()

    def begin(self, conn: Connection, xid: object = None) -> None:  # noqa: ARG002 - of two-phase transactions
        """Note whose transaction begins. It never raises: SQLAlchemy would let the connection begin no other."""
        orm.open_on[conn] = orm.Transaction(self.protection.tenant_column, open_context())

    def end(self, conn: Connection, *xid: object) -> None:  # noqa: ARG002 - of two-phase transactions
        """Forget the transaction, with which Postgres drops the context."""
        orm.open_on.pop(conn, None)

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
        statement, rows = prepare(statement, rows, tenant=tenant, column_name=self.protection.tenant_column)
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
        """Refuse what does not belong to the transaction's tenant.

        Send the context before its first statement where the driver does not. Sent from here, a failure is handled as
        one of the statement: what it leaves behind goes back to no pool.
        """
        transaction = orm.open_on.get(conn)
        if transaction is None:
            raise TransactionOpenError
        now = current_context()
        check_same(transaction.context or now, now)
        if transaction.held is not None:
            orm.check_objects(transaction.held, now.tenant)
        compiled = getattr(context, "compiled", None)
        if getattr(compiled, "ctes", None):
            rows: list[dict[str, Any]] = context.compiled_parameters
            column_name = self.protection.tenant_column
            check_nested(context.invoked_statement, rows[0] if rows else {}, tenant=now.tenant, column_name=column_name)
        if not transaction.sent:
            if self.carrier is None:
                _send(conn, settings_of(now, self.protection))
            transaction.context, transaction.sent = now, True


def _send(conn: Connection, settings: Settings) -> None:
    if conn.dialect.detect_autocommit_setting(conn.connection.dbapi_connection):  # pyright: ignore[reportArgumentType] - it is connected here
        raise AutocommitError
    query, params = set_locally(settings, numeric=conn.dialect.paramstyle.startswith("numeric"))
    cursor = conn.connection.cursor()
    cursor.execute(query, params)
    cursor.close()


def _check_first(engine: Engine, check: SafetyCheck) -> None:
    """Hand out no connection of *engine*'s pool before one of them has passed *check*. It needs no scope."""
    dialect = engine.dialect

    def run(connection: Any, *_: object) -> None:
        if not check.passed:
            check.run_dbapi(connection, autocommit=dialect.detect_autocommit_setting(connection))

    # Before SQLAlchemy asks its own questions, which some poolers refuse in words that help nobody. And the pool may
    # hold connections from before. SQLAlchemy closes the connection for which a listener of either raises.
    event.listen(engine, "connect", run, insert=True)
    event.listen(engine, "checkout", run)
    event.listen(engine, "engine_disposed", check.forget)


_protected: WeakKeyDictionary[Engine, Protection] = WeakKeyDictionary()


def protect(
    engine: _Engine,
    *,
    tenant_column: str = TENANT_COLUMN,
    key: ContextKey | None = None,
    scope: Literal["tenant", "partner", "platform"] = "tenant",
    schema: str | None = None,
    allow_unsafe: str | Mapping[str, str] | None = None,
    checkin: Literal["auto", "always"] = "auto",
    pooler_prepares: bool | None = None,
    application_name: str | None = None,
) -> _Engine:
    """Let nothing through *engine* but the statements of a `tenant_scope`, and return it.

    Call it before the engine is used; again changes nothing. Engines made from it by `execution_options()` are
    protected too. Each transaction carries the tenant and user of the scope it began in. In every table that has
    *tenant_column*, inserts get the tenant where they name none. With a *key* the context is signed too, as an app
    needs whose layout says `context = "signed"`. *checkin*, *pooler_prepares* and *application_name* are those of
    `Protection`. Under AUTOCOMMIT each statement carries the tenant, where the driver is psycopg or asyncpg; with
    others it is refused.

    With *scope* "partner" or "platform" the engine is an operator's, logged in as that role of the app of *schema*, and
    lets through the statements of `partner_scope` or `platform_scope` only, with `OperatorScopeError` for others and
    `AuditFailedError` where the audit log takes no row. AUTOCOMMIT is refused.

    The first connection that the pool hands out is checked: `UnsafeRoleError` or `UnsafeServerError` say all that is
    wrong with its role, server or pooler, and nothing else is sent until a check has passed. *allow_unsafe* is the
    reason why it may be so all the same, or a mapping of the codes that may be to their reasons.

    Statements raise `NoTenantError`, `TenantChangedError`, `UserChangedError` or `ForeignTenantError` before anything
    is sent, and text that would begin or end a transaction raises `TransactionControlError`.
    """
    sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    protection = Protection(
        tenant_column=tenant_column,
        scope=scope,
        schema=schema,
        key=key,
        allow_unsafe=allowance(allow_unsafe),
        checkin=checkin,
        pooler_prepares=pooler_prepares,
        application_name=application_name,
    )
    if _protected.get(sync) == protection:
        return engine
    if sync in _protected and _protected[sync].tenant_column == tenant_column:
        raise UsageError(
            "this engine is protected with another context key or other reasons to be unsafe: make an engine of its own"
        )
    if sync in _protected:
        raise UsageError(
            f"this engine is protected by the column {_protected[sync].tenant_column!r}: make an engine of its own for "
            f"the tables whose tenant column is {tenant_column!r}"
        )
    if (scope == "tenant") is not (schema is None):
        raise UsageError(
            f"`scope={scope!r}` and `schema={schema!r}` do not go together: an operator's engine names both, and a "
            "tenant's neither"
        )
    if scope != "tenant":
        operate(sync, scope, check_schema_name(schema or ""))
        _check_first(sync, SafetyCheck(protection.allow_unsafe))
        _protected[sync] = protection
        return engine
    guard = _Guard(protection, _carrier(sync.dialect.driver))
    event.listen(sync, "begin", guard.begin)
    event.listen(sync, "begin_twophase", guard.begin)
    for end in ("commit", "rollback", "commit_twophase", "rollback_twophase"):
        event.listen(sync, end, guard.end)
    event.listen(sync, "before_execute", guard.before_execute, retval=True)
    event.listen(sync, "before_cursor_execute", guard.before_cursor_execute)
    _check_first(sync, SafetyCheck(protection.allow_unsafe))
    if guard.carrier is not None:  # around the check, which needs no scope
        event.listen(sync, "do_connect", guard.do_connect)
        event.listen(sync, "connect", guard.connect, insert=True)
        event.listen(sync, "checkout", guard.checkout)
        event.listen(sync, "checkin", guard.checkin)
    orm.listen()
    _protected[sync] = protection  # only now: what was refused above is refused again
    return engine
