"""The engine behind a real port: uvicorn on 127.0.0.1 until a signal ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from tenantry.local.app import API_PATH, create_app
from tenantry.local.errors import ApiPortTakenError
from tenantry.local.serverless.http import LARGEST_REQUEST
from tenantry.local.services.views import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tenantry.local.engine import Engine

__all__ = ["serve"]

_GRACE_SECONDS = 60


def serve(engine: Engine, *, port: int = 0, ready: Callable[[str], None]) -> None:
    """Serve *engine* until SIGTERM or SIGINT; requests that run are answered first. The engine stays open.

    *port* 0 is any that is free. Once requests are taken, *ready* is called with one line of JSON: `api`, `api_key`,
    `pid` and `data`. Raises `ApiPortTakenError`. In the main thread it puts its own handlers for both signals, and
    the former ones back.
    """
    with _listen(port) as listener:
        api = f"http://{HOST}:{listener.getsockname()[1]}{API_PATH}"

        def announce() -> None:
            engine.announce(api)
            ready(json.dumps({"api": api, "api_key": engine.api_key, "pid": os.getpid(), "data": str(engine.data)}))

        config = uvicorn.Config(
            create_app(engine),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="websockets-sansio",
            ws_max_size=LARGEST_REQUEST,
            ws_per_message_deflate=False,  # nothing leaves this machine
        )
        with _signals_left_to_uvicorn():
            _Server(config, announce).run(sockets=[listener])
        engine.announce(None)


class _Server(uvicorn.Server):
    """A server that says when it takes requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as exc:
        listener.close()
        raise ApiPortTakenError(HOST, port) from exc
    return listener


@contextmanager
def _signals_left_to_uvicorn() -> Generator[None]:
    """Let a signal end the server and nothing more: uvicorn raises it again for whoever handled it before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in kept:
        signal.signal(number, lambda _number, _frame: None)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
