"""What every shape shares, and the body of an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = [
    "ErrorBody",
    "Request",
    "Wire",
]


class Wire(BaseModel):
    """A body that is read: unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Request(BaseModel):
    """A body that is sent. Send it with `model_dump(mode="json", exclude_unset=True)`."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ErrorBody(Wire):
    """What Neon answers with a status of 400 or more. `code` is often empty."""

    request_id: str | None = None
    code: str = ""
    message: str = ""
