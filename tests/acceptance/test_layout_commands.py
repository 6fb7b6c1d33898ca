"""`tenantry plan`, `apply`, `branches` and `connection`, and what each says to a mistake."""

from __future__ import annotations

import os
import subprocess

import pytest

LAYOUT = """
[project]
name = "shop"

[apps.shop]
migrations = { kind = "alembic", path = "migrations" }

[apps.shop.environments]
prod = {}
dev = { parent = "prod", ephemeral = true }
"""

FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "one"
down_revision = None


def upgrade():
    op.create_table(
        "items",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        schema="shop",
    )
"""

BROKEN = """
from alembic import op

revision = "two"
down_revision = "one"


def upgrade():
    op.execute("CREATE TABLE shop.half (tenant_id uuid PRIMARY KEY)")
    op.execute("SELECT 1 / 0")
"""


@pytest.fixture
def shop(tenantry):
    """The program in the folder of a small app."""
    (tenantry.folder / "tenantry.toml").write_text(LAYOUT)
    versions = tenantry.folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "one.py").write_text(FIRST)
    return tenantry


def psql(binaries, uri: str, query: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binaries.program("psql"), uri, "-XAtc", query],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def test_plan_says_there_are_changes_until_apply_has_made_them(shop):
    before = shop("plan", "--json")
    applied = shop("apply", "--json")
    after = shop("plan", "--json")

    assert before.status == 2, before.err
    assert [step["text"] for step in applied.json()["steps"]] == [step["text"] for step in before.json()["steps"]]
    assert (after.status, after.json()["steps"]) == (0, []), after.out


def test_branches_connection_and_reset(shop, binaries):
    shop("up")
    shop("apply", "--json")
    listed = {node["name"]: node["parent"] for node in shop("branches", "list", "--json").json()}
    uri = shop("connection", "shop", "dev").out.strip()
    migrator = shop("connection", "shop", "dev", "--role", "migrator").out.strip()
    psql(binaries, migrator, "CREATE TABLE shop.scratch (tenant_id uuid)")

    dry = shop("branches", "reset", "shop", "dev", "--json")
    still = psql(binaries, migrator, "SELECT to_regclass('shop.scratch')").stdout.strip()
    done = shop("branches", "reset", "shop", "dev", "--yes", "--json")
    gone = psql(binaries, migrator, "SELECT to_regclass('shop.scratch')").stdout.strip()

    assert listed == {"production": None, "shop-prod": "production", "shop-dev": "shop-prod"}
    assert psql(binaries, uri, "SELECT current_user, count(*) FROM shop.items").stdout == "shop_app|0\n"
    assert (dry.json()["done"], still) == (False, "shop.scratch")
    assert (done.status, done.json()["done"], gone) == (0, True, ""), done.err


def test_what_is_not_ephemeral_is_not_reset_without_force(shop):
    shop("up")
    shop("apply", "--json")

    refused = shop("branches", "reset", "shop", "prod", "--yes")

    assert refused.status != 0
    assert "ephemeral" in refused.err
    assert "Traceback" not in refused.err


def test_a_migration_that_fails_half_way_leaves_nothing_and_stays_in_the_plan(shop, binaries):
    shop("up")
    shop("apply", "--json")
    (shop.folder / "migrations" / "versions" / "two.py").write_text(BROKEN)

    failed = shop("apply", "--json")
    uri = shop("connection", "shop", "prod", "--role", "migrator").out.strip()
    half = psql(binaries, uri, "SELECT to_regclass('shop.half')").stdout.strip()
    planned = shop("plan", "--json")

    assert failed.status == 1
    assert "two" in failed.err
    assert "division by zero" in failed.err
    assert "Traceback" not in failed.err
    assert half == ""
    assert planned.status == 2
    assert any(step["step"] == "migrate" and step["revisions"] == ["two"] for step in planned.json()["steps"])


def test_every_mistake_of_a_layout_is_told_at_once(shop):
    (shop.folder / "tenantry.toml").write_text('[project]\nnmae = "shop"\n\n[apps.one]\nschema = "public"\n')

    done = shop("plan")
    checked = shop("layout", "check", "--json")

    assert done.status == 64
    assert "line 2" in done.err
    assert "line 5" in done.err
    assert "Traceback" not in done.err
    assert (checked.status, checked.json()["ok"]) == (64, False)
    assert {"project.nmae", "apps.one.schema"} <= {mistake["key"] for mistake in checked.json()["mistakes"]}


def test_an_unknown_option_does_not_look_like_a_plan_with_changes(shop):
    done = shop("plan", "--jsno")

    assert done.status == 64
    assert "Traceback" not in done.err


def test_neon_without_a_key_names_the_setting(shop):
    done = shop("plan", "--target", "neon")

    assert done.status == 64
    assert "NEON_API_KEY" in done.err


def test_a_wrong_key_is_told_and_not_shown(shop):
    api = shop("up", "--json").json()["api"]

    done = shop("plan", "--target", "neon", NEON_API_HOST=api, NEON_API_KEY="not-the-key")

    assert done.status == 77
    assert "401" in done.err
    assert "NEON_API_KEY" in done.err
    assert "not-the-key" not in done.err


def test_neons_address_may_be_that_of_a_local_engine(shop):
    up = shop("up", "--json").json()
    neon = {"NEON_API_HOST": up["api"], "NEON_API_KEY": up["api_key"]}

    applied = shop("apply", "--target", "neon", "--json", **neon)
    planned = shop("plan", "--target", "neon", **neon)

    assert (applied.status, planned.status) == (0, 0), applied.err + planned.err


def test_an_environment_that_is_not_in_the_layout_is_named_with_those_that_are(shop):
    done = shop("connection", "shop", "staging")

    assert done.status != 0
    assert "staging" in done.err
    assert "prod" in done.err
    assert "Traceback" not in done.err
