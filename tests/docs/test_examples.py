"""What the pages show is run: Python blocks of a page share a namespace, console blocks run in a shell.

What Python blocks take for granted, `documents.py` lays: a table, its model, two tenants, and how to connect. A block
with `file=NAME` after its language is written to that file. Console blocks are `$` and a command, then the lines of
its output that matter, in order; `...` stands for anything within a line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine

from tests.docs.documents import lay

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "tutorial").glob("*.md"))

FENCE = re.compile(r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# These set up the reader's machine, which the tests stand on already.
NOT_RUN = frozenset({"git", "make", "pip", "cd"})
RUN = frozenset({"tenantry", "python", "echo", "cat"})
VARIABLES = re.compile(r"(\w+=(\$\([^)]*\)|\S*)\s+)*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the number of its first line of text."""

    language: str
    file: str | None
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    return [
        Block(match["language"], match["file"], match["text"], page.count("\n", 0, match.start("text")) + 1)
        for match in FENCE.finditer(page)
    ]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, with the lines of output that are shown under it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def missing(shown: list[str], output: str) -> str | None:
    """The first line of *shown* that does not follow in *output*; spaces count as one."""
    rest = iter(" ".join(line.split()) for line in output.splitlines())
    for line in shown:
        wanted = ".*".join(re.escape(part) for part in " ".join(line.split()).split("..."))
        if not any(re.search(wanted, line) for line in rest):
            return line
    return None


def run_console(text: str, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    for command, shown in commands(text):
        program = VARIABLES.sub("", command, count=1).split()[0]
        if program in NOT_RUN:
            continue
        assert program in RUN, f"{program!r} is neither in RUN nor in NOT_RUN"
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        assert missing(shown, done.stdout) is None, f"$ {command}\n{done.stdout}"


@pytest.fixture
def here(request, tmp_path, monkeypatch):
    """The folder that a page works in: for the tutorial a copy of the example, and no engine is left running in it."""
    page = request.node.callspec.params["page"]
    if page.parent.name != "tutorial":
        monkeypatch.chdir(tmp_path)
        yield tmp_path
        return
    # pytest's folders are closed to the user that the engine's Postgres runs as.
    place = request.getfixturevalue("folder") / page.stem
    shutil.copytree(ROOT / "examples" / page.stem, place, ignore=shutil.ignore_patterns(".tenantry", "__pycache__"))
    monkeypatch.chdir(place)
    yield place
    run_console("$ tenantry down\n", place)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_does_what_it_shows(page, here, request, monkeypatch):
    shown = blocks(page.read_text(encoding="utf-8"))
    module = ModuleType(page.stem)
    # A class body looks its annotations up in the module that sys.modules holds.
    monkeypatch.setitem(sys.modules, page.stem, module)
    if any(block.language == "python" and not block.file for block in shown):
        vars(module).update(lay(request.getfixturevalue("database")))

    for block in shown:
        if block.file:
            (here / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            # Empty lines before the code, so that a traceback names the page's own line.
            code = compile("\n" * (block.line - 1) + block.text, page, "exec", dont_inherit=True)
            exec(code, vars(module))
        elif block.language == "console":
            run_console(block.text, here)
    for made in vars(module).values():
        if isinstance(made, Engine):
            made.dispose()


def test_a_block_knows_its_line_and_its_file():
    page = "# A page\n\n```toml file=a.toml\nx = 1\n```\n\n```python\ny = 2\n```\n"

    assert blocks(page) == [Block("toml", "a.toml", "x = 1\n", 4), Block("python", None, "y = 2\n", 8)]


@pytest.mark.parametrize(
    ("shown", "output", "lacks"),
    [
        (["one", "two"], "one\nbetween\ntwo\n", None),
        (["two", "one"], "one\ntwo\n", "one"),
        (["a    b"], "| a b |\n", None),
        (["took ... s"], "it took 1.25 s\n", None),
        (["took 1.25 s"], "it took 1925 s\n", "took 1.25 s"),
    ],
)
def test_output_is_compared_line_by_line_in_order(shown, output, lacks):
    assert missing(shown, output) == lacks


def test_a_command_that_fails_fails_the_page(tmp_path):
    with pytest.raises(AssertionError, match="no-such-command"):
        run_console("$ tenantry no-such-command\n", tmp_path)
