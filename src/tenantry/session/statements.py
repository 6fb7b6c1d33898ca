"""The statements that put a tenant into a transaction, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from tenantry.core.names import TENANT_SETTING, USER_SETTING

if TYPE_CHECKING:
    from tenantry.core.tenant import Tenant

__all__ = ["enter_tenant"]

# Both settings in one statement, the user even where there is none: a savepoint or a pooler may not hand on the last
# one's. The third argument makes them end with the transaction. Text is constant, so that drivers prepare it once.
_FORMAT: LiteralString = (
    f"SELECT pg_catalog.set_config('{TENANT_SETTING}', %s, true), pg_catalog.set_config('{USER_SETTING}', %s, true)"
)
_NUMERIC: LiteralString = _FORMAT.replace("%s", "$1", 1).replace("%s", "$2", 1)


def enter_tenant(
    tenant: Tenant, user: str | None = None, *, numeric: bool = False
) -> tuple[LiteralString, tuple[str, str]]:
    """The query and parameters that set *tenant* and *user* for the current transaction only.

    Placeholders are `%s`, as psycopg has them, or `$1` and `$2` if *numeric*, as asyncpg has them. Outside a
    transaction block the settings would end with the statement itself.
    """
    return (_NUMERIC if numeric else _FORMAT), (str(tenant), user or "")
