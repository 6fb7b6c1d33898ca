"""Where each key of a TOML text stands."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenantry.manifest.positions import KeyPath, dotted, lines_of

EVERY_FORM = """\
# a = 0
a = 1
[b.c]  # x = 2
"d.e" = \"\"\"
x = "no\\"\"\"\\"
\"\"\"\"\"
f = [ 1, # ]
  "x,]", [
   2, {g = 'h}', i.j = 1979-05-27 07:32:00}],
]

'k k' . "l" = "\\"]"
[[m]]
n=1e5
[[m]]
[m.o]
p={}
[[m.q]]
r = '''a''
b'''''
[[m.q]]
[b]
s = inf
"""


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {each for each in [path] if each}.union(*(paths_of(each, (*path, key)) for key, each in inner))


def test_every_form_of_key_has_its_line():
    lines = {dotted(path): line for path, line in lines_of(EVERY_FORM).items()}

    assert lines == {
        "a": 2,
        "b": 22,
        "b.c": 3,
        'b.c."d.e"': 4,
        "b.c.f": 7,
        "b.c.f[0]": 7,
        "b.c.f[1]": 8,
        "b.c.f[2]": 8,
        "b.c.f[2][0]": 9,
        "b.c.f[2][1]": 9,
        "b.c.f[2][1].g": 9,
        "b.c.f[2][1].i": 9,
        "b.c.f[2][1].i.j": 9,
        'b.c."k k"': 12,
        'b.c."k k".l': 12,
        "m": 13,
        "m[0]": 13,
        "m[0].n": 14,
        "m[1]": 15,
        "m[1].o": 16,
        "m[1].o.p": 17,
        "m[1].q": 18,
        "m[1].q[0]": 18,
        "m[1].q[0].r": 19,
        "m[1].q[1]": 21,
        "b.s": 23,
    }


def test_lines_end_as_on_any_system():
    assert lines_of(EVERY_FORM.replace("\n", "\r\n")) == lines_of(EVERY_FORM)


EDITS = st.tuples(
    st.integers(0, len(EVERY_FORM)),
    st.integers(0, 4),
    st.sampled_from(["", *"\n#\"'[]{},=.x \\0", '"""', "'''", "\r\n"]),
)


def edited(edits: list[tuple[int, int, str]]) -> str:
    text = EVERY_FORM
    for at, removed, put in edits:
        text = text[:at] + put + text[at + removed :]
    return text


@settings(max_examples=400)
@given(st.lists(EDITS, max_size=4).map(edited) | st.text("ab.=[]{}\"'\n #,1\\", max_size=30))
@example("")
@example("a = [[],[[]],{},]")
@example("\"\" = \"\"\n'' . b = ''")
@example('a = """"""')
@example('a = """\\\n  b"""')
@example("a.b = 1\na.c = 2")
def test_every_key_that_tomllib_finds_has_a_line_where_it_stands(text):
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return

    lines = lines_of(text)

    assert set(lines) == paths_of(values)
    rows = text.split("\n")
    for path, line in lines.items():
        key = path[-1]
        assert isinstance(key, int) or not key.isalnum() or key in rows[line - 1]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("a", "b-c", "d_1"), "a.b-c.d_1"),
        (("a", "b c"), 'a."b c"'),
        (("a", ""), 'a.""'),
        (("a", 0, "b"), "a[0].b"),
        ((), ""),
    ],
)
def test_a_path_is_written_as_a_reader_of_toml_would(path, text):
    assert dotted(path) == text
