"""What an attack is, as a value, and what is written of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.isolation.matrix.arena import Arena

if TYPE_CHECKING:
    from tests.isolation.matrix.guards import Guard
    from tests.isolation.matrix.ways import Way

__all__ = ["Attack", "Elsewhere", "Run", "Try"]


@dataclass(frozen=True, slots=True)
class Try:
    """An attack that is under way: where, and by which way."""

    arena: Arena
    way: Any

    def said(self, text: str) -> str:
        """*text* with the guest role's name in its place."""
        return text.replace("{guest}", self.arena.guest)


Run: TypeAlias = "Callable[[Try], Awaitable[list[Any]]]"


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: `run` returns what was got or broken by it, which is nothing while the guard is there.

    With the guard taken out it must return something, or the test is blind. `concerns` says which ways it can be
    tried on, and `reason` why on no others. With `poisoned`, every session begins with ACME's tenant set; with
    `writes`, rows are restored afterwards; `size` is that of the pool.
    """

    hole: str
    name: str
    tries: str
    guard: Guard
    run: Run
    concerns: Callable[[Way], bool] = lambda way: True
    reason: str = ""
    poisoned: bool = False
    writes: bool = False
    size: int = 1

    @property
    def id(self) -> str:
        """The hole, and which of the attacks on it this is."""
        return f"{self.hole} {self.name}"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A hole that no attack of the matrix tries, and where it is tried or why it is not."""

    hole: str
    tries: str
    where: str
