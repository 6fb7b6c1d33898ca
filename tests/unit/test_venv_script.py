"""`scripts/venv` takes the first Python that fits, and says what to do where none does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "venv"

# Stands for an interpreter: answers the script's questions from two variables, and notes what it was told to do.
INTERPRETER = """#!/bin/sh
case "$*" in
    *"import sys"*) [ "{version}" != old ] ;;
    *"import ensurepip"*) [ "{makes}" = venv ] ;;
    *"virtualenv --version"*) [ "{makes}" = virtualenv ] ;;
    --version) echo "Python 3.9.2" ;;
    "-m venv"*|"-m virtualenv"*)
        echo "$(basename "$0") $*" >>"$NOTES"
        for folder; do :; done
        mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
    *"pip --version"*) true ;;
    *) echo "$(basename "$0") $*" >>"$NOTES" ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """Lay pythons into a folder that is all of PATH, and run the script there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in ("sh", "basename", "mkdir", "cp"):
        (programs / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")

    def run(*, environment=None, **pythons):
        for name, (version, makes) in pythons.items():
            program = programs / name.replace("_", ".")
            program.write_text(INTERPRETER.format(version=version, makes=makes))
            program.chmod(0o755)
        notes = tmp_path / "notes"
        done = subprocess.run(
            [str(SCRIPT), str(tmp_path / "env"), "dev"],
            env={"PATH": str(programs), "NOTES": str(notes), **(environment or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, notes.read_text().splitlines() if notes.exists() else []

    return run


def test_the_first_python_that_fits_makes_the_environment(machine, tmp_path):
    done, notes = machine(python3=("new", "venv"), python3_12=("new", "venv"))

    assert done.returncode == 0
    assert notes[0] == f"python3 -m venv --clear {tmp_path / 'env'}"
    assert notes[1].endswith("--constraint constraints.txt --editable .[dev]")


def test_an_old_python3_is_passed_over(machine):
    done, notes = machine(python3=("old", "venv"), python3_12=("new", "venv"))

    assert done.returncode == 0
    assert notes[0].startswith("python3.12 -m venv")


def test_python3_without_ensurepip_is_passed_over(machine):
    done, notes = machine(python3=("new", "nothing"), python3_11=("new", "venv"))

    assert done.returncode == 0
    assert notes[0].startswith("python3.11 -m venv")


def test_virtualenv_stands_in_for_venv(machine):
    done, notes = machine(python3=("new", "virtualenv"))

    assert done.returncode == 0
    assert notes[0].startswith("python3 -m virtualenv")


def test_an_environment_that_works_is_kept(machine):
    machine(python3=("new", "venv"))
    _, notes = machine()

    assert [note for note in notes if "-m venv" in note] == notes[:1]


def test_a_python_that_is_named_is_the_only_one_tried(machine):
    done, notes = machine(environment={"PYTHON": "python3.11"}, python3=("new", "venv"), python3_11=("old", "venv"))

    assert done.returncode == 1
    assert "python3.11 is not Python 3.11 or newer" in done.stderr
    assert notes == []


@pytest.mark.parametrize(
    ("pythons", "way_out"),
    [
        ({}, "there is no python3 here: install Python 3.11 or newer"),
        ({"python3": ("old", "venv")}, "python3 here is Python 3.9.2: install one, or name it with PYTHON="),
        ({"python3": ("new", "nothing")}, "run `apt-get install python3-venv`"),
    ],
    ids=["no python", "an old python", "no ensurepip"],
)
def test_the_way_out_is_named(machine, pythons, way_out):
    done, notes = machine(**pythons)

    assert done.returncode == 1
    assert way_out in done.stderr
    assert notes == []
