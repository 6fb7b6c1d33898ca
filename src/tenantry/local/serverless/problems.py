"""What the driver is told when a query fails: Postgres's fields, under Neon's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import DiagnosticField

from tenantry.core.errors import TenantryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.pq.abc import PGresult

__all__ = ["SqlRefusal", "error_body", "refusal_of", "words_of_failed_login"]

_FIELDS: dict[str, DiagnosticField] = {
    "code": DiagnosticField.SQLSTATE,
    "detail": DiagnosticField.MESSAGE_DETAIL,
    "hint": DiagnosticField.MESSAGE_HINT,
    "position": DiagnosticField.STATEMENT_POSITION,
    "internalPosition": DiagnosticField.INTERNAL_POSITION,
    "internalQuery": DiagnosticField.INTERNAL_QUERY,
    "severity": DiagnosticField.SEVERITY,
    "where": DiagnosticField.CONTEXT,
    "table": DiagnosticField.TABLE_NAME,
    "column": DiagnosticField.COLUMN_NAME,
    "schema": DiagnosticField.SCHEMA_NAME,
    "dataType": DiagnosticField.DATATYPE_NAME,
    "constraint": DiagnosticField.CONSTRAINT_NAME,
    "file": DiagnosticField.SOURCE_FILE,
    "line": DiagnosticField.SOURCE_LINE,
    "routine": DiagnosticField.SOURCE_FUNCTION,
}
_SEVERITY_OF_LOGIN = "FATAL:  "


class SqlRefusal(TenantryError):  # noqa: N818 - an answer, not a fault of the engine
    """A query is answered with *status* and *fields*, and nothing of it stays."""

    def __init__(self, message: str, *, status: int = 400, fields: Mapping[str, str | None] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.fields = dict(fields or {})


def refusal_of(result: PGresult) -> SqlRefusal:
    """Return what Postgres said of a statement that failed."""

    def field(which: DiagnosticField) -> str | None:
        value = result.error_field(which)
        return None if value is None else value.decode(errors="replace")

    message = field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode(errors="replace").strip()
    return SqlRefusal(message, fields={name: field(which) for name, which in _FIELDS.items()})


def words_of_failed_login(text: str) -> str:
    """Return what Postgres said, without libpq's account of how it got there, of which there is one a try."""
    return text.rpartition(_SEVERITY_OF_LOGIN)[2].strip()


def error_body(refusal: SqlRefusal) -> dict[str, str | None]:
    """Return the body of an error. Every field is there: the driver copies them one by one."""
    return {"message": refusal.message} | {name: refusal.fields.get(name) for name in _FIELDS}
