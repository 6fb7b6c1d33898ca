"""What the engine does not see of SQLAlchemy's ORM: new objects, and those that a session still holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.exc import UnmappedColumnError

from tenantry.core.errors import TenantChangedError
from tenantry.session.context import Context, current_tenant
from tenantry.session.dml import find_column, is_sql, tenant_column
from tenantry.session.writes import check_value

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import SessionTransaction

    from tenantry.core.tenant import Tenant

__all__ = ["ENTERED", "Entered", "listen"]

ENTERED = "tenantry.entered"
"""Where a connection's `info` says what its transaction carries."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What a transaction carries, and whose objects the session that began it still holds, if any."""

    context: Context
    tenant_column: str
    objects_of: Tenant | None = None


def listen() -> None:
    """Listen to all sessions and mappers. Where the connection is not of a protected engine nothing is done."""
    if not event.contains(Session, "after_begin", _begin):
        event.listen(Session, "after_begin", _begin)
        event.listen(Mapper, "before_insert", _fill)


def _fill(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Give a new object its tenant, so that it carries it after the flush without a query."""
    entered: Entered | None = connection.info.get(ENTERED)
    if entered is None:
        return
    tenant = entered.context.tenant
    for table in mapper.tables:
        column = find_column(table, entered.tenant_column)
        if column is None:
            continue
        try:
            key = mapper.get_property_by_column(column).key  # pyright: ignore[reportArgumentType] - a table's columns are Column
        except UnmappedColumnError:
            continue
        value = getattr(target, key)
        about = tenant_column(table, column, entered.tenant_column)
        if value is None:
            setattr(target, key, about.value_for(tenant))
        elif not is_sql(value):  # an SQL expression is the policy's to judge
            check_value(about, value, tenant)


def _begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    """Note whose objects *session* holds: a transaction of another tenant is refused at its first statement."""
    entered: Entered | None = connection.info.get(ENTERED)
    if entered is None:
        return
    held = _guarded(session)
    if not held:
        held.tenant = entered.context.tenant
    elif held.tenant != entered.context.tenant:
        connection.info[ENTERED] = replace(entered, objects_of=held.tenant)


def _guarded(session: Session) -> Any:
    """The session's identity map, made to answer only the tenant whose objects it holds.

    An object that is found there is handed out without a statement, so no listener of the engine sees it. Its class
    is changed, not the map replaced: the objects in it refer to it.
    """
    held: Any = session.identity_map
    if not hasattr(held, "tenant"):
        held.tenant = None
        held.__class__ = _guarded_class(held.__class__)
    return held


@lru_cache
def _guarded_class(identity_map: Any) -> Any:
    def get(self: Any, key: Any, default: Any = None) -> Any:
        found = identity_map.get(self, key, default)
        if found is not default:
            now = current_tenant()
            if now != self.tenant:
                raise TenantChangedError(began_for=self.tenant, now=now)
        return found

    return type("TenantIdentityMap", (identity_map,), {"get": get})
