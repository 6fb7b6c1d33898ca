"""Where each key of a TOML text stands: its path to its line."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import TypeAlias

__all__ = ["KeyPath", "dotted", "lines_of"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys from the root down; a number is a place in an array."""

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]+|\#[^\n]*)*")
_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: KeyPath) -> str:
    """Return *path* as a TOML reader would write it.

    >>> dotted(("apps", "a b", "global_tables", 0))
    'apps."a b".global_tables[0]'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return text


def lines_of(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every table, key and array element of *text*, which must be valid TOML.

    A table's line is that of its own header if it has one, else that of the first key or header that implies it.
    """
    walk = _Walk(text)
    walk.document()
    newlines = [found.start() for found in re.finditer("\n", text)]
    return {path: bisect_left(newlines, at) + 1 for path, at in (walk.implied | walk.written).items()}


class _Walk:
    """One pass over a text that is known to be valid, so that it needs to tell apart and not to judge."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lengths: dict[KeyPath, int] = {}
        self.implied: dict[KeyPath, int] = {}
        self.written: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            start = self._at
            if self._take("[["):
                table = self._element(self._key(()), start)
                self._take("]]")
            elif self._take("["):
                table = self._key(())
                self._record(table, start)
                self._take("]")
            else:
                self._pair(table)
            self._skip(_GAP)

    def _element(self, path: KeyPath, start: int) -> KeyPath:
        number = self._lengths.get(path, 0)
        self._lengths[path] = number + 1
        self.written.setdefault(path, start)
        self._record((*path, number), start)
        return (*path, number)

    def _record(self, path: KeyPath, start: int) -> None:
        self.written[path] = start
        for size in range(1, len(path)):
            self.implied.setdefault(path[:size], start)

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = self._key(table)
        self._record(path, start)
        self._skip(_BLANK)
        self._take("=")
        self._skip(_BLANK)
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        path = table
        while True:
            self._skip(_BLANK)
            raw = self._skip(_KEY)
            # A header that passes through an array of tables means its last table.
            path = (*path, _decoded(raw))
            self._skip(_BLANK)
            if not self._take("."):
                return path
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        elif self._text.startswith(('"', "'"), self._at):
            self._skip(_STRING)
        else:
            self._skip(_BARE_VALUE)

    def _array(self, path: KeyPath) -> None:
        number = 0
        self._skip(_GAP)
        while not self._take("]"):
            self._record((*path, number), self._at)
            self._value((*path, number))
            number += 1
            self._skip(_GAP)
            self._take(",")
            self._skip(_GAP)

    def _inline_table(self, path: KeyPath) -> None:
        self._skip(_GAP)
        while not self._take("}"):
            self._pair(path)
            self._skip(_GAP)
            self._take(",")
            self._skip(_GAP)

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) * found
        return found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            raise ValueError(f"no valid TOML at offset {self._at}")
        self._at = found.end()
        return found[0]


def _decoded(raw: str) -> str:
    return next(iter(tomllib.loads(f"{raw} = 0"))) if raw[0] in "\"'" else raw
