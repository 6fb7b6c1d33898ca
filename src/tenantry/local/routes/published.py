"""Every operation that Neon publishes, and which of them have a route here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.routing import Route

__all__ = ["Published", "published", "shape", "without_route"]

_PARAMETER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Published:
    """An operation of Neon's OpenAPI. `path` begins after `/api/v2`."""

    operation_id: str
    method: str
    path: str


def published() -> tuple[Published, ...]:
    """Return all operations, sorted by path."""
    text = files("tenantry.local.routes").joinpath("published.txt").read_text(encoding="utf-8")
    return tuple(Published(*line.split()) for line in text.splitlines() if not line.startswith("#"))


def shape(method: str, path: str) -> tuple[str, str]:
    """Return what tells two routes apart: the names of parameters do not."""
    return method, _PARAMETER.sub("{}", path)


def without_route(routes: Iterable[Route]) -> tuple[Published, ...]:
    """Return the published operations that none of *routes* answers."""
    there = {shape(method, route.path) for route in routes for method in route.methods or ()}
    return tuple(one for one in published() if shape(one.method, one.path) not in there)
