"""Every page is what the code says, is reached from the README, and keeps to the glossary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import build
from tenantry.settings import SETTINGS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize(
    "name",
    [
        "reference/api.md",
        "reference/engine-api.md",
        "reference/errors.md",
        "reference/safety.md",
        "decisions/README.md",
    ],
)
def test_a_rendered_page_is_what_the_code_says(name):
    written = (build.DOCS / name).read_text(encoding="utf-8")

    assert written == build.pages()[name], "run `make docs`"


def test_every_error_says_what_it_means():
    undocumented = [error.__name__ for error in build.errors() if "__doc__" not in vars(error) or not error.__doc__]

    assert undocumented == []


def test_every_command_has_its_place_on_the_page_and_no_other_has():
    page = (build.REFERENCE / "commands.md").read_text(encoding="utf-8")
    # A group such as `tenantry branches` does nothing by itself.
    there = {name for name, command in build.commands() if not getattr(command, "commands", None)}

    assert set(re.findall(r"^## `(tenantry[^`]*)`$", page, re.MULTILINE)) == there


def test_every_setting_is_on_the_page():
    page = (build.REFERENCE / "settings.md").read_text(encoding="utf-8")

    assert [setting.name for setting in SETTINGS if f"| `{setting.name}` | {setting.decides} |" not in page] == []


def test_every_variable_that_is_read_is_on_the_page_of_settings():
    asked = re.compile(r"(?:environ\.get\(|environ\[|getenv\()\s*[\"']([A-Z][A-Z_0-9]+)[\"']")
    read = {name for path in (ROOT / "src").rglob("*.py") for name in asked.findall(path.read_text(encoding="utf-8"))}
    page = (build.REFERENCE / "settings.md").read_text(encoding="utf-8")

    assert {name for name in read if f"`{name}" not in page} == set()
    assert read >= {setting.name for setting in SETTINGS}


def test_every_command_and_option_says_what_it_does():
    silent = {name for name, command in build.commands() if not command.help}
    silent |= {
        f"{name} {parameter.opts[0]}"
        for name, command in build.commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help
    }

    assert silent == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("[!R]*.md")), ids=lambda path: path.stem)
def test_a_decision_has_its_day_in_its_name(path):
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-[a-z0-9-]+\.md", path.name)


LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def links(page: Path) -> list[Path]:
    """The files that *page* links to. Addresses elsewhere are left out."""
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8"))]
    return [(page.parent / target).resolve() for target in targets if "://" not in target]


@pytest.mark.parametrize("path", PAGES, ids=named(PAGES))
def test_a_link_leads_somewhere(path):
    assert [str(target) for target in links(path) if not target.exists()] == []


def test_every_page_is_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page.is_file() and page not in reached:
            reached.add(page)
            waiting.extend(links(page))

    assert named(sorted(set(PAGES) - reached)) == []


def glossary() -> tuple[list[str], dict[str, str]]:
    """The terms, in their order, and the phrases we do not write, each with what we write."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms, _, unwanted = text.partition("## Words we do not use")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", unwanted, re.MULTILINE)
    return re.findall(r"^\*\*([^*]+)\*\*", terms, re.MULTILINE), dict(rows[1:])


def test_the_glossary_is_in_order():
    terms, _ = glossary()

    assert len(terms) >= 20
    assert terms == sorted(terms, key=str.casefold)


def test_no_page_and_no_module_uses_a_word_that_the_glossary_rules_out():
    _, unwanted = glossary()
    pages = [page for page in PAGES if page.name != "glossary.md"]

    used = {
        f"{path.relative_to(ROOT)}: {phrase!r}, say {instead!r}"
        for path in [*pages, *(ROOT / "src").rglob("*.py")]
        for phrase, instead in unwanted.items()
        if re.search(rf"\b{re.escape(phrase)}\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
    }

    assert len(unwanted) >= 3
    assert used == set()
