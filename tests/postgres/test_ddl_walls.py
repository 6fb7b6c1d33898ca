"""The walls on a real Postgres: what the app role may do, and what it may not."""

from dataclasses import replace

import psycopg
import pytest
from psycopg import errors

from tenantry import ddl
from tenantry.core.names import TENANT_POLICY
from tests.plugins.site import COUNTRIES, DOCUMENTS, A, B


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


def test_a_new_table_is_out_of_reach_until_it_is_walled_in(walled):
    walled.migrate("CREATE TABLE fresh (tenant_id uuid)")

    with pytest.raises(errors.InsufficientPrivilege):
        walled.as_app("SELECT * FROM fresh", tenant=A)


def test_a_view_that_keeps_the_callers_rights_is_read(walled):
    walled.migrate("CREATE VIEW titles WITH (security_invoker = true) AS SELECT tenant_id::text FROM documents")
    walled.secure()

    assert walled.as_app("SELECT * FROM titles", tenant=A) == [(A,)]
    assert walled.secure() == []


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
