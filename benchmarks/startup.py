"""What an application and a shell wait for before tenantry does anything."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import compare, limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Row

NAME = "Startup"

IMPORT_LIMIT_MS = 30
HELP_LIMIT_MS = 200

_FOREIGN = """
import sys
before = set(sys.modules)
import tenantry
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"tenantry"}
print(len(new - sys.stdlib_module_names))
"""


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _once(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def _medians(*commands: Sequence[str], runs: int) -> list[float]:
    """Time each command *runs* times, in ms, taking turns so that a busy moment falls on all of them."""
    for command in commands:
        _once(command)  # the first run compiles, and reads the files from disk
    turns = [[_once(command) for command in commands] for _ in range(runs)]
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def run(*, quick: bool = False) -> list[Row]:
    """Time `import tenantry` and `tenantry --help` in processes of their own; medians."""
    runs = 5 if quick else 41
    tenantry = str(Path(sys.executable).with_name("tenantry"))
    commands = (
        _python("-c", "pass"),
        _python("-c", "import tenantry"),
        [tenantry, "--help"],
        _python("-c", "import typer"),
    )
    bare, imported, shown, typer = _medians(*commands, runs=runs)
    foreign = subprocess.run(_python("-c", _FOREIGN), check=True, capture_output=True, text=True).stdout
    return [
        limit(
            "How long does `import tenantry` take, over a bare Python?",
            ours=imported - bare,
            at_most=IMPORT_LIMIT_MS,
            unit="ms",
        ),
        limit("How many packages does `import tenantry` load?", ours=int(foreign), at_most=0, unit="packages"),
        limit("How long does `tenantry --help` take, process and all?", ours=shown, at_most=HELP_LIMIT_MS, unit="ms"),
        compare(
            "The same, beside a process that only imports typer",
            ours=shown,
            peer="`python -c 'import typer'`",
            peers=typer,
            unit="ms",
        ),
    ]
