"""Clones: what was committed is in them, what comes later is not, and the parent's sessions never notice."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from tenantry.local.clusters import processes
from tenantry.local.clusters.cloning import clone_cluster
from tenantry.local.clusters.copying import Tree, copy_tree
from tenantry.local.clusters.folders import LOG
from tenantry.local.clusters.wal import State, format_lsn, read_control, segments
from tests.plugins.postgres import execute, rows


class Writer(threading.Thread):
    """Commits 1, 2, 3 … one after the other until told to stop. `committed` is the last that the server confirmed."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster
        self.committed = 0
        self.problem = None
        self.enough = threading.Event()

    def run(self):
        try:
            with self.cluster.connect() as connection:
                while not self.enough.is_set():
                    connection.execute("INSERT INTO t VALUES (%s, repeat('x', 2000))", [self.committed + 1])
                    self.committed += 1
        except Exception as problem:  # noqa: BLE001 - whatever it is, it fails the test
            self.problem = problem

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.join()


def test_under_a_writer_a_clone_has_all_that_was_committed_before_and_no_gap(cluster, child):
    execute(cluster, "CREATE TABLE t (a int PRIMARY KEY, filler text)")
    with Writer(cluster) as writer:
        while writer.committed < 50:
            time.sleep(0.001)
        before = writer.committed

        clone_cluster(cluster, child.data)

        after = writer.committed
        while writer.committed < after + 50 and writer.is_alive():
            time.sleep(0.001)
    child.start()

    assert writer.problem is None
    found = rows(child)
    assert found == list(range(1, len(found) + 1))
    assert before <= len(found) <= after + 1
    assert rows(cluster) == list(range(1, writer.committed + 1))
    execute(child, "REINDEX TABLE t", "VACUUM t", "INSERT INTO t VALUES (-1)")
    assert -1 not in rows(cluster)


def test_writers_go_on_while_the_files_are_copied(cluster, child):
    execute(cluster, "CREATE TABLE t (a int PRIMARY KEY, filler text)")
    with Writer(cluster) as writer:
        while writer.committed < 10:
            time.sleep(0.001)
        before = writer.committed

        clone_cluster(cluster, child.data)

        assert writer.committed > before
    assert writer.problem is None


def test_tables_that_are_made_and_dropped_meanwhile_do_no_harm(cluster, child):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    enough = threading.Event()

    def churn():
        with cluster.connect() as connection:
            while not enough.is_set():
                connection.execute("CREATE TABLE churned AS SELECT i FROM generate_series(1, 1000) i")
                connection.execute("DROP TABLE churned")
                connection.execute("CHECKPOINT")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        clone_cluster(cluster, child.data)
    finally:
        enough.set()
        thread.join()
    child.start()

    assert rows(child) == [1]


