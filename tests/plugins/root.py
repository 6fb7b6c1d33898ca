"""Tests marked `as_root`, which only root can run, are not chosen for anybody else: they were not skipped."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "as_root: only root can run it; it mounts, or becomes another user")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    left = [item for item in items if item.get_closest_marker("as_root")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not item.get_closest_marker("as_root")]
