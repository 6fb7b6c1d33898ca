"""The revisions of an app as values, and which of them a database still lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.migrations.errors import UnknownRevisionError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["History", "Revision"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One migration: its id, its file, and the revisions that must come before it."""

    id: str
    file: Path
    after: frozenset[str] = frozenset()
    title: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The migrations of a folder, each after those it depends on. The last is the head."""

    folder: Path
    revisions: tuple[Revision, ...] = ()

    @property
    def head(self) -> str | None:
        """The revision that everything leads to, or None where there is none yet."""
        return self.revisions[-1].id if self.revisions else None

    def pending(self, current: frozenset[str], *, schema: str) -> tuple[Revision, ...]:
        """Return what a database at *current* lacks, in the order to run it.

        Raises `UnknownRevisionError` if *current* holds a revision that is not here.
        """
        known = {revision.id: revision for revision in self.revisions}
        done: set[str] = set()
        open_ones = sorted(current)
        while open_ones:
            revision = open_ones.pop()
            if revision not in known:
                raise UnknownRevisionError(revision, schema=schema, folder=self.folder)
            if revision not in done:
                done.add(revision)
                open_ones += known[revision].after
        return tuple(revision for revision in self.revisions if revision.id not in done)
