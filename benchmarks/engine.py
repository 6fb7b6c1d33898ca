"""What the local engine costs: time to answer, memory, and disk, against the limits that we set it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import engine_load, engine_wire

if TYPE_CHECKING:
    from benchmarks.result import Row

NAME = "The local engine"


def run(*, quick: bool = False) -> list[Row]:
    """Measure engines in processes of their own."""
    return [*engine_load.rows(quick=quick), *engine_wire.rows(quick=quick)]
