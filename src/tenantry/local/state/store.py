"""The engine's memory: one SQLite file in WAL mode, mode 600, that survives `kill -9`."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tenantry.core.errors import EnvironmentProblem
from tenantry.local.state.records import (
    BaseRecord,
    BranchRecord,
    DatabaseRecord,
    EndpointRecord,
    LineageRecord,
    OperationRecord,
    ProjectRecord,
    Record,
    RoleRecord,
    SnapshotRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from tenantry.core.ids import EndpointId

__all__ = ["SCHEMA_VERSION", "Store", "Writer"]

SCHEMA_VERSION = 2

R = TypeVar("R", bound=Record)

_TABLES: dict[type[Record], tuple[str, tuple[str, ...]]] = {
    ProjectRecord: ("projects", ("id",)),
    BranchRecord: ("branches", ("id",)),
    EndpointRecord: ("endpoints", ("id",)),
    RoleRecord: ("roles", ("branch_id", "name")),
    DatabaseRecord: ("databases", ("id",)),
    OperationRecord: ("operations", ("number",)),
    LineageRecord: ("lineages", ("directory",)),
    BaseRecord: ("bases", ("id",)),
    SnapshotRecord: ("snapshots", ("id",)),
}


def _encode(value: Any) -> Any:
    match value:
        case datetime():
            # One width and one zone, so that texts sort as times do.
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case dict():
            return json.dumps(value)
        case _:
            return value


def _decoder(annotation: Any) -> Callable[[Any], Any] | None:
    """Return what turns a column of SQLite back into a value of *annotation*; None where SQLite gives that itself."""
    if get_origin(annotation) in (Union, UnionType):
        (plain,) = (part for part in get_args(annotation) if part is not NoneType)
        return _decoder(plain)
    if annotation is datetime:
        return datetime.fromisoformat
    if annotation is bool:
        return bool
    if get_origin(annotation) is dict:
        return json.loads
    if get_origin(annotation) is Literal or annotation in (str, int, float):
        return None
    return _decoder(annotation.__supertype__)  # a NewType


@cache
def _decoders(kind: type[Record]) -> dict[str, Callable[[Any], Any]]:
    """Return the decoders of the columns that need one: a list of a thousand rows spends its time here."""
    hints = get_type_hints(kind)
    found = {field.name: _decoder(hints[field.name]) for field in fields(kind)}
    return {name: decode for name, decode in found.items() if decode is not None}


def _decode(kind: type[R], names: Sequence[str], row: Iterable[Any]) -> R:
    values = dict(zip(names, row, strict=True))
    for name, decode in _decoders(kind).items():
        if values[name] is not None:
            values[name] = decode(values[name])
    return kind(**values)


def _names(record: Record | type[Record]) -> list[str]:
    return [field.name for field in fields(record)]


class Store:
    """The engine's memory. Every method may be called from any thread.

    One connection serves all threads, a transaction at a time, so a reader never sees half of one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store at *path*, or make it. Raises `EnvironmentProblem`."""
        # Made before SQLite opens it, so that at no moment can another user read it; -wal and -shm take its mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            cls._prepare(connection, path)
        except sqlite3.DatabaseError as exc:
            connection.close()
            raise EnvironmentProblem(
                f"{path} is not a store that this engine can read ({exc})",
                way_out="give another data folder, or put the file back from a copy",
            ) from exc
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    @staticmethod
    def _prepare(connection: sqlite3.Connection, path: Path) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        # An answered request is on disk: a branch without its row would be taken for garbage.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            schema = resources.files("tenantry.local.state").joinpath("schema.sql").read_text()
            connection.executescript(f"BEGIN;{schema}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
        elif version != SCHEMA_VERSION:
            raise EnvironmentProblem(
                f"{path} has the format {version}, and this engine reads {SCHEMA_VERSION}",
                way_out="use the tenantry that wrote it, or give another data folder",
            )

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Generator[Writer]:
        """Yield a `Writer`: all that it does is kept when the block ends, or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Writer(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def get(self, kind: type[R], **equals: Any) -> R | None:
        """Return the one record of *kind* whose columns equal *equals*, or None."""
        found = self.select(kind, limit=1, **equals)
        return found[0] if found else None

    def select(self, kind: type[R], *, order: str = "", limit: int = -1, **equals: Any) -> list[R]:
        """Return the records of *kind* whose columns equal *equals*. *order* is a constant of the caller's code."""
        where = " AND ".join(f"{column} IS ?" for column in equals) or "TRUE"
        return self._query(kind, f"{where} ORDER BY {order or 'rowid'} LIMIT ?", [*equals.values(), limit])

    def operations(self, project_id: str, *, before: int | None, limit: int) -> list[OperationRecord]:
        """Return up to *limit* operations of a project, newest first, older than the one numbered *before*."""
        return self._query(
            OperationRecord,
            "project_id = ? AND number < ? ORDER BY number DESC LIMIT ?",
            [project_id, before if before is not None else 2**62, limit],
        )

    def unfinished_operations(self) -> list[OperationRecord]:
        """Return the operations that an engine left behind when it died."""
        return self._query(OperationRecord, "status IN ('scheduling', 'running') ORDER BY number", [])

    def ports(self, project_id: str) -> dict[EndpointId, int]:
        """Return the port of each endpoint of a project."""
        with self._lock:
            rows = self._connection.execute("SELECT id, port FROM endpoints WHERE project_id = ?", [project_id])
            return {row["id"]: row["port"] for row in rows}

    def meta(self, key: str) -> str | None:
        """Return a value that the engine keeps about itself."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
        return None if row is None else row["value"]

    def _query(self, kind: type[R], tail: str, values: list[Any]) -> list[R]:
        table, _ = _TABLES[kind]
        # Names come from this package's dataclasses and constants; values are parameters.
        names = _names(kind)
        query = f"SELECT {', '.join(names)} FROM {table} WHERE {tail}"  # noqa: S608 - see above
        with self._lock:
            rows = self._connection.execute(query, [_encode(value) for value in values]).fetchall()
        return [_decode(kind, names, row) for row in rows]


class Writer:
    """The writing side of an open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, record: Record) -> None:
        """Add a row."""
        table, _ = _TABLES[type(record)]
        names = _names(record)
        marks = ", ".join("?" * len(names))
        self._connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - names of our dataclasses
            [_encode(getattr(record, name)) for name in names],
        )

    def update(self, record: Record) -> None:
        """Write every column of the row that has the record's key."""
        table, key = _TABLES[type(record)]
        names = [name for name in _names(record) if name not in key]
        assignments = ", ".join(f"{name} = ?" for name in names)
        where = " AND ".join(f"{name} = ?" for name in key)
        self._connection.execute(
            f"UPDATE {table} SET {assignments} WHERE {where}",  # noqa: S608 - names of our dataclasses
            [_encode(getattr(record, name)) for name in (*names, *key)],
        )

    def delete(self, kind: type[Record], **equals: Any) -> None:
        """Remove the rows of *kind* whose columns equal *equals*."""
        table, _ = _TABLES[kind]
        where = " AND ".join(f"{column} = ?" for column in equals)
        self._connection.execute(
            f"DELETE FROM {table} WHERE {where}",  # noqa: S608 - names of our dataclasses
            [_encode(value) for value in equals.values()],
        )

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value that the engine has about itself."""
        self._connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [key, value])

    def delete_meta(self, key: str) -> None:
        """Forget a value that the engine had about itself."""
        self._connection.execute("DELETE FROM meta WHERE key = ?", [key])
