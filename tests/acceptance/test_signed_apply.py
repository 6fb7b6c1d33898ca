"""An app on the local engine comes to a signed context by an apply, changes its keys, and goes back."""

import asyncio
import secrets
from dataclasses import replace
from uuid import UUID

import httpx2
import psycopg
import pytest
from sqlalchemy import create_engine, text

from tenantry import tenant_scope
from tenantry.control import ControlPlane
from tenantry.control.steps import SecureTables, SetContextKeys
from tenantry.core.layout import App, Environment, Layout, MigrationSource, ProjectSpec
from tenantry.local.app import create_app
from tenantry.neon.client import NeonClient
from tenantry.proof.prove import control, prove
from tenantry.secrets import Secrets
from tenantry.session.sqlalchemy import protect

A = UUID("11111111-1111-4111-8111-111111111111")
B = UUID("22222222-2222-4222-8222-222222222222")
REVISION = """
from alembic import op
revision = "b1"
down_revision = None
def upgrade():
    op.execute("CREATE TABLE brands.documents (id serial PRIMARY KEY, tenant_id uuid, title text)")
"""
ENVIRONMENTS = (Environment("brands", "prod"), Environment("brands", "dev", parent="prod", ephemeral=True))


class Suite:
    """A control plane on the engine, whose layout the test changes."""

    def __init__(self, engine, folder):
        (folder / "versions").mkdir(parents=True)
        (folder / "versions" / "b1.py").write_text(REVISION)
        app = App("brands", "brands", ENVIRONMENTS, migrations=MigrationSource("alembic", folder))
        self.layout = Layout(ProjectSpec(f"signed-{secrets.token_hex(4)}"), apps=(app,))
        transport = httpx2.ASGITransport(create_app(engine))
        self.client = {"api_key": engine.api_key, "base_url": "http://engine/api/v2", "transport": transport}

    def run(self, call):
        async def run():
            async with NeonClient(**self.client) as client:
                return await call(ControlPlane(client, self.layout, Secrets.from_value("k" * 40)), client)

        return asyncio.run(run())

    def apply(self, **context):
        """Apply the layout with its app's *context*, and say what was done."""
        self.layout = replace(self.layout, apps=(replace(self.layout.apps[0], **context),))
        done = self.run(lambda plane, _: plane.apply())
        assert self.run(lambda plane, _: plane.plan()).steps == ()
        return [(step.branch, step.describe()) for step in done.steps if isinstance(step, SetContextKeys)], {
            type(step) for step in done.steps
        }

    def key(self, environment="prod"):
        return self.run(lambda plane, _: plane.context_key("brands", environment))

    def conninfo(self, role="app", environment="prod"):
        return self.run(lambda plane, _: plane.connection("brands", environment, role))

    def migrator(self):
        return psycopg.connect(self.conninfo("migrator").dsn(), autocommit=True)

    def titles(self, key=None, *, environment="prod", tenant=A):
        engine = protect(create_engine(self.conninfo(environment=environment).sqlalchemy_url("psycopg")), key=key)
        with tenant_scope(tenant), engine.begin() as conn:
            found = conn.execute(text("SELECT title FROM brands.documents ORDER BY 1")).scalars().all()
        engine.dispose()
        return found

    def write(self, title, *, key=None, tenant=A):
        engine = protect(create_engine(self.conninfo().sqlalchemy_url("psycopg")), key=key)
        with tenant_scope(tenant), engine.begin() as conn:
            conn.execute(text("INSERT INTO brands.documents (title) VALUES (:title)"), {"title": title})
        engine.dispose()


@pytest.fixture
def suite(session_engine, tmp_path):
    made = Suite(session_engine, tmp_path)
    yield made

    async def remove(_, client):
        for project in [each async for each in client.list_projects() if each.name == made.layout.project.name]:
            await client.delete_project(project.id)

    made.run(remove)


def test_an_app_comes_to_a_signed_context_changes_its_key_and_goes_back(suite):
    suite.apply()
    key = suite.key()
    suite.write("a", key=key)
    suite.write("b", tenant=B)
    assert suite.titles() == suite.titles(key) == ["a"], "the application signs before anybody asks for it"

    keys, kinds = suite.apply(context="signed")
    said = "let key 1 of brands sign its context, and no other"
    assert sorted(keys) == [("brands-dev", said), ("brands-prod", said)]
    assert SecureTables in kinds
    assert (suite.titles(), suite.titles(key), suite.titles(key, tenant=B)) == ([], ["a"], ["b"])
    assert suite.titles(key, environment="dev") == [], "the key of the parent opens no child"
    assert suite.key("dev") != key

    keys, kinds = suite.apply(context_keys=(1, 2))
    new = suite.key()
    assert (keys[0][1], kinds) == ("let keys 1 and 2 of brands sign its context, and no other", {SetContextKeys})
    assert (suite.titles(key), suite.titles(new)) == (["a"], ["a"])
    suite.apply(context_keys=(2,))
    assert (suite.titles(key), suite.titles(new)) == ([], ["a"])

    engine = protect(create_engine(suite.conninfo().sqlalchemy_url("psycopg"), pool_size=1, max_overflow=0), key=new)
    report = prove(engine, schema="brands", tenants=(A, B), signed=True)
    assert report.proved, report.not_proved + report.leaks
    with suite.migrator() as migrator:
        opened = control(engine, migrator=migrator, schema="brands", tenants=(A, B), signed=True)
    assert {leak.name for leak in opened.leaks} >= {"read by tenant", "name them in the setting", "forge a token"}
    engine.dispose()

    _, kinds = suite.apply(context="setting")
    assert kinds == {SecureTables}
    assert (suite.titles(), suite.titles(new)) == (["a"], ["a"])
