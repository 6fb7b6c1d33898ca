"""Where a request names its tenant: in the verified session, in the host name or in the path. Never in a header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tenantry.web.errors import GateSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.core.tenant import TenantId
    from tenantry.web.request import Request

__all__ = ["Claims", "FromHost", "FromPath", "FromSession", "Named", "Source"]

MAX_NAME = 255
"""Characters. A longer one is no tenant's name, and is not looked up."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*)\.?(?::[0-9]{{0,5}})?")
_SUFFIX = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Claims:
    """What the app verified of who is asking: the user, and the tenant if the session is bound to one.

    A session that is bound to a tenant opens no other, also where host or path name one that the user is a member of.
    """

    user: str
    tenant: TenantId | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What the request calls its tenant, and the part of the path that says so, such as `/t/acme`."""

    name: str
    mount: str = ""


Source: TypeAlias = "Callable[[Request, Claims], Named | None]"
"""What finds the name in a request of a verified user. None where there is none. It does no I/O."""


@dataclass(frozen=True, slots=True)
class FromSession:
    """The tenant that the verified session is bound to; its id is the name that is looked up."""

    def __call__(self, request: Request, claims: Claims) -> Named | None:  # noqa: ARG002 - as every source
        """The session's tenant."""
        return None if claims.tenant is None else Named(str(claims.tenant))


@dataclass(frozen=True, slots=True, init=False)
class FromHost:
    """The label before a suffix: `acme` in `acme.app.example`, with `FromHost("app.example")`.

    One label and no more, in any case, with or without a port and a dot at the end. An international name is looked
    up as DNS has it (`xn--bcher-kva`), so that no two spellings are one tenant, and none looks like another. Names
    in *reserved* are nobody's. With several suffixes the same label is the same tenant under each.

    Reads the `Host` header and nothing else, not `X-Forwarded-Host`: what the client writes there is not checked by
    anybody. A proxy in front has to set `Host`, or the server to take it over from a proxy that it trusts.
    """

    suffixes: tuple[str, ...]
    reserved: frozenset[str]

    def __init__(self, *suffixes: str, reserved: frozenset[str] | set[str] = frozenset({"www"})) -> None:
        if not suffixes:
            raise GateSettingError(
                "FromHost", suffixes, why="has no suffix", way_out='write it as in `FromHost("app.example")`'
            )
        for suffix in suffixes:
            if not _SUFFIX.fullmatch(suffix):
                raise GateSettingError(
                    "the suffix",
                    suffix,
                    why="is no host name in lower-case ASCII",
                    way_out="write it without a port or a dot around it, and an international name as xn--",
                )
        object.__setattr__(self, "suffixes", suffixes)
        object.__setattr__(self, "reserved", frozenset(reserved))

    def __call__(self, request: Request, claims: Claims) -> Named | None:  # noqa: ARG002 - as every source
        """The label in the request's `Host`."""
        header = request.header("host")
        # isascii() before lower(), which would make a plain k of KELVIN SIGN.
        match = _HOST.fullmatch(header.lower()) if header is not None and header.isascii() else None
        if match is None or match["host"] in self.suffixes:
            return None
        label, _, suffix = match["host"].partition(".")
        return Named(label) if suffix in self.suffixes and label not in self.reserved else None


@dataclass(frozen=True, slots=True)
class FromPath:
    """The segment after a prefix: `acme` in `/t/acme/tickets`, with `FromPath("/t")`; `FromPath("")` is the first.

    The app below is mounted there: it sees `/tickets`, and its links begin with `/t/acme` (ASGI `root_path`, WSGI
    `SCRIPT_NAME`). Names are compared as they are, case and all.
    """

    prefix: str = "/t"

    def __post_init__(self) -> None:
        if self.prefix and (not self.prefix.startswith("/") or self.prefix.endswith("/") or "//" in self.prefix):
            raise GateSettingError(
                "the prefix", self.prefix, why="is no path before a segment", way_out='write it as in `FromPath("/t")`'
            )

    def __call__(self, request: Request, claims: Claims) -> Named | None:  # noqa: ARG002 - as every source
        """The segment in the request's path."""
        if not request.path.startswith(f"{self.prefix}/"):
            return None
        name = request.path[len(self.prefix) + 1 :].partition("/")[0]
        if name in {"", ".", ".."} or len(name) > MAX_NAME or not name.isprintable() or "\ufffd" in name:
            return None
        return Named(name, f"{self.prefix}/{name}")
