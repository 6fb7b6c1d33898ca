"""One apply at a time: an advisory lock on the project's default branch, held by a connection that says whose it is."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenantry.control import databases
from tenantry.control.errors import ApplyRunningError

if TYPE_CHECKING:
    from collections.abc import Generator

    from tenantry.core.conninfo import Conninfo

__all__ = ["LOCK_KEY", "hold_apply_lock"]

LOCK_KEY = 0x74656E616E747279
"""`tenantry` in ASCII. Advisory locks are per database, so one number is enough."""

_HOLDER = """
    SELECT a.application_name, a.backend_start
    FROM pg_catalog.pg_locks AS l
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.classid::bigint = %s AND l.objid::bigint = %s
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""


@contextmanager
def hold_apply_lock(owner: Conninfo) -> Generator[None]:
    """Hold the lock for the work inside. Raises `ApplyRunningError` at once if another has it.

    Postgres lets go of it when the connection ends, so a killed apply leaves none behind.
    """
    name = f"tenantry apply on {socket.gethostname()}, process {os.getpid()}"
    with databases.connect(owner, name=name[:63]) as conn:
        row = conn.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
        if row is None or not row[0]:
            holder = conn.execute(_HOLDER, [LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF]).fetchone()
            raise ApplyRunningError(f"{holder[0]} (since {holder[1]:%H:%M:%S})" if holder else "somebody")
        yield
