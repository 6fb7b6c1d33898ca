"""`/v2`: Postgres's own wire in the binary frames of a WebSocket, to a compute of this engine and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tenantry.local.serverless.problems import SqlRefusal
from tenantry.local.serverless.target import find_endpoint, read_address
from tenantry.local.services.views import HOST
from tenantry.local.state.records import EndpointRecord

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from tenantry.local.engine import Engine

__all__ = ["ROUTES", "WS_PATH", "fatal_message"]

WS_PATH = "/v2"

_CHUNK = 65_536
_NO_TEXT = 1003
_REJECTED = "08004"


def fatal_message(message: str, *, code: str = _REJECTED) -> bytes:
    """Return Postgres's ErrorResponse, which a driver raises as an error of Postgres."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


async def _relay(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        stream = await _connect(websocket)
    except SqlRefusal as refusal:
        await websocket.send_bytes(fatal_message(refusal.message, code=refusal.fields.get("code") or _REJECTED))
        await websocket.close()
        return
    async with stream, anyio.create_task_group() as group:

        async def upward() -> None:
            await _to_client(stream, websocket)
            group.cancel_scope.cancel()

        group.start_soon(upward)
        await _to_postgres(websocket, stream)
        group.cancel_scope.cancel()


async def _connect(websocket: WebSocket) -> SocketStream:
    address = websocket.query_params.get("address")
    # Without an address the name that the client called us by may be that of an endpoint, as it is at Neon.
    host, port = read_address(address if address is not None else websocket.headers.get("host", ""))
    engine: Engine = websocket.app.state.engine
    endpoint = find_endpoint(engine.store.select(EndpointRecord), host=host, port=port)
    try:
        return await anyio.connect_tcp(HOST, endpoint.port)
    except OSError as exc:
        raise SqlRefusal(
            f"the compute {endpoint.id} takes no connections: start its endpoint", fields={"code": "57P03"}
        ) from exc


async def _to_postgres(websocket: WebSocket, stream: SocketStream) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        if data is None:
            await websocket.close(_NO_TEXT, "Postgres's wire is binary: send binary frames")
            return
        try:
            await stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def _to_client(stream: SocketStream, websocket: WebSocket) -> None:
    try:
        while True:
            await websocket.send_bytes(await stream.receive(_CHUNK))
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        await websocket.close()
    except WebSocketDisconnect:
        return


ROUTES: list[WebSocketRoute] = [WebSocketRoute(WS_PATH, _relay)]
