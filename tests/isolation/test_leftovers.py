"""What one tenant leaves on a pooled connection, the next does not find on the same backend, direct and pooled."""

from typing import Any, LiteralString, cast

import pytest
from psycopg import errors, sql
from sqlalchemy import create_engine, text

from tenantry import tenant_scope
from tenantry.session.protection import Protection
from tenantry.session.psycopg import hooks, state, unguarded
from tenantry.session.sqlalchemy import protect
from tests.plugins.connections import Face, OnEach
from tests.plugins.shop import ACME, BOLT, Shop

SETTINGS = (
    "SELECT name FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT LIKE 'app.%' "
    "AND name NOT LIKE 'transaction%'"
)
CURSORS = "SELECT name FROM pg_catalog.pg_cursors WHERE is_holdable"
LISTENING = "SELECT pg_catalog.pg_listening_channels()"
LOCKS = "SELECT objid::text FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()"
PREPARED = "SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql"
TEMP = "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()"
ROLE = "SELECT current_user WHERE current_user <> session_user"
PROBE = " UNION ALL ".join(
    f"SELECT '{name}', found::text FROM ({query}) AS p (found)"
    for name, query in {
        "settings": SETTINGS,
        "cursors": CURSORS,
        "listening": LISTENING,
        "locks": LOCKS,
        "prepared": PREPARED,
        "temp": TEMP,
        "role": ROLE,
    }.items()
)

