"""The runner: `python -m benchmarks [NAME...] [--quick] [--render]`."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import pkgutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.machine import this_machine
from benchmarks.page import PAGE, Result, figure, read_results, render, write_result

if TYPE_CHECKING:
    from benchmarks.result import Row


class Benchmark(Protocol):
    """What a module of this package offers, if it is a benchmark."""

    NAME: str

    def run(self, *, quick: bool = False) -> list[Row]:
        """Measure. *quick* asks for the shape of the answer in seconds, not for a figure to keep."""
        ...


def find() -> dict[str, Benchmark]:
    """Import every module beside this one, and give those that are benchmarks, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: cast("Benchmark", module) for name, module in modules.items() if hasattr(module, "run")}


def show(console: Console, result: Result) -> None:
    """Print *result* as a table."""
    table = Table(title=result.title, caption=str(result.machine), title_justify="left", caption_justify="left")
    table.add_column("question")
    table.add_column("ours", justify="right")
    table.add_column("against")
    table.add_column("theirs", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("goal")
    table.add_column("met")
    for row in result.rows:
        table.add_row(
            row.question,
            f"{figure(row.ours)} {row.unit}",
            row.against,
            figure(row.against_value),
            figure(row.ratio),
            row.goal,
            "[green]yes" if row.met else "[red]no",
        )
    console.print(table)


def main() -> None:
    """Run what the command line asks for. A quick run is shown and not kept."""
    found = find()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside a peer or a limit.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all of them without one: {', '.join(found)}")
    parser.add_argument("--quick", action="store_true", help="rough figures in seconds; nothing is written")
    parser.add_argument("--render", action="store_true", help="only write the page from the results that are there")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in found]:
        parser.error(f"no benchmark is called {', '.join(unknown)}: take from {', '.join(found)}")
    console = Console()
    if not console.is_terminal:
        console.width = 140  # a log keeps its lines whole
    if not asked.render:
        machine = this_machine(Path(tempfile.gettempdir()))
        for name in asked.names or found:
            began = time.perf_counter()
            rows = found[name].run(quick=asked.quick)
            today = dt.datetime.now(dt.UTC).date().isoformat()
            result = Result(name=name, title=found[name].NAME, date=today, machine=machine, rows=tuple(rows))
            show(console, result)
            console.print(f"{name}: {time.perf_counter() - began:.1f} s\n")
            if not asked.quick:
                write_result(result)
    if not asked.quick:
        PAGE.write_text(render(read_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
