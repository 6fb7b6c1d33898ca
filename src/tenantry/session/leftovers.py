"""What a statement may leave on its connection beyond its transaction, decided from its text, and what removes it.

`read` is conservative: a function that it does not know may do anything. What it cannot see is what a view, a trigger,
a default, an operator or a cast does of its own; `Protection(checkin="always")` cleans up after those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tenantry.session.errors import LibraryError, TransactionControlError
from tenantry.session.harmless import HARMLESS
from tenantry.session.lexer import Kind, Token, statements

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EVERYTHING", "NOTHING", "Left", "Reading", "clean_after", "clean_before", "read"]


class Left(Flag):
    """Kinds of what outlives a transaction. `LIBRARY` stays until the connection is closed."""

    TEMP = auto()
    CURSORS = auto()
    LISTEN = auto()
    SETTINGS = auto()
    ROLE = auto()
    LOCKS = auto()
    PREPARED = auto()
    SEQUENCES = auto()
    LIBRARY = auto()


NOTHING: Final = Left(0)
EVERYTHING: Final = (
    Left.TEMP | Left.CURSORS | Left.LISTEN | Left.SETTINGS | Left.ROLE | Left.LOCKS | Left.PREPARED | Left.SEQUENCES
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text is: how many statements, what they leave, whether one copies from or to the client.

    `control` is the command by which it begins or ends a transaction. `plain` says that there is one statement, and
    nothing to refuse.
    """

    count: int
    left: Left
    copies: bool = False
    control: str | None = None
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        plain = self.count == 1 and not self.copies and self.control is None and Left.LIBRARY not in self.left
        object.__setattr__(self, "plain", plain)

    def check(self) -> None:
        """Raise `TransactionControlError` or `LibraryError` for what no transaction of a tenant may send."""
        if self.control is not None:
            raise TransactionControlError(self.control)
        if Left.LIBRARY in self.left:
            raise LibraryError


# Each is Postgres's own way to undo its kind (Postgres docs: "DISCARD", "UNLISTEN", "RESET", "CLOSE", "Advisory Lock
# Functions"), runs in a transaction block, and does not fail where there is nothing to undo. PREPARE has no such way
# that spares the driver's own statements, so those that SQL made are looked up. The role comes first: what follows may
# need its rights. Cursors come before the tables that they read.
_UNDO: Final[dict[Left, tuple[str, ...]]] = {
    Left.ROLE: ("RESET SESSION AUTHORIZATION", "RESET ROLE"),
    Left.CURSORS: ("CLOSE ALL",),
    Left.LISTEN: ("UNLISTEN *",),
    Left.TEMP: ("DISCARD TEMP",),
    Left.LOCKS: ("SELECT pg_catalog.pg_advisory_unlock_all()",),
    Left.PREPARED: (
        (
            "DO $tenantry$ DECLARE made text; BEGIN FOR made IN SELECT name FROM pg_catalog.pg_prepared_statements"
            " WHERE from_sql LOOP EXECUTE pg_catalog.format('DEALLOCATE %I', made); END LOOP; END $tenantry$"
        ),
    ),
    Left.SETTINGS: ("RESET ALL",),
    Left.SEQUENCES: ("DISCARD SEQUENCES",),
}

_SURVIVES_ROLLBACK: Final = Left.LOCKS | Left.PREPARED | Left.SEQUENCES
"""A rollback undoes the rest (Postgres docs, page of each command)."""

# What is deferred to the commit would otherwise run after the clean-up: without settings, and leaving more.
_FIRST: Final = "SET CONSTRAINTS ALL IMMEDIATE"


@lru_cache
def clean_before(left: Left) -> tuple[str, ...]:
    """The statements that remove *left*, for the transaction to end with before it commits. None where it is empty."""
    undo = _undo(left)
    return (_FIRST, *undo) if undo else ()


@lru_cache
def clean_after(left: Left) -> tuple[str, ...]:
    """The statements that remove what of *left* a rollback does not, to be sent with it and after it."""
    return _undo(left & _SURVIVES_ROLLBACK)


def _undo(left: Left) -> tuple[str, ...]:
    return tuple(statement for kind, texts in _UNDO.items() if kind in left for statement in texts)


_LONG: Final = 4096  # characters: texts beyond are mostly lists of values, which do not come twice


def read(text: str) -> Reading:
    """What *text* does beyond its transaction. It may hold several statements, and placeholders of any driver."""
    return _read_cached(text) if len(text) <= _LONG else _read(text)


def _read(text: str) -> Reading:
    found = statements(text)
    left, copies, control = NOTHING, False, None
    for statement in found:
        left |= _left_by(statement)
        copies = copies or _copies(statement)
        control = control or _control(statement)
    return Reading(len(found), left, copies, control)


_read_cached = lru_cache(maxsize=2048)(_read)


def _word(statement: Sequence[Token], place: int) -> str:
    """The word at *place*, or "" where there is none."""
    return statement[place].text if place < len(statement) and statement[place].kind is Kind.WORD else ""


def _copies(statement: Sequence[Token]) -> bool:
    return _word(statement, 0) == "copy" and any(token.text in {"stdin", "stdout"} for token in statement)


