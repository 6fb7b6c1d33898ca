"""What is wrong in a layout: findings, which know their key, made into mistakes, which know their line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.core.errors import LayoutMistake
from tenantry.manifest.credentials import masked
from tenantry.manifest.positions import KeyPath, dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Finding", "in_words", "mistakes_of", "nearest", "quoted"]

_LONGEST_QUOTE = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the key concerned, what is wrong with it, and the way out."""

    path: KeyPath
    message: str
    way_out: str


def mistakes_of(findings: Iterable[Finding], lines: Mapping[KeyPath, int]) -> list[LayoutMistake]:
    """Return *findings* in the order of their lines, without credentials.

    A key that is not in the file has the line of the nearest table around it, else line 1.
    """
    mistakes = {
        LayoutMistake(_line(each.path, lines), masked(dotted(each.path)), masked(each.message), masked(each.way_out))
        for each in findings
    }
    return sorted(mistakes, key=lambda mistake: (mistake.line, mistake.key, mistake.message))


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    around = (path[:size] for size in range(len(path), 0, -1))
    return next((lines[each] for each in around if each in lines), 1)


def quoted(value: str) -> str:
    """Return *value* in quotes for a message, cut if it is long. Credentials go before the cut could hide their end."""
    text = masked(value)
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of *words* that was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def in_words(names: Iterable[str], last: str = "or") -> str:
    """Return *names* as a list in a sentence.

    >>> in_words(["a", "b", "c"])
    '`a`, `b` or `c`'
    """
    marked = [f"`{name}`" for name in names]
    return f" {last} ".join([", ".join(marked[:-1]), marked[-1]] if len(marked) > 1 else marked)
