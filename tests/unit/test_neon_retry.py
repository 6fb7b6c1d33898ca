"""Decisions about sending a request again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.neon.retry import NO_ANSWER, RetryPolicy, parse_retry_after, wait_before_retry

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
POLICY = RetryPolicy()

STATUSES = st.one_of(st.just(NO_ANSWER), st.integers(300, 599))
METHODS = st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE"])


def wait(
    *,
    method="GET",
    status: int | None = 423,
    retry_after: str | None = None,
    attempt=1,
    elapsed_seconds=0.0,
    draw=1.0,
    policy=POLICY,
) -> float | None:
    return wait_before_retry(
        method=method,
        status=status,
        retry_after=retry_after,
        attempt=attempt,
        elapsed_seconds=elapsed_seconds,
        now=NOW,
        draw=draw,
        policy=policy,
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [423, 429, 503])
def test_what_was_refused_undone_is_sent_again_whatever_the_method(method, status):
    assert wait(method=method, status=status) is not None


@pytest.mark.parametrize("status", [NO_ANSWER, 502, 504, 524])
def test_after_a_fault_only_a_get_is_sent_again(status):
    assert wait(method="GET", status=status) is not None
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        assert wait(method=method, status=status) is None


@given(method=METHODS, status=st.integers(300, 599).filter(lambda s: s not in {423, 429, 502, 503, 504, 524}))
def test_every_other_answer_is_final(method, status):
    assert wait(method=method, status=status) is None


def test_a_refusal_is_sent_twenty_times_and_a_fault_five():
    assert [wait(status=423, attempt=attempt) is None for attempt in (19, 20)] == [False, True]
    assert [wait(status=502, attempt=attempt) is None for attempt in (4, 5)] == [False, True]


def test_no_wait_is_begun_that_would_end_after_the_total_time():
    policy = RetryPolicy(total_seconds=100)

    assert wait(retry_after="10", elapsed_seconds=90, policy=policy) == 10
    assert wait(retry_after="10", elapsed_seconds=90.1, policy=policy) is None


def test_without_a_retry_after_the_ceiling_doubles_up_to_the_longest_wait():
    assert [wait(attempt=attempt) for attempt in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_the_jitter_takes_any_share_of_the_ceiling():
    assert [wait(attempt=3, draw=draw) for draw in (0, 0.5, 1)] == [0, 0.5, 1]


@given(
    status=STATUSES,
    method=METHODS,
    retry_after=st.none() | st.text(max_size=40) | st.integers().map(str),
    attempt=st.integers(1, 10_000),
    draw=st.floats(0, 1),
)
def test_a_wait_is_never_negative_nor_longer_than_the_longest(status, method, retry_after, attempt, draw):
    policy = RetryPolicy(attempts=20_000, fault_attempts=20_000)

    seconds = wait(status=status, method=method, retry_after=retry_after, attempt=attempt, draw=draw, policy=policy)

    assert seconds is None or 0 <= seconds <= policy.longest_retry_after_seconds


def test_a_retry_after_is_followed_to_the_second_and_capped():
    assert wait(status=429, retry_after="7", draw=0) == 7
    assert wait(status=429, retry_after="86400", draw=0) == POLICY.longest_retry_after_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("12", 12),
        (" 1.5 ", 1.5),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 12:00:30 -0000", 30),
        ("Tue, 24 Nov 2026 13:00:30 +0100", 30),
        ("Tue, 24 Nov 2026 11:59:00 GMT", 0),
        ("9" * 400, float("inf")),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("٣", None),
        ("Tue, 99 Nov 2026 12:00:30 GMT", None),
        ("Tue, 24 Nov 99999999999 12:00:30 GMT", None),
    ],
)
def test_a_retry_after_is_seconds_or_an_http_date(value, seconds):
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_no_retry_after_raises(value):
    seconds = parse_retry_after(value, now=NOW)

    assert seconds is None or seconds >= 0
