"""Clones that fail: the error says why, and nothing of them is left."""

import os
import secrets

import pytest

from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.copying import copy_tree
from tenantry.local.errors import CloneError, ClusterNotThereError, FolderTakenError
from tests.plugins.postgres import execute, rows


def test_a_target_that_is_there_is_not_touched(cluster, child):
    child.data.mkdir()
    (child.data / "mine").write_text("keep")

    with pytest.raises(FolderTakenError):
        clone_cluster(cluster, child.data)

    assert (child.data / "mine").read_text() == "keep"


def test_a_parent_that_is_not_there_is_told(child, new_cluster):
    with pytest.raises(ClusterNotThereError):
        clone_cluster(new_cluster(), child.data)

    assert not child.data.exists()


def test_tablespaces_are_refused_with_the_way_out(cluster, child, folder, runner):
    elsewhere = folder / secrets.token_hex(4)
    elsewhere.mkdir(mode=0o700)
    if runner.drops:
        os.chown(elsewhere, runner.uid, runner.gid)
    execute(cluster, f"CREATE TABLESPACE elsewhere LOCATION '{elsewhere}'")

    with pytest.raises(CloneError, match="has tablespaces") as caught:
        clone_cluster(cluster, child.data)

    assert "SET TABLESPACE pg_default" in str(caught.value)
    assert not child.data.exists()


def test_nothing_is_left_of_a_clone_whose_parent_died(cluster, child, monkeypatch):
    def copy_and_kill(*arguments):
        method = copy_tree(*arguments)
        cluster.kill()
        return method

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", copy_and_kill)

    with pytest.raises(CloneError) as caught:
        clone_cluster(cluster, child.data)

    assert str(child.data) in str(caught.value)
    assert cluster.superuser_password not in str(caught.value)
    assert not child.data.exists()


def test_nothing_is_left_of_a_clone_that_was_interrupted(cluster, child, monkeypatch):
    def interrupt(*arguments):
        copy_tree(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", interrupt)

    with pytest.raises(KeyboardInterrupt):
        clone_cluster(cluster, child.data)

    assert not child.data.exists()
    assert rows(cluster, "SELECT count(*) FROM pg_replication_slots") == [0]


def test_a_file_that_cannot_be_copied_fails_the_clone_and_leaves_nothing(cluster, child):
    (cluster.data / "base" / "a_link").symlink_to("/etc/passwd")

    with pytest.raises(CloneError):
        clone_cluster(cluster, child.data)

    assert not child.data.exists()
