"""What the control plane refuses to do.

TenantryError
├── LayoutMismatchError           what is there contradicts the layout, and to mend it would lose data
├── NotAppliedError               what was asked for is in the layout and not there yet
├── ResetRefusedError             a reset would lose what the layout says is kept
├── ApplyRunningError             somebody else is applying
└── UsageError
└── UnknownEnvironmentError   the layout does not have it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tenantry.core.errors import TenantryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ApplyRunningError",
    "DatabaseFailedError",
    "LayoutMismatchError",
    "NoOperatorError",
    "NotAppliedError",
    "ResetRefusedError",
    "UnknownEnvironmentError",
]


class LayoutMismatchError(TenantryError):
    """What is there contradicts the layout in a way that tenantry does not mend, since that would lose data."""

    def __init__(self, what: str, *, way_out: str) -> None:
        super().__init__(f"{what}: {way_out}")
        self.what = what
        self.way_out = way_out


class NotAppliedError(TenantryError):
    """What was asked for is in the layout and not there yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not there yet: run `tenantry apply`")
        self.what = what


class ResetRefusedError(TenantryError):
    """A reset would lose what the layout says is kept. Nothing was done."""

    def __init__(self, branch: str, *, why: str, way_out: str) -> None:
        super().__init__(f"{branch} {why}: {way_out}")
        self.branch = branch
        self.why = why
        self.way_out = way_out


class ApplyRunningError(TenantryError):
    """Somebody else is applying to this project. Nothing was done."""

    exit_status: ClassVar[int] = 75

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} is applying to this project: wait for it to end, then run this again")
        self.holder = holder


class DatabaseFailedError(TenantryError):
    """Postgres refused something. Nothing of the transaction stays."""

    def __init__(self, reason: str, *, sqlstate: str | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sqlstate = sqlstate


class NoOperatorError(UsageError):
    """The layout gives an app no such operator."""

    def __init__(self, app: str, kind: str) -> None:
        key = "partners" if kind == "partner" else "platform"
        super().__init__(
            f"app {app} has no {kind} in the layout: write `{key}` under [apps.{app}.operators] and apply it"
        )
        self.app = app
        self.kind = kind


class UnknownEnvironmentError(UsageError):
    """The layout does not have it."""

    def __init__(self, app: str, environment: str, *, known: Iterable[str]) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"the layout has no environment {app} {environment}: it has {names}")
        self.app = app
        self.environment = environment