def _control(statement: Sequence[Token]) -> str | None:
    """The command by which *statement* begins or ends a transaction, or None (Postgres docs: "SQL Commands")."""
    first, second = _word(statement, 0), _word(statement, 1)
    match first:
        case "begin" | "start" | "end" | "abort":
            return first.upper()
        case "commit" | "rollback":
            words = {token.text for token in statement[1:3] if token.kind is Kind.WORD}
            return None if words & {"prepared", "to"} else first.upper()
        case "prepare" if second == "transaction":
            return "PREPARE TRANSACTION"
        case _:
            return None


def _left_by(statement: Sequence[Token]) -> Left:
    left = _by_command(statement)
    for place, token in enumerate(statement):
        if token.kind is Kind.ODD:
            left |= EVERYTHING
        elif token.kind is Kind.WORD:
            left |= _by_word(statement, place)
        if token.kind in {Kind.WORD, Kind.NAME} and place + 1 < len(statement):
            following = statement[place + 1]
            if following.kind is Kind.SIGN and following.text == "(":
                left |= _by_function(statement, place)
    return left


def _by_command(statement: Sequence[Token]) -> Left:  # noqa: PLR0911 - a line for each command
    second = _word(statement, 1)
    match _word(statement, 0):
        case "do" | "call":
            return EVERYTHING
        case "set":
            return _by_set(second, _word(statement, 2))
        case "reset":
            return Left.SETTINGS
        case "listen":
            return Left.LISTEN
        case "load":
            return Left.LIBRARY
        case "prepare" if second != "transaction":
            return Left.PREPARED
        case "declare" if any(token.text == "hold" for token in statement):
            return Left.CURSORS
        case "copy" if any(token.text == "stdin" for token in statement):
            return Left.SEQUENCES
        case _:
            return NOTHING


def _by_set(second: str, third: str) -> Left:
    if second == "session" and third in {"authorization", "role"}:
        return Left.ROLE
    if second == "role":
        return Left.ROLE
    if second in {"local", "transaction", "constraints"}:
        return NOTHING
    return Left.SETTINGS | (Left.ROLE if third == "role" else NOTHING)


_MAKES_TEMP: Final = {"create", "into", "replace", "local", "global"}


def _by_word(statement: Sequence[Token], place: int) -> Left:
    match statement[place].text:
        case "temp" | "temporary" if _word(statement, place - 1) in _MAKES_TEMP and place:
            return Left.TEMP
        case "insert" | "merge":
            return Left.SEQUENCES  # a default may be nextval
        case text if text.startswith("pg_temp"):
            return Left.TEMP
        case _:
            return NOTHING


# Words that an open parenthesis may follow, and that name no function (Postgres docs: "SQL Key Words").
_NO_CALL: Final = frozenset(
    """
    all analyze and any array as asc between bigint bit boolean both by case char character check collate constraint
    create cross dec decimal default desc distinct do else end except explain fetch float for foreign from full group
    having ilike in inner int integer intersect interval into is isnull join lateral leading like limit natural not
    notnull null numeric offset on only or order outer placing precision primary real references returning row select
    similar smallint some table tablesample then time timestamp to trailing union unique user using values varchar
    variadic verbose when where window with
    """.split()  # noqa: SIM905 - shorter
)

# Words that name no function after the word or sign given.
_NO_CALL_AFTER: Final = {
    "conflict": "on",
    "filter": ")",
    "key": "primary",
    "materialized": "as",
    "over": ")",
    "sets": "grouping",
    "within": ")",
}

# What stands before a name with a list of columns, or before an alias.
_BEFORE_COLUMNS: Final = frozenset({"as", "exists", "into", "recursive", "references", "table", "view", "with"})

_BY_FUNCTION: Final = {
    "pg_advisory_lock": Left.LOCKS,
    "pg_advisory_lock_shared": Left.LOCKS,
    "pg_try_advisory_lock": Left.LOCKS,
    "pg_try_advisory_lock_shared": Left.LOCKS,
    "nextval": Left.SEQUENCES,
    "setval": Left.SEQUENCES,
}


def _by_function(statement: Sequence[Token], place: int) -> Left:
    """What the call at *place* leaves, if it is one."""
    token = statement[place]
    begin, schema = place, ""
    while begin >= 2 and statement[begin - 1].text == "." and statement[begin - 1].kind is Kind.SIGN:  # noqa: PLR2004 - a dot and what it follows
        begin -= 2
        schema = statement[begin].text
    before = statement[begin - 1].text if begin else ""
    if begin == 0 or before in _BEFORE_COLUMNS or before == ":":  # a command, or a cast to a type with its length
        return NOTHING
    if token.kind is Kind.WORD and not schema and (token.text in _NO_CALL or _NO_CALL_AFTER.get(token.text) == before):
        return NOTHING
    if schema not in {"", "pg_catalog"}:
        return EVERYTHING
    if token.text == "set_config":
        return NOTHING if _last_argument(statement, place + 1) == ["true"] else Left.SETTINGS | Left.ROLE
    if token.text in HARMLESS:
        return NOTHING
    return _BY_FUNCTION.get(token.text, EVERYTHING)


def _last_argument(statement: Sequence[Token], opening: int) -> list[str]:
    """The tokens of the last argument of a call whose parenthesis stands at *opening*."""
    depth, argument = 0, list[str]()
    for token in statement[opening:]:
        if token.kind is Kind.SIGN and token.text == "(":
            depth += 1
        elif token.kind is Kind.SIGN and token.text == ")":
            depth -= 1
            if depth == 0:
                return argument
        elif token.kind is Kind.SIGN and token.text == "," and depth == 1:
            argument = []
            continue
        argument.append(token.text)
    return argument
