"""What an engine does now and then without being asked: a thread, and the tasks that it runs."""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import TYPE_CHECKING

import psycopg

from tenantry.core.errors import TenantryError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background"]

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 30.0


class Background:
    """Runs one task again and again, with a pause, until it is closed. A run that fails is told to the log."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def ending(self) -> bool:
        """Whether a long task is to give up."""
        return self._ended.is_set()

    def repeat(self, task: Callable[[], object], *, seconds: float) -> None:
        """Run *task* every *seconds* from now on. Does nothing where a task runs already, or after `close`."""
        with self._lock:
            if self._thread is not None or self.ending:
                return
            self._thread = threading.Thread(target=self._run, args=(task, seconds), name="tenantry-upkeep", daemon=True)
            self._thread.start()

    def _run(self, task: Callable[[], object], seconds: float) -> None:
        while not self._ended.wait(seconds):
            try:
                task()
            except (TenantryError, OSError, psycopg.Error, sqlite3.Error) as problem:
                # It is tried again; a disk that is full now may have room then.
                log.warning("upkeep failed, and is tried again in %s s: %s", seconds, problem)

    def close(self) -> None:
        """Run nothing more, and wait for what runs. Safe to repeat."""
        self._ended.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)
