"""The pytest plugin, as an application's own tests use it: each test here is a small project of its own."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

CONFTEST = """
import pytest
from sqlalchemy import FetchedValue, Uuid, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from uuid import UUID, uuid4
from tenantry.session.sqlalchemy import protect

CURRENT = "(SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)"
LAID = []

class Base(DeclarativeBase):
    pass

class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(Uuid, server_default=FetchedValue())
    title: Mapped[str]

@pytest.fixture(scope="session")
def tenantry_schema():
    def lay(database):
        LAID.append(database.name)
        with database.admin() as conn:
            for statement in STATEMENTS:
                conn.execute(statement.format(app=database.app_role, current=CURRENT))
    return lay

@pytest.fixture
def engine(tenantry_database):
    engine = protect(create_engine(tenantry_database.url()))
    yield engine
    engine.dispose()

@pytest.fixture
def make_session(engine):
    return sessionmaker(engine)

@pytest.fixture
def tenantry_rows(make_session):
    def write(tenant):
        with make_session() as session:
            session.add(Ticket(title=f"of {tenant}"))
            session.commit()
    return write
"""

TABLE = [
    'CREATE TABLE tickets (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, title text, "a:b" int)',
    "ALTER TABLE tickets ADD twice int GENERATED ALWAYS AS (2) STORED, ADD n int GENERATED ALWAYS AS IDENTITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO {app}",
]
WALL = [
    "ALTER TABLE tickets ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY tenant ON tickets USING (tenant_id = {current}) WITH CHECK (tenant_id = {current})",
]


HALF = "CREATE POLICY p ON tickets USING (tenant_id = {current}) WITH CHECK (true)"


@pytest.fixture
def server(database) -> str:
    """The session's own cluster; databases and roles of the runs in here go with them."""
    return conninfo.make_conninfo(database.admin_dsn, dbname="postgres")


@pytest.fixture
def project(pytester, server):
    """A project with these tables: gives its tests to pytest, and what came of them."""

    def run(tests: str, *arguments: str, statements: list[str] | None = None, ini: str = "", extra: str = ""):
        head = f"STATEMENTS = {TABLE + WALL if statements is None else statements!r}\n"
        pytester.makeconftest(head + CONFTEST + extra)
        pytester.makeini(f"[pytest]\n{ini}")
        pytester.makepyfile("import pytest\nfrom sqlalchemy import text\nfrom tenantry import *\n" + tests)
        return pytester.runpytest_inprocess("--tenantry-dsn", server, "-p", "no:cacheprovider", *arguments)

    return run


ISOLATED = """
from tenantry.testing import assert_isolated
def test_isolation(make_session, two_tenants):
    assert_isolated(make_session, two_tenants)
"""


def test_each_test_has_a_database_of_its_own_with_two_tenants_and_all_go(project, server):
    tests = """
NAMES = set()
@pytest.mark.parametrize("turn", [1, 2])
def test_a(turn, tenantry_database, make_session, two_tenants):
    NAMES.add(tenantry_database.name)
    acme, bolt = two_tenants
    with tenant_scope(acme), make_session() as session:
        assert session.scalars(text("SELECT title FROM tickets")).all() == [f"of {acme}"]
    assert "password" not in repr(tenantry_database) + repr(two_tenants)
def test_b():
    import conftest
    assert len(NAMES) == 2 and len(conftest.LAID) == 1
"""
    project(tests, "-p", "no:randomly").assert_outcomes(passed=3)

    with psycopg.connect(server) as conn:
        left = conn.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'tenantry_test%'"
            " UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenantry_test%'"
        ).fetchall()
    assert left == []


def test_workers_of_xdist_have_templates_of_their_own(project, pytester, server):
    tests = """
@pytest.mark.parametrize("turn", range(4))
def test_a(turn, two_tenants, tenantry_template, worker_id):
    print(worker_id)
    assert tenantry_template.database.name
"""
    project(tests, "-n", "2").assert_outcomes(passed=4)


def test_an_isolated_table_is_found_isolated(project):
    project(ISOLATED).assert_outcomes(passed=1)


