"""Operations: which have ended, and when to look again."""

from __future__ import annotations

import pytest

from tenantry.neon.operations import failed, pending, seconds_before_poll
from tenantry.neon.wire import Operation


def with_status(status: str) -> Operation:
    when = "2026-11-24T12:00:00Z"
    fields = {"id": status, "project_id": "p", "action": "a", "status": status, "created_at": when, "updated_at": when}
    return Operation.model_validate(fields)


@pytest.mark.parametrize(
    ("status", "is_pending", "is_failed"),
    [
        ("scheduling", True, False),
        ("running", True, False),
        ("cancelling", True, False),
        ("a word that Neon adds", True, False),
        ("finished", False, False),
        ("skipped", False, False),
        ("failed", False, True),
        ("error", False, True),
        ("cancelled", False, True),
    ],
)
def test_a_status_says_whether_an_operation_has_ended_and_how(status, is_pending, is_failed):
    operation = with_status(status)

    assert (pending([operation]) == [operation], failed([operation]) == [operation]) == (is_pending, is_failed)


def test_looks_come_further_apart_up_to_the_longest():
    assert [seconds_before_poll(poll, longest=1.0) for poll in (1, 2, 3, 4, 5, 10_000)] == [0.1, 0.2, 0.4, 0.8, 1, 1]