def test_a_clone_passes_postgres_own_check_of_its_pages(cluster, child, binaries, runner):
    execute(cluster, "CREATE TABLE t (a int PRIMARY KEY, filler text)")
    with Writer(cluster):
        clone_cluster(cluster, child.data)
    child.start()
    child.stop()

    answer = subprocess.run(
        [binaries.program("pg_checksums"), "--check", "-D", child.data],
        capture_output=True,
        text=True,
        check=False,
        **runner.spawn(),
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_suspended_parent_is_cloned_and_stays_suspended(cluster, child):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    cluster.stop()

    report = clone_cluster(cluster, child.data)

    assert not cluster.running
    assert report.lsn == format_lsn(read_control(cluster.data).checkpoint)
    child.start()
    assert rows(child) == [1]
    execute(child, "INSERT INTO t VALUES (2)")
    cluster.start()
    assert rows(cluster) == [1]


def test_a_suspended_parent_does_not_start_before_the_copy_is_done(cluster, child, monkeypatch):
    cluster.stop()
    running_meanwhile = []
    starter = threading.Thread(target=cluster.start)

    def copy_slowly(*arguments):
        if not starter.is_alive():
            starter.start()
        time.sleep(0.3)
        running_meanwhile.append(cluster.running)
        return copy_tree(*arguments)

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", copy_slowly)

    clone_cluster(cluster, child.data)
    starter.join()

    assert not any(running_meanwhile)
    assert cluster.running


def test_a_crashed_parent_is_recovered_first(cluster, child):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    cluster.kill()
    assert read_control(cluster.data).state == State.IN_PRODUCTION

    clone_cluster(cluster, child.data)
    child.start()

    assert rows(child) == [1]
    assert cluster.running


def test_a_clone_keeps_what_it_committed_when_it_is_killed(cluster, child):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    clone_cluster(cluster, child.data)
    child.start()
    execute(child, "INSERT INTO t VALUES (2)")
    pid = processes.postmaster_of(child.data)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    child.start()

    assert rows(child) == [1, 2]


def test_a_clone_killed_in_its_first_recovery_recovers_the_next_time(cluster, new_cluster):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    execute(cluster, "CREATE TABLE busy (a int)")
    killed_within = 0
    for _ in range(20):
        child = replace(new_cluster(), superuser_password=cluster.superuser_password)
        # WAL to replay, so that the recovery takes a while.
        writer = threading.Thread(
            target=execute, args=[cluster, "INSERT INTO busy SELECT g FROM pg_catalog.generate_series(1, 300000) g"]
        )
        writer.start()
        clone_cluster(cluster, child.data)
        writer.join()
        starter = threading.Thread(target=_try_to_start, args=[child])
        starter.start()
        while not (child.data / "backup_label.old").exists() and starter.is_alive():
            pass
        child.kill()
        starter.join()
        killed_within += "completed backup recovery" not in (child.data / LOG).read_text()

        child.start()

        assert rows(child) == [1]
        child.remove()
        if killed_within == 2:
            break

    assert killed_within == 2, "no kill came within a recovery"


def _try_to_start(cluster):
    with contextlib.suppress(Exception):
        cluster.start()


def test_a_clone_outlives_its_parent(cluster, child):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    clone_cluster(cluster, child.data)
    cluster.remove()

    child.start()

    assert rows(child) == [1]


def test_a_clone_of_a_clone_has_the_rows_of_both(cluster, child, new_cluster):
    execute(cluster, "CREATE TABLE t AS SELECT 1 AS a")
    clone_cluster(cluster, child.data)
    child.start()
    execute(child, "INSERT INTO t VALUES (2)")
    grandchild = replace(new_cluster(), superuser_password=child.superuser_password)

    clone_cluster(child, grandchild.data)
    grandchild.start()

    assert rows(grandchild) == [1, 2]


def test_a_clone_has_its_parents_roles_and_passwords_until_it_is_given_others(cluster, child):
    cluster.ensure_role("someone", "first")
    clone_cluster(cluster, child.data)
    child.start()

    def log_in(where, password):
        psycopg.connect(host="127.0.0.1", port=where.port, user="someone", password=password, dbname="postgres").close()

    log_in(child, "first")
    child.set_role_password("someone", "second")
    log_in(child, "second")
    log_in(cluster, "first")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(child, "first")


def test_slots_logs_and_keys_are_the_parents_own(cluster, child):
    execute(cluster, "SELECT pg_create_physical_replication_slot('of_the_parent', true)")

    clone_cluster(cluster, child.data)

    assert list((child.data / "pg_replslot").iterdir()) == []
    assert not (child.data / "server.log").exists()
    child.start()
    assert rows(child, "SELECT count(*) FROM pg_replication_slots") == [0]
    assert (child.data / "server.key").read_bytes() != (cluster.data / "server.key").read_bytes()


def test_the_parent_keeps_nothing_of_having_been_cloned(cluster, child):
    clone_cluster(cluster, child.data)

    # The slot goes with its session, which ends a moment after the connection.
    deadline = time.monotonic() + 10
    while rows(cluster, "SELECT count(*) FROM pg_replication_slots") != [0] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rows(cluster, "SELECT count(*) FROM pg_replication_slots") == [0]
    assert not (cluster.data / "backup_label").exists()


def test_recovery_begins_where_the_backup_did_though_a_later_checkpoint_was_copied(cluster, child, monkeypatch):
    execute(cluster, "CREATE TABLE t (a int)")
    control = "global/pg_control"

    def copy_the_control_file_last(tree, *arguments):
        if tree.folders:
            method = copy_tree(Tree(tree.folders, tuple(f for f in tree.files if f[0] != control)), *arguments)
            execute(cluster, "INSERT INTO t VALUES (1)", "CHECKPOINT")
            return copy_tree(Tree((), ((control, 8192),)), *arguments) and method
        return copy_tree(tree, *arguments)

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", copy_the_control_file_last)
    clone_cluster(cluster, child.data)
    child.start()

    assert rows(child) == [1]


def test_the_wal_that_a_clone_needs_is_kept_while_it_is_made(cluster, child, monkeypatch):
    execute(cluster, "CREATE TABLE t (a int)")

    def copy_while_wal_is_recycled(*arguments):
        method = copy_tree(*arguments)
        for number in range(8):
            execute(cluster, f"INSERT INTO t VALUES ({number})", "SELECT pg_switch_wal()", "CHECKPOINT")
        return method

    monkeypatch.setattr("tenantry.local.clusters.cloning.copy_tree", copy_while_wal_is_recycled)
    clone_cluster(cluster, child.data)
    child.start()

    assert rows(child) == list(range(8))


def test_files_and_folders_of_a_clone_are_the_runners_and_closed_to_others(cluster, child, runner):
    clone_cluster(cluster, child.data)

    everything = [child.data, *child.data.rglob("*")]
    assert {path.stat().st_uid for path in everything} == {runner.uid}
    assert {path.stat().st_mode & 0o077 for path in everything} == {0}


def test_unlogged_tables_are_empty_in_a_clone_of_a_running_parent(cluster, child):
    execute(cluster, "CREATE UNLOGGED TABLE t AS SELECT 1 AS a")

    clone_cluster(cluster, child.data)
    child.start()

    assert rows(child) == []


def test_the_report_says_how_much_was_copied_and_where_the_clone_forked(cluster, child):
    report = clone_cluster(cluster, child.data)

    files = [path for path in child.data.rglob("*") if path.is_file()]
    assert report.method in {"reflink", "copy"}
    assert report.files <= len(files)
    assert report.bytes == pytest.approx(sum(path.stat().st_size for path in files), rel=0.2)
    assert report.copy_seconds > 0
    with cluster.connect() as connection:
        row = connection.execute("SELECT %s::pg_lsn <= pg_current_wal_lsn()", [report.lsn]).fetchone()
        assert row == (True,)


def test_segments_have_the_names_that_postgres_gives_them(cluster):
    with cluster.connect() as connection:
        for position in (0x28, 0x100001, 0xFFFFFFFF, 0x1_0000_0001, 0x16_B374_D848):
            row = connection.execute("SELECT pg_walfile_name(%s)", [format_lsn(position)]).fetchone()

            assert list(segments(position, position + 1, timeline=1, size=1 << 20)) == [row[0]]


def test_the_control_file_is_read_as_pg_controldata_reads_it(cluster, binaries, runner):
    cluster.stop()
    text = subprocess.run(
        [binaries.program("pg_controldata"), cluster.data],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C"},
        **runner.spawn(),
    ).stdout

    control = read_control(cluster.data)

    assert f"Latest checkpoint location:           {format_lsn(control.checkpoint)}" in text
    assert f"Latest checkpoint's TimeLineID:       {control.timeline}" in text
    assert "Database cluster state:               shut down\n" in text
    assert control.state == State.SHUT_DOWN
