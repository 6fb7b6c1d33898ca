"""What the pytest plugin finds: tenants that reach each other, and tests that could not have noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.core.errors import TenantryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NotIsolatedError", "VacuousTestError"]


class NotIsolatedError(TenantryError, AssertionError):
    """A tenant reached another's rows. `holes` has a line for each way: the table, who did what, what came of it."""

    def __init__(self, holes: Sequence[str]) -> None:
        self.holes = tuple(holes)
        super().__init__(
            "\n".join(
                [
                    f"{len(holes)} way{'' if len(holes) == 1 else 's'} from one tenant to another:",
                    *(f"  {hole}" for hole in holes),
                    "enable and force row security on the table, and give it a policy with USING and WITH CHECK",
                ]
            )
        )


class VacuousTestError(UsageError):
    """A test of isolation that could not fail: the rows to be reached are not there, or cannot be reached at all."""

    def __init__(self, what: str, *, way_out: str) -> None:
        super().__init__(f"{what}, so this test could not fail: {way_out}")
        self.what = what
        self.way_out = way_out
