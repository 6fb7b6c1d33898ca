"""Clones on disks of another kind: too small, or with files that share their blocks."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.copying import Tree, copy_tree
from tenantry.local.errors import DiskFullError
from tests.plugins.postgres import execute, rows


def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", *arguments, folder], check=True)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.fixture
def small_disk(folder) -> Iterator[Path]:
    yield from mounted(folder / "small", "-t", "tmpfs", "-o", "size=16m", "none")


@pytest.mark.as_root
def test_a_disk_too_small_for_a_clone_is_told_before_and_left_as_it_was(cluster, small_disk):
    target = small_disk / "clone"
    used = shutil.disk_usage(small_disk).used

    with pytest.raises(DiskFullError) as caught:
        clone_cluster(cluster, target)

    assert caught.value.path == target
    assert caught.value.needed > 16 << 20 >= caught.value.free
    assert f"{caught.value.free:,} are free" in str(caught.value)
    assert not target.exists()
    assert shutil.disk_usage(small_disk).used == used
    assert cluster.running


@pytest.mark.as_root
def test_a_disk_that_fills_up_while_it_is_copied_to_is_told_too(cluster, small_disk, monkeypatch):
    def with_no_sizes(tree, *arguments):
        return copy_tree(Tree(tree.folders, tuple((path, 0) for path, _ in tree.files)), *arguments)

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", with_no_sizes)

    with pytest.raises(DiskFullError) as caught:
        clone_cluster(cluster, small_disk / "clone")

    assert caught.value.path == small_disk / "clone"
    assert caught.value.needed > 16 << 20
    assert list(small_disk.iterdir()) == []


@pytest.fixture(scope="module")
def shared_blocks(folder) -> Iterator[Path]:
    """A file system whose files can share blocks: XFS on a loop device."""
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("XFS on a loop device wants mkfs.xfs: `apt-get install xfsprogs`")
    image = folder / "xfs.img"
    with image.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    yield from mounted(folder / "xfs", "-o", "loop", str(image))
    image.unlink()


@pytest.mark.as_root
def test_where_files_can_share_blocks_a_clone_takes_next_to_no_room(cluster, child, shared_blocks):
    execute(cluster, "CREATE TABLE t AS SELECT i AS a, repeat('x', 1000) AS filler FROM generate_series(1, 20000) i")
    parent = replace(cluster, data=shared_blocks / "parent")
    copied = clone_cluster(cluster, parent.data)
    cluster.stop()
    parent.start()
    used = shutil.disk_usage(shared_blocks).used
    clone = replace(child, data=shared_blocks / "clone")

    shared = clone_cluster(parent, clone.data)

    room = shutil.disk_usage(shared_blocks).used - used
    clone.start()
    assert (copied.method, shared.method) == ("copy", "reflink")
    assert shared.bytes > 40 << 20
    assert room < shared.bytes / 4
    assert rows(clone, "SELECT count(*) FROM t") == [20_000]
    execute(clone, "UPDATE t SET filler = ''")
    assert rows(parent, "SELECT count(*) FROM t WHERE filler = ''") == [0]
    clone.remove()
    parent.remove()


@pytest.mark.as_root
def test_a_suspended_parent_is_cloned_by_reflink_as_well(cluster, child, shared_blocks):
    parent = replace(cluster, data=shared_blocks / "suspended")
    clone_cluster(cluster, parent.data)
    cluster.stop()
    parent.start()
    parent.stop()
    clone = replace(child, data=shared_blocks / "woken")

    report = clone_cluster(parent, clone.data)
    clone.start()

    assert report.method == "reflink"
    assert rows(clone, "SELECT 1") == [1]
    clone.remove()
    parent.remove()
