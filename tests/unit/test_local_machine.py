"""The engine's view of this machine: users, processes, ports, folders."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenantry.local.clusters import processes
from tenantry.local.clusters.copying import Tree, copy_tree, is_taken, read_tree
from tenantry.local.clusters.folders import make_data_folder
from tenantry.local.clusters.ports import free_port, is_free
from tenantry.local.clusters.privileges import Runner, check_reachable, choose_runner, clean_environment
from tenantry.local.clusters.wal import BackupLabel, State, format_lsn, parse_lsn, segments
from tenantry.local.errors import DiskFullError, RunnerMissingError, UnreachableFolderError


@pytest.mark.as_root
@pytest.mark.parametrize("name", ["nobody-has-this-name", "root"])
def test_a_wanted_user_that_cannot_run_postgres_is_refused(name):
    with pytest.raises(RunnerMissingError, match=name):
        choose_runner(name)


def test_a_folder_closed_to_the_runner_is_named(tmp_path):
    closed = tmp_path / "closed"
    (closed / "below").mkdir(parents=True)
    stranger = Runner(uid=os.getuid() + 1, gid=os.getgid() + 1, name="stranger", drops=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o001)
    check_reachable(closed / "below" / "data", stranger)
    closed.chmod(0o700)

    with pytest.raises(UnreachableFolderError) as caught:
        check_reachable(closed / "below" / "data", stranger)

    assert caught.value.folder == closed
    assert f"chmod o+x {closed}" in str(caught.value)


def test_programs_of_postgres_see_none_of_the_callers_servers(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("PGHOST", "example.com")

    environment = clean_environment()

    assert not [name for name in environment if name.startswith("PG")]


def test_a_pid_file_is_read_while_it_is_being_written():
    half = processes.parse_pid_file("4242\n/data\n")
    whole = processes.parse_pid_file("4242\n/data\n1700000000\n20001\n/tmp/s\n127.0.0.1\n  163841   7 \nready   \n")

    assert processes.parse_pid_file("") is None
    assert half is not None
    assert whole is not None
    assert half == processes.PidFile(4242, "/data")
    assert whole == processes.PidFile(4242, "/data", 20001, 7, "ready")
    assert whole.ready
    assert not half.ready


def test_a_pid_that_another_program_has_now_is_no_postmaster(tmp_path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")

    assert processes.postmaster_of(tmp_path) is None
    assert processes.servers_in(tmp_path) == []


def test_a_program_that_merely_works_in_the_folder_is_left_alone(tmp_path):
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    try:
        processes.kill_all(tmp_path)

        assert program.poll() is None
    finally:
        program.kill()
        program.wait()


def test_a_process_that_ended_is_not_alive_though_nobody_has_asked_for_its_status():
    program = subprocess.Popen([sys.executable, "-c", ""])
    try:
        deadline = time.monotonic() + 10
        while processes.alive(program.pid) and time.monotonic() < deadline:
            time.sleep(0.01)

        assert not processes.alive(program.pid)
    finally:
        program.wait()


def test_a_free_port_is_neither_taken_nor_listened_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = server.getsockname()[1]
        port = free_port({20_000})

        assert not is_free(listening)
        assert is_free(port)
        assert port != 20_000


def test_no_port_of_outgoing_connections_is_chosen():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert all(free_port([]) < first for _ in range(20))


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("PG_VERSION", True),
        ("global/pg_control", True),
        ("base/5/1259", True),
        ("base/5/pg_internal.init", False),
        ("base/5/pg_internal.init.123", False),
        ("base/pgsql_tmp", False),
        ("pg_wal", True),
        ("pg_wal/000000010000000000000001", False),
        ("pg_replslot", True),
        ("pg_replslot/mine", False),
        ("pg_logical/mappings", True),
        ("pg_twophase/0001", True),
        ("pg_xact/0000", True),
        ("postmaster.pid", False),
        ("server.key", False),
        ("server.log", False),
        ("backup_label", False),
    ],
)
def test_a_clone_takes_what_is_data_and_leaves_what_is_the_parents_own(path, taken):
    assert is_taken(path) is taken


def test_a_file_that_vanishes_while_the_tree_is_copied_is_passed_over(tmp_path, owner):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "PG_VERSION").write_text("17\n")
    (source / "here").write_bytes(b"x" * 10_000)
    tree = Tree((), (("gone", 5), ("here", 10_000)))

    copy_tree(tree, source, target, owner)

    assert [path.name for path in target.iterdir()] == ["here"]
    assert (target / "here").read_bytes() == b"x" * 10_000
    assert (target / "here").stat().st_mode & 0o777 == 0o600


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, owner):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "PG_VERSION").write_text("17\n")
    tree = Tree((), (("PG_VERSION", 3), ("huge", 1 << 60)))
    if copy_tree(Tree((), ()), source, target, owner) == "reflink":
        pytest.skip("files share their blocks here, and take no room")

    with pytest.raises(DiskFullError) as caught:
        copy_tree(tree, source, target, owner)

    assert caught.value.path == target
    assert caught.value.needed > 1 << 60
    assert 0 < caught.value.free < 1 << 60
    assert list(target.iterdir()) == []


def test_a_control_file_that_changes_under_the_reader_is_read_again(tmp_path, owner, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "global").mkdir(parents=True)
    target.mkdir()
    (source / "PG_VERSION").write_text("17\n")
    (source / "global" / "pg_control").write_bytes(b"newnew")
    reads = [b"newold", b"newnew", b"newnew"]
    monkeypatch.setattr("tenantry.local.clusters.copying._share", lambda *_: False)
    monkeypatch.setattr("tenantry.local.clusters.copying.os.pread", lambda *_: reads.pop(0))

    copy_tree(Tree(("global",), (("global/pg_control", 6),)), source, target, owner)

    assert (target / "global" / "pg_control").read_bytes() == b"newnew"


def test_a_tree_lists_folders_before_what_is_in_them(tmp_path):
    (tmp_path / "base" / "5").mkdir(parents=True)
    (tmp_path / "base" / "5" / "1259").write_bytes(b"x" * 5000)
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / "summaries").mkdir()

    tree = read_tree(tmp_path)

    assert tree.folders.index("base") < tree.folders.index("base/5")
    assert tree.files == (("base/5/1259", 5000),)
    assert tree.room == 8192 + 4096 * len(tree.folders)


@pytest.fixture
def owner() -> Runner:
    return Runner(os.getuid(), os.getgid(), "me", drops=False)


def test_a_data_folder_is_closed_to_others_and_nothing_is_left_beside_it(tmp_path, owner):
    make_data_folder(tmp_path / "branches" / "one", owner)

    assert [path.name for path in (tmp_path / "branches").iterdir()] == ["one"]
    assert (tmp_path / "branches" / "one").stat().st_mode & 0o777 == 0o700


def test_positions_are_read_and_written_as_postgres_does():
    assert parse_lsn("16/B374D848") == 0x16B374D848
    assert format_lsn(0x16B374D848) == "16/B374D848"
    assert format_lsn(parse_lsn("0/0")) == "0/0"


def test_a_backup_label_says_where_recovery_begins():
    text = (
        "START WAL LOCATION: 1/5000028 (file 0000000A0000000100000050)\n"
        "CHECKPOINT LOCATION: 1/5000080\nBACKUP METHOD: streamed\nSTART TIMELINE: 10\n"
    )

    assert BackupLabel.parse(text) == BackupLabel(start=0x105000028, timeline=10)
    with pytest.raises(ValueError, match="no start of the WAL"):
        BackupLabel.parse("START TIMELINE: 1\n")


def test_segments_run_from_the_first_byte_to_the_last_and_no_further():
    size = 1 << 20

    assert list(segments(0x28, size, timeline=1, size=size)) == ["000000010000000000000000"]
    assert list(segments(0x28, size + 1, timeline=1, size=size))[1:] == ["000000010000000000000001"]
    assert list(segments(0xFFFFFFFF, 0x1_0000_0001, timeline=2, size=size)) == [
        "000000020000000000000FFF",
        "000000020000000100000000",
    ]


def test_states_have_the_numbers_of_pg_control():
    assert (State.SHUT_DOWN, State.IN_PRODUCTION) == (1, 6)
