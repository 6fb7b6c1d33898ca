"""The DDL on a real Postgres: every guard is there, each is needed, and drift is seen and mended."""

from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from tenantry import ddl
from tenantry.core.layout import App, Environment, Layout, ProjectSpec
from tenantry.core.names import FLOOR_POLICY, TENANT_POLICY
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


def test_a_second_run_changes_nothing(walled):
    assert walled.prepare() == []
    assert walled.secure() == []


def test_every_statement_can_be_run_twice(site):
    site.migrate(DOCUMENTS, COUNTRIES)
    fresh = ddl.DatabaseState(site.database.name, site.owner.info.user)
    again = ddl.prepare_changes(fresh, site.layout, (site.app,))
    review = site.review()

    ddl.execute(site.owner, again)
    ddl.execute(site.owner, review.changes)
    ddl.execute(site.owner, review.changes)

    assert site.prepare() == []
    assert site.secure() == []


def test_a_tenant_sees_and_writes_only_its_own_rows(walled):
    assert walled.as_app("SELECT DISTINCT tenant_id::text FROM documents", tenant=A) == [(A,)]
    assert walled.as_app("UPDATE documents SET title = 'y'", tenant=A) == 1
    assert walled.as_app(f"DELETE FROM documents WHERE tenant_id = '{B}'", tenant=A) == 0


def test_a_tenant_cannot_write_a_row_for_another(walled):
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
        walled.as_app(f"INSERT INTO documents (tenant_id) VALUES ('{B}')", tenant=A)
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
        walled.as_app(f"UPDATE documents SET tenant_id = '{B}'", tenant=A)


