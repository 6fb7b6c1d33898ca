"""SQLAlchemy engines of operators: each transaction is entered in the audit log, and then sees many tenants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import event

from tenantry.core.errors import UsageError
from tenantry.session.errors import AuditFailedError, AutocommitError, TransactionOpenError
from tenantry.session.operators import audit_entry, current_operator, operator_settings
from tenantry.session.statements import set_locally

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from tenantry.session.context import Operator, OperatorKind

__all__ = ["operate"]


@dataclass(slots=True)
class _Use:
    """A transaction: for whom it was entered in the audit log, if it was."""

    two_phase: bool = False
    operator: Operator | None = None


@dataclass(frozen=True, slots=True)
class _Operating:
    """The listeners of one engine."""

    kind: OperatorKind
    schema: str
    uses: WeakKeyDictionary[Connection, _Use] = field(default_factory=WeakKeyDictionary[Any, _Use])

    def begin(self, conn: Connection, *xid: object) -> None:
        """Note that a transaction begins. Postgres is told with its first statement."""
        self.uses[conn] = _Use(two_phase=bool(xid))

    def end(self, conn: Connection, *xid: object) -> None:  # noqa: ARG002 - of two-phase transactions
        """Forget the transaction."""
        self.uses.pop(conn, None)

    def before_cursor_execute(self, conn: Connection, *_: object) -> None:
        """Enter the transaction in the audit log before its first statement, and hold it to its scope."""
        operator = current_operator(self.kind)
        use = self.uses.get(conn)
        if use is None:
            raise TransactionOpenError
        if use.two_phase:
            raise UsageError("an operator's transaction is not prepared in two phases: use `connection.begin()`")
        if use.operator is None:
            self._enter(conn, operator)
            use.operator = operator
        elif use.operator is not operator:
            raise UsageError(
                "this transaction was entered in the audit log for another scope: commit or roll back before you leave "
                f"a `with {self.kind}_scope(...):`"
            )

    def _enter(self, conn: Connection, operator: Operator) -> None:
        if conn.dialect.detect_autocommit_setting(conn.connection.dbapi_connection):  # pyright: ignore[reportArgumentType] - it is connected here
            raise AutocommitError
        numeric = conn.dialect.paramstyle.startswith("numeric")
        key, query, values = audit_entry(operator, self.schema, numeric=numeric)
        driver: Any = conn.connection
        try:
            self._execute(driver, query, values)
            driver.commit()
        except conn.dialect.loaded_dbapi.Error as exc:
            driver.rollback()
            raise AuditFailedError(self.schema, self.kind) from exc
        self._execute(driver, *set_locally(operator_settings(operator, key), numeric=numeric))

    def _execute(self, driver: Any, query: str, values: tuple[str, ...]) -> None:
        cursor = driver.cursor()
        cursor.execute(query, values)
        cursor.close()


def operate(engine: Engine, kind: OperatorKind, schema: str) -> None:
    """Let nothing through *engine* but the statements of operators' scopes of *kind*, on the app of *schema*."""
    listeners = _Operating(kind, schema)
    event.listen(engine, "begin", listeners.begin)
    event.listen(engine, "begin_twophase", listeners.begin)
    for end in ("commit", "rollback", "commit_twophase", "rollback_twophase"):
        event.listen(engine, end, listeners.end)
    event.listen(engine, "before_cursor_execute", listeners.before_cursor_execute)
