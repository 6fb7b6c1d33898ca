"""An app's schema in a database of the test's own, seen by an owner with the attributes that Neon gives one."""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry import ddl
from tenantry.core.layout import App, Environment, Layout, ProjectSpec
from tests.plugins.postgres import Database

A = "11111111-1111-4111-8111-111111111111"
B = "22222222-2222-4222-8222-222222222222"
OWNER = ("CREATEROLE", "CREATEDB", "BYPASSRLS", "REPLICATION")
"""The attributes of a role that Neon makes. It is no superuser, so neither is whoever runs our DDL."""


@dataclass
class Site:
    """A database with an app in it, seen by its owner."""

    database: Database
    layout: Layout
    app: App
    owner: psycopg.Connection[Any]

    def read(self):
        return ddl.read_database(self.owner, **ddl.wanted_names(self.layout, (self.app,)))

    def prepare(self):
        changes = ddl.prepare_changes(self.read(), self.layout, (self.app,))
        ddl.execute(self.owner, changes)
        return [change.text for change in changes]

    def review(self):
        return ddl.review_tables(self.read(), self.app)

    def secure(self):
        review = self.review()
        ddl.execute(self.owner, review.changes)
        return [change.text for change in review.changes]

    def migrate(self, *statements):
        with psycopg.connect(self.database.admin_dsn) as conn:
            conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.app.migrator_role)))
            conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(self.app.schema)))
            for statement in statements:
                conn.execute(statement)

    def admin(self, *statements):
        with psycopg.connect(self.database.admin_dsn) as conn:
            conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(self.app.schema)))
            for statement in statements:
                conn.execute(statement)

    def connect(self, role):
        with self.owner.transaction():
            self.owner.execute("SELECT set_config('tenantry.password', 'a-word-of-20-letters', true)")
            for statement in ddl.set_password(role):
                self.owner.execute(statement)
        self.database.passwords[role] = "a-word-of-20-letters"
        return psycopg.connect(self.database.dsn(role), options=f"-c search_path={self.app.schema}", autocommit=True)

    def as_app(self, *statements, tenant=None):
        with self.connect(self.app.app_role) as conn, conn.transaction():
            if tenant is not None:
                conn.execute("SELECT set_config('app.tenant_id', %s, true)", [tenant])
            cursors = [conn.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else cursors[-1].rowcount


@pytest.fixture
def site(database):
    owner = database.role("neondb_owner", *OWNER)
    with psycopg.connect(database.admin_dsn) as conn:
        name, role = sql.Identifier(database.name), sql.Identifier(owner)
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
        conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(role))
    schema = database.name
    app = App("brands", schema, (Environment("brands", "prod"),), global_tables=frozenset({"countries"}))
    layout = Layout(ProjectSpec("p"), extensions=("pgcrypto",), auth_schema=f"{schema}_auth", apps=(app,))
    with psycopg.connect(database.dsn(owner), autocommit=True) as conn:
        site = Site(database, layout, app, conn)
        site.prepare()
        yield site


DOCUMENTS = "CREATE TABLE documents (id serial PRIMARY KEY, tenant_id uuid, title text)"
COUNTRIES = "CREATE TABLE countries (code text PRIMARY KEY)"


@pytest.fixture
def walled(site):
    site.migrate(DOCUMENTS, COUNTRIES, "CREATE TABLE alembic_version (version_num text)")
    site.secure()
    for tenant in (A, B):
        site.as_app("INSERT INTO documents (title) VALUES ('x')", tenant=tenant)
    return site
