"""What the engine does not see of SQLAlchemy's ORM: new objects, and those that a session still holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.exc import UnmappedColumnError

from tenantry.core.errors import TenantChangedError
from tenantry.session.context import Context, current_tenant
from tenantry.session.dml import find_column, tenant_column

if TYPE_CHECKING:
    from sqlalchemy.orm import SessionTransaction

    from tenantry.core.tenant import Tenant

__all__ = ["Transaction", "check_objects", "listen", "open_on"]


@dataclass(slots=True)
class Transaction:
    """A transaction of a protected engine: whose it is, whether Postgres was told, and what its session holds.

    `context` is None until there is a scope, `held` until a session takes part.
    """

    tenant_column: str
    context: Context | None
    sent: bool = False
    held: Any = None


open_on: WeakKeyDictionary[Connection, Transaction] = WeakKeyDictionary()
"""The transaction that is open on a connection of a protected engine."""


def listen() -> None:
    """Listen to all sessions and mappers. Where the connection is not of a protected engine nothing is done."""
    if not event.contains(Session, "after_begin", _begin):
        event.listen(Session, "after_begin", _begin)
        event.listen(Mapper, "before_insert", _fill)


def check_objects(held: Any, tenant: Tenant) -> None:
    """Refuse *tenant* where *held*, a session's guarded identity map, has objects of another.

    Raises `TenantChangedError`.
    """
    if not held:
        held.tenant = tenant
    elif held.tenant != tenant:
        raise TenantChangedError(began_for=held.tenant, now=tenant)


def _fill(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Give a new object its tenant, so that it carries it after the flush without a query.

    Whether one that it names is the scope's, the engine checks with the statement.
    """
    transaction = open_on.get(connection)
    if transaction is None:
        return
    for table in mapper.tables:
        column = find_column(table, transaction.tenant_column)
        if column is None:
            continue
        try:
            key = mapper.get_property_by_column(column).key  # pyright: ignore[reportArgumentType] - a table's columns are Column
        except UnmappedColumnError:
            continue
        if getattr(target, key) is None:
            own = tenant_column(table, column, transaction.tenant_column).value_for(current_tenant())
            setattr(target, key, own)


def _begin(session: Session, session_transaction: SessionTransaction, connection: Connection) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    """Let the engine know what *session* holds: its first statement for another tenant is refused."""
    transaction = open_on.get(connection)
    if transaction is not None:
        transaction.held = _guarded(session)


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
            check_objects(self, current_tenant())
        return found

    return type("TenantIdentityMap", (identity_map,), {"get": get})
