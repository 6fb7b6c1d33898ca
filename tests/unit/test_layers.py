"""import-linter's contract holds, and breaks when an import points up or sideways."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path):
    """A copy of the package that a test may spoil, and what import-linter says of it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src" / "tenantry", tmp_path / "tenantry", ignore=shutil.ignore_patterns("__pycache__"))

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return tmp_path / "tenantry", lint


def test_imports_point_down(house):
    _, lint = house

    done = lint()

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/names.py", "import tenantry.cli", "Imports point down"),
        ("core/names.py", "def later():\n    from tenantry.session import context", "Imports point down"),
        ("core/names.py", "import pydantic", "core and the package root need the standard library only"),
        ("session/context.py", "from tenantry.ddl import changes", "Imports point down"),
        ("neon/wire/base.py", "import tenantry.ddl", "Imports point down"),
        ("control/__init__.py", "import tenantry.local", "Imports point down"),
        ("local/__init__.py", "import tenantry.control", "Imports point down"),
        ("settings.py", "import tenantry.bootstrap", "Imports point down"),
    ],
)
def test_a_wrong_import_breaks_the_contract(house, module, line, contract):
    package, lint = house
    with (package / module).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")

    done = lint()

    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


def test_a_room_without_a_layer_breaks_the_contract(house):
    package, lint = house
    (package / "attic.py").write_text('"""A room that no layer names."""\n', encoding="utf-8")

    done = lint()

    assert done.returncode != 0
    assert "attic" in done.stdout
