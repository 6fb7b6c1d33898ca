"""`tenantry.toml` into a layout: `read_layout` from a file, `parse_layout` from a text."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, cast

from tenantry.core.errors import LayoutError, LayoutMistake
from tenantry.manifest.credentials import credentials_in, masked
from tenantry.manifest.findings import Finding, mistakes_of
from tenantry.manifest.positions import KeyPath, lines_of
from tenantry.manifest.rules import findings_across, settled
from tenantry.manifest.shapes import layout_as_written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tenantry.core.layout import Layout

__all__ = ["parse_layout", "read_layout"]

_NO_SECRETS = "take it out: credentials come from the environment; if this file was shared, change the password or key"
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_layout(path: Path) -> Layout:
    """Read the layout file at *path*. Raises `LayoutError` with every mistake, also if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        mistake = LayoutMistake(
            1,
            "file",
            f"cannot be read: {exc.strerror}",
            "write one, or name another with `--layout` or TENANTRY_LAYOUT",
        )
        raise LayoutError(str(path), [mistake]) from exc
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        mistake = LayoutMistake(line, "file", f"byte 0x{content[exc.start]:02x} is not UTF-8", "save it as UTF-8")
        raise LayoutError(str(path), [mistake]) from exc
    return parse_layout(text, source=str(path), base=path.absolute().parent)


def parse_layout(text: str, *, source: str, base: Path) -> Layout:
    """Read a layout from *text*. *source* names it in messages; *base* is the folder that its paths start from.

    Raises `LayoutError` with every mistake in the order of lines. A mistake of TOML's syntax hides those of other
    kinds, except credentials: what the rest means is not known. No credential is shown.
    """
    values, lines = _parsed(text, source)
    findings: list[Finding] = []
    written = layout_as_written(values, base=base, findings=findings)
    findings += findings_across(written, unread={each.path for each in findings})
    texts = dict(_texts_of(values))
    exposed = mistakes_of((_exposed(path) for path, each in texts.items() if credentials_in(each)), lines)
    in_blocks = {found for each in texts.values() if "\n" in each for found in credentials_in(each)}
    elsewhere = _exposed_lines(text, known_lines={each.line for each in exposed}, known=in_blocks)
    mistakes = [*mistakes_of(findings, lines), *exposed, *elsewhere]
    if mistakes:
        raise LayoutError(source, sorted(mistakes, key=lambda mistake: mistake.line))
    return settled(written)


def _parsed(text: str, source: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        return tomllib.loads(text), lines_of(text)
    except tomllib.TOMLDecodeError as exc:
        mistake = _syntax_mistake(str(exc), text)
    except RecursionError:
        mistake = LayoutMistake(1, "TOML", "is nested too deeply to be read", "a layout needs five levels at most")
    raise LayoutError(source, [mistake, *_exposed_lines(text)])


def _syntax_mistake(message: str, text: str) -> LayoutMistake:
    # Before Python 3.14 tomllib says where a mistake is in its message alone.
    place = _PLACE.search(message)
    line, column = (place[1], place[2]) if place else (None, None)
    what = masked(_PLACE.sub("", message))
    return LayoutMistake(
        int(line) if line else max(len(text.splitlines()), 1),
        "TOML",
        f"column {column}: {what}" if column else f"end of the file: {what}",
        "mend the syntax (https://toml.io); what stands in the rest is looked at after that",
    )


def _texts_of(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield each string with its path, a key together with the string that it holds."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from _texts_of(inner, (*path, key))
            if credentials_in(key):
                yield (*path, key), key
    elif isinstance(value, list):
        for place, inner in enumerate(cast("list[object]", value)):
            yield from _texts_of(inner, (*path, place))
    elif isinstance(value, str):
        yield path, value


def _exposed(path: KeyPath) -> Finding:
    return Finding(path, "holds a password or an API key", _NO_SECRETS)


def _exposed_lines(text: str, *, known_lines: Iterable[int] = (), known: Iterable[str] = ()) -> list[LayoutMistake]:
    # Comments hold no key of TOML, and a file with a mistake of syntax none at all.
    return [
        LayoutMistake(number, "text", "holds a password or an API key", _NO_SECRETS)
        for number, line in enumerate(text.split("\n"), start=1)
        if number not in known_lines and credentials_in(line).difference(known)
    ]
