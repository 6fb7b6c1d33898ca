"""Hostile SQL, sent as the app role by a tenant with a good token, looks for the key that would name another."""

import contextlib

import psycopg
import pytest
from psycopg import errors, sql

from tenantry.core.names import TOKEN_SETTING
from tests.plugins.signed import Signed
from tests.plugins.site import A, B

DENIED = (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFunction)

REFUSED = """
SELECT * FROM {guard}.context_key
SELECT inner_pad FROM ONLY {guard}.context_key
TABLE {guard}.context_key
SELECT {guard}.tenant_uuid()
SELECT query_to_xml('SELECT * FROM {guard}.context_key', true, true, '')
SELECT table_to_xml('{guard}.context_key', true, true, '')
SELECT schema_to_xml('{guard}', true, true, '')
COPY {guard}.context_key TO STDOUT
COPY (SELECT 1) TO PROGRAM 'true'
SELECT pg_read_file('PG_VERSION')
INSERT INTO {guard}.context_key VALUES ('mine', '\\x00', '\\x00')
DELETE FROM {guard}.context_key
LOCK TABLE {guard}.context_key
ANALYZE {guard}.context_key
SELECT * FROM pg_statistic
SET ROLE {guard}
SET SESSION AUTHORIZATION {guard}
GRANT {guard} TO {app}
GRANT SELECT ON {guard}.context_key TO {app}
ALTER FUNCTION {guard}.tenant_uuid() SECURITY INVOKER
ALTER TABLE documents DISABLE ROW LEVEL SECURITY
DROP POLICY tenantry_floor ON documents
CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'
CREATE VIEW keys AS SELECT * FROM {guard}.context_key
CREATE VIEW public.seen AS SELECT * FROM documents
CREATE TEMPORARY TABLE context_key (id text)
CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'
CREATE TRIGGER spy AFTER INSERT ON {guard}.context_key EXECUTE FUNCTION tsvector_update_trigger()
CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION tsvector_update_trigger()
CREATE STATISTICS public.s ON inner_pad, outer_pad FROM {guard}.context_key
ALTER DATABASE {database} SET app.tenant_token = 'x'
SET session_replication_role = replica
SELECT pg_get_keywords() FROM {guard}.context_key
""".strip().splitlines()


def secrets_of(signed: Signed) -> list[str]:
    return [part.hex() for part in (signed.key.secret, *signed.key.pads)]


def test_the_key_is_out_of_reach(signed: Signed):
    names = {"guard": signed.guard, "app": signed.site.app.app_role, "database": signed.site.database.name}
    got_through: list[str] = []

    with signed.session() as conn, conn.transaction():
        conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(A)])
        for attack in REFUSED:
            with contextlib.suppress(*DENIED), conn.transaction():
                conn.execute(attack.format(**names).encode())
                got_through.append(attack)

    assert got_through == []
    assert len(REFUSED) > 30


def test_the_owner_reads_what_the_attacks_look_for(signed: Signed):
    """The control: there is a key, and whoever has the right finds it on these ways."""
    signed.site.owner.execute(sql.SQL("ANALYZE {}.context_key").format(sql.Identifier(signed.guard)))
    key = signed.site.owner.execute(
        f"SELECT encode(inner_pad, 'hex') FROM {signed.guard}.context_key".encode()
    ).fetchone()
    known = signed.site.owner.execute("SELECT count(*) FROM pg_stats WHERE schemaname = %s", [signed.guard]).fetchone()

    with signed.session() as conn:
        found = conn.execute("SELECT count(*) FROM pg_stats WHERE schemaname = %s", [signed.guard]).fetchone()

    assert key == (secrets_of(signed)[1],)
    assert known is not None
    assert known[0] > 0
    assert found == (0,)


def shown(told: psycopg.errors.Diagnostic) -> str:
    return f"{told.message_primary} {told.message_detail} {told.message_hint} {told.context} {told.internal_query}"


def everything_said(signed: Signed, *statements: str) -> str:
    """All that a session of the app role with a good token is told: rows, notices, errors with their context."""
    said: list[str] = []
    with signed.session() as conn:
        conn.add_notice_handler(
            lambda told: said.append(f"{told.message_primary} {told.message_detail} {told.context}")
        )
        try:
            with conn.transaction():
                conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(A)])
                for statement in statements:
                    cursor = conn.execute(statement.encode())
                    said += [str(row) for row in (cursor.fetchall() if cursor.description else [])]
        except psycopg.Error as error:
            said.append(shown(error.diag))
    return "\n".join(said)


