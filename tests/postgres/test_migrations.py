"""Migrations on a real Postgres: to head, one transaction a revision, and what is said when one fails."""

import textwrap
import threading
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from tenantry import migrations


class Folder:
    """A script scripts that tests write revisions into."""

    def __init__(self, path):
        self.path = path
        (path / "versions").mkdir(parents=True)

    def revision(self, name, *, down, body):
        lines = textwrap.indent(body, "    ")
        head = f"from alembic import op\nimport sqlalchemy as sa\nrevision = {name!r}\ndown_revision = {down!r}\n"
        (self.path / "versions" / f"{name}.py").write_text(f"{head}def upgrade():\n{lines}\n")
        return self


@pytest.fixture
def scripts(tmp_path):
    made = Folder(tmp_path / "50% of migrations")
    made.revision("r1", down=None, body="op.create_table('a', sa.Column('id', sa.Integer))")
    return made.revision("r2", down="r1", body="op.execute('ALTER TABLE a ADD b text')")


@pytest.fixture
def place(database):
    role = database.role("migrator")
    with psycopg.connect(database.admin_dsn) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA app AUTHORIZATION {}").format(sql.Identifier(role)))

    def connect():
        return psycopg.connect(database.dsn(role))

    return connect


def tables(connect):
    with connect() as conn:
        return {row[0] for row in conn.execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'app'")}


def current(connect):
    with connect() as conn:
        return migrations.read_current(conn, "app")


def test_a_schema_is_brought_to_head_and_stays_there(place, scripts):
    before = current(place)

    first = migrations.upgrade(place, scripts.path, schema="app")
    second = migrations.upgrade(place, scripts.path, schema="app")

    assert (before, first, second) == (frozenset(), ("r1", "r2"), ())
    assert current(place) == {"r2"}
    assert tables(place) == {"a", "alembic_version"}


def test_the_environment_script_is_not_run(place, scripts):
    (scripts.path / "env.py").write_text("raise SystemExit('env.py ran')")

    assert migrations.upgrade(place, scripts.path, schema="app") == ("r1", "r2")


def test_nothing_stays_of_a_revision_that_fails_half_way(place, scripts):
    scripts.revision("r3", down="r2", body="op.execute('CREATE TABLE c (id int)')\nop.execute('SELECT 1 / 0')")
    scripts.revision("r4", down="r3", body="op.execute('CREATE TABLE d (id int)')")

    with pytest.raises(migrations.MigrationFailedError) as caught:
        migrations.upgrade(place, scripts.path, schema="app")

    assert (caught.value.revision, caught.value.file.name) == ("r3", "r3.py")
    assert caught.value.reason == "division by zero"
    assert current(place) == {"r2"}
    assert "c" not in tables(place)


def test_an_upgrade_goes_on_after_the_revision_was_mended(place, scripts):
    scripts.revision("r3", down="r2", body="raise ValueError('not yet')")
    with pytest.raises(migrations.MigrationFailedError, match="ValueError: not yet"):
        migrations.upgrade(place, scripts.path, schema="app")
    scripts.revision("r3", down="r2", body="op.execute('CREATE TABLE c (id int)')")

    assert migrations.upgrade(place, scripts.path, schema="app") == ("r3",)


def test_a_failure_says_nothing_of_parameters(place, scripts):
    scripts.revision(
        "r3",
        down="r2",
        body="op.get_bind().execute(sa.text(\"INSERT INTO a VALUES (1, :p)\"), {'p': 'hush'})\n"
        "op.get_bind().execute(sa.text('SELECT missing, :p'), {'p': 'hush'})",
    )

    with pytest.raises(migrations.MigrationFailedError) as caught:
        migrations.upgrade(place, scripts.path, schema="app")

    assert "hush" not in str(caught.value)
    assert "missing" in caught.value.reason


def test_a_migration_does_not_wait_long_for_a_lock(place, scripts):
    migrations.upgrade(place, scripts.path, schema="app")
    scripts.revision("r3", down="r2", body="op.execute('ALTER TABLE a ADD c text')")

    with place() as other:
        other.execute("SELECT * FROM app.a")

        with pytest.raises(migrations.MigrationFailedError, match="lock timeout"):
            migrations.upgrade(place, scripts.path, schema="app", lock_timeout=timedelta(milliseconds=50))

    assert current(place) == {"r2"}


def test_a_revision_that_the_folder_does_not_have_is_named(place, scripts):
    migrations.upgrade(place, scripts.path, schema="app")
    with place() as conn:
        conn.execute("UPDATE app.alembic_version SET version_num = 'zz'")

    with pytest.raises(migrations.UnknownRevisionError, match="at revision zz"):
        migrations.upgrade(place, scripts.path, schema="app")


def test_two_schemas_are_migrated_at_once_without_mixing(database, tmp_path):
    roles = [database.role(f"m{n}") for n in (1, 2)]
    folders = [Folder(tmp_path / role) for role in roles]
    with psycopg.connect(database.admin_dsn) as conn:
        for role, each in zip(roles, folders, strict=True):
            name = sql.Identifier(role)
            conn.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(name, name))
            each.revision("r1", down=None, body=f"op.execute('SELECT pg_sleep(0.1); CREATE TABLE of_{role} ()')")

    def run(role, scripts):
        migrations.upgrade(lambda: psycopg.connect(database.dsn(role)), scripts.path, schema=role)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(roles, folders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with psycopg.connect(database.admin_dsn) as conn:
        rows = conn.execute(
            "SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE tablename LIKE 'of_%'"
        ).fetchall()
    assert sorted(rows) == sorted((role, f"of_{role}") for role in roles)
