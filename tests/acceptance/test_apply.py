"""Plan and apply against the local engine: to the end, cut anywhere, after drift, and when something fails."""

import asyncio
import random
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx2
import psycopg
import pytest

from tenantry.control import ApplyRunningError, ControlPlane, LayoutMismatchError, NotAppliedError, ResetRefusedError
from tenantry.control.actual import Actual
from tenantry.control.apply import Hands
from tenantry.control.lock import hold_apply_lock
from tenantry.control.plan import make_plan
from tenantry.control.wanted import Wanted
from tenantry.core.conninfo import Conninfo
from tenantry.core.errors import StepFailedError
from tenantry.core.layout import App, Environment, Layout, MigrationSource, ProjectSpec
from tenantry.local.app import create_app
from tenantry.neon import wire
from tenantry.neon.client import NeonClient
from tenantry.secrets import Secrets

KEY = "a key of tests, long enough to be one"
TENANT = "11111111-1111-4111-8111-111111111111"

REVISION = """
from alembic import op
revision = {name!r}
down_revision = {down!r}
def upgrade():
    op.execute({sql!r})
"""


def write(folder, name, down, sql):
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions / f"{name}.py").write_text(REVISION.format(name=name, down=down, sql=sql))


def make_layout(folder, project):
    """Two apps: one with a production branch and a child of it, one with a production branch alone."""
    brands, legal = folder / "brands", folder / "legal"
    write(brands, "b1", None, "CREATE TABLE brands.documents (id serial PRIMARY KEY, tenant_id uuid, title text)")
    write(legal, "l1", None, "CREATE TABLE legal.matters (id serial PRIMARY KEY, tenant_id uuid, title text)")
    return Layout(
        ProjectSpec(project),
        extensions=("pgcrypto",),
        apps=(
            App(
                "brands",
                "brands",
                (Environment("brands", "prod"), Environment("brands", "dev", parent="prod", ephemeral=True)),
                migrations=MigrationSource("alembic", brands),
            ),
            App("legal", "legal", (Environment("legal", "prod"),), migrations=MigrationSource("alembic", legal)),
        ),
    )


class Site:
    """A control plane on an engine, called without await."""

    def __init__(self, layout, folder, **client):
        self.layout = layout
        self.folder = folder
        self._client = client

    def _run(self, call):
        async def run():
            async with NeonClient(**self._client) as client:
                return await call(ControlPlane(client, self.layout, Secrets.from_value(KEY)), client)

        return asyncio.run(run())

    def plan(self):
        return self._run(lambda plane, _: plane.plan())

    def apply(self, **options):
        return self._run(lambda plane, _: plane.apply(**options))

    def reset(self, *names, **options):
        return self._run(lambda plane, _: plane.reset(*names, **options))

    def tree(self):
        return self._run(lambda plane, _: plane.tree())

    def conninfo(self, app, environment, role="app"):
        return self._run(lambda plane, _: plane.connection(app, environment, role))

    def call(self, method, *arguments, **options):
        return self._run(lambda _, client: getattr(client, method)(*arguments, **options))

    def project_id(self):
        async def find(_, client):
            return [p.id async for p in client.list_projects() if p.name == self.layout.project.name]

        (found,) = self._run(find)
        return found

    def connect(self, app, environment, role="app"):
        return psycopg.connect(self.conninfo(app, environment, role).dsn(), autocommit=True)

    def sql(self, statement, app="brands", environment="dev", role="owner"):
        with self.connect(app, environment, role) as conn:
            cursor = conn.execute(statement)
            return cursor.fetchall() if cursor.description else cursor.rowcount


def make_site(engine, folder):
    client = {
        "api_key": engine.api_key,
        "base_url": "http://engine/api/v2",
        "transport": httpx2.ASGITransport(create_app(engine)),
    }
    return Site(make_layout(folder, f"suite-{secrets.token_hex(4)}"), folder, **client)


def remove(site):
    if site.tree():
        site.call("delete_project", site.project_id())


@pytest.fixture
def site(session_engine, tmp_path):
    """A layout that nobody applied yet."""
    made = make_site(session_engine, tmp_path)
    yield made
    remove(made)


@pytest.fixture(scope="module")
def applied(session_engine, tmp_path_factory):
    """A layout that was applied. It serves all tests here, so each leaves it as the layout wants it."""
    made = make_site(session_engine, tmp_path_factory.mktemp("applied"))
    made.apply()
    yield made
    remove(made)


