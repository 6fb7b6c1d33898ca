"""Any layout: never another error than LayoutError, never a credential shown, and names that hold what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.core.errors import LayoutError
from tenantry.core.layout import Layout
from tenantry.core.names import parse_branch_name
from tenantry.manifest import parse_layout
from tenantry.manifest.shapes import KEYS
from tests.plugins.layouts import APP, HEAD, parsed, refused

WORDS = ["a", "b", "A", "prod", "dev", "production", "a-b", "public", "pg_x", "neon_auth", "", "é", "a" * 70, "partner"]
SCALARS = st.sampled_from(["1", "true", "17", "1.5", "1979-05-27", "[]", "{}"]) | st.sampled_from(WORDS).map(repr)
KEY_NAMES = st.sampled_from(sorted({key for keys in KEYS.values() for key in keys} | {"x", "kind", "path"}))
ENVIRONMENTS = st.dictionaries(
    st.sampled_from(WORDS), st.fixed_dictionaries({}, optional={"parent": SCALARS, "ephemeral": SCALARS}), max_size=5
)
APPS = st.dictionaries(st.sampled_from(WORDS), st.tuples(st.dictionaries(KEY_NAMES, SCALARS), ENVIRONMENTS), max_size=3)
TABLES = st.dictionaries(
    st.sampled_from(["project", "branches", "extensions", "auth", "zzz"]), st.dictionaries(KEY_NAMES, SCALARS)
)


def inline(table: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key!r} = {value}" for key, value in table.items()) + "}"


def written(tables: dict[str, dict[str, str]], apps: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, keys in tables.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]
    for name, (keys, environments) in apps.items():
        lines += [f"[apps.{name!r}]", *(f"{key} = {each}" for key, each in keys.items() if key != "environments")]
        lines += [f"[apps.{name!r}.environments]", *(f"{key!r} = {inline(each)}" for key, each in environments.items())]
    return "\n".join(lines)


def read(text: str) -> Layout | LayoutError:
    try:
        return parse_layout(text, source="f", base=Path("/nowhere"))
    except LayoutError as error:
        return error


@settings(max_examples=300)
@given(TABLES, APPS)
def test_any_layout_is_read_or_refused_with_mistakes_that_stand_in_it(tables, apps):
    text = written(tables, apps)

    result = read(text)

    if isinstance(result, LayoutError):
        assert result.mistakes
        assert all(1 <= each.line <= max(len(text.splitlines()), 1) for each in result.mistakes)
        assert len(set(result.mistakes)) == len(result.mistakes)
        assert all(each.key != "TOML" for each in result.mistakes)


@given(st.text(max_size=60) | st.text("[]{}='\"\n.,#ab1 ", max_size=60))
def test_any_text_is_read_or_refused(text):
    assert isinstance(read(text), Layout | LayoutError)


GOOD_WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: not word.startswith("pg"))
PARENTS = st.dictionaries(GOOD_WORD, st.integers(0, 9), min_size=1, max_size=6)


@given(apps=st.dictionaries(GOOD_WORD.filter(lambda word: word not in {"public", "partner"}), PARENTS, max_size=3))
def test_a_good_layout_has_parents_first_and_branch_names_that_give_their_parts_back(apps):
    lines = [HEAD, "[branches]", "default = 'the main one'"]
    for app, environments in apps.items():
        lines.append(f"[apps.{app}.environments]")
        names = list(environments)
        # Each has one that stands before it in a shuffled file as its parent, or the default branch.
        for at, (name, pick) in reversed(list(enumerate(environments.items()))):
            parent = f"parent = '{names[pick % at]}'" if at else ""
            lines.append(f"{name} = {{ {parent} }}")

    layout = parsed("\n".join(lines))

    seen: set[tuple[str, str]] = set()
    for app, environment in layout.environments():
        assert environment.parent is None or (app.name, environment.parent) in seen
        seen.add((app.name, environment.name))
        parts = parse_branch_name(environment.branch)
        assert (parts.app, parts.environment) == (app.name, environment.name)
    assert seen == {(app, name) for app, environments in apps.items() for name in environments}


# --- credentials --------------------------------------------------------------------------------------------------

SECRET = "hunter2hunter2hunter2"
EXPOSED = [
    f"postgresql://ann:{SECRET}@db.example/x",
    f"postgres://ann:p@ss{SECRET}@db/x",
    f"postgresql://ann:a/b@{SECRET}@db/x",
    f"POSTGRESQL+psycopg://:{SECRET}@db/x",
    f"https://ann:{SECRET}@console.example",
    f"host=db password={SECRET} user=ann",
    f"napi_{SECRET}",
    f"npg_{SECRET}",
    f"postgresql://long:{SECRET}{'x' * 80}@db",
    f"npg_{SECRET}{'x' * 30}",  # a schema whose role's name is too long
]
PLACES = {
    "a name": ("[project]\nname = '{}'\n", 2, "project.name"),
    "a name in quotes": ('[project]\nname = "{}"\n', 2, "project.name"),
    "a comment": (HEAD + "# {}\n", 3, "text"),
    "a comment beside a mistake": (HEAD + "x = 1 # {}\n", 3, "text"),
    "an unknown key": (HEAD + "x = '{}'\n", 3, "project.x"),
    "a long text": (HEAD + "x = '" + "-" * 70 + " {}'\n", 3, "project.x"),
    "a text of several lines": (HEAD + "x = '''\n\n{}'''\n", 3, "project.x"),
    "a key": (HEAD + "[apps.'{}']\n", 3, None),
    "an array": (HEAD + "[extensions]\npublic = [\n'{}']\n", 5, "extensions.public[0]"),
    "a schema": (HEAD + "[apps.a]\nschema = '{}'\n", 4, "apps.a.schema"),
    "a parent": (APP + "a = {{ parent = '{}' }}\n", 4, "apps.a.environments.a.parent"),
    "a path": (HEAD + "[apps.a]\nmigrations = {{ kind = 'alembic', path = '{}' }}\n", 4, "apps.a.migrations.path"),
    "a kind": (HEAD + "[apps.a]\nmigrations = {{ kind = '{}', path = '.' }}\n", 4, "apps.a.migrations.kind"),
    "a default branch": (HEAD + "[branches]\ndefault = '{}'\n", 4, "branches.default"),
    "a file with a mistake of syntax": (HEAD + "x = = 1\n# {}", 4, "text"),
    "the mistake of syntax itself": (HEAD + "x = {}", 3, "text"),
    "a table that stands there twice": (HEAD + "[apps.'{0}']\n[apps.'{0}']", 3, "text"),
    "an environment that is offered as a parent": (APP + "'{}' = {{}}\nb = {{ parent = 'x' }}", 4, None),
    "a key that stands there twice": (HEAD + "'{0}' = 1\n'{0}' = 1", 3, "text"),
}


@pytest.mark.parametrize("credential", EXPOSED)
@pytest.mark.parametrize("place", PLACES)
def test_a_credential_is_refused_wherever_it_stands_and_never_shown(place, credential):
    text, line, key = PLACES[place]

    error = refused(text.format(credential))

    assert SECRET not in repr(error) + str(error) + repr(error.mistakes)
    found = [(each.line, each.key) for each in error.mistakes if "password or an API key" in each.message]
    assert any(each[0] == line and key in {each[1], None} for each in found)
    assert len({each[0] for each in found}) == len(found)


def test_a_credential_in_a_text_of_several_lines_is_told_once():
    error = refused(HEAD + f"x = '''\n\npostgresql://ann:{SECRET}@db'''")

    assert str(error).count("password or an API key") == 1


@pytest.mark.parametrize("text", ['x = "{}"', '"{}" = 1'])
def test_a_credential_that_is_written_with_escapes_is_found(text):
    error = refused(HEAD + text.format(f"postgresql:\\u002f/ann:{SECRET}\\u0040db"))

    assert "holds a password or an API key" in str(error)
    assert SECRET not in str(error)


def test_a_long_value_is_cut_in_a_message():
    assert len(str(refused(HEAD + f"[apps.a]\nschema = '{'S' * 5000}'"))) < 400


@pytest.mark.parametrize(
    "text", ["postgresql://db/x", "postgresql://ann@db/x", "https://a.b:80/c", "password", "npg_x"]
)
def test_what_holds_no_credential_is_no_secret(text):
    assert parsed(f"# {text}\n{HEAD}").project.name == "p"