@pytest.mark.parametrize("before", ["SELECT 1", "SELECT set_config('app.tenant_id', '', true)"])
def test_without_a_tenant_nothing_is_seen_and_nothing_is_written(walled, before):
    assert walled.as_app(before, "SELECT * FROM documents") == []
    with pytest.raises((errors.NotNullViolation, errors.InsufficientPrivilege)):
        walled.as_app(before, "INSERT INTO documents (title) VALUES ('x')")


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE documents",
        "CREATE TRIGGER t BEFORE INSERT ON documents EXECUTE FUNCTION tsvector_update_trigger()",
        "CREATE TABLE mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "ALTER TABLE documents DISABLE ROW LEVEL SECURITY",
        f"DROP POLICY {TENANT_POLICY} ON documents",
        "SELECT last_value FROM documents_id_seq",
        "SELECT * FROM alembic_version",
        "INSERT INTO countries VALUES ('de')",
        "CREATE ROLE evil",
    ],
)
def test_the_app_role_may_not(walled, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app(statement, tenant=A)


def test_the_app_role_reads_global_tables(walled):
    assert walled.as_app("SELECT * FROM countries") == []


@pytest.mark.parametrize("target", ["migrator", "owner", "neon_auth"])
def test_the_app_role_becomes_no_other_role(walled, target):
    role = {
        "migrator": walled.app.migrator_role,
        "owner": walled.owner.info.user,
        "neon_auth": walled.layout.auth_schema,
    }[target]

    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app(f"SET ROLE {role}")


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT "token" FROM {}."session"',
        'SELECT "privateKey" FROM {}."jwks"',
        'SELECT "password" FROM {}."account"',
        'SELECT "value" FROM {}."verification"',
        'SELECT * FROM {}."invitation"',
        'SELECT * FROM {}."session"',
        'INSERT INTO {}."user" ("name", "email", "emailVerified") VALUES (\'a\', \'b\', true)',
        'UPDATE {}."member" SET "role" = \'owner\'',
        'DELETE FROM {}."session"',
        'TRUNCATE {}."organization"',
        "CREATE TABLE {}.mine (id int)",
    ],
)
def test_the_app_role_neither_reads_secrets_of_the_auth_schema_nor_writes_it(walled, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app(statement.format(walled.layout.auth_schema))


def test_the_app_role_reads_who_belongs_where(walled):
    auth = walled.layout.auth_schema

    rows = walled.as_app(
        f'SELECT u."email", o."slug", m."role", s."expiresAt" FROM {auth}."user" u JOIN {auth}."member" m '
        f'ON m."userId" = u."id" JOIN {auth}."organization" o ON o."id" = m."organizationId" '
        f'JOIN {auth}."session" s ON s."userId" = u."id"'
    )

    assert rows == []


def test_row_security_binds_the_migrator_that_owns_the_tables(walled):
    with walled.connect(walled.app.migrator_role) as conn:
        rows = conn.execute("SELECT * FROM documents").fetchall()

    assert rows == []


def test_nobody_else_connects(walled):
    stranger = walled.database.role("stranger")

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(walled.database.dsn(stranger))


def test_the_policy_uses_the_index_that_begins_with_the_tenant(walled):
    plan = walled.as_app("SET LOCAL enable_seqscan = off", "EXPLAIN SELECT * FROM documents", tenant=A)

    assert "documents_tenant_id_tenantry_idx" in str(plan)


def test_an_index_that_begins_with_the_tenant_is_enough(site):
    site.migrate("CREATE TABLE notes (tenant_id uuid NOT NULL, id int, PRIMARY KEY (tenant_id, id))")

    (change,) = site.secure()

    assert "index" not in change


DRIFTS = {
    "policy dropped": (f"DROP POLICY {TENANT_POLICY} ON documents", f"policy {TENANT_POLICY}"),
    "floor dropped": (f"DROP POLICY {FLOOR_POLICY} ON documents", f"policy {FLOOR_POLICY}"),
    "policy weakened": (f"ALTER POLICY {TENANT_POLICY} ON documents USING (true)", f"policy {TENANT_POLICY}"),
    "check weakened": (f"ALTER POLICY {FLOOR_POLICY} ON documents WITH CHECK (true)", f"policy {FLOOR_POLICY}"),
    "policy for one role": (f"ALTER POLICY {FLOOR_POLICY} ON documents TO CURRENT_USER", f"policy {FLOOR_POLICY}"),
    "row security off": ("ALTER TABLE documents DISABLE ROW LEVEL SECURITY", "row security on"),
    "force off": ("ALTER TABLE documents NO FORCE ROW LEVEL SECURITY", "row security forced"),
    "null allowed": ("ALTER TABLE documents ALTER tenant_id DROP NOT NULL", "tenant_id not null"),
    "default gone": ("ALTER TABLE documents ALTER tenant_id DROP DEFAULT", "default of tenant_id"),
    "default another": (f"ALTER TABLE documents ALTER tenant_id SET DEFAULT '{A}'", "default of tenant_id"),
    "index gone": ("DROP INDEX documents_tenant_id_tenantry_idx", "index on tenant_id"),
    "truncate granted": ("GRANT TRUNCATE ON documents TO {app}", "no TRUNCATE for"),
    "grant option": ("GRANT SELECT ON documents TO {app} WITH GRANT OPTION", "no SELECT for"),
    "column granted": ("GRANT REFERENCES (title) ON documents TO {app}", "no REFERENCES for"),
    "granted to all": ("GRANT SELECT ON documents TO PUBLIC", "no SELECT for PUBLIC"),
    "global written": ("GRANT INSERT ON countries TO {app}", "no INSERT for"),
    "versions read": ("GRANT SELECT ON alembic_version TO {app}", "no SELECT for"),
    "grant taken": ("REVOKE DELETE ON documents FROM {app}", "SELECT, INSERT, UPDATE, DELETE for"),
    "sequence read": ("GRANT SELECT ON documents_id_seq TO {app}", "no SELECT for"),
    "app owns": ("ALTER TABLE documents OWNER TO {app}", "owner {migrator} instead of {app}"),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_of_a_table_is_seen_and_mended(walled, drift):
    names = {"app": walled.app.app_role, "migrator": walled.app.migrator_role}
    statement, expected = DRIFTS[drift]
    walled.admin(statement.format(**names))

    seen = walled.secure()

    assert any(expected.format(**names) in text for text in seen), seen
    assert walled.secure() == []


PREPARED = {
    "bypass": ("ALTER ROLE {app} BYPASSRLS", "NOBYPASSRLS"),
    "create role": ("ALTER ROLE {app} CREATEROLE", "NOCREATEROLE"),
    "replication": ("ALTER ROLE {migrator} REPLICATION", "NOREPLICATION"),
    "no login": ("ALTER ROLE {app} NOLOGIN", "LOGIN"),
    "create in schema": ("GRANT CREATE ON SCHEMA {schema} TO {app}", "take CREATE on schema"),
    "schema open": ("GRANT USAGE ON SCHEMA {schema} TO PUBLIC", "take USAGE on schema"),
    "schema owner": ("ALTER SCHEMA {schema} OWNER TO {app}", "give schema"),
    "temporary": ("GRANT TEMPORARY ON DATABASE {database} TO {app}", "and not TEMPORARY"),
    "open to all": ("GRANT CONNECT ON DATABASE {database} TO PUBLIC", "take CONNECT on database"),
    "create in public": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "take CREATE on schema public"),
    "role preset": ("ALTER ROLE {app} SET row_security = off", "preset of row_security"),
    "wall preset off": ("ALTER ROLE {app} IN DATABASE {database} SET row_security = off", "preset of row_security"),
    "database preset": ("ALTER DATABASE {database} SET row_security = off", "preset of row_security"),
    "token": ('GRANT SELECT ("token") ON {auth}."session" TO {app}', "take SELECT from"),
    "auth write": ('GRANT UPDATE ON {auth}."user" TO {app}', "take UPDATE from"),
    "auth open": ('GRANT SELECT ON {auth}."account" TO PUBLIC', "take SELECT from PUBLIC"),
    "future tables": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA {schema} GRANT ALL ON TABLES TO {app}",
        "keep future tables of",
    ),
    "future functions": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "keep future functions of",
    ),
}


