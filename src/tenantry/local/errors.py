"""What this machine can lack when the local engine starts, and when it makes, starts, stops or clones a cluster.

EnvironmentProblem
├── PostgresMissingError       no Postgres of the wanted major version was found
├── RunnerMissingError         root found no unprivileged user to run Postgres as
├── UnreachableFolderError     the user that runs Postgres may not enter a folder
├── PortTakenError             something else listens on the cluster's port
├── DiskFullError              a disk has no room for a cluster's files
├── FolderTakenError           the folder for a new cluster is there already
├── SocketPathError            the folder for sockets has too long a path
├── ClusterNotThereError       the data folder holds no cluster
├── HistoryGoneError           a file that a moment of the past needs is missing
├── ClustersGoneError          the data of every branch is missing, as when a disk is not mounted
├── EngineRunningError         another engine holds the data folder
├── ApiPortTakenError          another program listens where the API was to be
├── ForeignRoleError           a role of this name was made by SQL, so the engine leaves it alone
└── ClusterProblem             a program of Postgres failed; its last words are in `log`
    ├── InitError
    ├── StartError
    ├── StopError
    ├── CloneError
    ├── DumpError
    └── PoolerError
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.core.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "ApiPortTakenError",
    "CloneError",
    "ClusterNotThereError",
    "ClusterProblem",
    "ClustersGoneError",
    "DiskFullError",
    "DumpError",
    "EngineRunningError",
    "FolderTakenError",
    "ForeignRoleError",
    "HistoryGoneError",
    "InitError",
    "PoolerError",
    "PortTakenError",
    "PostgresMissingError",
    "RunnerMissingError",
    "SocketPathError",
    "StartError",
    "StopError",
    "UnreachableFolderError",
]


class PostgresMissingError(EnvironmentProblem):
    """No usable Postgres of *major* was found. `looked_at` says, place by place, why not."""

    def __init__(self, major: int, looked_at: Sequence[str], *, way_out: str) -> None:
        places = "".join(f"\n  {place}" for place in looked_at)
        super().__init__(f"no Postgres {major} was found; looked at{places}\nthe way out", way_out=way_out)
        self.major = major
        self.looked_at = tuple(looked_at)


class RunnerMissingError(EnvironmentProblem):
    """Postgres refuses to run as root, and no user to run it as was found. `names` were tried."""

    def __init__(self, names: Sequence[str], *, way_out: str) -> None:
        tried = " or ".join(repr(name) for name in names)
        super().__init__(f"Postgres refuses to run as root, and there is no user {tried} to run it as", way_out=way_out)
        self.names = tuple(names)


class UnreachableFolderError(EnvironmentProblem):
    """The user that runs Postgres may not enter *folder*, which stands above *path*."""

    def __init__(self, folder: Path, *, path: Path, user: str) -> None:
        super().__init__(
            f"Postgres runs as {user!r}, who may not enter {folder}, and {path} is below it",
            way_out=f"`chmod o+x {folder}`, or choose a folder that {user!r} can reach, such as one below /var/lib",
        )
        self.folder = folder
        self.path = path
        self.user = user


class PortTakenError(EnvironmentProblem):
    """Something that is not this cluster listens on *port* of *host*."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        super().__init__(
            f"port {port} on {host} is taken by another program",
            way_out=f"stop it (`ss -ltnp 'sport = :{port}'` shows it), or give the cluster another port",
        )
        self.port = port
        self.host = host


class DiskFullError(EnvironmentProblem):
    """The disk that holds *path* has no room: *needed* bytes against *free*."""

    def __init__(self, path: Path, *, needed: int, free: int) -> None:
        super().__init__(
            f"the disk has no room for {path}: it needs {needed:,} bytes, and {free:,} are free",
            way_out="delete branches or files there, or put the data folder on a file system that shares blocks "
            "between files (XFS, btrfs), where a branch takes room only for what it changes",
        )
        self.path = path
        self.needed = needed
        self.free = free


class FolderTakenError(EnvironmentProblem):
    """A new cluster was to be made at *path*, and something is there. Nothing was touched."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already", way_out="choose a path that does not exist, or remove it first")
        self.path = path


class SocketPathError(EnvironmentProblem):
    """The path of the cluster's Unix socket is longer than the system takes."""

    def __init__(self, path: Path, *, limit: int) -> None:
        super().__init__(
            f"the socket's path {str(path)!r} has {len(str(path).encode())} bytes, and the system takes {limit}",
            way_out="choose a shorter folder for sockets, such as one below /tmp",
        )
        self.path = path
        self.limit = limit


class ClusterNotThereError(EnvironmentProblem):
    """*path* holds no cluster of Postgres."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds no Postgres cluster", way_out="make one first, with `Cluster.init`")
        self.path = path


class HistoryGoneError(EnvironmentProblem):
    """The file at *path* is missing, and a moment of the past cannot be had without it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is missing, and that moment cannot be had without it",
            way_out="choose a later moment, or put the file back from a copy",
        )
        self.path = path


class ForeignRoleError(EnvironmentProblem):
    """The role *name* was made by SQL. Neon's attributes, which bypass row security, were not given to it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the role {name!r} was made by SQL, and Neon's attributes would make it bypass row security",
            way_out="choose another name, or drop it first",
        )
        self.name = name


class ClusterProblem(EnvironmentProblem):
    """A program of Postgres failed on the cluster in *data*. `log` holds its last lines; no password is among them."""

    def __init__(self, data: Path, *, why: str, way_out: str, log: str = "") -> None:
        tail = f"\n{log.rstrip()}\n" if log.strip() else ""
        super().__init__(f"{why} ({data}){tail}", way_out=way_out)
        self.data = data
        self.why = why
        self.log = log


class InitError(ClusterProblem):
    """A new cluster could not be made. Nothing of it was left."""


class StartError(ClusterProblem):
    """A cluster did not come up."""


class StopError(ClusterProblem):
    """A cluster did not stop in time. It is still running."""


class CloneError(ClusterProblem):
    """A cluster could not be cloned. Nothing of the clone was left."""


class DumpError(ClusterProblem):
    """The schema of a database could not be read. Nothing was changed."""


class PoolerError(ClusterProblem):
    """PgBouncer did not start before a cluster, which runs without it."""


class EngineRunningError(EnvironmentProblem):
    """Another engine holds *data*. `pid` is its process, None if it cannot be told."""

    def __init__(self, data: Path, pid: int | None) -> None:
        super().__init__(
            f"another engine (pid {pid or 'unknown'}) holds the data folder {data}",
            way_out="use that one, stop it with `tenantry down`, or give another data folder",
        )
        self.data = data
        self.pid = pid


class ApiPortTakenError(EnvironmentProblem):
    """The API was to be served on *port* of *host*, and another program listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is taken by another program",
            way_out="give another port, or 0 for any that is free",
        )
        self.host = host
        self.port = port


class ClustersGoneError(EnvironmentProblem):
    """The store knows branches, and *folder* holds the data of none: a disk that is not mounted, most likely."""

    def __init__(self, folder: Path, *, branches: int) -> None:
        super().__init__(
            f"{folder} holds the data of none of the {branches} branches that this engine knows",
            way_out="mount or restore it and try again; to begin anew, remove the whole data folder",
        )
        self.folder = folder
        self.branches = branches
