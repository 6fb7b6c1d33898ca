"""Short ways to read a layout from a text, and to list its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.core.errors import LayoutError
from tenantry.core.layout import Layout
from tenantry.manifest import parse_layout

HEAD = '[project]\nname = "p"\n'
APP = HEAD + "[apps.a.environments]\n"


def parsed(text: str, base: Path = Path()) -> Layout:
    return parse_layout(text, source="tenantry.toml", base=base)


def mistakes(text: str, base: Path = Path()) -> list[tuple[int, str]]:
    return [(each.line, each.key) for each in refused(text, base).mistakes]


def refused(text: str, base: Path = Path()) -> LayoutError:
    with pytest.raises(LayoutError) as caught:
        parsed(text, base)
    return caught.value
