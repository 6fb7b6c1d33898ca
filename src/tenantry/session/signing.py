"""The token that only an application can make: its key, and the text that the database checks.

A token is text in fields of fixed width, so that Postgres takes it apart at little cost:

    64  the HMAC-SHA256, in hexadecimal digits, of the audience, a newline and all that follows
     1  `1`, the version
    16  the id of the key, in hexadecimal digits
    10  when it expires, in Unix seconds
     1  who is named: `t`, a tenant
     6  how many characters the subject has
        the subject, and after it the user

The audience is the database and the app's schema, so a token of another one opens nothing here. `ddl/guard.py` makes
the function that checks it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from tenantry.core.errors import SettingError
from tenantry.core.names import CONTEXT_KEY_SETTING

if TYPE_CHECKING:
    from tenantry.session.context import Context

__all__ = ["BLOCK_BYTES", "SECRET_BYTES", "ContextKey", "Kind", "sign", "token_of"]

SECRET_BYTES = 32
BLOCK_BYTES = 64
"""The block of SHA-256, to which HMAC fills a key up (RFC 2104)."""

_SHORTEST_LIFETIME = 2

Kind = Literal["t"]


@dataclass(frozen=True, slots=True)
class ContextKey:
    """The key with which an application signs whose rows a transaction may see.

    `audience` is `<database>/<schema>`, and a token is good for nothing else. `lifetime_seconds` is how long a token
    opens a transaction, 2 at the least. Only the application holds it: whoever has it can name any tenant. It is in
    no repr, and is not pickled.
    """

    audience: str
    secret: bytes = field(repr=False)
    lifetime_seconds: int = 60

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise SettingError(
                CONTEXT_KEY_SETTING,
                why=f"holds {len(self.secret)} bytes and needs {SECRET_BYTES}",
                way_out="print the right one with `tenantry context-key APP ENVIRONMENT`",
            )
        if self.lifetime_seconds < _SHORTEST_LIFETIME:
            raise SettingError(
                "lifetime_seconds",
                why=f"is {self.lifetime_seconds}",
                way_out=f"give {_SHORTEST_LIFETIME} or more; 60 is the default",
            )

    def __reduce__(self) -> str:
        raise TypeError("a context key is not pickled: read it from the setting where it is needed")

    @property
    def id(self) -> str:
        """Which key it is, without saying anything of it: 16 hexadecimal digits, in every token and in the database."""
        return hashlib.sha256(b"tenantry context key id 1\x00" + self.secret).hexdigest()[:16]

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """The inner and the outer block of HMAC, 64 bytes each, with which SQL computes it by `sha256` alone."""
        block = self.secret.ljust(BLOCK_BYTES, b"\x00")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)

    @classmethod
    def from_value(cls, value: str, *, lifetime_seconds: int = 60) -> ContextKey:
        """Take the key from *value*, as `tenantry context-key` prints it. Raises `SettingError`, without the value."""
        audience, colon, secret = value.strip().removeprefix("1:").rpartition(":")
        try:
            found = base64.b64decode(secret.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            found = b""
        if not colon or not audience or len(found) != SECRET_BYTES or not value.strip().startswith("1:"):
            raise SettingError(
                CONTEXT_KEY_SETTING,
                why="is not a context key",
                way_out="print one with `tenantry context-key APP ENVIRONMENT`",
            )
        return cls(audience, found, lifetime_seconds)

    def reveal(self) -> str:
        """The key as text, for the application's environment. A secret."""
        return f"1:{self.audience}:{base64.urlsafe_b64encode(self.secret).decode()}"


def token_of(context: Context, key: ContextKey, *, now: float | None = None) -> str:
    """The token of *context*, a secret until it has expired. *now* is in Unix seconds, else the clock's.

    Tokens are kept and signed anew each half lifetime, so one has between half its lifetime and all of it left.
    """
    half = key.lifetime_seconds // 2
    window = int(time.time() if now is None else now) // half
    return sign(key, "t", str(context.tenant), context.user or "", (window + 2) * half)


@lru_cache(maxsize=4096)
def sign(key: ContextKey, kind: Kind, subject: str, user: str, expiry: int) -> str:
    """The token that names *subject* and *user* until *expiry*, in Unix seconds."""
    body = f"1{key.id}{expiry:010}{kind}{len(subject):06}{subject}{user}"
    mac = hmac.new(key.secret, f"{key.audience}\n{body}".encode(), hashlib.sha256)
    return mac.hexdigest() + body
