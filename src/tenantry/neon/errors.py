"""What goes wrong between us and Neon, as one tree.

    TenantryError
    ├── NeonError                     a request did not do what was asked
    │   ├── UnauthorizedError         401, 403: the key is missing, wrong, or may not do this
    │   ├── NotFoundError             404
    │   ├── ConflictError             409: there is one already
    │   ├── LockedError               423: the project was busy for longer than we wait
    │   ├── RateLimitedError          429: too many requests for longer than we wait
    │   ├── LimitExceededError        any status whose code says that a limit of the plan is reached
    │   ├── ServerError               500 and above
    │   ├── UnreadableAnswerError     a success whose body is not what Neon's specification says
    │   └── NetworkError              no answer at all
    └── OperationError                Neon took the request, and its operations did not end well
        ├── OperationFailedError
        └── OperationTimeoutError

No error holds a body, a header or a key.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tenantry.core.errors import TenantryError
from tenantry.neon.wire import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenantry.neon.wire import Operation

__all__ = [
    "ConflictError",
    "LimitExceededError",
    "LockedError",
    "NeonError",
    "NetworkError",
    "NotFoundError",
    "OperationError",
    "OperationFailedError",
    "OperationTimeoutError",
    "RateLimitedError",
    "ServerError",
    "UnauthorizedError",
    "UnreadableAnswerError",
    "error_class",
    "read_error_body",
]


class NeonError(TenantryError):
    """A request did not do what was asked. `status` is None where there was no answer; `code` is often empty."""

    way_out: ClassVar[str] = "mend the request as the message says"

    def __init__(
        self, *, status: int | None, code: str, message: str, request_id: str | None, method: str, path: str
    ) -> None:
        answer = "no answer" if status is None else str(status)
        named = [part for part in (code, f"request {request_id}" if request_id else "") if part]
        parts = f" ({', '.join(named)})" if named else ""
        super().__init__(f"{method} {path}: {answer}: {message or 'no reason was given'}{parts}: {self.way_out}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.method = method
        self.path = path


class UnauthorizedError(NeonError):
    """The key is missing, wrong, or may not do this."""

    exit_status: ClassVar[int] = 77
    way_out = "set NEON_API_KEY to a key that may do this, made under Account settings > API keys in Neon's console"


class NotFoundError(NeonError):
    """There is no such thing, or the key cannot see it."""

    way_out = "list what there is: another process may have deleted it, or the key belongs to another organization"


class ConflictError(NeonError):
    """There is one already, or its state does not allow the change."""

    way_out = "read what there is, and take or delete it before this is sent again"


class LockedError(NeonError):
    """The project was busy with other operations for longer than we wait. Nothing was done."""

    way_out = "nothing was done: send it again when the project's running operations have ended"


class RateLimitedError(NeonError):
    """Too many requests for longer than we wait. Nothing was done."""

    exit_status: ClassVar[int] = 75
    way_out = "nothing was done: wait a minute, and run fewer processes with this key"


class LimitExceededError(NeonError):
    """A limit of the plan is reached. Nothing was done."""

    way_out = "delete what is not needed, or raise the limit of the plan in Neon's console"


class ServerError(NeonError):
    """Neon failed. A change may have been made all the same."""

    exit_status: ClassVar[int] = 69
    way_out = "on Neon see neonstatus.com; a change may have been made all the same, so look before it is sent again"


class UnreadableAnswerError(NeonError):
    """The answer is not what Neon's specification says: another server, or a proxy, spoke."""

    way_out = "see that the base URL is that of a Neon API, and that no proxy answers in its place"


class NetworkError(NeonError):
    """There was no answer. A change may have been made all the same."""

    exit_status: ClassVar[int] = 69
    way_out = "see that the address can be reached; a change may have been made, so look before it is sent again"


class OperationError(TenantryError):
    """Neon took the request, and its operations did not end well. `operations` are those concerned."""

    def __init__(self, message: str, operations: Sequence[Operation]) -> None:
        super().__init__(message)
        self.operations = tuple(operations)


class OperationFailedError(OperationError):
    """Operations failed or were cancelled."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        named = "; ".join(f"{_describe(each)}: {each.error or 'no reason was given'}" for each in operations)
        super().__init__(f"{named}: read what is there now, then send the change again", operations)


class OperationTimeoutError(OperationError):
    """Operations were still under way when the time was up. They may yet end well."""

    def __init__(self, operations: Sequence[Operation], *, timeout_seconds: float) -> None:
        named = "; ".join(_describe(each) for each in operations)
        super().__init__(
            f"{named}: not ended after {timeout_seconds:g} s: it may yet end well; wait for it again, or wait longer",
            operations,
        )
        self.timeout_seconds = timeout_seconds


def _describe(operation: Operation) -> str:
    return f"operation {operation.action} ({operation.id}) of project {operation.project_id} is {operation.status}"


_LIMIT_CODE = re.compile(r"\w+_LIMIT_EXCEEDED(_THRESHOLD)?|COMPUTE_TIME_EXCEEDED")

_BY_STATUS: dict[int, type[NeonError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    409: ConflictError,
    423: LockedError,
    429: RateLimitedError,
}


def error_class(status: int, code: str) -> type[NeonError]:
    """The class for an answer. The code goes before the status: Neon sends limits as 422, 402 and others.

    >>> error_class(422, "BRANCHES_LIMIT_EXCEEDED").__name__
    'LimitExceededError'
    """
    if _LIMIT_CODE.fullmatch(code):
        return LimitExceededError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:  # noqa: PLR2004 - RFC 9110's class of server errors
        return ServerError
    return UnreadableAnswerError if status < 400 else NeonError  # noqa: PLR2004 - a redirect, which we never follow


def read_error_body(content: bytes) -> ErrorBody:
    """Read Neon's error body. What a proxy wrote in its place is described by its size, never quoted."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return ErrorBody(message=f"the body is {len(content)} bytes that are not Neon's" if content else "")
    fields = cast("dict[str, Any]", body)
    texts = {key: value for key in ("request_id", "code", "message") if isinstance(value := fields.get(key), str)}
    return ErrorBody(**texts)
