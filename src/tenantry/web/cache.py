"""What was looked up a moment ago, kept for seconds: bounded, and forgotten when asked."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from tenantry.web.errors import GateSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.core.tenant import Tenant
    from tenantry.web.gate import Standing

__all__ = ["MAX_SECONDS", "Cache"]

MAX_SECONDS = 60.0
"""The longest that a gate may go on letting in somebody who is no member any more."""


class Cache:
    """The standings of users with tenants, by user and name, in this process; any number of threads may use it.

    What nobody may enter is kept as what somebody may, so that neither answers sooner the second time.
    """

    def __init__(self, *, seconds: float, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= seconds <= MAX_SECONDS:
            raise GateSettingError(
                "cache_seconds",
                seconds,
                why=f"is not between 0 and {MAX_SECONDS:g}",
                way_out="a member who is put out stays in for as long, so keep it to a few seconds; 0 turns it off",
            )
        if size < 1:
            raise GateSettingError(
                "cache_size", size, why="holds nothing", way_out="give 1 or more; cache_seconds=0 turns it off"
            )
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._lock = Lock()
        self._entries: OrderedDict[tuple[str, str], tuple[float, Standing | None]] = OrderedDict()
        self._forgotten = 0

    def get(self, user: str, name: str) -> tuple[Standing | None] | None:
        """What was looked up, in a tuple, since it may be None; or None where it is to be looked up."""
        with self._lock:
            entry = self._entries.get((user, name))
            if entry is None or entry[0] <= self._clock():
                return None
            self._entries.move_to_end((user, name))
            return (entry[1],)

    def ticket(self) -> int:
        """Take before looking up, and give to `put`: what was forgotten meanwhile is not kept again."""
        return self._forgotten

    def put(self, user: str, name: str, standing: Standing | None, *, ticket: int) -> None:
        """Keep *standing*; the one that was not asked for longest goes where there are too many."""
        if not self._seconds:
            return
        with self._lock:
            if ticket != self._forgotten:
                return
            self._entries[user, name] = (self._clock() + self._seconds, standing)
            self._entries.move_to_end((user, name))
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def forget(self, *, user: str | None = None, tenant: Tenant | None = None) -> None:
        """Drop what concerns *user*, and what concerns *tenant*; everything where neither is given.

        With a tenant, all names that were unknown go too: it may have been given one of them.
        """
        with self._lock:
            self._forgotten += 1
            for key, (_, standing) in list(self._entries.items()):
                of_tenant = tenant is not None and (standing is None or standing.tenant == tenant)
                if (user is None and tenant is None) or key[0] == user or of_tenant:
                    del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)