def test_a_layout_is_applied_and_nothing_is_left(site):
    labels = []
    planned = site.plan()

    done = site.apply(progress=lambda *step: labels.append(step))

    assert set(done.steps) == set(planned.steps)
    assert site.plan().steps == ()
    assert [(node.parent, node.name) for node in site.tree()] == [
        (None, "production"),
        ("production", "brands-prod"),
        ("brands-prod", "brands-dev"),
        ("production", "legal-prod"),
    ]
    assert labels[0][:2] == (0, len(planned.steps))
    assert labels[-1][:2] == (len(planned.steps), len(planned.steps))


def test_an_application_works_on_every_branch_and_sees_its_tenant_only(applied):
    for app, environment, table in (
        ("brands", "prod", "brands.documents"),
        ("brands", "dev", "brands.documents"),
        ("legal", "prod", "legal.matters"),
    ):
        with applied.connect(app, environment) as conn, conn.transaction():
            conn.execute("SELECT set_config('app.tenant_id', %s, true)", [TENANT])
            conn.execute(f"INSERT INTO {table} (title) VALUES ('x')")
            assert conn.execute(f"SELECT tenant_id::text FROM {table}").fetchall() == [(TENANT,)]
        with applied.connect(app, environment) as conn:
            assert conn.execute(f"SELECT * FROM {table}").fetchall() == []


def test_no_password_of_one_branch_opens_another(applied):
    roles = ("app", "migrator", "owner")
    passwords = [applied.conninfo("brands", env, role).password for env in ("prod", "dev") for role in roles]

    assert len(set(passwords)) == len(passwords)
    for role in roles:
        parents, childs = (applied.conninfo("brands", env, role) for env in ("prod", "dev"))
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(childs.as_role(childs.role, parents.password).dsn())


def test_the_app_role_is_not_among_those_that_bypass_row_security(applied):
    rows = applied.sql(
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolinherit,"
        " pg_has_role(rolname, 'neon_superuser', 'member') FROM pg_roles WHERE rolname IN ('brands_app',"
        " 'brands_migrator')"
    )

    assert rows == [(False, False), (False, False)]


DRIFTS = [
    "DROP POLICY tenantry_tenant ON brands.documents",
    "ALTER TABLE brands.documents NO FORCE ROW LEVEL SECURITY",
    "GRANT TRUNCATE ON brands.documents TO brands_app",
    "ALTER ROLE brands_app BYPASSRLS",
    "ALTER ROLE brands_app PASSWORD 'somebody-elses-choice'",
    "GRANT SELECT ON neon_auth.session TO brands_app",
]


def test_drift_is_planned_and_mended(applied):
    for drift in DRIFTS:
        applied.sql(drift)
        planned = applied.plan()
        assert {step.branch for step in planned.steps} == {"brands-dev"}, drift

        applied.apply()

        assert applied.plan().steps == (), drift


def test_a_revision_that_is_new_is_run_on_every_branch_of_its_app_only(site):
    site.apply()
    write(site.folder / "brands", "b2", "b1", "CREATE TABLE brands.notes (tenant_id uuid)")

    done = site.apply()

    assert {step.branch for step in done.steps} == {"brands-prod", "brands-dev"}
    assert site.sql("SELECT * FROM brands.notes", role="app") == []


def test_nothing_stays_of_a_migration_that_fails_and_the_plan_still_shows_it(site):
    site.apply()
    write(site.folder / "brands", "b2", "b1", "CREATE TABLE brands.half (tenant_id uuid); SELECT 1/0")

    with pytest.raises(StepFailedError, match=r"migration b2 .*b2\.py.* failed in schema brands: division by zero"):
        site.apply()

    assert site.sql("SELECT to_regclass('brands.half')", environment="prod") == [(None,)]
    assert "migrate brands to b2 (b2)" in [step.describe() for step in site.plan().steps]


def test_a_table_without_a_tenant_is_refused_before_anything_is_granted(site):
    site.apply()
    write(
        site.folder / "brands",
        "b2",
        "b1",
        "CREATE TABLE brands.fine (tenant_id uuid); CREATE TABLE brands.loose (id int)",
    )

    with pytest.raises(StepFailedError, match=r"table brands\.loose has no column tenant_id.*global_tables"):
        site.apply()

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        site.sql("SELECT * FROM brands.fine", environment="prod", role="app")
    assert any("1 REFUSAL" in step.describe() for step in site.plan().steps)


def test_sessions_copied_with_a_fork_are_ended(applied):
    owner = {"app": "brands", "environment": "prod", "role": "owner"}
    applied.sql(
        'WITH u AS (INSERT INTO neon_auth."user" ("name", "email", "emailVerified") VALUES (\'a\', \'e\', true)'
        ' RETURNING "id") INSERT INTO neon_auth."session" ("expiresAt", "token", "updatedAt", "userId")'
        " SELECT now(), 't', now(), id FROM u",
        **owner,
    )

    assert {step.kind for step in applied.plan().steps} == {"end_copied_sessions"}
    applied.apply()

    assert applied.sql('SELECT count(*) FROM neon_auth."session"', **owner) == [(0,)]
    assert applied.sql('SELECT count(*) FROM neon_auth."user"', **owner) == [(1,)]


