"""What to do after an answer: decisions about sending a request again, without I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["NO_ANSWER", "RetryPolicy", "parse_retry_after", "wait_before_retry"]

NO_ANSWER = None
"""Stands for the status where the network failed."""

NOTHING_WAS_DONE = frozenset({423, 429, 503})
"""Neon says so of these, whatever the method: the project is busy, too many requests, no server took it."""

PASSING_FAULTS = frozenset({NO_ANSWER, 502, 504, 524})
"""The request may have been carried out, so only a GET is sent again. 524 is Cloudflare's time-out."""

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. An operation of Neon's can hold a project for half a minute, a fault rarely passes.

    `attempts` counts every sending of a request that was refused undone, `fault_attempts` that of a GET that met a
    fault. No wait is begun that would end after `total_seconds`.
    """

    attempts: int = 20
    fault_attempts: int = 5
    total_seconds: float = 180
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 10
    longest_retry_after_seconds: float = 60


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at least 0; None if it is absent or unreadable.

    It holds seconds or an HTTP date (RFC 9110, 10.2.3).
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # A date whose zone is "-0000" comes without one; HTTP dates are in GMT.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((aware - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def wait_before_retry(
    *,
    method: str,
    status: int | None,
    retry_after: str | None,
    attempt: int,
    elapsed_seconds: float,
    now: datetime,
    draw: float,
    policy: RetryPolicy,
) -> float | None:
    """Return the seconds to wait before the request is sent again, or None if it must not be.

    *attempt* counts the sendings so far, from 1. *draw* is a random number from 0 to 1: without a `Retry-After` the
    wait is that share of a ceiling that doubles with each attempt (full jitter), so that callers who were refused
    together do not come back together.
    """
    if status in NOTHING_WAS_DONE:
        attempts = policy.attempts
    elif status in PASSING_FAULTS and method == "GET":
        attempts = policy.fault_attempts
    else:
        return None
    if attempt >= attempts:
        return None
    asked = parse_retry_after(retry_after, now=now)
    if asked is None:
        # Past 2^30 the longest wait has long been reached, and a float would overflow at 2^1024.
        ceiling = min(policy.first_wait_seconds * 2 ** min(attempt - 1, 30), policy.longest_wait_seconds)
        wait = draw * ceiling
    else:
        wait = min(asked, policy.longest_retry_after_seconds)
    return wait if elapsed_seconds + wait <= policy.total_seconds else None
