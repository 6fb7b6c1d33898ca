"""Mutations: one at a time in a project, recorded as Neon's operations, and undone if the machine fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from tenantry.core.errors import EnvironmentProblem, TenantryError
from tenantry.local.refusals import Refusal, locked
from tenantry.local.state.naming import new_operation_id
from tenantry.local.state.records import OperationRecord, now

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from tenantry.core.ids import BranchId, EndpointId, ProjectId
    from tenantry.local.state.store import Store, Writer

__all__ = ["Mutation", "Operations", "Step", "after_death"]

log = logging.getLogger(__name__)

_UNASKED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """What an operation does, in Neon's word, and to what."""

    action: str
    branch_id: BranchId | None = None
    endpoint_id: EndpointId | None = None


class Operations:
    """Hands out a project's one mutation at a time."""

    def __init__(self, store: Store, *, changed: Callable[[ProjectId], None] | None = None) -> None:
        self._store = store
        self._after = changed
        self._changed = threading.Condition()
        # Whether what holds the project was asked for by nobody: a compute that wakes or goes to sleep by itself.
        self._busy: dict[ProjectId, bool] = {}
        self._closing = False

    @contextmanager
    def mutation(self, project_id: ProjectId, *, unasked: bool = False, wait_seconds: float = 0) -> Generator[Mutation]:
        """Hold the project for the block. Raises a 423 if another mutation holds it, after *wait_seconds*.

        One that is *unasked*, such as a compute that wakes by itself, gives no caller a 423: they wait for its end.
        If the block raises, its undo steps run, last first, and the operation that was running says `failed`.
        """
        with self._changed:
            if not wait_seconds and self._busy.get(project_id):
                wait_seconds = _UNASKED_SECONDS
            self._changed.wait_for(lambda: self._closing or project_id not in self._busy, wait_seconds)
            if self._closing:
                raise Refusal(503, "the engine is stopping: try again when it has been started again")
            if project_id in self._busy:
                raise locked()
            self._busy[project_id] = unasked
        try:
            mutation = Mutation(self._store, project_id)
            try:
                yield mutation
            except BaseException as exc:
                mutation.fail(exc)
                raise
            finally:
                if self._after is not None:
                    self._after(project_id)
        finally:
            with self._changed:
                del self._busy[project_id]
                self._changed.notify_all()

    def close(self, *, timeout_seconds: float) -> None:
        """Refuse new mutations and wait for those that run."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._busy, timeout_seconds):
                log.warning("mutations of %s were still running after %s s", sorted(self._busy), timeout_seconds)


class Mutation:
    """One change of a project: its steps are recorded before they run, and end together.

    Until `commit` all of them are unfinished in the store, so that an engine killed at any moment leaves either
    the whole change or operations that its successor declares failed.
    """

    def __init__(self, store: Store, project_id: ProjectId) -> None:
        self._store = store
        self._project_id = project_id
        self._records: list[OperationRecord] = []
        self._current = -1
        self._started = 0.0
        self._undo = ExitStack()
        self._done = False

    @property
    def operations(self) -> tuple[OperationRecord, ...]:
        """The operations of this mutation, in order."""
        return tuple(self._records)

    def plan(self, steps: Iterable[Step]) -> None:
        """Record all steps, as what will be done."""
        at = now()
        records = [
            OperationRecord(
                id=new_operation_id(),
                project_id=self._project_id,
                branch_id=step.branch_id,
                endpoint_id=step.endpoint_id,
                action=step.action,
                status="scheduling",
                error=None,
                failures_count=0,
                total_duration_ms=0,
                created_at=at,
                updated_at=at,
            )
            for step in steps
        ]
        with self._store.write() as writer:
            for record in records:
                writer.insert(record)
        for record in records:
            stored = self._store.get(OperationRecord, id=record.id)
            assert stored is not None
            self._records.append(stored)

    def undo(self, callback: Callable[[], object]) -> None:
        """Have *callback* run if the mutation fails; the last one given runs first."""
        self._undo.callback(callback)

    @contextmanager
    def step(self) -> Generator[None]:
        """Run the next step that was planned."""
        self._current += 1
        self._started = time.monotonic()
        self._set(self._current, replace(self._records[self._current], status="running", updated_at=now()))
        yield
        took = round((time.monotonic() - self._started) * 1000)
        self._records[self._current] = replace(
            self._records[self._current], status="finished", total_duration_ms=took, updated_at=now()
        )

    @contextmanager
    def commit(self) -> Generator[Writer]:
        """Yield a writer for the rows of the change: they and the end of the operations are one transaction."""
        assert all(record.status == "finished" for record in self._records), "a planned step was not run"
        with self._store.write() as writer:
            yield writer
            for record in self._records:
                writer.update(record)
        self._done = True

    def fail(self, exc: BaseException) -> None:
        """Undo what was done and say why. A mutation that was committed stays."""
        if self._done:
            return
        try:
            self._undo.close()
        except (TenantryError, OSError, psycopg.Error):
            log.exception("undoing a change of project %s failed too", self._project_id)
        try:
            self._record_failure(exc)
        except sqlite3.Error:
            # The next engine declares them failed.
            log.exception("the failure of a change of project %s could not be recorded", self._project_id)

    def _record_failure(self, exc: BaseException) -> None:
        failed = min(max(self._current, 0), len(self._records) - 1)
        at = now()
        with self._store.write() as writer:
            for index, record in enumerate(self._records):
                if index == failed:
                    writer.update(replace(record, status="failed", error=_reason(exc), failures_count=1, updated_at=at))
                else:
                    writer.update(replace(record, status="cancelled", updated_at=at))

    def _set(self, index: int, record: OperationRecord) -> None:
        self._records[index] = record
        with self._store.write() as writer:
            writer.update(record)


def _reason(exc: BaseException) -> str:
    return str(exc) if isinstance(exc, EnvironmentProblem | Refusal) else f"{type(exc).__name__}: {exc}"


def after_death(records: Iterable[OperationRecord]) -> list[OperationRecord]:
    """Return *records*, which an engine left unfinished when it died, as they are to be told."""
    at = now()
    return [
        replace(
            record,
            status="failed",
            error="the engine ended while this ran; it was undone or finished when the engine was opened again",
            failures_count=1,
            updated_at=at,
        )
        for record in records
    ]
