"""Which program `tenantry neon` runs, with what, and what it says where there is none."""

from __future__ import annotations

import pytest

from tenantry.cli.neon import command, environment, find_cli
from tenantry.local.engine import RunningEngine

RUNNING = RunningEngine("http://127.0.0.1:1/api/v2", "the-key", 1)


def program(path, status=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$NEON_API_HOST $NO_PROXY $*"\nexit {status}\n')
    path.chmod(0o755)
    return path


def test_the_nearest_node_modules_go_before_the_path(tmp_path):
    far = program(tmp_path / "node_modules/.bin/neonctl")
    near = program(tmp_path / "app/node_modules/.bin/neon")
    on_path = program(tmp_path / "bin/neonctl")

    assert find_cli(tmp_path / "app/src", path=str(on_path.parent)) == near
    assert find_cli(tmp_path / "other", path=str(on_path.parent)) == far
    far.chmod(0o644)
    assert find_cli(tmp_path / "other", path=str(on_path.parent)) == on_path
    assert find_cli(tmp_path / "other", path=str(tmp_path / "nothing")) is None


def test_the_engine_stands_in_neons_place_and_behind_no_proxy():
    environ = environment(RUNNING, {"NO_PROXY": "intranet", "HOME": "/home/me", "NEON_API_KEY": "of the cloud"})

    assert environ["NEON_API_HOST"] == RUNNING.api
    assert environ["NEON_API_KEY"] == "the-key"
    assert environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert environ["no_proxy"] == "127.0.0.1,localhost"
    assert environ["HOME"] == "/home/me"


def test_nothing_is_sent_home(tmp_path):
    assert command(tmp_path / "neon", ["me"]) == [str(tmp_path / "neon"), "--no-analytics", "me"]


def test_without_an_engine_it_says_how_to_start_one(tenantry):
    done = tenantry("neon", "me")

    assert done.status == 69
    assert "tenantry up" in done.err


@pytest.mark.parametrize("status", [0, 7])
def test_words_and_status_pass_through(tenantry, status):
    up = tenantry("up", "--json").json()
    missing = tenantry("neon", "me", PATH=str(tenantry.folder))
    program(tenantry.folder / "node_modules/.bin/neon", status)

    done = tenantry("neon", "psql", "main", "--output", "json", "--", "-c", "select 1", "--data", "x", NO_PROXY="")

    assert missing.status == 69
    assert "npm install" in missing.err
    assert (done.status, done.err) == (status, "")
    assert done.out == (
        f"{up['api']} 127.0.0.1,localhost --no-analytics psql main --output json -- -c select 1 --data x\n"
    )
