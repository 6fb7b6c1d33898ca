"""The tenant scope for WSGI: Flask, Django's `wsgi.py`, and whatever else is a WSGI application."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantry.session.context import Steps, outside_scopes
from tenantry.web.gate import Enter, Gate, Refuse, ask
from tenantry.web.request import from_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from tenantry.web.answers import Answer

__all__ = ["TenantMiddleware"]

_Environ: TypeAlias = "dict[str, Any]"
_Step: TypeAlias = "Callable[[], AbstractContextManager[None]]"


class TenantMiddleware:
    """Call *app* in the scope of the tenant that *gate* lets a request in to, and not at all where it does not.

    Flask: `app.wsgi_app = TenantMiddleware(app.wsgi_app, gate)`. Django, in `wsgi.py`:
    `application = TenantMiddleware(get_wsgi_application(), gate)`.

    The scope holds while the app's own code runs: its call, each step of its body, and the `close()` that ends it (PEP
    3333). Between those the server's thread is in no scope, so it may serve others; another thread may go on.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], gate: Gate) -> None:
        self.app = app
        self.gate = gate

    def __call__(self, env: _Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        request = from_wsgi(env)
        with outside_scopes():
            verdict = ask(self.gate, request)
        if isinstance(verdict, Refuse):
            return _answer(verdict.answer, env, start_response)
        if not isinstance(verdict, Enter):
            return _Body(self.app, env, start_response, step=outside_scopes, end=lambda: None)
        steps = Steps(verdict.context)
        entered, context = self.gate.entered, verdict.context
        return _Body(
            self.app,
            _mounted(env, verdict.named.mount),
            start_response,
            step=steps.step,
            end=steps.end,
            first=None if entered is None else lambda: entered(context),
        )


class _Body:
    """The app's response, each of whose steps runs in the scope that its call ran in."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        env: _Environ,
        start_response: Callable[..., Any],
        *,
        step: _Step,
        end: Callable[[], None],
        first: Callable[[], object] | None = None,
    ) -> None:
        self._step = step
        self._end = end
        try:
            with step():
                if first is not None:
                    first()
                self._response = app(env, start_response)
                self._chunks: Iterator[bytes] = iter(self._response)
        except BaseException:
            end()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._step():
            return next(self._chunks)

    def close(self) -> None:
        """End the response and then the scope; the server calls it whatever came before."""
        try:
            with self._step():
                close = getattr(self._response, "close", None)
                if close is not None:
                    close()
        finally:
            self._end()


def _mounted(env: _Environ, mount: str) -> _Environ:
    """*env* for the app below: WSGI's paths are UTF-8 read as latin-1."""
    if mount:
        native = mount.encode().decode("latin-1")
        env = {
            **env,
            "SCRIPT_NAME": env.get("SCRIPT_NAME", "") + native,
            "PATH_INFO": env["PATH_INFO"][len(native) :],
        }
    return env


def _answer(answer: Answer, env: _Environ, start_response: Callable[..., Any]) -> list[bytes]:
    phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else "Refused"
    start_response(f"{answer.status} {phrase}", list(answer.all_headers))
    return [] if env["REQUEST_METHOD"] == "HEAD" else [answer.body]
