"""One relay for the addresses of all endpoints, in a thread of its own: it holds, joins and turns away connections."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tenantry.local.clusters.ports import HOST, POOLED
from tenantry.local.errors import PortTakenError
from tenantry.local.proxy.connections import Held

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tenantry.core.ids import EndpointId
    from tenantry.local.proxy.greetings import Refused

__all__ = ["Address", "Backend", "Doors", "Relay"]

Backend = tuple[str, int]
"""A host and a port where a server takes connections now."""

_BACKLOG = 512
_WAKERS = 32
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """An address for life: *port* of 127.0.0.1 leads to an endpoint, of 127.0.0.3 to the pooler before it."""

    port: int
    endpoint_id: EndpointId
    pooled: bool = False

    @property
    def host(self) -> str:
        """Where clients connect."""
        return POOLED if self.pooled else HOST


class Doors(Protocol):
    """What the relay asks about an address."""

    def open(self, address: Address) -> Backend | None:
        """Return where the compute takes connections now, or None if it must be woken first. Must not wait."""
        ...

    def wake(self, address: Address) -> Backend | Refused:
        """Start the compute if it sleeps, and return where it takes connections. May wait; called in a thread."""
        ...


class Relay:
    """Listens on every address it is given. Each method may be called from any thread but the relay's own."""

    def __init__(self, doors: Doors, *, certificate: Callable[[], ssl.SSLContext]) -> None:
        self.doors = doors
        self.certificate = certificate
        self.connections: dict[Address, set[Held]] = {}
        self.loop = _new_loop()
        self._servers: dict[tuple[str, int], tuple[Address, asyncio.AbstractServer]] = {}
        self._waking: dict[Address, asyncio.Future[Backend | Refused]] = {}
        self._touched: dict[EndpointId, float] = {}
        self._closed = False
        self._pool = ThreadPoolExecutor(_WAKERS, thread_name_prefix="tenantry-wake")
        self._thread = threading.Thread(target=self._run, name="tenantry-relay", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    # ---- addresses

    def listen(self, address: Address) -> None:
        """Listen on an address. Safe to repeat. Raises `PortTakenError` where another program does."""
        place = address.host, address.port
        found = self._servers.get(place)
        if self._closed or (found is not None and found[0] == address):
            return
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            if exc.errno == errno.EADDRINUSE:
                raise PortTakenError(address.port, host=address.host) from exc
            raise
        asyncio.run_coroutine_threadsafe(self._serve(address, listener), self.loop).result()

    async def _serve(self, address: Address, listener: socket.socket) -> None:
        server = await self.loop.create_server(lambda: Held(self, address), sock=listener, backlog=_BACKLOG)
        self._servers[address.host, address.port] = address, server

    def cut(self, endpoint_id: EndpointId) -> None:
        """End every connection to an endpoint that is gone. Its addresses go on to say so while the engine lives."""
        if not self._closed:
            asyncio.run_coroutine_threadsafe(self._cut(endpoint_id), self.loop).result()

    async def _cut(self, endpoint_id: EndpointId | None = None) -> None:
        for address, held in list(self.connections.items()):
            if endpoint_id in {None, address.endpoint_id}:
                for each in list(held):
                    each.end()

    def touched(self, endpoint_id: EndpointId) -> float | None:
        """When a connection to an endpoint last came or ended, by `time.time`; None if none has."""
        return self._touched.get(endpoint_id)

    # ---- for the connections, in the relay's own thread

    def wake(self, address: Address) -> asyncio.Future[Backend | Refused]:
        """Have the compute woken, once for all who wait for it."""
        waking = self._waking.get(address)
        if waking is None:
            waking = self.loop.run_in_executor(self._pool, self.doors.wake, address)
            self._waking[address] = waking
            waking.add_done_callback(lambda _: self._waking.pop(address, None))
        return waking

    def touch(self, address: Address) -> None:
        """Remember that a connection came or ended."""
        self._touched[address.endpoint_id] = time.time()

    # ---- the end

    def close(self) -> None:
        """Stop listening and end every connection. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not self._thread.is_alive():
            self.loop.close()

    async def _close(self) -> None:
        for _, server in self._servers.values():
            server.close()
        self._servers.clear()
        await self._cut()
        pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await asyncio.sleep(0)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
