"""One request and its answer: the key, the retries, the order within a project, and the pages of a listing."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

import httpx2
from pydantic import BaseModel, SecretStr, ValidationError

from tenantry.core.errors import InvalidNameError, SettingError
from tenantry.neon.errors import NetworkError, UnreadableAnswerError, error_class, read_error_body
from tenantry.neon.retry import NO_ANSWER, RetryPolicy, wait_before_retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence

__all__ = ["Exchange", "Pace", "path_of"]

_log = logging.getLogger("tenantry.neon")

_Shape = TypeVar("_Shape", bound=BaseModel)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes: the policy of retries, and the clock, sleep and chance that it is carried out with."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random


def path_of(*segments: str) -> str:
    """Return the path of *segments*, quoted: a role or database may have any name. Raises `InvalidNameError`.

    >>> path_of("projects", "p-1", "roles", "a/b")
    '/projects/p-1/roles/a%2Fb'
    """
    quoted: list[str] = []
    for segment in segments:
        if not segment:
            # An empty id would address the collection: `DELETE /projects/`.
            raise InvalidNameError("part of a path", segment, why="is empty", way_out="give the id or name")
        # `.` and `..` would be resolved away, and another thing addressed.
        quoted.append(quote(segment, safe="") if segment.strip(".") else segment.replace(".", "%2E"))
    return "/" + "/".join(quoted)


class _BearerAuth(httpx2.Auth):
    """Writes the key into a request on its way out, so that it stands in no object that is kept."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


