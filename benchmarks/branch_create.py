"""How long a new branch takes until it answers, by what its parent holds and whether files can share their blocks."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from psycopg import sql

from benchmarks.result import Row, compare, limit
from tenantry.local.clusters.binaries import find_binaries
from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.cluster import Cluster, free_port
from tenantry.local.clusters.folders import make_data_folder
from tenantry.local.clusters.privileges import choose_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

NAME = "A new branch, until it answers a query"

DATABASE = "neondb"
OWNER = "neondb_owner"
MB = 1 << 20
ROW_BYTES = 1000

# The goals, in milliseconds. Others are measured to know them.
GOALS = {("copy", 10): 1000, ("reflink", 10): 400, ("reflink", 1000): 250}


@dataclass(frozen=True, slots=True)
class Branch:
    """What one new branch took, in milliseconds."""

    method: str
    clone: float
    start: float
    total: float


def run(*, quick: bool = False) -> list[Row]:
    """Measure on the file system for temporary data, and on one that shares blocks where we can make it."""
    sizes = [10] if quick else [10, 1000, 10_000]
    rows: list[Row] = []
    with temporary_folder() as folder:
        rows += measure(folder, [size for size in sizes if size < 10_000], runs=1 if quick else 5)
    with file_system_that_shares_blocks(gigabytes=30) as folder:
        if folder is not None:
            rows += measure(folder, sizes, runs=1 if quick else 5)
    return rows


def measure(folder: Path, sizes: list[int], *, runs: int) -> list[Row]:
    """Grow one parent to each of *sizes* (MB, ascending), and measure branches of it and their peers."""
    rows: list[Row] = []
    with new_cluster(folder) as parent:
        for size in sizes:
            grow(parent, size)
            branches = [branch(parent, folder) for _ in range(runs if size < 10_000 else 3)]
            rows += rows_of(size, branches)
            if size < 10_000:
                total = median(each.total for each in branches)
                what = f"{title(size)} parent, by {branches[0].method}"
                for peer, took in peers(parent, folder, runs=1 if size > 10 else min(runs, 3)):
                    rows.append(compare(what, ours=total, peer=peer, peers=took, unit="ms"))
    return rows


def title(size: int) -> str:
    """Name a size given in MB."""
    return f"{size} MB" if size < 1000 else f"{size // 1000} GB"


def rows_of(size: int, branches: list[Branch]) -> list[Row]:
    """The rows of one size: the whole beside its goal, then its parts."""
    method = branches[0].method
    clone, start, total = (median(getattr(each, part) for each in branches) for part in ("clone", "start", "total"))
    what = f"{title(size)} parent, by {method}"
    goal = GOALS.get((method, size))
    if goal is None:
        rows = [compare(what, ours=total, peer="nothing", peers=None, unit="ms")]
    else:
        rows = [limit(what, ours=total, at_most=goal, unit="ms")]
    for part, took in (("clone", clone), ("start", start)):
        rows.append(compare(f"{what}: {part}", ours=took, peer="the whole", peers=total, unit="ms"))
    return rows


def branch(parent: Cluster, folder: Path) -> Branch:
    """Make a branch, ask it something, and remove it."""
    mine = replace(parent, data=folder / secrets.token_hex(4), port=free_port([]))
    try:
        began = time.perf_counter()
        report = clone_cluster(parent, mine.data)
        cloned = time.perf_counter()
        mine.start()
        started = time.perf_counter()
        ask(mine)
        answered = time.perf_counter()
    finally:
        mine.remove()
    return Branch(report.method, 1000 * (cloned - began), 1000 * (started - cloned), 1000 * (answered - began))


def ask(cluster: Cluster, database: str = DATABASE) -> None:
    """Connect and read one row."""
    with cluster.connect(database) as connection:
        connection.execute("SELECT * FROM public.filler LIMIT 1").fetchone()


def peers(parent: Cluster, folder: Path, *, runs: int) -> Iterator[tuple[str, float]]:
    """What else makes a copy that answers a query, and the milliseconds that it took."""
    for strategy in ("WAL_LOG", "FILE_COPY"):
        took = [timed(lambda word=strategy: copy_database(parent, word)) for _ in range(runs)]
        with parent.connect() as connection:
            connection.execute("DROP DATABASE the_copy")
        yield f"CREATE DATABASE … TEMPLATE, {strategy}", median(took)
    backup = replace(parent, data=folder / secrets.token_hex(4), port=free_port([]))
    took = [timed(lambda: base_backup(parent, backup)) for _ in range(runs)]
    backup.remove()
    yield "pg_basebackup and a start", median(took)


def timed(work: Callable[[], None]) -> float:
    """The milliseconds that *work* takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def copy_database(parent: Cluster, strategy: str) -> None:
    with parent.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS the_copy")
        connection.execute(
            sql.SQL("CREATE DATABASE the_copy TEMPLATE {} STRATEGY {}").format(
                sql.Identifier(DATABASE), sql.Literal(strategy)
            )
        )
    ask(parent, "the_copy")


