"""What was tried, what came of it, and whether it says anything, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Attempt", "Outcome", "Report", "Witness"]

Outcome = Literal["refused", "leaked", "could not run"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to cross, by *tenant*, at what belongs to *against*. `how` says what refused it or what got through."""

    name: str
    table: str
    tenant: str
    against: str
    outcome: Outcome
    how: str


@dataclass(frozen=True, slots=True)
class Witness:
    """How many rows of *table* a tenant sees in its own scope. Without any, nothing is proved about them."""

    table: str
    tenant: str
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """All attempts, and the witnesses that there was something to reach."""

    attempts: tuple[Attempt, ...]
    witnesses: tuple[Witness, ...]

    @property
    def leaks(self) -> tuple[Attempt, ...]:
        """The attempts that got through."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome == "leaked")

    @property
    def not_proved(self) -> tuple[Attempt, ...]:
        """The attempts that say nothing, since they could not be made or there was nothing to reach."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome == "could not run")

    @property
    def proved(self) -> bool:
        """Whether something was tried, all of it could be, and none of it got through."""
        return bool(self.attempts) and all(attempt.outcome == "refused" for attempt in self.attempts)

    def as_json(self) -> dict[str, Any]:
        """Counts and details, of JSON's own types."""
        outcomes = Counter(attempt.outcome for attempt in self.attempts)
        return {
            "attempts": len(self.attempts),
            "leaks": outcomes["leaked"],
            "refused": outcomes["refused"],
            "could_not_run": outcomes["could not run"],
            "proved": self.proved,
            "witnesses": [asdict(witness) for witness in self.witnesses],
            "details": [asdict(attempt) for attempt in self.attempts],
        }
