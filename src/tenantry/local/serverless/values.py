"""Parameters and results between JSON and Postgres's text, as Neon's proxy writes them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

from psycopg import adapters

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["array_element", "cell", "command_of", "parameter", "row"]

_NULL = "null"
_BOOL = 16
_INTEGERS = {21, 23}  # int8 stays text: JavaScript's numbers would round it
_FLOATS = {700, 701}
_JSON = {114, 3802}


def parameter(value: object) -> str | None:
    """Return a JSON value as the text that Postgres reads it from."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return _array(cast("list[object]", value))
    return _compact(value)


def _array(values: list[object]) -> str:
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(cast("list[object]", value))
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):  # within an array an object is its JSON, in quotes
        return _quoted(_compact(cast("object", value)))
    return _compact(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def array_element(oid: int) -> int | None:
    """Return the type of the elements of the array type *oid*, or None if it is no array that we know."""
    info = adapters.types.get(oid)
    return info.oid if info is not None and info.array_oid == oid else None


def row(names: Sequence[str], oids: Sequence[int], values: Sequence[str | None], *, as_array: bool, raw: bool) -> str:
    """Return a row as JSON. Of columns of one name the last wins in an object, as in JavaScript."""
    cells = [cell(oid, value, raw=raw) for oid, value in zip(oids, values, strict=True)]
    if as_array:
        return f"[{','.join(cells)}]"
    pairs = dict(zip(names, cells, strict=True)).items()
    return f"{{{','.join(f'{json.dumps(name, ensure_ascii=False)}:{text}' for name, text in pairs)}}}"


def cell(oid: int, value: str | None, *, raw: bool) -> str:
    """Return what Postgres printed as JSON: a string if *raw*, else a value of the nearest type that JSON has."""
    if value is None:
        return _NULL
    if raw:
        return json.dumps(value, ensure_ascii=False)
    element = array_element(oid)
    return _scalar(oid, value) if element is None else _Array(value, element).read()


def _scalar(oid: int, value: str) -> str:
    if oid == _BOOL:
        return "true" if value == "t" else "false"
    if oid in _INTEGERS:
        return value
    if oid in _FLOATS and math.isfinite(float(value)):
        return json.dumps(float(value))
    if oid in _JSON:
        return value  # it is JSON already, to the last digit
    return json.dumps(value, ensure_ascii=False)


class _Array:
    """Reads one array as Postgres prints it; bounds such as `[0:1]=` are left out, since JSON has none."""

    def __init__(self, text: str, element: int) -> None:
        self._text = text.partition("=")[2] if text.startswith("[") else text
        self._element = element
        self._delimiter = ";" if element == adapters.types["box"].oid else ","
        self._at = 0

    def read(self) -> str:
        """Return the array at this place as JSON."""
        self._at += 1  # the opening brace
        items: list[str] = []
        while self._text[self._at] != "}":
            items.append(self._item())
            if self._text[self._at] == self._delimiter:
                self._at += 1
        self._at += 1
        return f"[{','.join(items)}]"

    def _item(self) -> str:
        first = self._text[self._at]
        if first == "{":
            return self.read()
        if first == '"':
            return _scalar(self._element, self._quoted_item())
        start = self._at
        while self._text[self._at] not in {self._delimiter, "}"}:
            self._at += 1
        plain = self._text[start : self._at]
        return _NULL if plain == "NULL" else _scalar(self._element, plain)

    def _quoted_item(self) -> str:
        self._at += 1
        characters: list[str] = []
        while (character := self._text[self._at]) != '"':
            if character == "\\":
                self._at += 1
                character = self._text[self._at]
            characters.append(character)
            self._at += 1
        self._at += 1
        return "".join(characters)


def command_of(tag: str) -> tuple[str, int | None]:
    """Return the command of a tag such as `INSERT 0 3`, and how many rows it tells of.

    As at Neon the command is the tag's first word: `CREATE TABLE` is `CREATE`.
    """
    name, _, rest = tag.partition(" ")
    number = rest.rpartition(" ")[2] if name == "INSERT" else rest
    return name, int(number) if number.isascii() and number.isdigit() else None