def base_backup(parent: Cluster, backup: Cluster) -> None:
    backup.remove()
    make_data_folder(backup.data, backup.runner)  # which it may fill, though not make
    subprocess.run(
        [
            parent.binaries.program("pg_basebackup"),
            f"--pgdata={backup.data}",
            f"--host={parent.sockets}",
            f"--port={parent.port}",
            "--username=cloud_admin",
            "--checkpoint=fast",
        ],
        check=True,
        env={"PGPASSWORD": parent.superuser_password},
        cwd="/",
        **parent.runner.spawn(),
    )
    backup.start()
    ask(backup)


@contextlib.contextmanager
def new_cluster(folder: Path) -> Generator[Cluster]:
    runner = choose_runner()
    cluster = Cluster(
        data=folder / "parent",
        port=free_port([]),
        binaries=find_binaries(17, cache=folder / "cache", runner=runner),
        runner=runner,
        sockets=folder / "s",
        superuser_password=secrets.token_urlsafe(16),
    )
    try:
        cluster.init()
        cluster.start()
        cluster.ensure_role(OWNER, secrets.token_urlsafe(16))
        cluster.create_database(DATABASE, OWNER)
        with cluster.connect(DATABASE) as connection:
            connection.execute("CREATE TABLE public.filler (id bigint GENERATED ALWAYS AS IDENTITY, body text)")
            connection.execute("ALTER TABLE public.filler ALTER body SET STORAGE PLAIN")
        yield cluster
    finally:
        cluster.remove()


def grow(cluster: Cluster, megabytes: int) -> None:
    """Let the database hold *megabytes*; beyond 1 GB, let there be as many databases of that size."""
    with cluster.connect(DATABASE) as connection:
        row = connection.execute("SELECT pg_catalog.pg_database_size(current_database())").fetchone()
        assert row is not None
        rows = max(0, min(megabytes, 1000) * MB - row[0]) // (ROW_BYTES + 100)
        connection.execute(
            "INSERT INTO public.filler (body) SELECT repeat('x', %s) FROM generate_series(1, %s)", [ROW_BYTES, rows]
        )
        connection.execute("VACUUM (FREEZE, ANALYZE) public.filler")
        connection.execute("CHECKPOINT")
    with cluster.connect() as connection:
        for number in range(1, megabytes // 1000):
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                    sql.Identifier(f"more_{number}"), sql.Identifier(DATABASE)
                )
            )


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    path.chmod(0o755)  # pytest-like folders of mode 700 would keep Postgres's user out
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def file_system_that_shares_blocks(*, gigabytes: int) -> Generator[Path | None]:
    """A new XFS in a sparse file, or None where we are not root or have no `mkfs.xfs`."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        yield None
        return
    with temporary_folder() as folder:
        image, place = folder / "xfs.img", folder / "xfs"
        with image.open("wb") as file:
            file.truncate(gigabytes << 30)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
        place.mkdir()
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        place.chmod(0o755)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
