"""Operations: which have ended, which failed, and how long to wait before looking again. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.neon.wire import Operation

__all__ = ["FAILED", "SUCCEEDED", "failed", "pending", "seconds_before_poll"]

SUCCEEDED = frozenset({"finished", "skipped"})
FAILED = frozenset({"failed", "error", "cancelled"})


def pending(operations: Iterable[Operation]) -> list[Operation]:
    """Return those that have not ended. A status that we do not know is one of a step on the way."""
    return [each for each in operations if each.status not in SUCCEEDED | FAILED]


def failed(operations: Iterable[Operation]) -> list[Operation]:
    """Return those that ended badly."""
    return [each for each in operations if each.status in FAILED]


def seconds_before_poll(poll: int, *, longest: float) -> float:
    """Return how long to wait before the *poll*-th look, from 1: short at first, since most end within a second.

    >>> [seconds_before_poll(poll, longest=1.0) for poll in (1, 2, 3, 4, 5)]
    [0.1, 0.2, 0.4, 0.8, 1.0]
    """
    return min(0.1 * 2 ** min(poll - 1, 20), longest)
