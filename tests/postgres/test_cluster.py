"""A cluster's life: made, started, adopted, killed."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tenantry.local.clusters import processes
from tenantry.local.clusters.programs import server_settings
from tenantry.local.clusters.wal import State, read_control
from tenantry.local.errors import (
    ClusterNotThereError,
    FolderTakenError,
    PortTakenError,
    SocketPathError,
    StartError,
    StopError,
    UnreachableFolderError,
)
from tests.plugins.postgres import pid_of, scalar


def test_a_new_cluster_is_stopped_and_holds_neons_roles(new_cluster):
    cluster = new_cluster()

    cluster.init()

    assert not cluster.running
    assert read_control(cluster.data).state == State.SHUT_DOWN
    cluster.start()
    with cluster.connect() as connection:
        roles = connection.execute(
            "SELECT rolname, rolsuper, rolcanlogin, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication "
            "FROM pg_catalog.pg_roles WHERE NOT starts_with(rolname, 'pg_') ORDER BY rolname"
        ).fetchall()
    assert roles == [
        ("cloud_admin", True, True, True, True, True, True),
        ("neon_superuser", False, False, True, True, True, True),
    ]


def test_neon_superuser_reads_writes_and_monitors_everything(postgres):
    with postgres.connect() as connection:
        granted = connection.execute(
            "SELECT r.rolname, m.admin_option FROM pg_catalog.pg_auth_members m "
            "JOIN pg_catalog.pg_roles r ON r.oid = m.roleid "
            "WHERE m.member = 'neon_superuser'::regrole ORDER BY 1"
        ).fetchall()

    assert granted == [
        ("pg_create_subscription", False),
        ("pg_monitor", True),
        ("pg_read_all_data", False),
        ("pg_signal_backend", True),
        ("pg_write_all_data", False),
    ]


def test_a_folder_that_is_there_is_not_touched_by_init(new_cluster):
    cluster = new_cluster()
    cluster.data.mkdir()
    (cluster.data / "mine").write_text("keep")

    with pytest.raises(FolderTakenError):
        cluster.init()

    assert (cluster.data / "mine").read_text() == "keep"


def test_nothing_is_left_of_a_cluster_that_could_not_be_made(new_cluster):
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster = replace(new_cluster(), port=server.getsockname()[1])

        with pytest.raises(PortTakenError):
            cluster.init()

    assert not cluster.data.exists()
    assert [path for path in cluster.data.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.as_root
def test_a_folder_that_the_runner_cannot_enter_is_named_before_anything_is_made(new_cluster, folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    cluster = replace(new_cluster(), data=closed / "data")

    with pytest.raises(UnreachableFolderError) as caught:
        cluster.init()

    assert caught.value.folder == closed
    assert list(closed.iterdir()) == []


def test_starting_a_running_cluster_changes_nothing(cluster):
    pid = processes.postmaster_of(cluster.data)

    cluster.start()

    assert processes.postmaster_of(cluster.data) == pid


def test_many_threads_that_start_a_cluster_start_it_once(cluster):
    cluster.stop()
    failures = []

    def start():
        try:
            cluster.start()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it fails the test
            failures.append(problem)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert scalar(cluster, "SELECT 1") == 1


def test_a_cluster_told_another_port_moves_there(cluster, new_cluster):
    elsewhere = replace(cluster, port=new_cluster().port)

    elsewhere.start()

    assert scalar(elsewhere, "SHOW port") == str(elsewhere.port)


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_a_stopped_cluster_is_gone_when_stop_returns(cluster, mode):
    cluster.stop(mode=mode)

    assert not cluster.running
    assert processes.servers_in(cluster.data) == []
    cluster.stop()


def test_a_cluster_that_does_not_stop_in_time_is_said_to_run(cluster):
    with cluster.connect() as connection:
        connection.execute("SELECT 1")

        with pytest.raises(StopError, match=r"did not stop within 0\.2 s"):
            cluster.stop(mode="smart", timeout_seconds=0.2)

        assert cluster.running


def test_what_was_committed_survives_the_kill_of_everything(cluster):
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        found = processes.read_pid_file(cluster.data)
        assert found is not None
        segment = found.shared_memory_id

        cluster.kill()

    assert not cluster.running
    assert processes.servers_in(cluster.data) == []
    assert str(segment) not in {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
    cluster.start()
    assert scalar(cluster, "SELECT a FROM t") == 1


def test_a_postmaster_killed_by_others_is_started_again(cluster):
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        os.kill(pid_of(cluster), signal.SIGKILL)

    cluster.start()

    assert scalar(cluster, "SELECT a FROM t") == 1


@pytest.mark.parametrize("which", ["data folder", "socket"])
def test_a_stale_pid_file_whose_pid_another_program_has_is_no_hindrance(cluster, runner, which):
    cluster.kill()
    lock = {
        "data folder": cluster.data / "postmaster.pid",
        "socket": cluster.sockets / f".s.PGSQL.{cluster.port}.lock",
    }[which]
    # Another program of the same user: Postgres takes no notice of a stranger's.
    program = subprocess.Popen(["sleep", "60"], cwd="/", **runner.spawn())
    try:
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(program.pid), *lines[1:]]) + "\n")

        cluster.start()

        assert scalar(cluster, "SELECT 1") == 1
        assert program.poll() is None
    finally:
        program.kill()
        program.wait()


def test_a_port_that_another_program_has_is_named(cluster):
    cluster.stop()
    with socket.create_server(("127.0.0.1", cluster.port)):
        with pytest.raises(PortTakenError) as caught:
            cluster.start()

        assert caught.value.port == cluster.port
        assert not cluster.running


def test_another_clusters_socket_is_not_taken_away(cluster, new_cluster, postgres):
    cluster.stop()
    rival = replace(cluster, port=postgres.port)

    with pytest.raises(PortTakenError):
        rival.start()

    assert scalar(postgres, "SELECT 1") == 1


def test_a_failed_start_shows_the_logs_last_lines_and_no_password(cluster):
    cluster.stop()
    with (cluster.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting_at_all = on\n")

    with pytest.raises(StartError) as caught:
        cluster.start()

    assert "no_such_setting_at_all" in caught.value.log
    assert caught.value.log in str(caught.value)
    assert cluster.superuser_password not in str(caught.value)


def test_a_folder_without_a_cluster_is_told(new_cluster):
    with pytest.raises(ClusterNotThereError):
        new_cluster().start()


def test_a_socket_folder_with_too_long_a_path_is_told(cluster, folder):
    cluster.stop()

    with pytest.raises(SocketPathError) as caught:
        replace(cluster, sockets=folder / ("s" * 100)).start()

    assert caught.value.limit in {103, 107}


def test_a_server_outlives_the_program_that_started_it_and_holds_none_of_its_files(cluster, folder):
    cluster.stop()
    code = f"""
