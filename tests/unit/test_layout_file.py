"""tenantry.toml: what it may hold, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.core.errors import LayoutError
from tenantry.core.layout import App, Environment, Layout, MigrationSource, ProjectSpec
from tenantry.manifest import read_layout
from tests.plugins.layouts import APP, HEAD, parsed, refused

ROOT = Path(__file__).parents[2]
SEED = """\
[project]
name = "syncup"
region = "aws-us-east-2"
postgres = 17

[branches]
default = "production"

[extensions]
public = ["pgcrypto", "uuid-ossp"]

[auth]
schema = "neon_auth"

[apps.brandsyncup]
schema = "brandsyncup"
migrations = { kind = "alembic", path = "brand/migrations" }
tenant_type = "text"
tenant_column = "org_id"
global_tables = ["countries"]
[apps.brandsyncup.environments]
dev  = { parent = "prod", ephemeral = true }
prod = { parent = "production" }

[apps.legalsyncup.environments]
development = { parent = "production", ephemeral = true }
production  = { parent = "production" }
"""


def test_the_seeds_layout_is_read_whole(tmp_path):
    (tmp_path / "brand/migrations").mkdir(parents=True)

    layout = parsed(SEED, tmp_path)

    assert layout == Layout(
        project=ProjectSpec("syncup", region="aws-us-east-2", postgres=17, database="neondb"),
        default_branch="production",
        extensions=("pgcrypto", "uuid-ossp"),
        auth_schema="neon_auth",
        apps=(
            App(
                "brandsyncup",
                "brandsyncup",
                environments=(
                    Environment("brandsyncup", "prod"),
                    Environment("brandsyncup", "dev", parent="prod", ephemeral=True),
                ),
                migrations=MigrationSource("alembic", (tmp_path / "brand/migrations").resolve()),
                tenant_type="text",
                tenant_column="org_id",
                global_tables=frozenset({"countries"}),
            ),
            App(
                "legalsyncup",
                "legalsyncup",
                environments=(
                    Environment("legalsyncup", "production"),
                    Environment("legalsyncup", "development", parent="production", ephemeral=True),
                ),
            ),
        ),
    )


def test_the_layout_of_the_example_is_read():
    layout = read_layout(ROOT / "examples/syncupsuite/tenantry.toml")

    assert [environment.branch for _, environment in layout.environments()] == [
        "brandsyncup-prod",
        "brandsyncup-dev",
        "legalsyncup-production",
        "legalsyncup-development",
    ]


def test_a_name_is_all_that_a_layout_needs():
    assert parsed(HEAD) == Layout(project=ProjectSpec("p"))
    assert parsed(HEAD + "[apps.my-app]").apps == (App("my-app", "my_app", environments=()),)
    assert parsed("project.name = 'p'\napps = {}") == parsed(HEAD)


def test_environments_may_be_tables_of_their_own():
    layout = parsed(HEAD + "[apps.a.environments.b]\nparent = 'c'\n[apps.a]\nschema = 's'\n[apps.a.environments.c]\n")

    assert [(each.name, each.parent) for each in layout.apps[0].environments] == [("c", None), ("b", "c")]
    assert layout.apps[0].schema == "s"


def test_parents_come_first_and_otherwise_the_order_of_the_file_is_kept():
    layout = parsed(APP + "d={parent='c'}\nb={}\nc={parent='a'}\ne={parent='b'}\na={}\n")

    assert [each.name for each in layout.apps[0].environments] == ["a", "c", "d", "b", "e"]


@pytest.mark.parametrize(
    ("environments", "parents"),
    [
        ("production={parent='production'}", [None]),
        ("production={}\ndev={parent='production'}", [None, "production"]),
        ("dev={parent='production'}", [None]),
        ("dev={}", [None]),
        (
            "stage={parent='dev'}\ndev={parent='production'}\nproduction={parent='production'}",
            [None, "production", "dev"],
        ),
    ],
)
def test_a_parent_is_another_environment_of_the_app_or_else_the_default_branch(environments, parents):
    assert [each.parent for each in parsed(APP + environments).apps[0].environments] == parents


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[project]\nname = \n", 2, "column 8: "),
        ("[project]\nname = 'a'\nname = 'b'\n", 3, "column 11: "),
        ("[project]\n[project]\n", 2, "column 9: "),
        ("[project]\nname = 'a", 2, ""),
        ("[project]\nname = [1,", 2, ""),
        ("[project\n", 1, "column 9: "),
        ("a = " + "[" * 5000 + "]" * 5000, 1, "is nested too deeply to be read"),
    ],
)
def test_a_mistake_of_syntax_has_its_line_and_column(text, line, message):
    (mistake,) = refused(text).mistakes

    assert (mistake.line, mistake.key) == (line, "TOML")
    assert mistake.message.startswith(message)


def test_a_file_that_is_not_there_names_the_ways_to_name_another(tmp_path):
    with pytest.raises(LayoutError, match=r"No such file or directory; .*TENANTRY_LAYOUT"):
        read_layout(tmp_path / "tenantry.toml")
    with pytest.raises(LayoutError, match="Is a directory"):
        read_layout(tmp_path)


def test_a_file_that_is_not_utf_8_says_where(tmp_path):
    path = tmp_path / "tenantry.toml"
    path.write_bytes(b"[project]\nname = 'caf\xe9'\n")

    with pytest.raises(LayoutError, match="line 2: file: byte 0xe9 is not UTF-8"):
        read_layout(path)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "tenantry.toml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())

    assert read_layout(path).project.name == "p"


def test_paths_start_from_the_folder_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "sub/m").mkdir(parents=True)
    (tmp_path / "sub/tenantry.toml").write_text(HEAD + "[apps.a]\nmigrations={kind='alembic',path='m'}")
    monkeypatch.chdir(tmp_path)

    source = read_layout(Path("sub/tenantry.toml")).apps[0].migrations

    assert source == MigrationSource("alembic", (tmp_path / "sub/m").resolve())
