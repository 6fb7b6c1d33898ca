"""A network that is longer: `python network.py HOST PORT SECONDS` relays to a server far away.

It prints the port that it listens on. What comes from the client goes on at once; what the server answers waits, so
that each round trip takes that much longer. Threads and `time.sleep`, whose precision is tens of microseconds:
asyncio rounds a timer up to the next millisecond.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

_BUFFER = 1 << 16


def _pump(source: socket.socket, target: socket.socket, delay: float) -> None:
    try:
        while data := source.recv(_BUFFER):
            if delay:
                time.sleep(delay)
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def serve(host: str, port: int, delay: float) -> None:
    """Relay each connection to *host* and *port* until killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(client, server, 0.0), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client, delay), daemon=True).start()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
