"""A relay before Postgres that counts round trips: how often the client spoke after the server had answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Turns:
    """A relay's port, and what went through it: round trips, and the bytes that the client sent."""

    port: int = 0
    count: int = 0
    sent: bytes = b""
    _answered: bool = True

    def start_again(self) -> None:
        self.count, self.sent, self._answered = 0, b"", True

    def client_spoke(self, data: bytes) -> None:
        self.count += self._answered
        self._answered = False
        self.sent += data

    def server_spoke(self) -> None:
        self._answered = True


@asynccontextmanager
async def counting_turns(host: str, port: int) -> AsyncIterator[Turns]:
    """Relay to *host* and *port* while the block runs."""
    turns = Turns()
    relaying: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relaying.add(task)
        there, back = await asyncio.open_connection(host, port)

        async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, client: bool) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    turns.client_spoke(data) if client else turns.server_spoke()
                    target.write(data)
            target.close()
            with suppress(ConnectionError):
                await target.wait_closed()

        await asyncio.gather(forward(reader, back, client=True), forward(there, writer, client=False))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    turns.port = server.sockets[0].getsockname()[1]
    try:
        yield turns
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.wait(relaying)