@pytest.mark.parametrize("drift", PREPARED)
def test_drift_of_roles_schemas_and_databases_is_seen_and_mended(walled, drift):
    names = {
        "app": walled.app.app_role,
        "migrator": walled.app.migrator_role,
        "schema": walled.app.schema,
        "auth": walled.layout.auth_schema,
        "database": walled.database.name,
    }
    statement, expected = PREPARED[drift]
    walled.admin(statement.format(**names))

    seen = walled.prepare()

    assert any(expected in text for text in seen), seen
    assert walled.prepare() == []


@pytest.mark.parametrize("holder", ["ROLE {app}", "DATABASE {database}"])
def test_a_preset_tenant_is_seen(walled, holder):
    # Only a superuser makes one, and only a superuser can take it back.
    names = {"app": walled.app.app_role, "database": walled.database.name}
    walled.admin(f"ALTER {holder.format(**names)} SET app.tenant_id = '{A}'")

    changes = ddl.prepare_changes(walled.read(), walled.layout, (walled.app,))

    assert ["preset of app.tenant_id" in change.text for change in changes] == [True]


def test_a_role_granted_to_the_app_role_is_taken_away(walled):
    powerful = f"{walled.database.name}_powerful"
    walled.owner.execute(f"CREATE ROLE {powerful} BYPASSRLS")
    walled.owner.execute(f"GRANT {powerful} TO {walled.app.app_role}")

    seen = walled.prepare()

    assert seen == [f"take role {powerful} from {walled.app.app_role}"]
    assert walled.prepare() == []


REFUSED = {
    "no tenant column": ("CREATE TABLE notes (id int)", "has no column tenant_id"),
    "another type": ("CREATE TABLE notes (tenant_id text)", "is text, and the layout's tenant_type is uuid"),
    "generated": (
        "CREATE TABLE notes (tenant_id uuid GENERATED ALWAYS AS (gen_random_uuid_immutable()) STORED)",
        "is generated",
    ),
    "partitioned": ("CREATE TABLE notes (tenant_id uuid) PARTITION BY HASH (tenant_id)", "is a partitioned table"),
    "inherited": ("CREATE TABLE notes () INHERITS (documents)", "inherited table"),
    "definer view": ("CREATE VIEW notes AS SELECT * FROM documents", "reads with its owner's rights"),
    "materialized": ("CREATE MATERIALIZED VIEW notes AS SELECT * FROM documents", "is a materialized view"),
    "global with tenants": ("ALTER TABLE countries ADD tenant_id uuid", "is a global table and has the column"),
}
IMMUTABLE = (
    f"CREATE FUNCTION gen_random_uuid_immutable() RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT '{A}'::uuid $$"
)


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_wall_would_hold_is_refused_with_the_way_out(walled, what):
    statement, expected = REFUSED[what]
    walled.migrate(IMMUTABLE, statement)

    review = walled.review()

    assert expected in str(review.refusals[0])
    assert review.refusals[0].way_out


def test_a_new_table_is_out_of_reach_until_it_is_walled_in(walled):
    walled.migrate("CREATE TABLE fresh (tenant_id uuid)")

    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app("SELECT * FROM fresh", tenant=A)


def test_a_view_that_keeps_the_callers_rights_is_read(walled):
    walled.migrate("CREATE VIEW titles WITH (security_invoker = true) AS SELECT tenant_id::text FROM documents")
    walled.secure()

    assert walled.as_app("SELECT * FROM titles", tenant=A) == [(A,)]
    assert walled.secure() == []


