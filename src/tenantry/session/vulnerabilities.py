"""Holes of Postgres itself through which row security does not hold, and the minor releases that closed them.

Each entry was read in the release notes of Postgres and in the record that its security team published for the CVE
(https://www.postgresql.org/support/security/). The page docs/reference/safety.md is rendered from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VULNERABILITIES", "Vulnerability", "known_holes", "version_name"]


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A hole. `fixed` maps a major version to the first minor without it, `since` is the first major that had it.

    A major between `since` and the last of `fixed` that `fixed` does not name had reached its end of life: it has the
    hole for good. Majors after the last one never had it.
    """

    cve: str
    what: str
    fixed: Mapping[int, int]
    since: int = 0

    @property
    def page(self) -> str:
        """Where the Postgres project describes it."""
        return f"https://www.postgresql.org/support/security/{self.cve}/"

    def affects(self, version: int) -> bool:
        """Whether a server of *version* has it: `server_version_num`, as 170010 for 17.10."""
        major, minor = divmod(version, 10_000)
        if not self.since <= major <= max(self.fixed):
            return False
        return major not in self.fixed or minor < self.fixed[major]


VULNERABILITIES: Final = (
    Vulnerability(
        "CVE-2026-120154",
        "`INSERT … ON CONFLICT` shows rows that a policy hides to a leaky condition",
        {18: 7, 17: 12, 16: 16, 15: 20, 14: 25},
    ),
    Vulnerability(
        "CVE-2026-116311",
        "`DROP OWNED BY` takes a role out of restrictive policies on tables that it does not own",
        {18: 7, 17: 12, 16: 16, 15: 20, 14: 25},
    ),
    Vulnerability(
        "CVE-2026-14666",
        "cached plans keep the policies of a role after its memberships or attributes changed",
        {18: 6, 17: 11, 16: 15, 15: 19, 14: 24},
    ),
    Vulnerability(
        "CVE-2025-8713",
        "the planner's statistics show values that a policy hides, in partitions, children and views",
        {17: 6, 16: 10, 15: 14, 14: 19, 13: 22},
    ),
    Vulnerability(
        "CVE-2024-10976",
        "a reused plan applies the policies of another role below subqueries, WITH and SQL functions",
        {17: 1, 16: 5, 15: 9, 14: 14, 13: 17, 12: 21},
    ),
    Vulnerability(
        "CVE-2024-10978",
        "`SET ROLE` and `SET SESSION AUTHORIZATION` are reset to the wrong role",
        {17: 1, 16: 5, 15: 9, 14: 14, 13: 17, 12: 21},
    ),
    Vulnerability(
        "CVE-2024-4317",
        "`pg_stats_ext` and `pg_stats_ext_exprs` show values of other roles' tables; older clusters need a script too",
        {16: 3, 15: 7, 14: 12},
        since=14,
    ),
    Vulnerability(
        "CVE-2023-39418",
        "`MERGE` does not try new rows against the policies for UPDATE and SELECT",
        {15: 4},
        since=15,
    ),
    Vulnerability(
        "CVE-2023-2455",
        "an inlined function keeps the policies of the role that planned it",
        {15: 3, 14: 8, 13: 11, 12: 15, 11: 20},
    ),
)
"""Newest first."""


def known_holes(version: int) -> tuple[Vulnerability, ...]:
    """What a server of *version*, a `server_version_num`, is known to have. Newest first."""
    return tuple(hole for hole in VULNERABILITIES if hole.affects(version))


def version_name(version: int) -> str:
    """A `server_version_num` as people write it: 170010 is 17.10."""
    major, minor = divmod(version, 10_000)
    return f"{major}.{minor}"
