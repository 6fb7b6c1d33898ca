"""Copies of a data folder's files: which are taken, and how, by sharing blocks or byte by byte."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tenantry.local.clusters.folders import LOCK, LOG
from tenantry.local.clusters.privileges import give
from tenantry.local.clusters.tls import CERTIFICATE, KEY
from tenantry.local.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tenantry.local.clusters.privileges import Runner

__all__ = ["Method", "Tree", "copy_tree", "is_taken", "read_tree", "sync", "write_file"]

Method = Literal["reflink", "copy"]

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CANNOT_SHARE = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS})
_BLOCK = 4096
_CHUNK = 1 << 30

# Postgres makes what these folders hold anew when it starts; WAL goes by segments, and slots belong to the parent.
_EMPTIED = frozenset(
    {
        "pg_dynshmem",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
        "pg_snapshots",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_wal",
    }
)
# What belongs to the parent's own process, its log and its keys.
_LEFT = frozenset(
    {
        "backup_label",
        "backup_label.old",
        "backup_manifest",
        "current_logfiles",
        "log",
        "postmaster.opts",
        "postmaster.pid",
        "tablespace_map",
        CERTIFICATE,
        KEY,
        LOCK,
        LOG,
    }
)
_LEFT_ANYWHERE = ("pgsql_tmp", "pg_internal.init")
_CONTROL = "global/pg_control"


def is_taken(path: str) -> bool:
    """Whether a clone has the file or folder at *path*, relative to the data folder, with `/` between its parts."""
    top, _, below = path.partition("/")
    if top in _LEFT or (top in _EMPTIED and below):
        return False
    return not path.rpartition("/")[2].startswith(_LEFT_ANYWHERE)


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders, parents first, and the files of a data folder, with their sizes, that a clone has."""

    folders: tuple[str, ...]
    files: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        """The sum of the files' sizes."""
        return sum(size for _, size in self.files)

    @property
    def room(self) -> int:
        """The bytes that a copy takes on a disk."""
        return sum(-(-size // _BLOCK) * _BLOCK for _, size in self.files) + _BLOCK * len(self.folders)


def read_tree(data: Path) -> Tree:
    """List what a clone of *data* has. What a server removes meanwhile is left out."""
    folders: list[str] = []
    files: list[tuple[str, int]] = []
    for path, entry in _walk(data, ""):
        if entry.is_dir(follow_symlinks=False):
            folders.append(path)
        else:
            try:
                files.append((path, entry.stat(follow_symlinks=False).st_size))
            except FileNotFoundError:
                continue
    return Tree(tuple(folders), tuple(files))


def _walk(folder: Path | str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        path = prefix + entry.name
        if is_taken(path):
            yield path, entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{path}/")


def copy_tree(tree: Tree, source: Path, target: Path, runner: Runner) -> Method:
    """Copy *tree* from *source* to *target*, which is an empty folder, and return how.

    Files share their blocks where the file system can. A file that is gone is passed over: a server dropped it, and
    its WAL says so. Raises `DiskFullError` before anything is written where a copy would find no room.
    """
    method: Method = "reflink" if _shares_blocks(source, target, tree) else "copy"
    if method == "copy":
        free = _free(target)
        if tree.room > free:
            raise DiskFullError(target, needed=tree.room, free=free)
    owner = (runner.uid, runner.gid) if runner.drops else None
    from_, to = f"{source}/", f"{target}/"
    for folder in tree.folders:
        (target / folder).mkdir(mode=0o700)
        give(target / folder, runner)
    for path, _ in tree.files:
        _copy_file(from_ + path, to + path, owner=owner, share=method == "reflink", steady=path == _CONTROL)
    return method


def write_file(path: Path, content: bytes, runner: Runner) -> None:
    """Write a new file that belongs to *runner*."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if runner.drops:
            os.fchown(descriptor, runner.uid, runner.gid)
        file.write(content)


def sync(folder: Path) -> None:
    """Have the disk hold what was written to the file system of *folder*."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).syncfs(descriptor)
        else:
            os.sync()
    finally:
        os.close(descriptor)


def _shares_blocks(source: Path, target: Path, tree: Tree) -> bool:
    """Whether a file of *source* can share its blocks with one in *target*: tried, since no name tells."""
    sample = source / "PG_VERSION"  # never removed, unlike others
    if not sample.exists():
        sample = source / next((path for path, size in tree.files if size), "")
    if sys.platform != "linux" or not sample.is_file():
        return False
    trial = target / ".reflink"
    try:
        with sample.open("rb") as old, trial.open("xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError as problem:
        if problem.errno in _CANNOT_SHARE:
            return False
        raise
    else:
        return True
    finally:
        trial.unlink(missing_ok=True)


def _copy_file(source: str, target: str, *, owner: tuple[int, int] | None, share: bool, steady: bool) -> None:
    try:
        old = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if owner is not None:
                os.fchown(new, *owner)
            size = os.fstat(old).st_size
            if size and not (share and _share(old, new)):
                if steady:
                    _write_all(new, _read_steady(old, size))
                else:
                    _copy_bytes(old, new, size)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _share(old: int, new: int) -> bool:
    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError as problem:
        # Some files cannot, on a file system where others can: btrfs's without copy-on-write.
        if problem.errno in _CANNOT_SHARE:
            return False
        raise
    return True


def _read_steady(descriptor: int, size: int) -> bytes:
    # A server may write it while we read. Unlike a table's page, nothing would repair a half of each.
    last = os.pread(descriptor, size, 0)
    while (again := os.pread(descriptor, size, 0)) != last:
        last = again
    return last


def _copy_bytes(old: int, new: int, size: int) -> None:
    """Copy the first *size* bytes, what the file had when it was opened: what comes after is in the WAL."""
    done = 0
    try:
        while hasattr(os, "copy_file_range") and done < size:
            count = os.copy_file_range(old, new, min(size - done, _CHUNK))
            if count == 0:
                return
            done += count
    except OSError as problem:
        if done or problem.errno not in _CANNOT_SHARE:
            raise
    while done < size:
        block = os.pread(old, min(size - done, 1 << 20), done)
        if not block:
            return
        _write_all(new, block)
        done += len(block)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
