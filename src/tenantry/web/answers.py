"""What a gate answers where it lets nobody in: the same bytes whatever the reason."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOT_FOUND", "SUSPENDED", "UNAUTHENTICATED", "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response: its status, its body, and its headers but for `Content-Length`, which is the body's."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers to send."""
        return (*self.headers, ("content-length", str(len(self.body))))


def _json(status: int, body: bytes, *headers: tuple[str, str]) -> Answer:
    # no-store: the answer is one user's, and another's next moment.
    return Answer(status, body, (("content-type", "application/json"), ("cache-control", "no-store"), *headers))


NOT_FOUND = _json(404, b'{"detail":"Not Found"}')
"""For a tenant that is not there, and for one that is none of the user's business."""

UNAUTHENTICATED = _json(401, b'{"detail":"Not authenticated"}', ("www-authenticate", "Session"))
"""For whoever has no verified session, whatever tenant they name; nothing is looked up for them."""

SUSPENDED = _json(403, b'{"detail":"This account is suspended"}')
"""What a gate may answer to a member of a suspended tenant, with `suspended=SUSPENDED`."""
