"""What the engine does not see of SQLAlchemy's ORM: new objects, and those that a session still holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, Session, object_mapper
from sqlalchemy.orm.exc import UnmappedColumnError

from tenantry.core.errors import TenantChangedError
from tenantry.session.context import Context, current_tenant
from tenantry.session.dml import find_column, tenant_column
from tenantry.session.writes import check_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import SessionTransaction

    from tenantry.core.tenant import Tenant
    from tenantry.session.writes import TenantColumn

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
        event.listen(Session, "detached_to_persistent", _attach)
        event.listen(Mapper, "before_insert", _fill)


def check_objects(held: Any, tenant: Tenant) -> None:
    """Refuse *tenant* where *held*, a session's guarded identity map, has objects of another.

    Raises `TenantChangedError`, or `ForeignTenantError` for an object that came from another session.
    """
    if held.tenant is None or not held:
        for target in held.values():
            _check(target, held.tenant_column, tenant)
        held.tenant = tenant
    elif held.tenant != tenant:
        raise TenantChangedError(began_for=held.tenant, now=tenant)


def _tenant_attributes(mapper: Mapper[Any], column_name: str) -> Iterator[tuple[str, TenantColumn]]:
    """The attributes of a mapped class that hold the tenant, with their columns."""
    for table in mapper.tables:
        column = find_column(table, column_name)
        if column is None:
            continue
        try:
            key = mapper.get_property_by_column(column).key  # pyright: ignore[reportArgumentType] - a table's columns are Column
        except UnmappedColumnError:
            continue
        yield key, tenant_column(table, column, column_name)


def _check(target: object, column_name: str, tenant: Tenant) -> None:
    for key, column in _tenant_attributes(object_mapper(target), column_name):
        check_row(replace(column, key=key), vars(target), tenant)


def _fill(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Give a new object its tenant, so that it carries it after the flush without a query.

    Whether one that it names is the scope's, the engine checks with the statement.
    """
    transaction = open_on.get(connection)
    if transaction is None:
        return
    for key, column in _tenant_attributes(mapper, transaction.tenant_column):
        if getattr(target, key) is None:
            setattr(target, key, column.value_for(current_tenant()))


def _attach(session: Session, target: object) -> None:
    """Refuse an object that was loaded for another tenant elsewhere and is now added to *session*."""
    held: Any = session.identity_map
    if getattr(held, "tenant", None) is not None:
        _check(target, held.tenant_column, held.tenant)


def _begin(session: Session, session_transaction: SessionTransaction, connection: Connection) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    """Let the engine know what *session* holds: its first statement for another tenant is refused."""
    transaction = open_on.get(connection)
    if transaction is not None:
        transaction.held = _guarded(session, transaction.tenant_column)


def _guarded(session: Session, column_name: str) -> Any:
    """The session's identity map, made to answer only the tenant whose objects it holds.

    An object that is found there is handed out without a statement, so no listener of the engine sees it. Its class
    is changed, not the map replaced: the objects in it refer to it.
    """
    held: Any = session.identity_map
    if not hasattr(held, "tenant"):
        held.tenant, held.tenant_column = None, column_name
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
