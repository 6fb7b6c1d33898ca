"""The tenant scope for ASGI: Starlette, FastAPI, Litestar, Django's `asgi.py`, and whatever else takes a middleware."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantry.session.context import Steps, outside_scopes
from tenantry.web.gate import Enter, Gate, Refuse, judge
from tenantry.web.request import Request, from_asgi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from tenantry.web.answers import Answer
    from tenantry.web.gate import Ask, Verdict

__all__ = ["TenantMiddleware"]

_Scope: TypeAlias = "MutableMapping[str, Any]"
_Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
_Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
_App: TypeAlias = "Callable[[_Scope, _Receive, _Send], Awaitable[None]]"


class TenantMiddleware:
    """Call *app* in the scope of the tenant that *gate* lets a request in to, and not at all where it does not.

    `app.add_middleware(TenantMiddleware, gate=gate)`, or `TenantMiddleware(app, gate)` around any ASGI app.

    The scope covers the whole call: streamed bodies, WebSockets, Starlette's background tasks, dependencies and their
    ends, endpoints that run in threads, errors and clients that go away. A task that goes on after the call is in no
    scope: wrap what it runs in `in_scope`. Lifespan passes untouched.

    A WebSocket is refused before it is accepted: with the gate's answer where the server can send one (ASGI extension
    "WebSocket Denial Response"), with 403 where not.
    """

    def __init__(self, app: _App, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        request = from_asgi(scope)
        with outside_scopes():
            verdict = await _ask(self.gate, request)
            if isinstance(verdict, Refuse):
                await _answer(verdict.answer, scope, receive, send)
            elif not isinstance(verdict, Enter):
                await self.app(scope, receive, send)
            else:
                steps = Steps(verdict.context)
                try:
                    with steps.step():
                        if self.gate.entered is not None:
                            self.gate.entered(verdict.context)
                        await self.app(_mounted(scope, request, verdict), receive, send)
                finally:
                    steps.end()


async def _ask(gate: Gate, request: Request) -> Verdict:
    steps = judge(gate, request)
    try:
        question = next(steps)
        while True:
            question = steps.send(question.check(await _answer_to(question)))
    except StopIteration as end:
        return end.value


async def _answer_to(question: Ask) -> object:
    function: Any = question.function
    if question.may_block and not _awaits(function):
        answer = await asyncio.to_thread(function, *question.arguments)
    else:
        answer = function(*question.arguments)
    return await answer if inspect.isawaitable(answer) else answer


def _awaits(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - the method of a callable object


def _mounted(scope: _Scope, request: Request, verdict: Enter) -> _Scope:
    """*scope* for the app below; a copy where it is mounted, since the server and outer apps read theirs again."""
    mount = verdict.named.mount
    if not mount:
        return scope
    return {**scope, "root_path": request.mount + mount, "path": request.mount + request.path}


async def _answer(answer: Answer, scope: _Scope, receive: _Receive, send: _Send) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: HTTP 403
            return
        kind = "websocket.http.response"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.all_headers]
    await send({"type": f"{kind}.start", "status": answer.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else answer.body})
