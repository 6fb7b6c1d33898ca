"""SQL text as tokens, so far as it takes to know what a statement does. Strings and comments are not looked into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Kind", "Token", "statements", "tokens"]


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    NAME = "name"
    STRING = "string"
    SIGN = "sign"
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Token:
    """A token. A word is in lower case, a quoted name without its quotes; a string has no text.

    `ODD` is what is read differently under different settings of the server, or does not end.
    """

    kind: Kind
    text: str


_TOKEN: Final = re.compile(
    r"""
      (?P<space> \s+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<unicode> [uU]&"(?:[^"]|"")*" )
    | (?P<string> (?:[bBnNxX]|[uU]&)?'(?:[^']|'')*' )
    | (?P<name> "(?:[^"]|"")+" )
    | (?P<dollar> \$(?P<tag>[^\W\d]\w*)?\$ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<number> \$?\d[\w.]* )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT: Final = re.compile(r"/\*|\*/")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of *text*, without its comments (Postgres docs: "Lexical Structure")."""
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match is not None  # `sign` matches anything
        place = match.end()
        found, kind = match[0], match.lastgroup
        if kind == "comment":
            place = _end_of_comment(text, place)
        elif kind == "dollar":
            end = text.find(found, place)
            place = -1 if end < 0 else end + len(found)
        if place < 0:
            yield Token(Kind.ODD, found)
            return
        token = _token(kind, found)
        if token is not None:
            yield token


def _token(kind: str | None, found: str) -> Token | None:
    match kind:
        case "space" | "comment":
            return None
        case "word":
            return Token(Kind.WORD, found.lower())
        case "name":
            return Token(Kind.NAME, found[1:-1].replace('""', '"'))
        case "escaped" | "dollar":
            return Token(Kind.STRING, "")
        case "string":
            # With standard_conforming_strings off, a backslash before the quote would not let the string end here.
            return Token(Kind.ODD if "\\" in found else Kind.STRING, "")
        case _:
            return Token(Kind.ODD if kind == "unicode" or found in {"'", '"'} else Kind.SIGN, found)


def _end_of_comment(text: str, place: int) -> int:
    """Where the comment ends whose opening ends at *place*, or -1. Comments nest."""
    depth = 1
    for match in _COMMENT.finditer(text, place):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return -1


def statements(text: str) -> list[list[Token]]:
    """The statements of *text*, without those that are empty."""
    found: list[list[Token]] = [[]]
    for token in tokens(text):
        if token.kind is Kind.SIGN and token.text == ";":
            found.append([])
        else:
            found[-1].append(token)
    return [statement for statement in found if statement]
