"""What a person or a script sees: tables, trees, progress, JSON. Colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

__all__ = ["as_json", "console", "error", "note", "progress", "table", "tree"]

PIPED_WIDTH = 120
"""How wide tables are where there is no terminal to measure."""

console = Console(
    highlight=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH,
)
_stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def as_json(value: object) -> None:
    """Print *value* as one JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def error(message: str) -> None:
    """Print what went wrong, and the way out, on standard error."""
    _stderr.print("[bold red]error:[/] ", end="")
    _stderr.print(message, markup=False)


def note(message: str) -> None:
    """Print a remark on standard error, so that standard output holds results only."""
    _stderr.print(message, markup=False, style="dim")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print *rows* under *columns*. Columns whose values are all numbers are set to the right."""
    cells = [list(row) for row in rows]
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[index], int | float) for row in cells)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    console.print(drawn)


def tree(labels: Mapping[str, str], children: Mapping[str | None, Sequence[str]]) -> None:
    """Print a forest: *children* of each key (None: the roots), shown by their *labels*."""

    def grow(node: Tree, key: str) -> None:
        for child in children.get(key, ()):
            grow(node.add(labels[child]), child)

    for root in children.get(None, ()):
        drawn = Tree(labels[root])
        grow(drawn, root)
        console.print(drawn)


@contextmanager
def progress(what: str, *, shown: bool = True) -> Generator[Callable[[int, int, str], Any]]:
    """Show a bar on standard error; the callback takes how many are done, of how many, and what comes now.

    A total of 0 says that nobody counts. Where standard error is no terminal each step is a line.
    """
    if not shown:
        yield lambda _done, _total, _label: None
    elif not _stderr.is_terminal:

        def line(done: int, total: int, label: str) -> None:
            _stderr.print(f"{done}/{total} {label}" if total else label, markup=False)

        yield line
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=_stderr, transient=True) as bar:
            task = bar.add_task(what, total=None)

            def move(done: int, total: int, label: str) -> None:
                bar.update(task, completed=done, total=total or None, description=label)

            yield move
