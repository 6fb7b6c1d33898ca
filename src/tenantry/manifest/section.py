"""A table of the layout file while it is read: each key taken by its type, whatever is wrong with it found."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tenantry.core.errors import InvalidNameError
from tenantry.manifest.findings import Finding, in_words, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tenantry.manifest.positions import KeyPath

__all__ = ["Section"]

_T = TypeVar("_T")
_D = TypeVar("_D")

_WORDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    dict: "a table",
    list: "an array",
    datetime: "a date and time",
    date: "a date",
    time: "a time",
}


class Section:
    """One table. What is wrong is appended to *findings*, and reading goes on with the default.

    *known* are the keys that it may hold; None lets every key stand, as in a table of names. *values* is None where
    the file has something else in the table's place: that has its finding, and no key is missed in it.
    """

    def __init__(
        self, values: dict[str, Any] | None, path: KeyPath, *, known: Sequence[str] | None, findings: list[Finding]
    ) -> None:
        self.path = path
        self.is_table = values is not None
        self._values = values or {}
        self._findings = findings
        if known is not None:
            for key in self._values.keys() - set(known):
                self._unknown(key, known)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def at(self, *keys: str | int) -> KeyPath:
        """The path of a key of this table."""
        return (*self.path, *keys)

    def find(self, keys: str | tuple[str | int, ...], message: str, way_out: str) -> None:
        """Note what is wrong with a key."""
        self._findings.append(Finding(self.at(*([keys] if isinstance(keys, str) else keys)), message, way_out))

    def text(self, key: str, *, default: str | None, example: str) -> str | None:
        """A string. Without a *default* the key must be there. None where it is not, or is of another type."""
        if key not in self._values and default is None:
            if self.is_table:
                self.find(key, "is missing", f"add `{key} = {example}`")
            return None
        return self._typed(key, str, default, None, example)

    def integer(self, key: str, *, default: int, example: str) -> int:
        """An integer, or *default*."""
        return self._typed(key, int, default, default, example)

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean, or *default*."""
        return self._typed(key, bool, default, default, "true")

    def texts(self, key: str, *, example: str) -> dict[int, str]:
        """The strings of an array by their places; one that stands there twice is a mistake."""
        found: dict[int, str] = {}
        for place, value in enumerate(cast("list[Any]", self._typed(key, list, (), (), example))):
            if not isinstance(value, str):
                self.find((key, place), f"is {_kind(value)}", f"make it a string, as in `{key} = {example}`")
            elif value in found.values():
                self.find((key, place), f"{quoted(value)} stands here twice", "remove one of them")
            else:
                found[place] = value
        return found

    def numbers(self, key: str, *, default: tuple[int, ...], example: str) -> tuple[int, ...]:
        """The integers of an array, 1 and above, at least one and each once; *default* where they are not."""
        values = cast("list[Any]", self._typed(key, list, [*default], [*default], example))
        wrong = [place for place, value in enumerate(values) if type(value) is not int or value < 1]
        for place in wrong:
            self.find((key, place), f"{values[place]!r} is no number from 1", f"write it as `{key} = {example}`")
        if not wrong and (not values or len(set(values)) < len(values)):
            what = "names one twice" if values else "is empty"
            self.find(key, what, f"write it as `{key} = {example}`")
            return default
        return default if wrong else tuple(values)

    def table(self, key: str, *, known: Sequence[str] | None, example: str) -> Section:
        """A table within this one; an empty one where there is none."""
        nothing: dict[str, Any] = {}
        values = cast("dict[str, Any] | None", self._typed(key, dict, nothing, None, example))
        return Section(values, self.at(key), known=known, findings=self._findings)

    def check(self, keys: str | tuple[str | int, ...], value: str | None, rule: Callable[[str], object]) -> None:
        """Note what *rule*, one of `core.names`, says about a value that was read."""
        try:
            _ = value is None or rule(value)
        except InvalidNameError as exc:
            self.find(keys, f"{exc.kind} {quoted(exc.value)} {exc.why}", exc.way_out)

    def choice(self, key: str, value: str | None, choices: Iterable[str], *, what: str) -> bool:
        """Say whether *value* is one of *choices*, and note it if it is another."""
        words = list(choices)
        if value is not None and value not in words:
            self.find(
                key, f"{quoted(value)} is no {what}", _did_you_mean(nearest(value, words)) + f"use {in_words(words)}"
            )
        return value in words

    def _typed(self, key: str, type_: type[_T], default: _D, otherwise: _D, example: str) -> _T | _D:
        if key not in self._values:
            return default
        value = self._values[key]
        # Not `isinstance`: a boolean is an int in Python and not in TOML, and a date and time is a date.
        if type(value) is type_:
            return value
        self.find(key, f"is {_kind(value)}, not {_WORDS[type_]}", f"write it as `{key} = {example}`")
        return otherwise

    def _unknown(self, key: str, known: Sequence[str]) -> None:
        where = "of this table" if self.path else "of a layout"
        self.find(key, f"is no key {where}", _did_you_mean(nearest(key, known)) + f"use {in_words(known)}")


def _did_you_mean(word: str | None) -> str:
    return f"did you mean `{word}`? " if word else ""


def _kind(value: object) -> str:
    return _WORDS[type(value)]
