"""Messages of the extended query protocol, as bytes (Postgres docs: "Message Formats").

What comes before a Sync is one transaction, so a statement that is put before another's messages shares its own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EXECUTE", "bind", "parse", "without_rows"]


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


EXECUTE: Final = _message(b"E", _text("") + struct.pack("!i", 0))
"""Run the unnamed portal to its end."""


def parse(name: str, query: str) -> bytes:
    """Prepare *query* as *name*, or as the unnamed statement; Postgres infers the types of its parameters."""
    return _message(b"P", _text(name) + _text(query) + struct.pack("!h", 0))


def bind(name: str, values: Sequence[str]) -> bytes:
    """Make the unnamed portal of the statement *name* and *values*, which are sent as text."""
    encoded = [value.encode() for value in values]
    body = _text("") + _text(name) + struct.pack("!hh", 0, len(encoded))
    body += b"".join(struct.pack("!i", len(value)) + value for value in encoded)
    return _message(b"B", body + struct.pack("!h", 0))


def without_rows(query: str) -> str:
    """*query*, a SELECT of one row without NULLs, so that it is evaluated and gives no row.

    A row would be taken for one of the statement that follows. Postgres evaluates a subquery with volatile functions
    once, and does not move conditions into it (Postgres docs: "Function Volatility Categories").
    """
    return f"SELECT FROM ({query} OFFSET 0) AS tenantry WHERE tenantry IS NULL"
