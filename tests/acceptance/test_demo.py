"""`tenantry demo`, as a person and as a script run it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tenantry.local.clusters.processes import postmaster_of
from tests.plugins.cli import Program

DATA = Path(__file__).parents[2] / "examples" / "syncupsuite" / "data"


def lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def demo(folder):
    """The demo's JSON, and the folder that it ran in. Run once for the module."""
    here = folder / f"demo-{os.urandom(4).hex()}"
    here.mkdir(mode=0o755)
    program = Program(here)
    return program("demo", "--json", TMPDIR=str(here)), here


def test_the_demo_passes(demo):
    done, _ = demo

    assert done.status == 0, done.err
    assert done.json()["ok"]


def test_each_tenant_sees_its_share_of_the_data_files_and_nothing_else(demo):
    tenants = demo[0].json()["tenants"]
    seen = {(tenant["customer"], table): n for tenant in tenants for table, n in tenant["counts"].items()}

    brands, licences = lines("brands.jsonl"), lines("licences.jsonl")
    to_m = [row for row in brands if str(row["slug"]).casefold() < "n"]
    to_k = [row for row in licences if str(row["spdx_id"]).casefold() < "l"]

    assert seen["Acme Studio", "brands"] == len(to_m)
    assert seen["Globex Brands", "brands"] == len(brands) - len(to_m)
    assert seen["Initech Legal", "licences"] == len(to_k)
    assert seen["Umbrella Counsel", "licences"] == len(licences) - len(to_k)
    assert all(tenant["counts"] == tenant["expected"] for tenant in tenants)


def test_no_attempt_got_through_and_those_of_the_control_did(demo):
    found = demo[0].json()

    assert found["attempts"] >= 12
    assert found["leaks"] == 0
    assert found["control_leaks"] > 0
    assert all(report["proved"] for report in found["proof"].values())
    assert not found["control"]["proved"]


def test_the_branches_are_those_of_the_layout(demo):
    parents = {branch["name"]: branch["parent"] for branch in demo[0].json()["branches"]}

    assert parents == {
        "production": None,
        "brandsyncup-prod": "production",
        "brandsyncup-dev": "brandsyncup-prod",
        "legalsyncup-production": "production",
        "legalsyncup-development": "legalsyncup-production",
    }


def test_the_reset_took_the_branchs_own_rows_and_columns(demo):
    reset = demo[0].json()["reset"]

    assert reset["own_rows_before"] > 0
    assert reset["own_rows_after"] == 0
    assert reset["rows_after"] == reset["parent_rows"] > 0
    assert reset["columns_before"] != reset["columns_after"] == reset["parent_columns"]


def test_nothing_is_left_of_the_demo(demo):
    _, here = demo
    running = [folder for folder in here.rglob("*") if folder.is_dir() and postmaster_of(folder)]

    assert running == []
    assert list(here.iterdir()) == []


def test_no_password_and_no_key_is_in_what_the_demo_says(demo):
    done, _ = demo

    assert not re.search(r"postgresql(\+\w+)?://[^\s:]+:[^\s@]+@", done.out + done.err)
    assert "npg_" not in done.out + done.err
    assert "tenantry_local_" not in done.out + done.err


def test_an_example_that_is_not_there_is_named(tenantry):
    done = tenantry("demo", "--example", "nowhere")

    assert done.status == 64
    assert "nowhere" in done.err
    assert "Traceback" not in done.err


def test_a_demo_without_a_postgres_says_what_was_looked_at(tenantry):
    done = tenantry("demo", "--json", "--postgres-bin", str(tenantry.folder))

    assert done.status != 0
    assert str(tenantry.folder) in done.err
    assert "TENANTRY_POSTGRES_BIN" in done.err
    assert "Traceback" not in done.err
