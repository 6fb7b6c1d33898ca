"""A request as a value: what a gate may know of it, the same from ASGI and from WSGI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Request", "from_asgi", "from_wsgi"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request, or the opening of a WebSocket, before anything of the app has run.

    `path` is what follows `mount`, percent-decoded; `mount` is where the server or an outer app mounted us (ASGI's
    `root_path`, WSGI's `SCRIPT_NAME`). `headers` has each header's lower-case name and its value. `raw` is the ASGI
    scope or the WSGI environ.
    """

    method: str
    path: str
    mount: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def header(self, name: str) -> str | None:
        """The value of the header *name*, whatever its case. None where it is missing, or there more than once."""
        found = [value for key, value in self.headers if key == name.lower()]
        return found[0] if len(found) == 1 else None

    def cookie(self, name: str) -> str | None:
        """The value of the cookie *name*, as it was sent. None where it is missing, or there more than once.

        Whoever controls a sibling domain can plant a second cookie of the same name, and nothing says which of the
        two is the app's own (RFC 6265, section 8.6).
        """
        found = [
            value.strip().removeprefix('"').removesuffix('"')
            for key, header in self.headers
            if key == "cookie"
            for part in header.split(";")
            for found_name, equals, value in [part.partition("=")]
            if equals and found_name.strip() == name
        ]
        return found[0] if len(found) == 1 else None


def from_asgi(scope: Mapping[str, Any]) -> Request:
    """The request of an ASGI scope of type `http` or `websocket`."""
    mount: str = scope.get("root_path", "")
    path: str = scope["path"]
    # `path` contains `root_path` (ASGI docs: "HTTP Connection Scope"); not all servers keep to it.
    if mount and (path == mount or path.startswith(f"{mount}/")):
        path = path[len(mount) :]
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    return Request(scope.get("method", "GET"), path, mount, headers, scope)


def from_wsgi(env: Mapping[str, Any]) -> Request:
    """The request of a WSGI environ (PEP 3333). Servers join headers of one name, with a comma, before we see them."""
    headers = [(key[5:].replace("_", "-").lower(), str(value)) for key, value in env.items() if key.startswith("HTTP_")]
    headers += [
        (name, env[key])
        for key, name in (("CONTENT_TYPE", "content-type"), ("CONTENT_LENGTH", "content-length"))
        if env.get(key)
    ]
    return Request(
        env["REQUEST_METHOD"],
        _text(env.get("PATH_INFO", "")),
        _text(env.get("SCRIPT_NAME", "")),
        tuple(headers),
        env,
    )


def _text(native: str) -> str:
    """UTF-8 that WSGI hands over as latin-1. Bytes that are no UTF-8 become U+FFFD, as ASGI servers do it."""
    return native.encode("latin-1").decode("utf-8", "replace")
