"""Drift on a real Postgres: whatever somebody changed is seen and mended, refused, or pointed out."""

import pytest

from tenantry import ddl
from tenantry.core.names import FLOOR_POLICY, TENANT_POLICY
from tests.plugins.site import A

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