def test_a_branch_that_is_reset_is_its_parent_again_with_passwords_of_its_own(applied):
    before = applied.conninfo("brands", "dev")
    applied.sql("CREATE TABLE brands.mine (id int)")

    done = applied.reset("brands", "dev")

    assert (done.branch, done.parent, done.done) == ("brands-dev", "brands-prod", True)
    assert applied.sql("SELECT to_regclass('brands.mine')") == [(None,)]
    assert applied.plan().steps == ()
    assert applied.conninfo("brands", "dev") == before
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(before.as_role(before.role, applied.conninfo("brands", "prod").password).dsn())


def test_a_branch_that_is_kept_is_not_reset(applied):
    with pytest.raises(ResetRefusedError, match="legal-prod is not ephemeral"):
        applied.reset("legal", "prod")
    with pytest.raises(ResetRefusedError, match=r"has children \(brands-dev\)"):
        applied.reset("brands", "prod", force=True)
    assert not applied.reset("brands", "dev", dry_run=True).done


def test_a_branch_that_is_not_in_the_layout_is_left_alone(applied):
    project = applied.project_id()
    applied.call("create_project_branch", project, wire.BranchCreateRequest(branch=wire.BranchCreate(name="somebodys")))

    done = applied.apply()

    assert done.steps == ()
    assert ["branch somebodys is not in the layout" in warning for warning in done.warnings] == [True]
    assert "somebodys" in [node.name for node in applied.tree()]


def test_a_branch_under_another_parent_is_an_error(applied):
    brands, legal = applied.layout.apps
    flat = (Environment("brands", "prod"), Environment("brands", "dev"))
    moved = Layout(applied.layout.project, apps=(replace(brands, environments=flat), legal))

    with pytest.raises(LayoutMismatchError, match="brands-dev is a child of brands-prod"):
        Site(moved, applied.folder, **applied._client).plan()


def test_a_second_apply_says_who_is_applying(applied):
    project = applied.project_id()
    uri = applied.call("get_connection_uri", project, database_name="neondb", role_name="neondb_owner")
    owner = Conninfo.from_uri(uri.get_secret_value())

    with hold_apply_lock(owner), pytest.raises(ApplyRunningError, match="tenantry apply on"):
        applied.apply()

    assert applied.apply().steps == ()


def test_of_two_projects_made_at_once_the_earlier_is_kept(site):
    first = site.call("create_project", wire.ProjectCreate(name=site.layout.project.name))

    async def make_another(_, client):
        wanted = Wanted(site.layout)
        steps = make_plan(wanted, Actual()).steps
        await Hands(client, wanted, Secrets.from_value(KEY), Actual()).do(steps[0])

    site._run(make_another)

    assert site.project_id() == first.project.id


def test_an_extension_that_postgres_does_not_offer_is_named_with_the_way_out(site):
    site.layout = Layout(site.layout.project, extensions=("no_such_thing",), apps=site.layout.apps)

    with pytest.raises(StepFailedError, match=r"no_such_thing.*does not offer it; take it out of the layout"):
        site.apply()


def test_what_was_never_applied_cannot_be_connected_to(site):
    with pytest.raises(NotAppliedError, match="environment dev of brands is not there yet"):
        site.conninfo("brands", "dev")


APPLY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.acceptance.test_apply import Site, make_layout
folder = Path(sys.argv[2])
site = Site(make_layout(folder, "killed"), folder, base_url=sys.argv[3], api_key=sys.argv[4])
site.apply(progress=lambda done, total, label: print(done, total, label, flush=True))
"""


def test_an_apply_that_is_killed_anywhere_is_finished_by_the_next(launch, data, tmp_path):
    serving = launch(data)
    server = {"base_url": serving.note["api"], "api_key": serving.note["api_key"]}
    site = Site(make_layout(tmp_path, "killed"), tmp_path, **server)
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", APPLY, root, str(tmp_path), server["base_url"], server["api_key"]]
    chance = random.Random(2)
    kills = 0

    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randint(1, 3)):
                process.stdout.readline()
            time.sleep(chance.random() / 5)
            kills += process.poll() is None
            process.kill()

    site.apply()

    assert kills >= 5
    assert site.plan().steps == ()
    assert len(site.tree()) == 4
