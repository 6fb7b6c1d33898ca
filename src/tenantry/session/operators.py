"""The scopes of operators, who work across tenants: a partner's and the platform's, and what their transactions carry.

An operator logs in as a role of its own, on an engine of its own: `protect(engine, scope="partner", schema=...)`. Each
transaction is entered in the audit log before it begins, in a transaction that is committed by then, and names that
row; the policies of the role look for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString, cast
from uuid import UUID, uuid4

from tenantry.core.errors import UsageError
from tenantry.core.names import AUDIT_COLUMNS, AUDIT_SETTING, AUDIT_TABLE, USER_SETTING, check_schema_name, guard_role
from tenantry.session.context import Operator, enter_scope, innermost, leave_scope
from tenantry.session.errors import OperatorScopeError

if TYPE_CHECKING:
    from collections.abc import Generator

    from tenantry.session.context import OperatorKind
    from tenantry.session.statements import Settings

__all__ = ["audit_entry", "current_operator", "operator_settings", "partner_scope", "platform_scope"]


@contextmanager
def partner_scope(partner: object, *, user: object, write: bool = False, reason: str = "") -> Generator[Operator]:
    """Do the work inside for all tenants of *partner*, on behalf of *user*, and only read unless *write*.

    Each transaction is a row of the audit log before its first statement runs, and is refused where none can be
    written. Scopes nest with those of tenants: the inner one holds.
    """
    if not str(partner):
        raise UsageError("a partner scope needs a partner: give its id")
    yield from _scope(Operator("partner", str(partner), _user(user), reason, write))


@contextmanager
def platform_scope(*, reason: str, user: object, write: bool = False) -> Generator[Operator]:
    """Do the work inside for all tenants, on behalf of *user* and for *reason*, and only read unless *write*.

    As `partner_scope`. The reason is for whoever reads the audit log later: the ticket, the order, the incident.
    """
    if not reason.strip():
        raise UsageError("a platform scope needs a reason: say what for, as in `reason='ticket 4711'`")
    yield from _scope(Operator("platform", "", _user(user), reason, write))


def _user(user: object) -> str:
    if user is None or not str(user).strip():
        raise UsageError("an operator's scope needs a user: say who it is, as in `user='ada@example.com'`")
    return str(user)


def _scope(operator: Operator) -> Generator[Operator]:
    scope = enter_scope(operator)
    try:
        yield operator
    finally:
        leave_scope(scope)


def current_operator(engine: OperatorKind) -> Operator:
    """The operator of the innermost scope, if it is of the kind that *engine* is for. Raises `OperatorScopeError`."""
    now = innermost()
    if isinstance(now, Operator) and now.kind == engine:
        return now
    raise OperatorScopeError(engine=engine, now=None if now is None else now.kind)


def audit_entry(
    operator: Operator, schema: str, *, numeric: bool = False
) -> tuple[UUID, LiteralString, tuple[str, ...]]:
    """The id of a new row of the audit log of the app of *schema*, the statement that writes it, and its parameters."""
    key = uuid4()
    places = ", ".join(f"${place}" if numeric else "%s" for place, _ in enumerate(AUDIT_COLUMNS, start=1))
    table = f"{guard_role(check_schema_name(schema))}.{AUDIT_TABLE}"
    query = f"INSERT INTO {table} ({', '.join(AUDIT_COLUMNS)}) VALUES ({places})"  # noqa: S608 - checked names
    action = "write" if operator.write else "read"
    values = (str(key), operator.kind, operator.subject, operator.user, action, operator.reason)
    return key, cast("LiteralString", query), values


def operator_settings(operator: Operator, key: UUID) -> Settings:
    """The settings that a transaction of *operator* begins with, once the row *key* of the audit log is committed."""
    settings = ((AUDIT_SETTING, str(key)), (USER_SETTING, operator.user))
    return settings if operator.write else (*settings, ("transaction_read_only", "on"))
