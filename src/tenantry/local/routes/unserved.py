"""What Neon serves and this engine does not: an answer that says so, since a wrong one would be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.local.refusals import not_served
from tenantry.local.routes.calling import Answer, Call, mutating, reading
from tenantry.local.routes.published import without_route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.routing import Route

    from tenantry.local.routes.published import Published

__all__ = ["refusals"]


def _refusing(operation: Published) -> Callable[[Call], Answer]:
    def refuse(_call: Call) -> Answer:
        raise not_served(
            f"`{operation.operation_id}` ({operation.method} {operation.path})",
            "use a project on Neon for it; the page engine-api.md lists what is served",
        )

    return refuse


def refusals(served: Iterable[Route]) -> list[Route]:
    """Return a route that refuses with a 501 for each published operation that none of *served* answers."""
    return [
        reading(one.path, _refusing(one)) if one.method == "GET" else mutating(one.method, one.path, _refusing(one))
        for one in without_route(served)
    ]
