"""The page of the layout file has an entry for each key, and its example is a layout."""

from __future__ import annotations

import re
from pathlib import Path

from tenantry.manifest import parse_layout
from tenantry.manifest.shapes import KEYS

PAGE = (Path(__file__).parents[2] / "docs/reference/layout.md").read_text(encoding="utf-8")


def test_every_key_has_its_entry_and_no_other_has():
    entries = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    keys = [f"{table}.{key}" for table, names in KEYS.items() if table for key in names]

    assert sorted(entries) == sorted(keys)


def test_every_table_has_its_section():
    sections = re.findall(r"^## `([^`]+)`$", PAGE, re.MULTILINE)

    # `migrations` is told with its app, as it is mostly written there.
    assert {table for table in KEYS if table} - set(sections) == {"apps.<name>.migrations"}
    assert {name for name in sections if "." not in name} | {"apps"} == set(KEYS[""])


def test_the_example_is_a_layout(tmp_path):
    (tmp_path / "apps/shop/migrations").mkdir(parents=True)
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example

    layout = parse_layout(example[1], source="the page", base=tmp_path)

    assert [environment.branch for _, environment in layout.environments()] == ["shop-prod", "shop-dev"]
