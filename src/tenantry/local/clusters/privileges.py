"""Who Postgres runs as, and what that user can reach. Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from tenantry.local.errors import RunnerMissingError, UnreachableFolderError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Runner", "check_reachable", "choose_runner", "clean_environment", "give", "make_folder", "run"]

_CANDIDATES = ("postgres", "nobody")


class SpawnArguments(TypedDict, total=False):
    """The arguments of `subprocess` that say who a program runs as."""

    umask: int
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Runner:
    """The user that Postgres runs as. `drops` says that we are root and become that user to start it."""

    uid: int
    gid: int
    name: str
    drops: bool

    def spawn(self) -> SpawnArguments:
        """The arguments that make `subprocess` start a program as this user."""
        if not self.drops:
            return {"umask": 0o077}
        return {"umask": 0o077, "user": self.uid, "group": self.gid, "extra_groups": []}


def choose_runner(wanted: str | None = None) -> Runner:
    """Choose the user that Postgres runs as.

    Root runs it as *wanted*, else as `postgres`, else as `nobody`; anybody else as themselves, whatever is wanted.
    Raises `RunnerMissingError` if none of these is a user of this machine, or *wanted* is root.
    """
    uid = os.geteuid()
    if uid != 0:
        return Runner(uid, os.getegid(), _name_of(uid), drops=False)
    names = _CANDIDATES if wanted is None else (wanted,)
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Runner(entry.pw_uid, entry.pw_gid, name, drops=True)
    raise RunnerMissingError(
        names,
        way_out="`useradd --system postgres` makes one; or name another user in TENANTRY_RUN_AS",
    )


def _name_of(uid: int) -> str:
    # A container started with `--user 1234` has no entry for itself.
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def check_reachable(path: Path, runner: Runner) -> None:
    """Raise `UnreachableFolderError` unless *runner* may enter every folder above *path* that exists."""
    if not runner.drops:
        return
    for folder in reversed(path.absolute().parents):
        if folder.exists() and not _may_enter(folder.stat(), runner):
            raise UnreachableFolderError(folder, path=path, user=runner.name)


def _may_enter(found: os.stat_result, runner: Runner) -> bool:
    if found.st_uid == runner.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == runner.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def make_folder(path: Path, runner: Runner, *, mode: int = 0o700) -> None:
    """Make *path*, which belongs to *runner*. Its parents are made as needed, and stay ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)
    give(path, runner)


def give(path: Path, runner: Runner) -> None:
    """Make *runner* the owner of *path*."""
    if runner.drops:
        os.chown(path, runner.uid, runner.gid, follow_symlinks=False)


def run(command: Sequence[str | Path], runner: Runner, *, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program as *runner* to its end, with nothing of our environment but what finds libraries."""
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        timeout=timeout_seconds,
        env=clean_environment(),
        **runner.spawn(),
    )


def clean_environment() -> dict[str, str]:
    """What a program of Postgres gets of our environment.

    Not `PG*`, which names other servers and passwords; not the locale, which `initdb` would bake into a cluster.
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "ICU_DATA", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "GMT"}
