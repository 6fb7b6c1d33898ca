"""A skip fails where CI is set, and is a skip where it is not."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SKIPS = {
    "in the body": "import pytest\ndef test_it(): pytest.skip('no Postgres here')",
    "by a mark": "import pytest\n@pytest.mark.skipif(True, reason='no Postgres here')\ndef test_it(): pass",
    "in a fixture": (
        "import pytest\n@pytest.fixture\ndef part(): pytest.skip('no Postgres here')\ndef test_it(part): pass"
    ),
    "for a whole module": "import pytest\npytest.skip('no Postgres here', allow_module_level=True)",
    "for a missing module": "import pytest\npytest.importorskip('no_such_module_here')",
}


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    pytester.makepyfile(test_sample=source)
    return pytester.runpytest_subprocess("-p", "tests.plugins.ci", "-p", "no:cacheprovider")


@pytest.fixture(autouse=True)
def _plugin_can_be_imported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_a_skip_fails_in_ci(pytester, monkeypatch, source):
    monkeypatch.setenv("CI", "true")

    result = run(pytester, source)

    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*skipped where CI is set*"])


@pytest.mark.parametrize("value", ["", "false", "0"])
def test_a_skip_is_a_skip_on_a_laptop(pytester, monkeypatch, value):
    monkeypatch.setenv("CI", value)

    result = run(pytester, SKIPS["in the body"])

    result.assert_outcomes(skipped=1)


def test_an_expected_failure_is_no_skip(pytester, monkeypatch):
    monkeypatch.setenv("CI", "true")

    result = run(pytester, "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False")

    result.assert_outcomes(xfailed=1)
