"""The processes of a cluster: which are alive, and which are really its own and not a stranger's with an old pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PidFile", "alive", "kill_all", "parse_pid_file", "postmaster_of", "read_pid_file", "servers_in"]

_PROC = Path("/proc")
_DYNAMIC_SEGMENT = re.compile(r"/dev/shm/PostgreSQL\.\d+")  # noqa: S108 - where Postgres puts its segments, not ours


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a postmaster wrote into `postmaster.pid`. It fills the file line by line while it comes up."""

    pid: int
    data: str
    port: int | None = None
    shared_memory_id: int | None = None
    status: str = ""

    @property
    def ready(self) -> bool:
        """Whether the server takes connections."""
        return self.status == "ready"


def parse_pid_file(text: str) -> PidFile | None:
    """Read the lines of a `postmaster.pid`, or None where there is not even a pid yet."""
    lines = [*text.splitlines(), *[""] * 8]
    try:
        pid = abs(int(lines[0]))
    except ValueError:
        return None
    shared_memory = lines[6].split()
    return PidFile(
        pid=pid,
        data=lines[1],
        port=int(lines[3]) if lines[3].isdigit() else None,
        shared_memory_id=int(shared_memory[1]) if len(shared_memory) > 1 else None,
        status=lines[7].strip(),
    )


def read_pid_file(data: Path) -> PidFile | None:
    """Read the `postmaster.pid` of the cluster in *data*, if there is one."""
    try:
        return parse_pid_file((data / "postmaster.pid").read_text(errors="replace"))
    except FileNotFoundError:
        return None


def alive(pid: int) -> bool:
    """Whether *pid* is a process that runs. One that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # The state follows the name, which stands in brackets and may hold anything.
        return (_PROC / str(pid) / "stat").read_text().rpartition(") ")[2][:1] not in {"Z", "X"}
    except OSError:
        return not _PROC.joinpath("self").exists()


def _serves(pid: int, data: Path) -> bool:
    """Whether *pid* is a server process of the cluster in *data*. Postgres works inside its data folder."""
    if not _PROC.joinpath("self").exists():
        answer = subprocess.run(
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return f" -D {data} " in f"{answer.stdout.strip()} "
    try:
        name = (_PROC / str(pid) / "comm").read_text().strip()
        return name == "postgres" and (_PROC / str(pid) / "cwd").samefile(data)
    except OSError:
        # Ended meanwhile, or another user's, and then it cannot be ours.
        return False


def postmaster_of(data: Path) -> int | None:
    """The pid of the postmaster that runs the cluster in *data*, or None. A reused pid does not deceive it."""
    found = read_pid_file(data)
    return found.pid if found is not None and _serves(found.pid, data) else None


def servers_in(data: Path) -> list[int]:
    """The pids of all server processes of the cluster in *data*, those too whose postmaster has died."""
    if not _PROC.joinpath("self").exists():
        found = postmaster_of(data)
        return [] if found is None else [found]
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and _serves(int(entry.name), data)]


def kill_all(data: Path) -> None:
    """End every server process of the cluster in *data* at once, and remove the shared memory they leave.

    What was committed stays; the next start recovers it. Safe to repeat.
    """
    found = read_pid_file(data)
    first = postmaster_of(data)
    segments: set[str] = set()
    while pids := servers_in(data):
        for pid in sorted(pids, key=lambda pid: pid != first):  # the postmaster first, or it starts others
            with contextlib.suppress(OSError):
                segments.update(_DYNAMIC_SEGMENT.findall((_PROC / str(pid) / "maps").read_text()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    for segment in segments:
        Path(segment).unlink(missing_ok=True)
    if found is not None and found.shared_memory_id is not None:
        _remove_shared_memory(found.shared_memory_id)


def _remove_shared_memory(identifier: int) -> None:
    # System V segments outlive a killed postmaster, and only this call, or the next start, removes them. The kernel
    # marks one still in use and removes it with its last user. A failure means that it is gone or never was ours.
    ctypes.CDLL(None).shmctl(ctypes.c_int(identifier), ctypes.c_int(0), None)
