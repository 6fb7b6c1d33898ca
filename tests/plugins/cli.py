"""The program `tenantry` as a person runs it: a process of its own, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINE = ("NEON_", "TENANTRY_")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which is one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Program:
    """`tenantry` with *folder* as its current folder and `folder/engine` as the engine's data."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment without what the tester has set for themselves."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(MINE)}
        return kept | {"TENANTRY_DATA": str(self.folder / "engine"), "NO_COLOR": "1", "COLUMNS": "160"}

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs it."""
        return [sys.executable, "-m", "tenantry.cli", *arguments]

    def __call__(self, *arguments: str, timeout: float = 120, **environ: str) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it and do not wait."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def tenantry(folder: Path) -> Iterator[Program]:
    """The program, with no layout and no engine yet. An engine that the test leaves running is stopped."""
    here = folder / f"cli-{os.urandom(4).hex()}"
    here.mkdir(mode=0o755)
    program = Program(here)
    yield program
    program("down")
