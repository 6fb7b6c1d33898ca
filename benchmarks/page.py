"""The performance page: what the result files say, as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import Machine
from benchmarks.result import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PAGE", "RESULTS", "Result", "figure", "read_results", "render", "write_result"]

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "performance.md"

_HEAD = """\
# Performance

Written by `python -m benchmarks --render` from `benchmarks/results/`; `make bench` measures anew.
Less is better in every row, and a ratio is ours divided by theirs. The goals are those of a small machine: two
cores, shared with whatever else runs there.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's answers: `name` is its module's, `date` the day it ran (UTC)."""

    name: str
    title: str
    date: str
    machine: Machine
    rows: tuple[Row, ...]


def write_result(result: Result, folder: Path = RESULTS) -> Path:
    """Write *result* to `<name>.json` in *folder*, over what was there."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_text(json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_results(folder: Path = RESULTS) -> list[Result]:
    """Read every result in *folder*, by name."""
    results: list[Result] = []
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in said.pop("rows"))
        results.append(Result(machine=Machine(**said.pop("machine")), rows=rows, **said))
    return results


def figure(value: float | None) -> str:
    """Show *value* with three significant digits, or a dash for what was not measured."""
    if value is None:
        return "-"
    # `g` would turn to powers of ten: 12,345 ms is easier to read than 1.23e+04.
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(rows: Iterable[Row]) -> list[str]:
    lines = ["| question | ours | against | theirs | ratio | goal | met |", "|---|--:|---|--:|--:|---|---|"]
    for row in rows:
        theirs = "-" if row.against_value is None else f"{figure(row.against_value)} {row.unit}"
        cells = (
            row.question,
            f"{figure(row.ours)} {row.unit}",
            row.against,
            theirs,
            figure(row.ratio),
            row.goal,
            "yes" if row.met else "**no**",
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def render(results: Iterable[Result]) -> str:
    """Give the whole page."""
    parts = [_HEAD]
    for result in results:
        parts.append(f"## {result.title}\n")
        parts.append(f"`benchmarks/{result.name}.py`, {result.date}. {result.machine}.\n")
        parts.append("\n".join(_table(result.rows)) + "\n")
    return "\n".join(parts)
