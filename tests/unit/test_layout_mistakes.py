"""Each mistake in tenantry.toml: its line, its key, what is wrong and the way out."""

from __future__ import annotations

import pytest

from tests.plugins.layouts import APP, HEAD, mistakes, refused

LONG = "a" * 50

# Each text, and the line and key of every mistake in it.
BAD: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "empty": ("", [(1, "project.name")]),
    "no name": ("# x\n\n[project]\nregion = 'aws-eu-central-1'", [(3, "project.name")]),
    "blank name": ("[project]\nname = ' '", [(2, "project.name")]),
    "name with a control character": ('[project]\nname = "a\\u0007"', [(2, "project.name")]),
    "long name": (f"[project]\nname = '{'p' * 257}'", [(2, "project.name")]),
    "unknown keys": (
        f"{HEAD}colour = 1\n[brnches]\n[apps.a]\nshcema = 'a'\n[apps.a.environments]\nb = {{ parnt = 'c' }}\n",
        [(3, "project.colour"), (4, "brnches"), (6, "apps.a.shcema"), (8, "apps.a.environments.b.parnt")],
    ),
    "wrong types of the platform": (
        (
            "project = { name = 1, region = [], postgres = '17', database = true }\n"
            "branches = { default = 2020-01-01 }\n"
            "extensions = { public = 'x' }\nauth = { schema = 1.5 }"
        ),
        [
            (1, "project.database"),
            (1, "project.name"),
            (1, "project.postgres"),
            (1, "project.region"),
            (2, "branches.default"),
            (3, "extensions.public"),
            (4, "auth.schema"),
        ],
    ),
    "wrong types of an app": (
        (
            f"{HEAD}[apps.a]\nschema = {{}}\ntenant_type = 1\ntenant_column = false\nglobal_tables = 3\n"
            "migrations = 'x'\nenvironments = []"
        ),
        [
            (4, "apps.a.schema"),
            (5, "apps.a.tenant_type"),
            (6, "apps.a.tenant_column"),
            (7, "apps.a.global_tables"),
            (8, "apps.a.migrations"),
            (9, "apps.a.environments"),
        ],
    ),
    "wrong contexts": (
        (
            f"{HEAD}[apps.a]\ncontext = 'sealed'\ncontext_keys = [0, true, 2]\n[apps.b]\ncontext_keys = []\n"
            "[apps.c]\ncontext_keys = [1, 1]\n[apps.d]\ncontext_keys = 1"
        ),
        [
            (4, "apps.a.context"),
            (5, "apps.a.context_keys[0]"),
            (5, "apps.a.context_keys[1]"),
            (7, "apps.b.context_keys"),
            (9, "apps.c.context_keys"),
            (11, "apps.d.context_keys"),
        ],
    ),
    "wrong operators": (
        (
            f"{HEAD}[apps.a.operators]\nplatform = 1\nwrite = 'x'\npartners = {{ table = 'A b', tenant = 'ctid' }}\n"
            "[apps.b]\noperators = true"
        ),
        [
            (4, "apps.a.operators.platform"),
            (5, "apps.a.operators.write"),
            (6, "apps.a.operators.partners.partner"),
            (6, "apps.a.operators.partners.table"),
            (6, "apps.a.operators.partners.tenant"),
            (8, "apps.b.operators"),
        ],
    ),
    "a schema that guards another app": (f"{HEAD}[apps.a]\n[apps.b]\nschema = 'a_guard'", [(5, "apps.b.schema")]),
    "no tables": (
        "project = 1\nbranches = 1\nextensions = 1\nauth = 1\napps = 1\n",
        [(1, "project"), (2, "branches"), (3, "extensions"), (4, "auth"), (5, "apps")],
    ),
    "apps as an array": (f"{HEAD}[[apps]]\nname = 'a'\n", [(3, "apps")]),
    "app and environment that are no tables": (
        f"{HEAD}[apps]\na = 1\n[apps.b.environments]\nc = 'x'\nd = {{ parent = 1, ephemeral = 'yes' }}",
        [
            (4, "apps.a"),
            (6, "apps.b.environments.c"),
            (7, "apps.b.environments.d.ephemeral"),
            (7, "apps.b.environments.d.parent"),
        ],
    ),
    "a boolean is no version": (f"{HEAD}postgres = true", [(3, "project.postgres")]),
    "old Postgres": (f"{HEAD}postgres = 13", [(3, "project.postgres")]),
    "future Postgres": (f"{HEAD}postgres = 19", [(3, "project.postgres")]),
    "region without its cloud": (f"{HEAD}region = 'us-east-2'", [(3, "project.region")]),
    "region in capitals": (f"{HEAD}region = 'AWS-us-east-2'", [(3, "project.region")]),
    "reserved database": (f"{HEAD}database = 'postgres'", [(3, "project.database")]),
    "database whose owner is too long": (f"{HEAD}database = '{'d' * 58}'", [(3, "project.database")]),
    "blank default branch": (f"{HEAD}[branches]\ndefault = ''", [(4, "branches.default")]),
    "long default branch": (f"{HEAD}[branches]\ndefault = '{'b' * 64}'", [(4, "branches.default")]),
    "default branch that reads as an id": (f"{HEAD}[branches]\ndefault = 'br-a-b-c'", [(4, "branches.default")]),
    "default branch that cannot be read": (
        f"[branches]\ndefault = 1\n{HEAD}[apps.a.environments]\nb = {{ parent = 'main' }}",
        [(2, "branches.default")],
    ),
    "extensions": (
        f"{HEAD}[extensions]\npublic = [\n  'pgcrypto',\n  1,\n  'pgcrypto', 'a b',\n]\nother = []",
        [
            (6, "extensions.public[1]"),
            (7, "extensions.public[2]"),
            (7, "extensions.public[3]"),
            (9, "extensions.other"),
        ],
    ),
    "auth in public": (f"{HEAD}[auth]\nschema = 'public'", [(4, "auth.schema")]),
    "auth in a schema of Postgres": (f"{HEAD}[auth]\nschema = 'pg_auth'", [(4, "auth.schema")]),
    "apps in the auth schema": (
        f"{HEAD}[auth]\nschema = 'users'\n[apps.a]\nschema = 'users'\n[apps.users]",
        [(6, "apps.a.schema"), (7, "apps.users.schema"), (7, "apps.users.schema")],
    ),
    "reserved schemas": (
        (
            f"{HEAD}[apps.a]\nschema='public'\n[apps.b]\nschema='neon_auth'\n[apps.c]\nschema='pg_x'\n[apps.d]\nschema='pg'\n"
            "[apps.information_schema]\n"
        ),
        [
            (4, "apps.a.schema"),
            (6, "apps.b.schema"),
            (8, "apps.c.schema"),
            (10, "apps.d.schema"),
            (11, "apps.information_schema.schema"),
        ],
    ),
    "bad app names": (
        f"{HEAD}[apps.Shop]\n[apps.a-partner-b]\n[apps.'']\n[apps.'a b']\n",
        [(3, "apps.Shop"), (4, "apps.a-partner-b"), (5, 'apps.""'), (6, 'apps."a b"')],
    ),
    "bad environment names": (
        f"{APP}Prod = {{}}\npre-prod = {{}}\n",
        [(4, "apps.a.environments.Prod"), (5, "apps.a.environments.pre-prod")],
    ),
    "a schema whose roles are too long": (f"{HEAD}[apps.a]\nschema = '{'s' * 55}'", [(4, "apps.a.schema")]),
    "an app whose default schema is too long": (f"{HEAD}[apps.{LONG}aaaaa]", [(3, f"apps.{LONG}aaaaa.schema")]),
    "a branch that is too long": (
        f"{HEAD}[apps.{LONG}.environments]\n{'e' * 12} = {{}}\n{'e' * 13} = {{}}",
        [(5, f"apps.{LONG}.environments.{'e' * 13}")],
    ),
    "a branch that reads as an id": (
        f"{HEAD}[apps.br-a-b.environments]\nprod = {{}}",
        [(4, "apps.br-a-b.environments.prod")],
    ),
    "one schema for two apps": (
        f"{HEAD}[apps.a]\nschema = 's'\n[apps.b]\nschema = 's'\n[apps.c-d]\n[apps.c_d]\n",
        [(6, "apps.b.schema"), (8, "apps.c_d.schema")],
    ),
    "schemas that differ in case": (
        f"{HEAD}[apps.a]\nschema = 's'\n[apps.b]\nschema = 'S'",
        [(6, "apps.b.schema"), (6, "apps.b.schema")],
    ),
    "apps that differ in case": (
        f"{HEAD}[apps.shop]\nschema='s'\n[apps.SHOP]\nschema='t'",
        [(5, "apps.SHOP"), (5, "apps.SHOP")],
    ),
    "environments that differ in case": (
        f"{APP}dev = {{}}\nDEV = {{}}",
        [(5, "apps.a.environments.DEV"), (5, "apps.a.environments.DEV")],
    ),
    "a branch that is the default branch": (
        f"{HEAD}[branches]\ndefault = 'Shop-Prod'\n[apps.shop.environments]\nprod = {{}}",
        [(6, "apps.shop.environments.prod")],
    ),
    "two names for one branch": (
        f"{HEAD}[apps.a.environments]\nb-c = {{}}\n[apps.a-b.environments]\nc = {{}}",
        [(4, "apps.a.environments.b-c"), (6, "apps.a-b.environments.c")],
    ),
    "two names for one branch but for case": (
        f"{HEAD}[apps.a.environments]\nb-c = {{}}\n[apps.A-b]\nschema = 's'\n[apps.A-b.environments]\nc = {{}}",
        [(4, "apps.a.environments.b-c"), (5, "apps.A-b"), (8, "apps.A-b.environments.c")],
    ),
    "two schemas that cannot be read": (
        f"{HEAD}[apps.a]\nschema = 1\n[apps.b]\nschema = 1",
        [(4, "apps.a.schema"), (6, "apps.b.schema")],
    ),
    "a parent that is not there": (
        f"{APP}prod = {{}}\ndev = {{ parent = 'prd' }}",
        [(5, "apps.a.environments.dev.parent")],
    ),
    "a parent of another app": (
        f"{APP}prod = {{}}\n[apps.b.environments]\ndev = {{ parent = 'prod' }}",
        [(6, "apps.b.environments.dev.parent")],
    ),
    "an empty parent": (f"{APP}dev = {{ parent = '' }}", [(4, "apps.a.environments.dev.parent")]),
    "its own parent": (f"{APP}dev = {{ parent = 'dev' }}", [(4, "apps.a.environments.dev.parent")]),
    "a circle of two": (
        f"{APP}x = {{ parent = 'y' }}\ny = {{ parent = 'x' }}",
        [(4, "apps.a.environments.x.parent")],
    ),
    "a circle through the default branch's name": (
        f"{APP}dev = {{ parent = 'production' }}\nproduction = {{ parent = 'dev' }}",
        [(4, "apps.a.environments.dev.parent")],
    ),
    "two circles, and a line into one": (
        f"{APP}z={{parent='a'}}\na={{parent='b'}}\nb={{parent='a'}}\nc={{parent='d'}}\nd={{parent='e'}}\ne={{parent='c'}}",
        [(5, "apps.a.environments.a.parent"), (7, "apps.a.environments.c.parent")],
    ),
    "a line into what is its own parent": (
        f"{APP}x = {{ parent = 'y' }}\ny = {{ parent = 'y' }}",
        [(5, "apps.a.environments.y.parent")],
    ),
    "a lasting child of an ephemeral parent": (
        f"{APP}dev = {{ ephemeral = true }}\nx = {{ parent = 'dev', ephemeral = true }}\ny = {{ parent = 'dev' }}",
        [(6, "apps.a.environments.y.parent")],
    ),
    "a child that may be ephemeral": (
        f"{APP}dev = {{ ephemeral = true }}\nx = {{ parent = 'dev', ephemeral = 1 }}",
        [(5, "apps.a.environments.x.ephemeral")],
    ),
    "migrations": (
        f"{HEAD}[apps.a.migrations]\n[apps.b]\nmigrations = {{ kind = 'alembik', path = 'no/such', x = 1 }}\n",
        [
            (3, "apps.a.migrations.kind"),
            (3, "apps.a.migrations.path"),
            (5, "apps.b.migrations.kind"),
            (5, "apps.b.migrations.path"),
            (5, "apps.b.migrations.x"),
        ],
    ),
    "migrations of a later release": (
        f"{HEAD}[apps.a]\nmigrations = {{kind='drizzle', path='.'}}\n[apps.b]\nmigrations = {{kind='sql', path='.'}}",
        [(4, "apps.a.migrations.kind"), (6, "apps.b.migrations.kind")],
    ),
    "migrations in a file": (
        f"{HEAD}[apps.a]\nmigrations = {{kind='alembic', path='f'}}",
        [(4, "apps.a.migrations.path")],
    ),
    "migrations where no folder can be": (
        (
            f"{HEAD}[apps.a]\nmigrations = {{ kind='alembic', path=\"a\\u0000\" }}\n"
            f"[apps.b]\nmigrations = {{ kind='alembic', path='{'x' * 5000}' }}"
        ),
        [(4, "apps.a.migrations.path"), (6, "apps.b.migrations.path")],
    ),
    "tenants": (
        (
            f"{HEAD}[apps.a]\ntenant_type = 'int'\ntenant_column = 'Tenant'\nglobal_tables = ['t', 'T', 't']\n"
            "[apps.b]\ntenant_column = 'xmin'"
        ),
        [
            (4, "apps.a.tenant_type"),
            (5, "apps.a.tenant_column"),
            (6, "apps.a.global_tables[1]"),
            (6, "apps.a.global_tables[2]"),
            (8, "apps.b.tenant_column"),
        ],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_every_mistake_has_its_line_and_key(case, tmp_path):
    (tmp_path / "f").touch()
    text, expected = BAD[case]

    error = refused(text, tmp_path)

    assert sorted((each.line, each.key) for each in error.mistakes) == sorted(expected), str(error)
    assert [each.line for each in error.mistakes] == sorted(each.line for each in error.mistakes)
    assert all(each.message and each.way_out for each in error.mistakes)


@pytest.mark.parametrize("case", BAD)
def test_no_mistake_hides_another_one(case, tmp_path):
    (tmp_path / "f").touch()
    text, expected = BAD[case]

    found = mistakes(text + "\n[last]\n", tmp_path)

    assert found[:-1] == mistakes(text, tmp_path)
    assert found[-1] == (text.count("\n") + 2, "last")
    assert len(found) == len(expected) + 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{HEAD}[apps.a]\nshcema = 'x'", 4, "did you mean `schema`?"),
        (f"{HEAD}regoin = 'x'", 3, "use `name`, `region`, `postgres` or `database`"),
        (f"{APP}prod={{}}\ndev={{parent='prd'}}", 5, "did you mean `prod`? there are `prod` and `production`"),
        (f"{APP}x={{parent='y'}}\ny={{parent='z'}}\nz={{parent='x'}}", 4, "x → y → z → x"),
        (f"{HEAD}[apps.a]\nmigrations={{kind='drizzle',path='.'}}", 4, "drizzle migrations are not supported yet"),
        (f"{HEAD}postgres = '17'", 3, "is a string, not an integer; write it as `postgres = 17`"),
        (f"{HEAD}postgres = true", 3, "is a boolean, not an integer"),
        (f"{HEAD}postgres = 13", 3, "use one from 14 to 18"),
        (f"{HEAD}[apps.a]\nschema='s'\n[apps.b]\nschema='s'", 6, "'s' is the schema of apps.a as well"),
        (f"{HEAD}[apps.a]\nmigrations={{kind='alembic',path='f'}}", 4, "'f' is not a folder"),
        (f"{HEAD}[apps.a]\nmigrations={{kind='alembic',path='g'}}", 4, "'g' does not exist"),
        (f"{APP}a={{ephemeral=true}}\nb={{parent='a'}}", 5, "make b ephemeral too, or give it a parent that lasts"),
        (f"{HEAD}[apps.{LONG}.environments]\n{'e' * 13}={{}}", 4, "is 64 bytes long"),
    ],
)
def test_a_mistake_says_what_is_wrong_and_the_way_out(text, line, words, tmp_path):
    (tmp_path / "f").touch()

    shown = str(refused(text, tmp_path)).splitlines()

    assert any(row.startswith(f"  line {line}: ") and words in row for row in shown), shown
