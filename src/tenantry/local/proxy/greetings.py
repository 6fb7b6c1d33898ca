"""The first bytes of a Postgres connection, and how one that cannot be served is turned away. No I/O."""

from __future__ import annotations

import enum
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANNOT_CONNECT_NOW", "Farewell", "Greeting", "Refused", "error_response", "read_greeting"]

CANNOT_CONNECT_NOW = "57P03"

# src/include/libpq/pqcomm.h
_CANCEL_REQUEST = 80877102
_TLS_REQUEST = 80877103
_GSS_REQUEST = 80877104
_LONGEST_STARTUP = 10_000
_TLS_RECORD = 0x16
_TLS_ALERT = 0x15


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a connection is not served: what the client reads as an error of Postgres."""

    message: str
    sqlstate: str = CANNOT_CONNECT_NOW
    hint: str = ""


class Greeting(enum.Enum):
    """What a client begins with."""

    INCOMPLETE = enum.auto()
    TLS_REQUEST = enum.auto()
    GSS_REQUEST = enum.auto()
    DIRECT_TLS = enum.auto()
    CANCEL = enum.auto()
    STARTUP = enum.auto()
    JUNK = enum.auto()


def read_greeting(data: bytes) -> Greeting:
    """Say what the first bytes of a connection are."""
    if data[:1] == bytes([_TLS_RECORD]):
        return Greeting.DIRECT_TLS
    if len(data) < 8:  # noqa: PLR2004 - the length and the code
        return Greeting.INCOMPLETE if data[:2] in {b"", b"\0", b"\0\0"} else Greeting.JUNK
    length, code = struct.unpack_from("!II", data)
    if not 8 <= length <= _LONGEST_STARTUP:  # noqa: PLR2004 - as above
        return Greeting.JUNK
    if len(data) < length:
        return Greeting.INCOMPLETE
    fixed = {_TLS_REQUEST: Greeting.TLS_REQUEST, _GSS_REQUEST: Greeting.GSS_REQUEST, _CANCEL_REQUEST: Greeting.CANCEL}
    if code in fixed:
        return fixed[code]
    return Greeting.STARTUP if code >> 16 == 3 else Greeting.JUNK  # noqa: PLR2004 - the protocol's major version


def error_response(refused: Refused) -> bytes:
    """Return the `ErrorResponse` that ends a connection before it began."""
    fields = {
        b"S": "FATAL",
        b"V": "FATAL",
        b"C": refused.sqlstate,
        b"M": refused.message,
        b"H": refused.hint,
    }
    body = b"".join(kind + text.replace("\0", "").encode() + b"\0" for kind, text in fields.items() if text) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


class Farewell:
    """The server's side of a connection that ends in an error: bytes in, bytes out.

    A client that insists on TLS would not believe an error in clear, so it gets TLS, with a certificate for this
    alone: nothing that it could want to keep secret is sent before the error.
    """

    def __init__(self, refused: Refused, context: Callable[[], ssl.SSLContext]) -> None:
        self._answer = error_response(refused)
        self._context = context
        self._pending = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._handshaken = False
        self.done = False

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent, and return what to send it. Close once `done` and sent."""
        if self._tls is not None:
            return self._receive_tls(data)
        out = b""
        self._pending += data
        while not self.done:
            match read_greeting(self._pending):
                case Greeting.INCOMPLETE:
                    break
                case Greeting.GSS_REQUEST:
                    self._pending = self._pending[8:]
                    out += b"N"
                case Greeting.TLS_REQUEST:
                    rest, self._pending = self._pending[8:], b""
                    self._begin_tls()
                    return out + b"S" + self._receive_tls(rest)
                case Greeting.DIRECT_TLS:
                    rest, self._pending = self._pending, b""
                    self._begin_tls()
                    return out + self._receive_tls(rest)
                case Greeting.STARTUP:
                    self.done = True
                    out += self._answer
                case Greeting.CANCEL | Greeting.JUNK:
                    self.done = True
        return out

    def _begin_tls(self) -> None:
        self._tls = self._context().wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _receive_tls(self, data: bytes) -> bytes:
        assert self._tls is not None
        self._incoming.write(data)
        try:
            if not self._handshaken:
                self._tls.do_handshake()
                self._handshaken = True
            while (greeting := read_greeting(self._pending)) is Greeting.INCOMPLETE:
                part = self._tls.read(_LONGEST_STARTUP)
                if not part:
                    self.done = True
                    break
                self._pending += part
            if greeting is Greeting.STARTUP:
                self._tls.write(self._answer)
            self.done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.done = True
        return self._outgoing.read()
