"""What a row that is about to be written must carry, decided without a database or a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tenantry.core.errors import ForeignTenantError
from tenantry.session.errors import TenantTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tenantry.core.tenant import Tenant

__all__ = ["TenantColumn", "check_row", "check_value", "fill_rows"]


@dataclass(frozen=True, slots=True)
class TenantColumn:
    """The tenant column of a table: the key of its values in a row, and the Python type that it takes.

    `takes` is None where the type is not known; the id is then passed on as the scope has it. A `uuid` column
    compares as Postgres does, whatever the spelling.
    """

    table: str
    name: str
    key: str
    takes: type | None = None
    uuid: bool = False

    def value_for(self, tenant: Tenant) -> Any:
        """*tenant*'s id in the type that the column takes. Raises `TenantTypeError`."""
        try:
            if self.uuid:
                UUID(str(tenant))  # a text that is no uuid would fail in the driver, with the row in its message
            if self.takes is None or isinstance(tenant.id, self.takes):
                return tenant.id
            return self.takes(str(tenant))
        except ValueError as exc:
            wanted = "uuid" if self.uuid else "text" if self.takes is None else self.takes.__name__
            raise TenantTypeError(tenant=tenant, column=f"{self.table}.{self.name}", wanted=wanted) from exc


def _text(value: object, *, as_uuid: bool) -> str:
    text = str(value)
    if as_uuid:
        try:
            return str(UUID(text))
        except ValueError:
            return text
    return text


def check_value(column: TenantColumn, value: object, tenant: Tenant) -> None:
    """Refuse *value* in the tenant column unless it is *tenant*'s. Raises `ForeignTenantError`."""
    as_uuid = column.uuid or isinstance(value, UUID) or isinstance(tenant.id, UUID)
    if _text(value, as_uuid=as_uuid) != _text(tenant, as_uuid=as_uuid):
        raise ForeignTenantError(table=column.table, row_tenant=value, tenant=tenant)


def check_row(column: TenantColumn, row: Mapping[str, Any], tenant: Tenant) -> None:
    """Refuse a row that carries another tenant; one that carries none passes. Raises `ForeignTenantError`."""
    value = row.get(column.key)
    if value is not None:
        check_value(column, value, tenant)


def fill_rows(column: TenantColumn, rows: Sequence[Mapping[str, Any]], tenant: Tenant) -> list[dict[str, Any]]:
    """*rows* with *tenant* in each that carries none. The rows given stay as they are.

    Raises `ForeignTenantError` for the first that carries another.
    """
    own = column.value_for(tenant)
    filled: list[dict[str, Any]] = []
    for row in rows:
        check_row(column, row, tenant)
        filled.append({**row, column.key: own} if row.get(column.key) is None else dict(row))
    return filled
