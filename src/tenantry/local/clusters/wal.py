"""WAL positions, the names of segments, and what a data folder's control file says of them. Pure but for one read."""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "SEGMENT_BYTES",
    "BackupLabel",
    "Control",
    "State",
    "format_lsn",
    "is_lsn",
    "parse_control",
    "parse_lsn",
    "read_control",
    "segment_start",
    "segments",
]

SEGMENT_BYTES = 1 << 20
"""The size of a segment of WAL in every cluster that `initdb` makes here: a clone takes whole ones."""

_LABEL = re.compile(r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{8})[0-9A-F]{16}\)$", re.MULTILINE)
# ControlFileData of pg_control.h, the same from 15 to 18: system identifier, two versions, state, time, checkpoint,
# and of the checkpoint's copy its redo position and timeline.
_CONTROL = struct.Struct("=QIIi4xqQQI")


_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")


class State(enum.IntEnum):
    """DBState of pg_control.h: what a cluster was doing when the file was written."""

    STARTUP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6


@dataclass(frozen=True, slots=True)
class Control:
    """What the control file says: the state, where the last checkpoint is, and where a crash would replay from."""

    state: State
    checkpoint: int
    redo: int
    timeline: int


def parse_control(content: bytes) -> Control:
    """Read the bytes of a `pg_control`."""
    _, _, _, state, _, checkpoint, redo, timeline = _CONTROL.unpack_from(content)
    return Control(State(state), checkpoint, redo, timeline)


def read_control(data: Path) -> Control:
    """Read the control file of the cluster in *data*."""
    return parse_control((data / "global" / "pg_control").read_bytes())


def is_lsn(text: str) -> bool:
    """Whether *text* is a position such as `16/B374D848`."""
    return _LSN.fullmatch(text) is not None


def segment_start(position: int) -> int:
    """The position at which the segment that holds *position* begins."""
    return position - position % SEGMENT_BYTES


def parse_lsn(text: str) -> int:
    """Turn `16/B374D848` into a number of bytes."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_lsn(position: int) -> str:
    """Turn a number of bytes into `16/B374D848`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """Where a backup begins: what recovery reads first."""

    start: int
    timeline: int

    @classmethod
    def parse(cls, text: str) -> BackupLabel:
        """Read what `pg_backup_stop` gives for the file `backup_label`."""
        match = _LABEL.search(text)
        if match is None:
            raise ValueError(f"no start of the WAL in the backup label {text!r}")
        return cls(start=parse_lsn(match[1]), timeline=int(match[2], 16))


def segments(start: int, stop: int, *, timeline: int, size: int) -> Iterator[str]:
    """The names of the segments of *size* bytes that hold the WAL from *start* up to *stop*, which is past its end."""
    a_file = 0x1_0000_0000 // size
    for number in range(start // size, max(start, stop - 1) // size + 1):
        yield f"{timeline:08X}{number // a_file:08X}{number % a_file:08X}"
