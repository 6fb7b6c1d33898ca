"""The benchmarks' frame: rows, the machine, and the page that is rendered from the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import find
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.page import PAGE, Result, figure, read_results, render, write_result
from benchmarks.result import compare, limit

MACHINE = Machine(
    cpu="A CPU",
    cores=2,
    memory_gib=23.5,
    kernel="Linux 6.1",
    file_system="xfs",
    postgres="17.10",
    python="3.11.7",
)
ROWS = (
    limit("How long?", ours=20, at_most=30, unit="ms"),
    compare("How long beside a|b?", ours=90, peer="a|b", peers=45, unit="ms", at_most_ratio=1.5),
)


@pytest.mark.parametrize(("ours", "met"), [(29.9, True), (30, True), (30.1, False)])
def test_a_limit_is_met_at_or_under_it(ours, met):
    row = limit("How long?", ours=ours, at_most=30, unit="ms")

    assert row.met is met
    assert row.ratio == pytest.approx(ours / 30)


def test_a_limit_of_nothing_has_no_ratio():
    row = limit("How many?", ours=1, at_most=0, unit="packages")

    assert (row.ratio, row.met) == (None, False)


@pytest.mark.parametrize(("peers", "wanted", "met"), [(50, 2, True), (49, 2, False), (1, None, True), (None, 2, False)])
def test_a_comparison_is_met_by_its_ratio(peers, wanted, met):
    row = compare("How long?", ours=100, peer="theirs", peers=peers, unit="ms", at_most_ratio=wanted)

    assert row.met is met


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path):
    result = Result(name="startup", title="Startup", date="2026-11-24", machine=MACHINE, rows=ROWS)

    write_result(result, tmp_path)

    assert read_results(tmp_path) == [result]


def test_the_page_holds_every_row_and_says_which_goal_is_missed():
    page = render([Result(name="startup", title="Startup", date="2026-11-24", machine=MACHINE, rows=ROWS)])

    assert "| How long? | 20 ms | limit | 30 ms | 0.667 | at most 30 ms | yes |" in page
    assert r"| How long beside a\|b? | 90 ms | a\|b | 45 ms | 2 | at most 1.5 times a\|b | **no** |" in page


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0, "0"), (0.12345, "0.123"), (99.96, "100"), (12345.6, "12,346")]
)
def test_a_figure_has_three_significant_digits(value, shown):
    assert figure(value) == shown


def test_the_file_system_is_that_of_the_nearest_mount():
    mounts = "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw 0 0\ntmpfs /data/with\\040space tmpfs rw 0 0\n"

    found = [file_system(Path(place), mounts) for place in ("/home/x", "/data/y", "/data/with space/z", "/database")]

    assert found == ["ext4", "xfs", "tmpfs", "ext4"]


def test_a_result_does_not_name_the_machine(tmp_path):
    host = Path("/proc/sys/kernel/hostname").read_text(encoding="utf-8").strip()

    machine = this_machine(tmp_path)

    assert host not in str(machine).split()


def test_the_performance_page_is_what_the_results_render_to():
    assert PAGE.read_text(encoding="utf-8") == render(read_results()), "run `python -m benchmarks --render`"


def test_every_benchmark_has_a_result_and_every_result_its_benchmark():
    assert {result.name for result in read_results()} == set(find()), "run `make bench`"
