"""What stands in the way of changing a database.

TenantryError
└── RefusedTablesError            tables that no wall could hold, all of them listed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.core.errors import TenantryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenantry.ddl.changes import Finding

__all__ = ["RefusedTablesError"]


class RefusedTablesError(TenantryError):
    """Something in a schema cannot be walled in. Nothing was granted."""

    def __init__(self, schema: str, refusals: Sequence[Finding]) -> None:
        self.schema = schema
        self.refusals = tuple(refusals)
        super().__init__("\n".join([f"schema {schema} has what no wall would hold:", *map(str, self.refusals)]))
