"""What a statement's text asks of the connection, and the one message that carries what stands around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

from tenantry.session.leftovers import NOTHING, Left, clean_after, clean_before, read
from tenantry.session.lexer import Kind as TokenKind
from tenantry.session.lexer import statements

__all__ = ["Asks", "Text", "cleaning", "ending", "understand"]


class Asks(Enum):
    """What a text asks for. `MIXED` begins or ends a transaction among other things."""

    WORK = auto()
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    PREPARE = auto()
    FINISH_PREPARED = auto()
    MIXED = auto()


@dataclass(frozen=True, slots=True)
class Text:
    """What a text asks for, what it leaves on the connection, and the word by which it begins or ends a transaction.

    `plain` says that it asks for work and leaves nothing, which most do.
    """

    asks: Asks
    left: Left = NOTHING
    control: str = ""
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", self.asks is Asks.WORK and not self.left)


_ASKS = {
    "BEGIN": Asks.BEGIN,
    "START": Asks.BEGIN,
    "COMMIT": Asks.COMMIT,
    "END": Asks.COMMIT,
    "ROLLBACK": Asks.ROLLBACK,
    "ABORT": Asks.ROLLBACK,
    "PREPARE TRANSACTION": Asks.PREPARE,
}


def understand(text: str) -> Text:
    """What *text* asks for. It may hold several statements."""
    return _understand_cached(text) if len(text) <= _LONG else _understand(text)


_LONG = 4096  # characters: texts beyond are mostly lists of values, which do not come twice


def _understand(text: str) -> Text:
    reading = read(text)
    if reading.control is None:
        finishes = reading.count == 1 and _words(text, 2) in (["commit", "prepared"], ["rollback", "prepared"])
        return Text(Asks.FINISH_PREPARED if finishes else Asks.WORK, reading.left)
    if reading.count > 1:
        return Text(Asks.MIXED, reading.left, reading.control)
    words = _words(text, 9)
    chains = "chain" in words and "no" not in words
    return Text(Asks.MIXED if chains else _ASKS[reading.control], reading.left, reading.control)


_understand_cached = lru_cache(maxsize=2048)(_understand)


def _words(text: str, count: int) -> list[str]:
    """The first words of the first statement of *text*."""
    found = statements(text)
    return [token.text for token in found[0][:count] if token.kind is TokenKind.WORD] if found else []


def ending(text: str, left: Left, *, commits: bool, uncertain: bool = False) -> str:
    """*text*, which ends a transaction, as one message with what removes *left*.

    Before a commit, so that it is done in the transaction and undone with it; after what rolls back, where less is
    left. Where it is *uncertain* whether the transaction failed, all after it.
    """
    # A comment at the end of *text* would swallow what follows on its line.
    text = text.strip().removesuffix(";")
    if uncertain:
        return ";\n".join((text, *clean_before(left)))
    return ";\n".join((*clean_before(left), text) if commits else (text, *clean_after(left)))


def cleaning(left: Left) -> str:
    """One message that removes *left*, empty where nothing is left."""
    return ";\n".join(clean_before(left))
