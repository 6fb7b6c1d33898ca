"""A client's connection: held until its compute is awake, then joined to it; bytes pass untouched both ways."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, cast

from tenantry.local.proxy.greetings import Farewell, Greeting, Refused, read_greeting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.local.proxy.relay import Address, Backend, Relay

__all__ = ["Held"]

log = logging.getLogger(__name__)

GREETING_SECONDS = 60.0
"""How long a client may say nothing; Postgres's own `authentication_timeout`."""
HOLD_SECONDS = 120.0
"""How long a client is held while its compute starts, or a change of its project ends."""
FAREWELL_SECONDS = 10.0


class Held(asyncio.Protocol):
    """A client's side before it is joined to a server."""

    def __init__(self, relay: Relay, address: Address) -> None:
        self._relay = relay
        self._address = address
        self._pending = b""
        self._greeted: asyncio.Future[None] | None = None
        self._farewell: Farewell | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and find where it leads."""
        self._transport = cast("asyncio.Transport", transport)
        _set_no_delay(self._transport)
        # Before we look where it leads: who puts a compute to sleep looks the other way round.
        self._relay.touch(self._address)
        self._relay.connections.setdefault(self._address, set()).add(self)
        self._task = self._relay.loop.create_task(self._serve(self._transport))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the server is there: one read at most."""
        assert self._transport is not None
        if self._farewell is not None:
            self._answer(self._farewell, data)
            return
        self._pending += data
        if read_greeting(self._pending) is not Greeting.INCOMPLETE:
            self._transport.pause_reading()
            self._greet()

    def _greet(self) -> None:
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(None)

    def eof_received(self) -> bool:
        """Who ends before saying who they are is let go."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        if self._task is not None:
            self._task.cancel()
        self.forget()

    def forget(self) -> None:
        """Count the connection no more."""
        found = self._relay.connections.get(self._address)
        if found is not None and self in found:
            found.discard(self)
            self._relay.touch(self._address)

    def end(self) -> None:
        """End the connection at once, and the server's side with it."""
        if self._transport is not None:
            self._transport.abort()

    async def _serve(self, transport: asyncio.Transport) -> None:
        server = await self._find_server()
        match server:
            case None:
                transport.close()
            case Refused():
                self._turn_away(transport, server)
            case _:
                self._join(transport, server)

    async def _find_server(self) -> asyncio.Transport | Refused | None:
        """Return the server's side, or why there is none; None where nothing is to be said."""
        backend = self._relay.doors.open(self._address)
        if backend is not None:
            # A compute that was just killed still has the file that says it is ready.
            with contextlib.suppress(OSError):
                return await self._connect(backend)
        # Who only looks whether the port is open wakes nobody.
        if not await self._is_greeted():
            return None
        found = await self._wake()
        if isinstance(found, Refused):
            return found
        try:
            return await self._connect(found)
        except OSError as exc:
            return Refused(f"the compute of endpoint {self._address.endpoint_id} is gone again ({exc}): try again")

    async def _is_greeted(self) -> bool:
        """Wait until the client says what it wants, and whether that is a session."""
        self._greeted = self._relay.loop.create_future()
        if read_greeting(self._pending) is not Greeting.INCOMPLETE:
            self._greet()
        try:
            await asyncio.wait_for(self._greeted, GREETING_SECONDS)
        except TimeoutError:
            return False
        return read_greeting(self._pending) not in {Greeting.CANCEL, Greeting.JUNK}

    async def _wake(self) -> Backend | Refused:
        endpoint_id = self._address.endpoint_id
        try:
            return await asyncio.wait_for(asyncio.shield(self._relay.wake(self._address)), HOLD_SECONDS)
        except TimeoutError:
            return Refused(f"the compute of endpoint {endpoint_id} is still starting: try again")
        except Exception as exc:
            log.exception("endpoint %s could not be woken", endpoint_id)
            return Refused(f"the engine failed ({type(exc).__name__}): its log says where", sqlstate="XX000")

    async def _connect(self, backend: Backend) -> asyncio.Transport:
        transport, _ = await self._relay.loop.create_connection(_Waiting, *backend)
        _set_no_delay(transport)
        transport.pause_reading()
        return transport

    def _join(self, client: asyncio.Transport, server: asyncio.Transport) -> None:
        if client.is_closing() or server.is_closing():
            client.close()
            server.close()
            return
        to_server, to_client = _Pipe(client, server, self.forget), _Pipe(server, client, None)
        to_server.twin, to_client.twin = to_client, to_server
        client.set_protocol(to_server)
        server.set_protocol(to_client)
        if self._pending:
            server.write(self._pending)
            self._pending = b""
        server.resume_reading()
        client.resume_reading()

    def _turn_away(self, client: asyncio.Transport, refused: Refused) -> None:
        self._farewell = Farewell(refused, self._relay.certificate)
        self._relay.loop.call_later(FAREWELL_SECONDS, client.abort)
        pending, self._pending = self._pending, b""
        client.resume_reading()
        self._answer(self._farewell, pending)

    def _answer(self, farewell: Farewell, data: bytes) -> None:
        assert self._transport is not None
        answer = farewell.receive(data)
        if answer:
            self._transport.write(answer)
        if farewell.done:
            self._transport.close()


class _Waiting(asyncio.Protocol):
    """A server's side before it is joined. Servers say nothing first."""


class _Pipe(asyncio.Protocol):
    """One side of a joined pair: what comes from *mine* goes to *other*."""

    twin: _Pipe

    def __init__(self, mine: asyncio.Transport, other: asyncio.Transport, left: Callable[[], None] | None) -> None:
        # The loop calls the transport's own method: nothing of ours lies in the way of a byte.
        self.data_received = other.write
        self._mine = mine
        self._other = other
        self._left = left
        self._ended = False

    def pause_writing(self) -> None:
        """What *mine* does not take yet is not read from *other*."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        """*mine* takes more."""
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end of one direction on; the other goes on until it ends too."""
        self._ended = True
        if self.twin._ended:  # noqa: SLF001 - the other half of ourselves
            self._mine.close()
            self._other.close()
        elif not self._other.is_closing():
            self._other.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """What was read is still written, then the other side is closed too."""
        if not self._other.is_closing():
            self._other.close()
        if self._left is not None:
            self._left()


def _set_no_delay(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