LEAVES: dict[str, tuple[str, str]] = {
    "a temporary table": ("temp", "CREATE TEMP TABLE mine AS SELECT 1 AS secret"),
    "a temporary table that shadows another": ("temp", "CREATE TABLE pg_temp.documents (tenant_id uuid, title text)"),
    "a temporary view": ("temp", "CREATE OR REPLACE TEMP VIEW mine AS SELECT 1 AS secret"),
    "a held cursor": ("cursors", "DECLARE mine CURSOR WITH HOLD FOR SELECT * FROM shop.documents"),
    "a channel": ("listening", "LISTEN jobs"),
    "a setting": ("settings", "SET statement_timeout = '9s'"),
    "a search path": ("settings", "SET search_path = shop"),
    "a setting by a function": ("settings", "SELECT set_config('work_mem', '1MB', false)"),
    "characteristics": ("settings", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
    "a role": ("role", "SET ROLE {role}"),
    "a role by a function": ("role", "SELECT set_config('role', {literal}, false)"),
    "an advisory lock": ("locks", "SELECT pg_advisory_lock(4711)"),
    "a prepared statement": ("prepared", "PREPARE mine AS SELECT 'a secret'"),
    "a setting in a DO": ("settings", "DO $$ BEGIN PERFORM set_config('work_mem', '1MB', false); END $$"),
    "a setting by a function of one's own": ("settings", "SELECT shop.leave()"),
}

OWN = """
CREATE FUNCTION shop.leave() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '1MB', false) $$;
CREATE VIEW shop.leaving AS SELECT shop.leave() AS left;
CREATE SEQUENCE shop.numbers;
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid, note text);
GRANT SELECT ON shop.leaving TO {app};
GRANT SELECT, INSERT ON shop.orders TO {app};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA shop TO {app};
GRANT TEMP ON DATABASE {database} TO {app};
GRANT {role} TO {app};
GRANT USAGE ON SCHEMA shop TO {role};
"""


@pytest.fixture
def names(shop: Shop) -> dict[str, Any]:
    role = shop.database.role("other")
    parts = {"app": shop.app, "role": role, "database": shop.database.name}
    identifiers = {name: sql.Identifier(value) for name, value in parts.items()}
    with shop.admin() as conn:
        conn.execute(sql.SQL(OWN).format(**identifiers))
    return {"role": identifiers["role"], "literal": sql.Literal(role)}


async def probe(face: Face) -> set[str]:
    with tenant_scope(BOLT):
        found = {name for name, _ in await face.rows(PROBE)}
        await face.commit()
    return found


async def leave(face: Face, query: sql.Composable) -> set[str]:
    """Leave it in a transaction of one tenant, and say what the next finds."""
    with tenant_scope(ACME):
        await face.rows(query)
        await face.commit()
    return await probe(face)


@pytest.mark.parametrize(("kind", "query"), LEAVES.values(), ids=LEAVES)
def test_the_next_tenant_does_not_find_it(on_each: OnEach, names: dict[str, Any], kind: str, query: str):
    assert on_each(lambda face: leave(face, sql.SQL(cast("LiteralString", query)).format(**names))) == [set()] * 8


@pytest.mark.parametrize(("kind", "query"), LEAVES.values(), ids=LEAVES)
def test_without_the_clean_up_it_does(
    on_each: OnEach, names: dict[str, Any], kind: str, query: str, monkeypatch: pytest.MonkeyPatch
):
    cleans_nothing(monkeypatch)

    found = on_each(
        lambda face: leave(face, sql.SQL(cast("LiteralString", query)).format(**names)),
        autocommit=False,
        kinds=("direct",),
    )

    assert all(kind in part for part in found)


def cleans_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((hooks, "clean_before"), (hooks, "clean_after"), (state, "clean_before")):
        monkeypatch.setattr(module, name, lambda left: ())


LASTVAL = {
    "nextval": ["SELECT nextval('shop.numbers')"],
    "an identity": ["INSERT INTO shop.orders (note) VALUES ('x')"],
    "a statement that failed": ["INSERT INTO shop.orders (note) VALUES ('x') RETURNING 1 / (length(note) - 1)"],
    "one of several": ["SELECT 1; INSERT INTO shop.orders (note) VALUES ('x'); SELECT 1/0"],
}


async def lastval(face: Face, queries: list[str]) -> Any:
    with tenant_scope(ACME):
        for query in queries:
            try:
                await face.rows(query)
            except errors.DivisionByZero:
                await face.rollback()
        await face.commit()
    with tenant_scope(BOLT):
        try:
            return await face.rows("SELECT lastval()")
        except errors.ObjectNotInPrerequisiteState:
            await face.rollback()
            return None


@pytest.mark.parametrize("queries", LASTVAL.values(), ids=LASTVAL)
def test_the_last_value_of_a_sequence_is_not_the_next_tenants_to_read(
    on_each: OnEach, names: dict[str, Any], queries: list[str], monkeypatch: pytest.MonkeyPatch
):
    assert on_each(lambda face: lastval(face, queries)) == [None] * 8

    cleans_nothing(monkeypatch)
    assert None not in on_each(lambda face: lastval(face, queries), autocommit=False)


async def by_batch(face: Face, *, fails: bool) -> Any:
    with tenant_scope(ACME):
        rows = [("a", 1), ("b", 0 if fails else 1)]
        try:
            await face.many("INSERT INTO shop.orders (note) VALUES (%s) RETURNING 1/%s", rows)
        except errors.DivisionByZero:
            await face.rollback()
        await face.commit()
    return await lastval(face, [])


@pytest.mark.parametrize("fails", ["", "fails"])
def test_nor_is_that_of_a_batch(on_each: OnEach, names: dict[str, Any], fails: str):
    assert on_each(lambda face: by_batch(face, fails=bool(fails))) == [None] * 8


SURVIVES = {
    "locks": "SELECT pg_advisory_lock(4711)",
    "prepared": "PREPARE mine AS SELECT 'a secret'",
}


@pytest.mark.parametrize("kind", SURVIVES)
def test_what_survives_a_rollback_is_removed_with_it(on_each: OnEach, names: dict[str, Any], kind: str):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            await face.rows(SURVIVES[kind])
            await face.rollback()
            for query in (f"{SURVIVES[kind]}; SELECT 1/0", "SELECT pg_advisory_lock(1), 1/0"):
                with pytest.raises(errors.DivisionByZero):
                    await face.rows(query)
                await face.rollback()
        return await probe(face)

    assert on_each(work) == [set()] * 8


def test_in_a_pipeline_it_is_removed_too(on_each: OnEach, names: dict[str, Any]):
    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            async with face.pipeline():
                await face.cursor("SELECT pg_advisory_lock(4711)")
                await face.cursor("SET work_mem = '1MB'")
                await face.cursor("SELECT 1")
            await face.commit()
        return await probe(face)

    assert on_each(work) == [set()] * 8


@pytest.mark.parametrize("deferred", ["DEFERRABLE INITIALLY DEFERRED", "NOT DEFERRABLE"])
def test_what_a_deferred_trigger_leaves_is_removed_too(
    on_each: OnEach, shop: Shop, names: dict[str, Any], deferred: str
):
    with shop.admin() as conn:
        conn.execute("""
            CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                ASSERT current_setting('app.tenant_id') <> '';
                PERFORM nextval('shop.numbers'), set_config('work_mem', '1MB', false);
                RETURN NULL;
            END $$""")
        conn.execute(
            sql.SQL(
                "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON shop.orders {} FOR EACH ROW EXECUTE FUNCTION shop.note()"
            ).format(sql.SQL(cast("LiteralString", deferred)))
        )

    async def work(face: Face) -> Any:
        with tenant_scope(ACME):
            await face.rows("INSERT INTO shop.orders (note) VALUES ('x')")
            await face.commit()
        return await lastval(face, []), await probe(face)

    assert on_each(work, protection=Protection(checkin="always")) == [(None, set())] * 8


def test_what_the_text_does_not_show_is_removed_on_demand(on_each: OnEach, names: dict[str, Any]):
    query = sql.SQL("SELECT * FROM shop.leaving")

    assert on_each(lambda face: leave(face, query), protection=Protection(checkin="always")) == [set()] * 8
    assert on_each(lambda face: leave(face, query), kinds=("direct",)) == [{"settings"}] * 4


def test_a_read_only_transaction_is_cleaned_too(on_each: OnEach, names: dict[str, Any]):
    async def work(face: Face) -> Any:
        await face.call("set_read_only", True)
        with tenant_scope(ACME):
            await face.rows("DO $$ BEGIN PERFORM set_config('work_mem', '1MB', false); END $$")
            await face.commit()
        return await probe(face)

    assert on_each(work, autocommit=False) == [set()] * 4


def test_what_the_application_set_up_stays(on_each: OnEach, names: dict[str, Any]):
    """A `SET` of the application's own, made while the connection was set up, survives what costs nothing."""

    async def work(face: Face) -> Any:
        with unguarded(face.conn):
            await face.rows("SET work_mem = '3MB'")
            await face.commit()
        with tenant_scope(ACME):
            await face.rows("INSERT INTO shop.orders (note) VALUES ('x')")
            await face.commit()
            return await face.rows("SHOW work_mem")

    assert on_each(work, kinds=("direct",)) == [[("3MB",)]] * 4


def test_through_sqlalchemy_too(shop: Shop, names: dict[str, Any], on_each: OnEach):
    for way in ("direct", "pooled"):
        url = shop.database.url(shop.app, "psycopg")
        if way == "pooled":
            url = on_each.bouncer.url(shop.database, shop.app, "psycopg")
        engine = protect(create_engine(url, pool_size=1, max_overflow=0))
        for kind, query in LEAVES.values():
            with tenant_scope(ACME), engine.begin() as conn:
                conn.exec_driver_sql(sql.SQL(cast("LiteralString", query)).format(**names).as_string())
            with tenant_scope(BOLT), engine.begin() as conn:
                found = conn.execute(text(PROBE)).all()
            assert (way, kind, found) == (way, kind, [])
        engine.dispose()
