"""The guide to the serverless driver: its blocks, one after another, are a program that runs."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.plugins.engine import Serving, make_project
from tests.plugins.node import Node

HERE = Path(__file__).parent
GUIDE = HERE.parents[2] / "docs" / "guides" / "serverless-driver.md"


def test_the_blocks_of_the_guide_run(module_served: Serving, npm: Callable[[Path], Node], tmp_path: Path):
    blocks = re.findall(r"^```javascript\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = tmp_path / "guide.mjs"
    script.write_text("\n".join(blocks), encoding="utf-8")
    uri = make_project(module_served.api).main.uri
    engine = module_served.note["api"].removeprefix("http://").removesuffix("/api/v2")

    said = npm(HERE).run(script, ENGINE=engine, DATABASE_URL=uri)

    assert said.split() == ["42", "acme", "acme", "drizzle"]