import sys
from pathlib import Path
from tenantry.local.clusters.cluster import Cluster
from tenantry.local.clusters.binaries import find_binaries
from tenantry.local.clusters.privileges import choose_runner
runner = choose_runner()
binaries = find_binaries(17, cache=Path({str(folder / "cache")!r}))
held = open({str(folder / "held")!r}, "w")
data, sockets = Path({str(cluster.data)!r}), Path({str(cluster.sockets)!r})
Cluster(data, {cluster.port}, binaries, runner, sockets, sys.argv[1]).start()
"""
    began = time.monotonic()

    # With its output in pipes: it would not end before the server did, had that inherited them.
    starter = subprocess.Popen(
        [sys.executable, "-c", code, cluster.superuser_password],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    output = starter.communicate(timeout=60)
    for name in (signal.SIGINT, signal.SIGHUP):
        with pytest.raises(ProcessLookupError):
            os.killpg(starter.pid, name)

    assert (starter.returncode, output) == (0, (b"", b""))
    assert time.monotonic() - began < 60
    assert cluster.running
    pid = processes.postmaster_of(cluster.data)
    assert not [link for link in Path(f"/proc/{pid}/fd").iterdir() if str(link.readlink()) == str(folder / "held")]
    assert scalar(cluster, "SELECT 1") == 1


@pytest.mark.as_root
def test_a_server_starts_where_the_system_has_no_time_zones(cluster, folder):
    cluster.stop()
    zones = Path("/usr/share/zoneinfo")
    if not zones.exists():
        cluster.start()
        return
    arguments = [f"--{name}={value}" for name, value in server_settings(cluster).items()]
    runner = f"--reuid={cluster.runner.uid} --regid={cluster.runner.gid} --clear-groups"
    command = f'mount -t tmpfs none {zones} && exec setpriv {runner} "$@"'
    server = subprocess.Popen(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            command,
            "sh",
            cluster.binaries.program("postgres"),
            "-D",
            cluster.data,
            *arguments,
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not (found := processes.read_pid_file(cluster.data)) or not found.ready:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

        assert scalar(cluster, "SELECT '2026-01-01 00:00+00'::timestamptz::text") == "2026-01-01 00:00:00+00"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)


def test_a_removed_cluster_leaves_neither_process_nor_folder(cluster):
    cluster.remove()

    assert not cluster.data.exists()
    assert processes.servers_in(cluster.data) == []
    cluster.remove()


def test_upper_and_lower_case_go_beyond_ascii(postgres):
    assert scalar(postgres, "SELECT upper('zürich')") == "ZÜRICH"
    assert scalar(postgres, "SHOW server_encoding") == "UTF8"