def test_an_async_session_is_tried_too(project):
    tests = """
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from tenantry.session.sqlalchemy import protect
from tenantry.testing import async_assert_isolated
def test_isolation(tenantry_database, two_tenants):
    async def main():
        engine = protect(create_async_engine(tenantry_database.url("asyncpg")))
        try:
            await async_assert_isolated(lambda: AsyncSession(engine), two_tenants)
        finally:
            await engine.dispose()
    asyncio.run(main())
"""
    project(tests).assert_outcomes(passed=1)
    result = project(tests, statements=TABLE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*public.tickets: tenant * reads tenant *: 1 row"])


@pytest.mark.parametrize(
    ("statements", "lines"),
    [
        (TABLE, ["reads", "changes", "gives its own to", "writes one for", "deletes"]),
        ([*TABLE, WALL[0], HALF], ["gives its own to", "writes one for"]),
        ([*TABLE, *WALL, "CREATE POLICY r ON tickets FOR SELECT USING (true)"], ["reads"]),
        ([*TABLE, *WALL, "CREATE POLICY i ON tickets FOR INSERT WITH CHECK (true)"], ["writes one for"]),
    ],
)
def test_what_gets_through_is_told_with_its_table(project, statements, lines):
    result = project(ISOLATED, statements=statements)

    result.assert_outcomes(failed=1)
    told = {
        line.split(" tenant ")[1].split(" ", 1)[1] for line in result.outlines if "  public.tickets: tenant" in line
    }
    assert told == set(lines)
    result.stdout.fnmatch_lines([f"*{2 * len(lines)} ways from one tenant to another:"])


def test_a_table_in_which_a_tenant_has_no_rows_makes_the_test_vacuous(project):
    notes = ["CREATE TABLE notes (tenant_id uuid)", "GRANT SELECT ON notes TO {app}"]
    result = project(ISOLATED, statements=[*TABLE, *WALL, *notes])

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*VacuousTestError: public.notes has no row of tenant*could not fail*tenantry_rows*"])
    allowed = project(ISOLATED, statements=[*TABLE, *WALL, *notes], ini="tenantry_may_be_empty = public.notes")
    allowed.assert_outcomes(passed=1)


def test_a_table_that_the_application_may_not_touch_needs_no_rows(project):
    register = ["CREATE TABLE members (tenant_id uuid)", "CREATE TABLE keys (tenant_id uuid)"]

    project(ISOLATED, statements=[*TABLE, *WALL, *register]).assert_outcomes(passed=1)
    granted = [
        *TABLE,
        *WALL,
        *register,
        "GRANT DELETE ON members TO {app}",
        "GRANT INSERT (tenant_id) ON keys TO {app}",
    ]
    result = project(ISOLATED, statements=granted)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*public.keys has no row of tenant*public.members has no row of tenant*"])


PARTITIONS = [
    "CREATE TABLE notes (tenant_id uuid) PARTITION BY HASH (tenant_id)",
    "CREATE TABLE notes_0 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE notes_1 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "GRANT SELECT, INSERT ON notes TO {app}",
    *(statement.replace("tickets", "notes") for statement in WALL),
]
IN_BOTH = """
from sqlalchemy import text
@pytest.fixture
def tenantry_rows(make_session):
    def write(tenant):
        with make_session() as session:
            session.add(Ticket(title="x"))
            session.execute(text("INSERT INTO notes VALUES (:tenant)"), {"tenant": tenant})
            session.commit()
    return write
"""


@pytest.mark.parametrize(("grant", "holes"), [(None, 0), ("GRANT SELECT ON notes_0, notes_1 TO {app}", 2)])
def test_a_partition_is_tried_by_its_own_name_and_needs_no_rows_of_both(project, grant, holes):
    statements = [*TABLE, *WALL, *PARTITIONS, *([grant] if grant else [])]
    result = project(ISOLATED, statements=statements, extra=IN_BOTH)

    result.assert_outcomes(passed=not holes, failed=bool(holes))
    # In CI pytest's summary repeats the whole message.
    said = {line.lstrip("E ") for line in result.outlines if "public.notes_" in line and " reads tenant " in line}
    assert len(said) == holes


def test_no_tenant_table_at_all_makes_the_test_vacuous(project):
    result = project(ISOLATED, ini="tenantry_tenant_column = customer")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no table has a column 'customer'*"])


def test_a_tenant_that_does_not_see_its_own_rows_makes_the_test_vacuous(project):
    blind = [*TABLE, *WALL, "CREATE POLICY none ON tickets AS RESTRICTIVE FOR SELECT USING (false)"]
    result = project(ISOLATED, statements=blind, extra="""
@pytest.fixture
def tenantry_rows(tenantry_database):
    def write(tenant):
        with tenantry_database.admin() as conn:
            conn.execute("INSERT INTO tickets VALUES (gen_random_uuid(), %s)", [tenant])
    return write
""")  # fmt: skip

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*does not see its own rows of public.tickets*"])


def test_a_role_that_could_not_do_it_either_makes_the_test_vacuous(project):
    tests = """
from dataclasses import replace
from tenantry.testing import assert_isolated
def test_isolation(make_session, two_tenants, tenantry_database):
    with tenantry_database.admin() as conn:
        conn.execute("CREATE RULE deaf AS ON DELETE TO tickets DO INSTEAD NOTHING")
    assert_isolated(make_session, two_tenants)
"""
    result = project(tests)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*public.tickets: not even the role of `admin_dsn` deletes tenant*"])


UNSCOPED = """
def run(tenantry_database, protected):
    from sqlalchemy import create_engine
    from tenantry.session.sqlalchemy import protect
    engine = create_engine(tenantry_database.url())
    if protected:
        protect(engine)
    with engine.connect() as conn:
        try:
            conn.execute(text("SELECT 1  +  1"))
            conn.exec_driver_sql("SELECT 2 + 2")
        except NoTenantError:
            pass
    engine.dispose()
@pytest.fixture
def prepared(tenantry_database):
    run(tenantry_database, False)
@pytest.mark.tenantry_scoped
@pytest.mark.parametrize("protected", [True, False])
def test_marked(tenantry_database, prepared, protected):
    run(tenantry_database, protected)
@pytest.mark.tenantry_scoped
def test_allowed(tenantry_database):
    from tenantry.testing import unscoped
    with unscoped():
        run(tenantry_database, False)
@pytest.mark.tenantry_scoped
def test_in_scope(two_tenants, make_session):
    from tenantry.testing import assert_isolated
    with tenant_scope(two_tenants.a), make_session() as session:
        session.execute(text("SELECT 3"))
    assert_isolated(make_session, two_tenants)
@pytest.mark.tenantry_scoped(False)
def test_off(tenantry_database):
    run(tenantry_database, False)
def test_unmarked(tenantry_database):
    run(tenantry_database, False)
"""


def test_a_marked_test_that_runs_a_statement_in_no_scope_fails_and_lists_it(project):
    result = project(UNSCOPED)

    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["1 statement ran in no tenant scope:", "  SELECT 1 + 1", "*unscoped()*"])
    result.stdout.fnmatch_lines(["2 statements ran in no tenant scope:", "  SELECT 1 + 1", "  SELECT 2 + 2"])


