"""Prints what the demo found, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.cli.branches import print_tree
from tenantry.cli.output import console, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.cli.demo.result import DemoResult
    from tenantry.proof.report import Attempt, Report

__all__ = ["show"]


def show(result: DemoResult) -> None:
    """Print the branch tree, what each tenant sees, what was tried, and whether it held."""
    cloned = ", ".join(f"{count} by {method}" for method, count in sorted(result.clone_methods.items()))
    console.print(f"\n[bold]Branches[/] (Postgres {result.postgres}, a postmaster each, cloned {cloned})")
    print_tree(list(result.branches))
    rows = [
        (tenant.branch, tenant.customer, name, count, tenant.expected[name])
        for tenant in result.tenants
        for name, count in tenant.counts.items()
    ]
    console.print()
    table(("branch", "tenant", "table", "sees", "of its share"), rows, title="What each tenant sees")
    for branch, report in result.reports.items():
        console.print()
        _attempts(f"Trying to reach one tenant from another on {branch}", report)
    console.print()
    _attempts(f"The same without row security of {result.control_opened}, so the check is real", result.control)
    reset = result.reset
    gone = sorted(set(reset.columns_before) - set(reset.columns_after))
    console.print(
        f"\n[bold]Reset[/] {reset.branch} from {reset.parent}: {reset.own_rows_before} row of its own before, "
        f"{reset.own_rows_after} after; column {', '.join(gone)} gone; {reset.rows_after:,} rows, as its parent has"
    )
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in result.seconds.items() if part != "total")
    verdict = "[bold green]kept apart[/]" if result.ok else "[bold red]NOT kept apart[/]"
    console.print(
        f"\n{verdict}: {result.attempts} attempts, {result.leaks} leaks; {len(result.control.leaks)} leaks in the "
        f"control; {result.seconds['total']:.1f} s ({parts})"
    )


def _attempts(title: str, report: Report) -> None:
    table(("attempt", "times", "came of it", "how"), _grouped(report.attempts), title=title)


def _grouped(attempts: Iterable[Attempt]) -> list[tuple[str, int, str, str]]:
    """Attempts of one name and outcome as one row."""
    groups: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault((attempt.name, attempt.outcome), []).append(attempt)
    return [
        (name, len(group), outcome, "; ".join(sorted({attempt.how for attempt in group})))
        for (name, outcome), group in groups.items()
    ]
