"""Ports of this machine that a cluster can listen on."""

from __future__ import annotations

import errno
import random
import socket
import sys
from typing import TYPE_CHECKING

from tenantry.local.errors import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["BEHIND", "BEHIND_POOLER", "HOST", "POOLED", "free_port", "is_free"]

HOST = "127.0.0.1"
"""Where clients connect."""

BEHIND = "127.0.0.2" if sys.platform == "linux" else "::1"
"""Where a postmaster listens that stands behind the relay: on the port of its endpoint, at another address."""

POOLED = "127.0.0.3"
"""Where clients of a pooler connect: on the port of their endpoint, so that it needs none of its own."""

BEHIND_POOLER = "127.0.0.4"
"""Where PgBouncer listens, behind the relay as a postmaster does."""

_PORTS = range(20_000, 32_768)  # below those that Linux hands to outgoing connections


def free_port(taken: Collection[int]) -> int:
    """Choose a port of 127.0.0.1 that nobody listens on and that is not in *taken*.

    It lies outside the range of outgoing connections, so that it is still free when its cluster wakes again.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in taken and is_free(port) and is_free(port, BEHIND):
            return port
    raise PortTakenError(_PORTS.start)


def is_free(port: int, host: str = HOST) -> bool:
    """Whether nobody listens on *port* of *host*, an address of this machine."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                return False
            raise
        return True
