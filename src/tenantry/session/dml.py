"""Where the tenant stands in SQLAlchemy's INSERT and UPDATE: what of it is filled in, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BindParameter, Cast, ColumnElement, Insert, Null, Update, Uuid
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.sql.elements import Grouping, TypeCoerce
from sqlalchemy.sql.visitors import iterate

from tenantry.session.writes import TenantColumn, check_row, check_value, fill_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import FromClause

    from tenantry.core.tenant import Tenant

__all__ = ["check_nested", "find_column", "is_sql", "prepare", "tenant_column"]

_UNKNOWN = object()
"""A value that only the database will know. The table's policy decides about it."""


def find_column(table: FromClause, name: str) -> ColumnElement[Any] | None:
    """The column of *table* that is called *name* in the database, whatever its key."""
    column = table.c.get(name)
    if column is not None and column.name == name:
        return column
    return next((column for column in table.c if column.name == name), None)


def tenant_column(table: FromClause, column: ColumnElement[Any], name: str) -> TenantColumn:
    """What `writes` needs to know of *column*, which is called *name* in the database."""
    try:
        takes = column.type.python_type
    except NotImplementedError:  # a column() without a type, or a type of the caller's own
        takes = None
    fullname = str(getattr(table, "fullname", table))
    return TenantColumn(
        table=fullname,
        name=name,
        key=str(column.key),
        takes=takes,
        uuid=isinstance(column.type, Uuid) or takes is UUID,
    )


def prepare(
    statement: Any, rows: Sequence[Mapping[str, Any]], *, tenant: Tenant, column_name: str
) -> tuple[Any, Sequence[Mapping[str, Any]]]:
    """*statement* and its *rows* of parameters, with *tenant* filled in where an insert names none.

    Whatever is no insert or update, or concerns a table without the column, comes back as it is. So do values that
    are SQL expressions and the rows of an `insert().from_select()`: there the database's default and its policy
    decide. Raises `ForeignTenantError` if a value is another tenant's.
    """
    if not isinstance(statement, (Insert, Update)):
        return statement, rows
    column = find_column(statement.table, column_name)
    if column is None:
        return statement, rows
    about = tenant_column(statement.table, column, column_name)
    _check(statement, rows, tenant=tenant, column=column, about=about)
    if isinstance(statement, Update):
        return statement, rows
    return _fill(statement, rows, tenant=tenant, column=column, about=about)


def check_nested(statement: Any, row: Mapping[str, Any], *, tenant: Tenant, column_name: str) -> None:
    """Refuse another tenant's row in the inserts and updates inside *statement*, as a CTE holds them."""
    for element in iterate(statement):
        if isinstance(element, (Insert, Update)) and element is not statement:
            column = find_column(element.table, column_name)
            if column is not None:
                about = tenant_column(element.table, column, column_name)
                _check(element, [row], tenant=tenant, column=column, about=about)


def _check(
    dml: Insert | Update,
    rows: Sequence[Mapping[str, Any]],
    *,
    tenant: Tenant,
    column: ColumnElement[Any],
    about: TenantColumn,
) -> None:
    assigned = [_assigned(dml._values or {}, column)]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no public way to read a statement's values
    if isinstance(dml, Insert):
        clause = dml._post_values_clause  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
        upserts = [] if clause is None else [e for e in iterate(clause) if isinstance(e, OnConflictDoUpdate)]
        assigned += [_assigned(upsert.update_values_to_set, column) for upsert in upserts]
        assigned += [_assigned(_by_column(dml, values), column) for values in _multi(dml)]
    for row in rows or [{}]:
        check_row(about, row, tenant)
        for expression in assigned:
            value = _literal(expression, row)
            if value is not None and value is not _UNKNOWN:
                check_value(about, value, tenant)


def _fill(
    insert: Insert,
    rows: Sequence[Mapping[str, Any]],
    *,
    tenant: Tenant,
    column: ColumnElement[Any],
    about: TenantColumn,
) -> tuple[Insert, Sequence[Mapping[str, Any]]]:
    if insert.select is not None:
        return insert, rows
    if insert._multi_values:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
        return _fill_multi(insert, column, about.value_for(tenant)), rows
    values: Mapping[Any, Any] = insert._values or {}  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    key = _key(values, column)
    if key is None or any(about.key in row for row in rows):  # parameters go before values()
        return insert, fill_rows(about, rows or [{}], tenant)
    if _literal(values[key], rows[0] if rows else {}) is None:
        return insert.values({key: about.value_for(tenant)}), rows
    return insert, rows


def is_sql(value: object) -> bool:
    """Whether SQLAlchemy would render *value* rather than send it as a parameter."""
    return hasattr(value, "__visit_name__") or hasattr(value, "__clause_element__")


def _literal(expression: Any, row: Mapping[str, Any]) -> Any:
    """The value that *expression* will have, None for NULL, or `_UNKNOWN`."""
    inner: Any = expression
    while isinstance(inner, (Cast, Grouping, TypeCoerce)):
        wrapped: Any = inner  # pyright: ignore[reportUnknownVariableType] - what it wraps has any type
        inner = wrapped.element if isinstance(inner, Grouping) else wrapped.clause
    if isinstance(inner, BindParameter):
        bound: Any = inner  # pyright: ignore[reportUnknownVariableType] - as above
        return row.get(bound.key, bound.effective_value)
    if isinstance(inner, Null):
        return None
    return _UNKNOWN if is_sql(inner) else inner


def _is_column(key: Any, column: ColumnElement[Any]) -> bool:
    if isinstance(key, str):
        return key == column.key
    clause = key.__clause_element__() if hasattr(key, "__clause_element__") else key
    return getattr(clause, "key", None) == column.key


def _key(values: Mapping[Any, Any], column: ColumnElement[Any]) -> Any:
    """The key under which *values* has *column*, or None. It may be the column, its key, or an attribute of a class."""
    return next((key for key in values if _is_column(key, column)), None)


def _assigned(values: Mapping[Any, Any], column: ColumnElement[Any]) -> Any:
    key = _key(values, column)
    return _UNKNOWN if key is None else values[key]


def _multi(insert: Insert) -> list[Any]:
    return [values for group in insert._multi_values for values in group]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above


def _by_column(insert: Insert, values: Any) -> dict[Any, Any]:
    """A row of `values([...])`, which is keyed by column or by key, or is a tuple in the order of the columns."""
    return dict(values) if isinstance(values, dict) else dict(zip(insert.table.c, values, strict=False))  # pyright: ignore[reportUnknownArgumentType] - SQLAlchemy leaves it open


def _fill_multi(insert: Insert, column: ColumnElement[Any], own: Any) -> Insert:
    filled: list[dict[Any, Any]] = []
    for values in _multi(insert):
        row = _by_column(insert, values)
        key = _key(row, column)
        if key is None or _literal(row[key], {}) is None:
            row[column if key is None else key] = own
        filled.append(row)
    # `values()` would add these to the rows that are there, so the copy starts without them.
    copy = insert._generate()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    copy._multi_values = (filled,)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    return copy