def test_a_policy_that_somebody_added_opens_nothing_and_is_pointed_out(walled):
    walled.migrate("CREATE POLICY all_of_it ON documents USING (true) WITH CHECK (true)")

    review = walled.review()

    assert walled.as_app("SELECT DISTINCT tenant_id::text FROM documents", tenant=A) == [(A,)]
    assert ["all_of_it" in str(finding) for finding in review.findings] == [True]
    assert review.changes == ()


def test_an_extension_elsewhere_is_pointed_out(walled):
    walled.admin("CREATE SCHEMA elsewhere", "ALTER EXTENSION pgcrypto SET SCHEMA elsewhere")

    findings = ddl.findings(walled.read(), walled.layout, (walled.app,))

    assert ["pgcrypto is in schema elsewhere" in str(finding) for finding in findings] == [True]


def test_a_grant_to_a_third_role_is_pointed_out(walled):
    third = walled.database.role("third")
    walled.migrate(f"GRANT SELECT ON documents TO {third}")

    assert [third in str(finding) for finding in walled.review().findings] == [True]


def test_a_foreign_key_without_the_tenant_is_pointed_out(walled):
    walled.migrate("CREATE TABLE pages (tenant_id uuid, document int REFERENCES documents)")
    walled.secure()

    assert ["does not carry tenant_id" in str(finding) for finding in walled.review().findings] == [True]


def test_functions_are_the_apps_if_they_run_as_their_caller(walled):
    walled.migrate(
        "CREATE FUNCTION mild(a int, b text[]) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$",
        "CREATE FUNCTION bold() RETURNS int SECURITY DEFINER LANGUAGE sql AS $$ SELECT 2 $$",
        "GRANT EXECUTE ON FUNCTION bold() TO PUBLIC",
    )

    walled.secure()

    assert walled.as_app("SELECT mild(1, '{}')") == [(1,)]
    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app("SELECT bold()")
    assert walled.secure() == []


@pytest.mark.parametrize(
    ("tenant_type", "column", "tenant"),
    [("text", "text", "a'b"), ("text", "varchar(40)", "acme"), ("bigint", "bigint", "42"), ("uuid", "uuid", A)],
)
def test_each_tenant_type_is_compared_with_the_bare_column(site, tenant_type, column, tenant):
    site.app = replace(site.app, tenant_type=tenant_type, tenant_column="Customer")
    site.migrate(f'CREATE TABLE notes ("Customer" {column}, title text)')
    site.secure()

    written = site.as_app("INSERT INTO notes (title) VALUES ('x')", tenant=tenant)
    seen = site.as_app('SELECT "Customer" FROM notes', tenant=tenant)

    assert (written, [str(row[0]) for row in seen]) == (1, [tenant])
    assert site.secure() == []


def test_names_that_need_quoting_are_quoted(site):
    site.migrate('CREATE TABLE "Select; DROP" (tenant_id uuid, "a""b" text)')

    site.secure()

    assert site.secure() == []


def test_a_password_stands_in_no_statement(site):
    statements = ddl.set_password("someone")

    assert all("PASSWORD '" not in statement.as_string() for statement in statements)


def test_what_a_copy_could_be_logged_in_with_is_removed(site):
    auth = site.layout.auth_schema
    site.admin(
        f'INSERT INTO {auth}."user" ("id", "name", "email", "emailVerified") VALUES (\'{A}\', \'a\', \'e\', true)',
        f'INSERT INTO {auth}."session" ("expiresAt", "token", "updatedAt", "userId")'
        f" VALUES (now(), 't', now(), '{A}')",
        f'INSERT INTO {auth}."account" ("accountId", "providerId", "userId", "password", "updatedAt")'
        f" VALUES ('1', 'p', '{A}', 'hash', now())",
        f'INSERT INTO {auth}."verification" ("identifier", "value", "expiresAt") VALUES (\'i\', \'v\', now())',
        f'INSERT INTO {auth}."jwks" ("publicKey", "privateKey", "createdAt") VALUES (\'p\', \'s\', now())',
    )
    before = site.owner.execute(ddl.copied_sessions(auth)).fetchone()

    for statement in ddl.end_copied_sessions(auth):
        site.owner.execute(statement)

    assert before == (True,)
    assert site.owner.execute(ddl.copied_sessions(auth)).fetchone() == (False,)
    assert site.owner.execute(f'SELECT count(*) FROM {auth}."user"').fetchone() == (1,)
