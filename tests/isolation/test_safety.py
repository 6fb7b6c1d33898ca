"""A role that row security does not bind gets no connection, and the message says how to mend it."""

import psycopg
import pytest
from psycopg import conninfo
from sqlalchemy import text

from tenantry.session.context import tenant_scope
from tenantry.session.errors import UnsafeConnectionError, UnsafeRoleAndServerError, UnsafeRoleError
from tenantry.session.facts import FACTS_QUERY, parse_facts
from tenantry.session.judgement import judge
from tests.plugins.shop import ACME
from tests.plugins.unsafe import UNSAFE, as_admin, engine_of

SAFE = {
    "a temporary table": "",
    "default privileges": "ALTER DEFAULT PRIVILEGES FOR ROLE {app} GRANT SELECT ON TABLES TO {boss}",
    "a harmless role": "GRANT {boss} TO {app}; GRANT pg_monitor TO {app}",
    "a grant that allows nothing": "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app} WITH INHERIT FALSE, SET FALSE",
    "attributes are not inherited": "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app} WITH INHERIT TRUE, SET FALSE",
    "what is inherited cannot be become from there": (
        "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {team} WITH INHERIT FALSE, SET TRUE;"
        "GRANT {team} TO {app} WITH INHERIT TRUE, SET FALSE"
    ),
    "an owner is its member": "CREATE SCHEMA theirs AUTHORIZATION {boss}; GRANT {app} TO {boss} WITH ADMIN OPTION",
    "databases": "ALTER ROLE {app} CREATEDB",
}


def judged(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(FACTS_QUERY).fetchone()
        assert row is not None
        return [code for refusal in judge(parse_facts(row[0])) for code in refusal.codes]


@pytest.mark.parametrize("name", UNSAFE)
def test_what_is_unsafe_is_refused_until_the_sql_of_the_message_was_run(name, database, roles):
    code, query = UNSAFE[name]
    with engine_of(database, roles["app"]) as engine:
        as_admin(database, query, roles)

        with pytest.raises(UnsafeConnectionError):
            engine.connect()
        with pytest.raises(UnsafeConnectionError) as caught:
            engine.connect()

        assert [refusal.codes for refusal in caught.value.refusals] == [(code,)]
        assert roles["app"] in str(caught.value)
        assert all(statement in str(caught.value) for statement in caught.value.sql)
        with psycopg.connect(database.admin_dsn, autocommit=True) as conn:
            for statement in caught.value.sql:
                conn.execute(statement.encode())
        with tenant_scope(ACME), engine.connect() as conn:
            assert conn.scalar(text("SELECT 1")) == 1


def test_a_role_that_is_inherited_only_leads_no_further(database, roles):
    """What the facts say of it, Postgres says too."""
    as_admin(database, SAFE["what is inherited cannot be become from there"], roles)

    with psycopg.connect(database.dsn(roles["app"])) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(f'SET ROLE "{roles["boss"]}"'.encode())


@pytest.mark.parametrize("name", SAFE)
def test_what_is_safe_is_let_in(name, database, roles):
    as_admin(database, SAFE[name] or "SELECT 1", roles)
    if not SAFE[name]:
        as_admin(database, "GRANT TEMPORARY ON DATABASE {db} TO {app}", roles)
    with psycopg.connect(database.dsn(roles["app"])) as other:
        if not SAFE[name]:
            other.execute("CREATE TEMPORARY TABLE mine (id serial PRIMARY KEY, payload text)")
            other.execute("CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            other.commit()
        with engine_of(database, roles["app"]) as engine:
            engine.connect().close()


def test_a_table_is_found_among_many_temporary_ones(database, roles):
    as_admin(database, "GRANT TEMPORARY ON DATABASE {db} TO {app}", roles)
    with psycopg.connect(database.dsn(roles["app"])) as other:
        for number in range(60):
            other.execute(f"CREATE TEMPORARY TABLE t{number} ()".encode())
        other.commit()
        as_admin(database, "CREATE TABLE mine (); ALTER TABLE mine OWNER TO {app}", roles)

        assert judged(database.dsn(roles["app"])) == ["owner"]


def test_all_that_is_wrong_is_told_at_once_and_mended_at_once(database, roles):
    as_admin(
        database,
        "ALTER ROLE {app} BYPASSRLS CREATEROLE REPLICATION; CREATE SCHEMA mine AUTHORIZATION {app};"
        "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app}; GRANT pg_read_all_data TO {app};"
        "ALTER ROLE {app} SET row_security = off",
        roles,
    )
    with engine_of(database, roles["app"]) as engine:
        with pytest.raises(UnsafeRoleAndServerError) as caught:
            engine.connect()

        codes = [refusal.codes[0] for refusal in caught.value.refusals]
        assert codes == [
            "bypassrls",
            "createrole",
            "replication",
            "owner",
            "membership",
            "membership",
            "row_security",
        ]
        with psycopg.connect(database.admin_dsn, autocommit=True) as conn:
            conn.execute("\n".join(caught.value.sql).encode())
        engine.connect().close()


def test_each_grantor_s_grant_is_revoked(database, roles):
    as_admin(
        database,
        "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {team} WITH ADMIN TRUE; GRANT {boss} TO {app};"
        "GRANT {boss} TO {app} GRANTED BY {team}",
        roles,
    )
    with engine_of(database, roles["app"]) as engine:
        with pytest.raises(UnsafeRoleError) as caught:
            engine.connect()

        assert len(caught.value.sql) == 2
        as_admin(database, "; ".join(statement.rstrip(";") for statement in caught.value.sql), roles)
        engine.connect().close()


def test_a_login_that_only_sets_a_safe_role_is_refused(database, roles):
    as_admin(database, "ALTER ROLE {boss} BYPASSRLS; GRANT {app} TO {boss}", roles)
    dsn = conninfo.make_conninfo(database.dsn(roles["boss"]), options=f"-c role={roles['app']}")

    assert judged(dsn) == ["bypassrls"]
    assert judged(database.dsn(roles["app"])) == []


def test_the_role_that_a_login_sets_is_judged_too(database, roles):
    as_admin(database, "ALTER ROLE {boss} BYPASSRLS; GRANT {boss} TO {app}", roles)
    dsn = conninfo.make_conninfo(database.dsn(roles["app"]), options=f"-c role={roles['boss']}")

    assert sorted(judged(dsn)) == ["bypassrls", "membership"]


def test_the_role_that_made_the_server_is_told_to_make_another(database):
    with psycopg.connect(database.admin_dsn) as conn:
        row = conn.execute(FACTS_QUERY).fetchone()
        assert row is not None

    refusals = judge(parse_facts(row[0]))

    assert [refusal.codes for refusal in refusals] == [("superuser",)]
    assert refusals[0].sql == ()


def test_a_setting_that_the_connection_brings_is_told_apart(database, roles):
    dsn = conninfo.make_conninfo(database.dsn(roles["app"]), options="-c row_security=off")

    assert judged(dsn) == ["row_security"]


def test_objects_that_shadow_postgres_s_own_change_nothing(database, roles):
    as_admin(
        database,
        "ALTER ROLE {app} BYPASSRLS; CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC;"
        "CREATE FUNCTION trap.no(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.no);"
        "CREATE FUNCTION trap.coalesced(text) RETURNS text LANGUAGE sql AS 'SELECT null';"
        "ALTER ROLE {app} SET search_path = trap, pg_catalog",
        roles,
    )
    with engine_of(database, roles["app"]) as engine, pytest.raises(UnsafeRoleError, match="BYPASSRLS"):
        engine.connect()