def _can_be_a_key(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _checked_key(api_key: SecretStr) -> SecretStr:
    # The HTTP library's own complaint about such a header would quote it.
    if not _can_be_a_key(api_key.get_secret_value()):
        raise SettingError(
            "NEON_API_KEY",
            why="is empty or holds a space, a line break or a letter that no key has",
            way_out="copy the key again, without what stands around it",
        )
    return api_key


def _checked_base_url(base_url: str) -> str:
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
        # Not quoted: it may hold a password.
        raise SettingError(
            "base_url",
            why="is not the http or https address of a Neon API without a user in it",
            way_out="give one such as https://console.neon.tech/api/v2",
        )
    return base_url


class Exchange:
    """Sends requests to one API with one key. Mutations of one project are sent one at a time, others in parallel."""

    def __init__(
        self,
        api_key: SecretStr,
        *,
        base_url: str,
        transport: httpx2.AsyncBaseTransport | None,
        timeout_seconds: float,
        trust_env: bool,
        pace: Pace,
    ) -> None:
        self._key = _checked_key(api_key)
        self.pace = pace
        self._http = httpx2.AsyncClient(
            auth=_BearerAuth(api_key),
            base_url=_checked_base_url(base_url),
            headers={"Accept": "application/json"},
            # A request that waits for a free connection has not failed: a large fleet is slow, not broken.
            timeout=httpx2.Timeout(timeout_seconds, pool=None),
            transport=transport,
            trust_env=trust_env,
        )
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def read(self, path: str, shape: type[_Shape], *, query: Mapping[str, str | None] | None = None) -> _Shape:
        """GET *path* as *shape*. Query parameters that are None are left out."""
        return self._parse(await self._send("GET", path, query=query), shape)

    async def change(
        self,
        method: str,
        path: str,
        shape: type[_Shape],
        *,
        project_id: str | None,
        body: BaseModel | None = None,
    ) -> _Shape:
        """Send a mutation, after those of the same project that were asked for before it."""
        return self._parse(await self._change(method, path, project_id=project_id, body=body), shape)

    async def delete(self, path: str, shape: type[_Shape], *, project_id: str) -> _Shape | None:
        """DELETE *path*; None if it was gone already (204)."""
        response = await self._change("DELETE", path, project_id=project_id, body=None)
        return None if response.status_code == HTTPStatus.NO_CONTENT else self._parse(response, shape)

    async def pages(
        self,
        path: str,
        shape: type[_Shape],
        *,
        items: Callable[[_Shape], Sequence[_Item]],
        identity: Callable[[_Item], str],
        cursor: Callable[[_Shape], str | None],
        query: Mapping[str, str | None],
    ) -> AsyncIterator[_Item]:
        """Yield each item of every page once. Ends at a page with nothing new on it, or without a new cursor.

        Neon's cursor stands on the last page as well, and a server that ignores it answers the first page for ever.
        """
        at: str | None = None
        cursors: set[str] = set()
        known: set[str] = set()
        while True:
            page = await self.read(path, shape, query={**query, "cursor": at})
            # By identity, so that one that is on two pages, or twice on one, is yielded once.
            fresh = {identity(item): item for item in items(page) if identity(item) not in known}
            known.update(fresh)
            for item in fresh.values():
                yield item
            at = cursor(page)
            if not fresh or not at or at in cursors:
                return
            cursors.add(at)

    async def _change(
        self, method: str, path: str, *, project_id: str | None, body: BaseModel | None
    ) -> httpx2.Response:
        async with self._turn(project_id):
            return await self._send(method, path, body=body)

    def _turn(self, project_id: str | None) -> AbstractAsyncContextManager[Any]:
        # Neon serialises the operations of a project, and answers 423 to whoever comes meanwhile.
        return nullcontext() if project_id is None else self._locks.setdefault(project_id, asyncio.Lock())

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, str | None] | None = None, body: BaseModel | None = None
    ) -> httpx2.Response:
        started = self.pace.clock()
        for attempt in count(1):
            response, fault = await self._send_once(method, path, query=query, body=body)
            if response is not None and response.is_success:
                return response
            wait = wait_before_retry(
                method=method,
                status=NO_ANSWER if response is None else response.status_code,
                retry_after=None if response is None else response.headers.get("Retry-After"),
                attempt=attempt,
                elapsed_seconds=self.pace.clock() - started,
                now=datetime.now(UTC),
                draw=self.pace.draw(),
                policy=self.pace.policy,
            )
            if wait is None and response is not None:
                raise self._refusal(method, path, response)
            if wait is None:
                raise NetworkError(
                    status=NO_ANSWER,
                    code="",
                    message=f"{type(fault).__name__} after {attempt} attempt{'' if attempt == 1 else 's'}",
                    request_id=None,
                    method=method,
                    path=path,
                ) from fault
            _log.debug("%s %s: again in %.2f s", method, path, wait)
            await self.pace.sleep(wait)
        raise AssertionError("count() ends")  # pragma: no cover

    async def _send_once(
        self, method: str, path: str, *, query: Mapping[str, str | None] | None, body: BaseModel | None
    ) -> tuple[httpx2.Response | None, httpx2.RequestError | None]:
        # Bodies are never logged: an answer may hold a password.
        content = None if body is None else body.model_dump_json(exclude_unset=True)
        headers = None if body is None else {"Content-Type": "application/json"}
        params = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx2.RequestError as exc:
            _log.debug("%s %s: %s", method, path, type(exc).__name__)
            return None, exc
        _log.debug("%s %s: %d (request %s)", method, path, response.status_code, response.headers.get("X-Request-ID"))
        return response, None

    def _refusal(self, method: str, path: str, response: httpx2.Response) -> Exception:
        body = read_error_body(response.content)
        return error_class(response.status_code, body.code)(
            status=response.status_code,
            code=self._without_key(body.code),
            message=self._without_key(body.message),
            request_id=self._without_key(body.request_id or response.headers.get("X-Request-ID", "")) or None,
            method=method,
            path=path,
        )

    def _parse(self, response: httpx2.Response, shape: type[_Shape]) -> _Shape:
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as exc:
            wrong = [".".join(str(part) for part in error["loc"]) for error in exc.errors(include_input=False)]
        # Raised out here without a cause: Pydantic's error quotes the answer, and an answer may hold a password.
        raise UnreadableAnswerError(
            status=response.status_code,
            code="",
            message=f"the answer is not a {shape.__name__}: {', '.join(wrong[:5]) or 'it is no JSON object'}",
            request_id=response.headers.get("X-Request-ID"),
            method=response.request.method,
            path=response.request.url.path,
        )

    def _without_key(self, text: str) -> str:
        # A server that echoes headers must not make us write the key into a log.
        return text.replace(self._key.get_secret_value(), "[key]")
