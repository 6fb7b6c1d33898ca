"""Whether a plan allows what is asked for: from counts and values alone, with Neon's codes and first words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tenantry.local.refusals import Refusal, not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.core.ids import BranchId
    from tenantry.local.plans import Plan
    from tenantry.local.state.records import BranchRecord, EndpointRecord

__all__ = [
    "Usage",
    "allowed_history",
    "check_active",
    "check_databases",
    "check_history",
    "check_projects",
    "check_roles",
    "check_snapshots",
    "check_suspend_timeout",
    "check_usage",
    "usage_of",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """How many branches a project has, and how many of them are roots and protected."""

    branches: int
    roots: int
    protected: int

    def plus(self, *, branches: int = 0, roots: int = 0, protected: int = 0) -> Usage:
        """Return the usage with so many more."""
        return replace(
            self,
            branches=self.branches + branches,
            roots=self.roots + roots,
            protected=self.protected + protected,
        )


def usage_of(branches: Iterable[BranchRecord]) -> Usage:
    """Count *branches*. One without a parent is a root: the first, schema-only ones, restored ones and backups."""
    usage = Usage(0, 0, 0)
    for branch in branches:
        usage = usage.plus(branches=1, roots=branch.parent_id is None, protected=branch.protected)
    return usage


def _check(plan: Plan, before: int, after: int, limit: int | None, *, what: str, code: str) -> None:
    # Who is above a limit already, since the engine had another plan before, may still shrink.
    if limit is not None and after > limit and after > before:
        raise not_allowed(
            f"{what} limit exceeded: the plan {plan.name!r} allows {limit}, and there are {before}: "
            "delete one, or give the engine another plan",
            code=code,
        )


def check_usage(plan: Plan, before: Usage, after: Usage) -> None:
    """Raise a 422 if *plan* does not allow to come from *before* to *after*."""
    _check(plan, before.branches, after.branches, plan.branches, what="branches", code="BRANCHES_LIMIT_EXCEEDED")
    _check(
        plan, before.roots, after.roots, plan.root_branches, what="root branches", code="ROOT_BRANCHES_LIMIT_EXCEEDED"
    )
    _check(
        plan,
        before.protected,
        after.protected,
        plan.protected_branches,
        what="protected branches",
        code="BRANCHES_PROTECTED_LIMIT_EXCEEDED",
    )


def check_projects(plan: Plan, count: int) -> None:
    """Raise a 422 if there may be no project beside *count*."""
    if plan.projects is not None and count >= plan.projects:
        raise not_allowed(
            f"user projects limit of {plan.projects} exceeded, got {count}: "
            f"delete one, or give the engine another plan than {plan.name!r}",
            code="PROJECTS_LIMIT_EXCEEDED",
        )


def check_roles(plan: Plan, count: int) -> None:
    """Raise a 422 if a branch may have no role beside *count*."""
    _check(plan, count, count + 1, plan.roles, what="roles", code="ROLES_LIMIT_EXCEEDED")


def check_databases(plan: Plan, count: int) -> None:
    """Raise a 422 if a branch may have no database beside *count*."""
    _check(plan, count, count + 1, plan.databases, what="databases", code="DATABASES_LIMIT_EXCEEDED")


def check_snapshots(plan: Plan, count: int) -> None:
    """Raise a 422 if a project may have no snapshot beside *count*."""
    _check(plan, count, count + 1, plan.snapshots, what="snapshots", code="SNAPSHOTS_LIMIT_EXCEEDED")


def check_active(
    plan: Plan, endpoints: Iterable[EndpointRecord], *, branch_id: BranchId | None, default_branch_id: BranchId
) -> None:
    """Raise a 422 if one more compute, of the branch *branch_id*, may not be active beside those of its project.

    The default branch's computes always may, and do not count. A new branch has no id yet.
    """
    active = [one.branch_id for one in endpoints if one.active]
    if not plan.allows_active(active, more=branch_id, default=default_branch_id):
        raise not_allowed(
            f"active endpoints limit exceeded: the plan {plan.name!r} allows {plan.active_computes} beside the default "
            "branch's: suspend one, or give the engine another plan",
            code="ACTIVE_ENDPOINTS_LIMIT_EXCEEDED",
        )


def check_suspend_timeout(plan: Plan, seconds: int | None) -> None:
    """Raise a 412 if *plan* does not let a compute sleep after *seconds*: 0 is the default, -1 never."""
    if seconds is None or seconds == 0:
        return
    if seconds == -1:
        allowed = plan.may_stay_awake
    else:
        allowed = plan.shortest_suspend_seconds <= seconds <= plan.longest_suspend_seconds
    if not allowed:
        never = " or -1 (never)" if plan.may_stay_awake else ""
        raise Refusal(
            412,
            f"suspend interval changing is not allowed for your account: the plan {plan.name!r} has "
            f"{plan.shortest_suspend_seconds} to {plan.longest_suspend_seconds} s{never}, not {seconds}",
        )


def allowed_history(plan: Plan, default: int) -> int:
    """Return the history window of a project that asks for none, in seconds."""
    return min(default, plan.history_seconds)


def check_history(plan: Plan, seconds: int | None) -> None:
    """Raise a 422 if *plan* keeps no history of *seconds*."""
    if seconds is not None and seconds > plan.history_seconds:
        raise not_allowed(
            f"project.history_retention_seconds: the plan {plan.name!r} allows {plan.history_seconds}, not {seconds}"
        )