def test_the_ini_file_marks_every_test(project):
    project(UNSCOPED, ini="tenantry_scoped = true").assert_outcomes(passed=3, failed=3)


def test_a_failure_of_the_tests_own_is_told_and_not_ours(project):
    result = project("@pytest.mark.tenantry_scoped\ndef test_a():\n    raise LookupError('its own')\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LookupError: its own"])


def test_what_a_project_has_to_say_is_told_with_the_code_to_paste(pytester, server):
    pytester.makepyfile("def test_a(two_tenants): pass")
    result = pytester.runpytest_inprocess("--tenantry-dsn", server)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*def tenantry_schema():*"])


def test_without_a_server_one_is_started_and_goes(pytester):
    pytester.makepyfile("""
import os, psycopg
def test_a(tenantry_server):
    with psycopg.connect(tenantry_server) as conn:
        folder = conn.execute("SHOW data_directory").fetchone()[0]
    assert os.path.exists(folder)
    print("folder", folder)
""")
    result = pytester.runpytest_inprocess("-s")

    result.assert_outcomes(passed=1)
    folder = next(line.split("folder ")[1] for line in result.outlines if "folder " in line).rstrip(".")
    assert not Path(folder).parent.exists()


def test_who_does_not_use_it_loads_nothing_of_it(pytester):
    script = "import sys, tenantry.testing.plugin; print(sorted(n for n in sys.modules if n.split('.')[0] in "
    script += "{'sqlalchemy', 'psycopg', 'pydantic', 'starlette'} or n.startswith('tenantry.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['tenantry.testing', 'tenantry.testing.plugin']"
