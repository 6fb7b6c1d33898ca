"""What Neon's plans allow, as values: an engine told its plan refuses what the cloud would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PLANS", "Plan"]

_FIVE_MINUTES = 300
_WEEK = 604_800
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much there may be. None is as much as this machine holds.

    Branches are counted a project, roles and databases a branch. `active_computes` leaves the default branch out.
    A suspend timeout of 0 is Neon's default, and -1 is never, where `may_stay_awake`.
    """

    name: str
    projects: int | None = None
    branches: int | None = None
    root_branches: int | None = None
    protected_branches: int | None = None
    snapshots: int | None = None
    active_computes: int | None = None
    roles: int | None = None
    databases: int | None = None
    history_seconds: int = 30 * _DAY
    shortest_suspend_seconds: int = 1
    longest_suspend_seconds: int = _WEEK
    may_stay_awake: bool = True

    def allows_active(self, active: Iterable[str], *, more: str | None, default: str | None) -> bool:
        """Whether a compute of the branch *more* may become active beside those of the branches *active*.

        All are ids, one for each compute. The computes of the *default* branch always may, and do not count; a new
        branch has no id yet. It is asked by whoever starts a compute: the API, and a connection that wakes one.
        """
        if self.active_computes is None or (more is not None and more == default):
            return True
        return sum(branch_id != default for branch_id in active) < self.active_computes


PLANS = {
    plan.name: plan
    for plan in (
        Plan(name="none"),
        Plan(
            name="free",
            projects=100,
            branches=10,
            root_branches=3,
            protected_branches=0,
            snapshots=1,
            active_computes=20,
            roles=500,
            databases=500,
            history_seconds=_DAY // 4,
            shortest_suspend_seconds=_FIVE_MINUTES,
            longest_suspend_seconds=_FIVE_MINUTES,
            may_stay_awake=False,
        ),
        Plan(
            name="launch",
            projects=100,
            branches=5_000,
            root_branches=5,
            protected_branches=2,
            snapshots=10,
            active_computes=20,
            roles=500,
            databases=500,
            history_seconds=7 * _DAY,
            shortest_suspend_seconds=_FIVE_MINUTES,
            longest_suspend_seconds=_FIVE_MINUTES,
        ),
        Plan(
            name="scale",
            projects=1_000,
            branches=5_000,
            root_branches=25,
            protected_branches=5,
            snapshots=10,
            active_computes=20,
            roles=500,
            databases=500,
            shortest_suspend_seconds=60,
        ),
    )
}
"""By name; `none` limits nothing that Neon's API does not."""
