"""How the connections of one pool are protected, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.core.names import TENANT_COLUMN

__all__ = ["DEFAULT", "Protection"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What `protect` and the drivers' connection classes were told.

    `tenant_column` is what the column is called in the tables that are reached.
    """

    tenant_column: str = TENANT_COLUMN


DEFAULT = Protection()
