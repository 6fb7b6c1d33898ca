"""Answers of 400 and more: a status, Neon's code, and a message that names the value and the way out."""

from __future__ import annotations

from tenantry.core.errors import TenantryError

__all__ = [
    "LOCKED_MESSAGE",
    "Refusal",
    "bad_field",
    "conflict",
    "locked",
    "not_allowed",
    "not_found",
    "not_served",
]

LOCKED_MESSAGE = "project already has running conflicting operations, scheduling of new ones is prohibited"
"""Neon's own words: clients look for the status, people for the words."""


class Refusal(TenantryError):  # noqa: N818 - an answer, not a fault of the engine
    """A request is answered with *status* and Neon's error body, and nothing was done."""

    def __init__(self, status: int, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_field(field: str, problem: str) -> Refusal:
    """400: *field* of the body, the path or the query cannot be used."""
    return Refusal(400, f"{field}: {problem}")


def not_found(kind: str, name: str) -> Refusal:
    """404. Neon says `branch not found`; the value is added."""
    return Refusal(404, f"{kind} not found; {kind.replace(' ', '_')}: {name!r}")


def conflict(message: str, *, code: str = "") -> Refusal:
    """409: what is to be made is there."""
    return Refusal(409, message, code=code)


def not_allowed(message: str, *, code: str = "") -> Refusal:
    """422: the request is well formed, and the state of its object forbids it."""
    return Refusal(422, message, code=code)


def locked() -> Refusal:
    """423: nothing was done, and a later try may succeed."""
    return Refusal(423, LOCKED_MESSAGE)


def not_served(what: str, way_out: str) -> Refusal:
    """501: Neon can do it and the local engine cannot yet."""
    return Refusal(501, f"the local engine does not serve {what} yet: {way_out}", code="NOT_IMPLEMENTED")
