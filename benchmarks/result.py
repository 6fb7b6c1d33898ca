"""What a benchmark returns: rows that set our figure beside a peer's or a limit."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row", "compare", "limit"]


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: *ours* beside *against_value*, both in *unit*, where less is better.

    `against` names the peer or the limit, and `goal` says in words what was wanted. `ratio` is ours divided by
    theirs, or None where theirs is nothing; where the machine has no such peer, `against_value` is None as well.
    """

    question: str
    ours: float
    against: str
    against_value: float | None
    unit: str
    ratio: float | None
    goal: str
    met: bool


def limit(question: str, *, ours: float, at_most: float, unit: str) -> Row:
    """Set *ours* against a limit: the goal is met at or under *at_most*."""
    return Row(
        question=question,
        ours=ours,
        against="limit",
        against_value=at_most,
        unit=unit,
        ratio=ours / at_most if at_most else None,
        goal=f"at most {at_most:g} {unit}",
        met=ours <= at_most,
    )


def compare(
    question: str, *, ours: float, peer: str, peers: float | None, unit: str, at_most_ratio: float | None = None
) -> Row:
    """Set *ours* against a peer's figure. Without *at_most_ratio* the row informs, and its goal is always met.

    A goal cannot be met against a peer that was not measured (*peers* is None).
    """
    ratio = None if peers is None else ours / peers
    return Row(
        question=question,
        ours=ours,
        against=peer,
        against_value=peers,
        unit=unit,
        ratio=ratio,
        goal="to know" if at_most_ratio is None else f"at most {at_most_ratio:g} times {peer}",
        met=at_most_ratio is None or (ratio is not None and ratio <= at_most_ratio),
    )
