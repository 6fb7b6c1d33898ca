"""In CI a skipped test is a failed test: what CI runs on must have every part that the tests ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def _refuse_to_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped as well, with `wasxfail`: that one did run.
    if report.skipped and not hasattr(report, "wasxfail") and _in_ci():
        where = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where CI is set, and CI has every part: {where}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_to_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    _refuse_to_skip(report)
    return report