NOISY = (
    "SET LOCAL client_min_messages = debug5",
    *(f"SET LOCAL debug_print_{what} = on" for what in ("parse", "rewritten", "plan")),
    "SET LOCAL plpgsql.extra_warnings = 'all'",
    "SET LOCAL plpgsql.print_strict_params = on",
)


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (("EXPLAIN (ANALYZE, VERBOSE, BUFFERS, SETTINGS) SELECT * FROM documents",), "tenant_uuid"),
        ((*NOISY, "SELECT * FROM documents"), "InitPlan|QUERY|rewritten|plan"),
        (("SELECT prosrc FROM pg_proc WHERE proname = 'tenant_uuid'",), "outer_pad"),
        (("SELECT pg_get_functiondef('pg_proc'::regclass::oid)",), ""),
        (("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy",), "tenant_uuid"),
        (("SELECT * FROM pg_settings WHERE name LIKE 'app.%'", "SELECT current_setting('app.tenant_token')"), A),
        (("SELECT query FROM pg_stat_activity", "SELECT * FROM pg_prepared_statements"), "pg_stat_activity"),
        ((*NOISY, "SELECT set_config('app.tenant_token', repeat('x', 100), true)", "SELECT * FROM documents"), ""),
        (("SELECT set_config('max_stack_depth', '100kB', true)", "SELECT * FROM documents"), ""),
        (("SET LOCAL statement_timeout = 1", "SELECT pg_sleep(1), * FROM documents"), "statement timeout"),
    ],
)
def test_nothing_that_the_server_says_holds_the_key(signed: Signed, statements, says):
    said = everything_said(signed, *statements)

    assert not [secret for secret in secrets_of(signed) if secret in said.lower()]
    assert not [secret for secret in secrets_of(signed) if bytes.fromhex(secret).decode("latin-1") in said]
    assert not says or any(word in said for word in says.split("|"))


def test_what_a_tenant_leaves_in_its_own_schema_is_not_what_the_guard_runs(signed: Signed):
    """Even where somebody let the app role make temporary objects: every name that the guard uses is pinned."""
    app, database = signed.site.app.app_role, signed.site.database.name
    with psycopg.connect(signed.site.database.admin_dsn) as admin:
        admin.execute(f"GRANT TEMPORARY ON DATABASE {database} TO {app}".encode())
    with signed.session() as conn, conn.transaction():
        conn.execute("CREATE TEMP TABLE context_key (id text, inner_pad bytea, outer_pad bytea)")
        conn.execute("CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$SELECT '\\x00'::bytea$$")
        conn.execute("CREATE FUNCTION pg_temp.equal(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        conn.execute("CREATE OPERATOR pg_temp.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = pg_temp.equal)")
        conn.execute("SET LOCAL search_path = pg_temp, pg_catalog, public")
        conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, "0" * 64 + signed.token(B)[64:]])
        documents = f"{signed.site.app.schema}.documents"
        count = f"SELECT count(*) FROM {documents}".encode()
        whose = f"SELECT DISTINCT tenant_id::text FROM {documents}".encode()

        assert conn.execute(count).fetchone() == (0,)
        conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(A)])
        assert conn.execute(whose).fetchall() == [(A,)]


MADE = "make {guard}.tenant_uuid(), which reads the signed tenant"
OPENED = {
    "GRANT USAGE ON SCHEMA {guard} TO {app}": "take USAGE on schema {guard} from {app}",
    "GRANT SELECT ON {guard}.context_key TO {app}": "take SELECT on {guard}.context_key from {app}",
    "GRANT EXECUTE ON FUNCTION {guard}.tenant_uuid() TO PUBLIC": "take EXECUTE on {guard}.tenant_uuid() from PUBLIC",
    "ALTER FUNCTION {guard}.tenant_uuid() SECURITY INVOKER": MADE,
    "ALTER FUNCTION {guard}.tenant_uuid() RESET search_path": MADE,
    "ALTER FUNCTION {guard}.tenant_uuid() OWNER TO {app}": "give {guard}.tenant_uuid() from {app} to {guard}",
    "ALTER FUNCTION {guard}.tenant_uuid() IMMUTABLE": MADE,
    "ALTER TABLE {guard}.context_key OWNER TO {app}": "give {guard}.context_key from {app} to {guard}",
    "ALTER SCHEMA {guard} OWNER TO {app}": "give schema {guard} from {app} to {guard}",
    "ALTER ROLE {guard} LOGIN BYPASSRLS": "make role {guard} NOLOGIN NOBYPASSRLS",
    "GRANT {guard} TO {app}": "take role {guard} from {app}",
}


def test_an_apply_closes_what_somebody_opened(signed: Signed):
    names = {"guard": signed.guard, "app": signed.site.app.app_role}
    done: dict[str, bool] = {}

    for opened, closing in OPENED.items():
        statement = opened.format(**names).encode()
        # Who is no superuser takes back only what the same role gave.
        if opened.startswith("GRANT {guard}"):
            signed.site.owner.execute(statement)
        else:
            signed.site.admin(statement)
        done[opened] = closing.format(**names) in signed.site.prepare() and signed.site.prepare() == []

    assert done == dict.fromkeys(OPENED, True)
    assert (signed.tenants_seen(signed.token(A)), signed.tenants_seen(None)) == ([A], [])
