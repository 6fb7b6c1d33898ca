"""Prints what the demo found, for a person."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tenantry.cli.branches import print_tree
from tenantry.cli.output import console, table

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    console.print()
    _attempts({**result.reports, "control": result.control})
    console.print(f"The control: row security taken off {result.control_opened}, to show that the check is real")
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


def _attempts(reports: Mapping[str, Report]) -> None:
    """Print the attempts, a row a kind, and what came of them in each report."""
    outcomes: dict[str, dict[str, Counter[str]]] = {}
    for place, report in reports.items():
        for attempt in report.attempts:
            outcomes.setdefault(_kind(attempt), {}).setdefault(place, Counter[str]())[attempt.outcome] += 1
    rows = [
        (
            kind,
            *(
                ", ".join(f"{n} {outcome}" for outcome, n in places.get(place, Counter[str]()).items())
                for place in reports
            ),
        )
        for kind, places in outcomes.items()
    ]
    table(("attempt", *reports), rows, title="Trying to reach one tenant from another")


def _kind(attempt: Attempt) -> str:
    """What was tried, in a few words. Attempts at the auth schema are at no tenant."""
    if attempt.against:
        return attempt.name
    if attempt.table.startswith("role "):
        return "become a stronger role"
    schema = attempt.table.partition(".")[0]
    return f"read a credential in {schema}" if attempt.name.startswith("read") else f"{attempt.name} in {schema}"
