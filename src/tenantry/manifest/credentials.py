"""Credentials in a text: found, so that they are refused, and masked, so that no message shows them."""

from __future__ import annotations

import re

__all__ = ["credentials_in", "masked"]

_CREDENTIAL = re.compile(
    # A URI with a password. That of a Postgres may stand there unescaped, so what looks like its end may be within it.
    r"(?P<postgres>postgres(?:ql)?(?:\+[a-z0-9]+)?://[^\s:/@]*:)\S+(?=@)"
    r"|(?P<uri>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]*:)[^\s/]+(?=@)"
    r"|(?P<word>\bpassword\s*=\s*)[^\s\"']\S*"  # libpq's keyword form
    r"|\bnapi_[a-z0-9]{16,}"  # an API key of Neon's
    r"|\bnpg_[a-z0-9]{8,}",  # a role's password as Neon makes them
    re.IGNORECASE,
)


def credentials_in(text: str) -> set[str]:
    """Return each URI with a password, each `password=`, and each key or password of Neon's in *text*."""
    return {found[0] for found in _CREDENTIAL.finditer(text)}


def masked(text: str) -> str:
    """Return *text* with `…` in place of each credential.

    >>> masked("postgresql://ann:hunter2@db/x")
    'postgresql://ann:…@db/x'
    """
    return _CREDENTIAL.sub(lambda found: (found["postgres"] or found["uri"] or found["word"] or "") + "…", text)
