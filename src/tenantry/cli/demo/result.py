"""What the demo found, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantry.control.branches import BranchNode
    from tenantry.proof.report import Report

__all__ = ["DemoResult", "ResetView", "TenantView"]


@dataclass(frozen=True, slots=True)
class TenantView:
    """What one customer sees of each table, and what `data/` says that it should."""

    app: str
    customer: str
    tenant: str
    branch: str
    counts: dict[str, int]
    expected: dict[str, int]


@dataclass(frozen=True, slots=True)
class ResetView:
    """A development branch before and after it was reset from its parent.

    `own_rows` are rows that only it had; `columns` those of a table that it had changed.
    """

    branch: str
    parent: str
    own_rows_before: int
    own_rows_after: int
    rows_after: int
    parent_rows: int
    columns_before: tuple[str, ...]
    columns_after: tuple[str, ...]
    parent_columns: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether its rows are gone and it has its parent's rows and columns."""
        return (
            self.own_rows_before > 0
            and self.own_rows_after == 0
            and self.rows_after == self.parent_rows > 0
            and self.columns_before != self.columns_after == self.parent_columns
        )


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The whole of it. `ok` is what the exit status says."""

    postgres: str
    clone_methods: dict[str, int]
    branches: tuple[BranchNode, ...]
    tenants: tuple[TenantView, ...]
    reports: dict[str, Report]
    """By branch."""
    control: Report
    """The same attempts with the wall taken off one table: they must get through, or the others said nothing."""
    control_opened: str
    """What was taken away for it."""
    reset: ResetView
    seconds: dict[str, float]

    @property
    def attempts(self) -> int:
        """How many attempts to reach another tenant were made."""
        return sum(len(report.attempts) for report in self.reports.values())

    @property
    def leaks(self) -> int:
        """How many of them got through."""
        return sum(len(report.leaks) for report in self.reports.values())

    @property
    def ok(self) -> bool:
        """Whether everyone sees their own rows, nothing got through, and the control did."""
        return (
            all(tenant.counts == tenant.expected for tenant in self.tenants)
            and all(report.proved for report in self.reports.values())
            and len(self.control.leaks) > 0
            and self.reset.ok
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, of JSON's own types."""
        return {
            "ok": self.ok,
            "postgres": self.postgres,
            "clone_methods": self.clone_methods,
            "branches": [node.as_json() for node in self.branches],
            "tenants": [asdict(tenant) for tenant in self.tenants],
            "attempts": self.attempts,
            "leaks": self.leaks,
            "proof": {branch: report.as_json() for branch, report in self.reports.items()},
            "control": {"opened": self.control_opened, **self.control.as_json()},
            "control_leaks": len(self.control.leaks),
            "reset": {"ok": self.reset.ok, **asdict(self.reset)},
            "seconds": self.seconds,
        }
