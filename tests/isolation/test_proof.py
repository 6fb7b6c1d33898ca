"""The proof finds each hole that is made, at the attempts that go through it, and none where there is none."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, create_engine

from tenantry.core.errors import UsageError
from tenantry.proof.prove import control, prove
from tenantry.proof.report import Report
from tenantry.session.sqlalchemy import protect
from tests.plugins.shop import ACME, BOLT, CURRENT, Shop

TENANTS = (ACME, BOLT)

# Some of the holes here are the role's own: the check of the first connection would not let the proof begin.
pytestmark = pytest.mark.filterwarnings("ignore::tenantry.session.errors.UnsafeWarning")

MORE = """
-- a key that begins with the tenant, an identity, a generated column, a reference, names to quote
CREATE TABLE shop."order lines" (
    tenant_id uuid NOT NULL,
    "No" bigint GENERATED ALWAYS AS IDENTITY,
    document_id uuid NOT NULL REFERENCES shop.documents,
    amount numeric NOT NULL CHECK (amount > 0),
    doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,
    tags text[],
    PRIMARY KEY (tenant_id, "No")
);
CREATE SCHEMA neon_auth;
CREATE TABLE neon_auth.session (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), token text NOT NULL, "userId" uuid);
INSERT INTO neon_auth.session (token) VALUES ('s3cret-token');
"""


def as_admin(shop: Shop, text: str) -> None:
    """Run *text*, in which {app} and {owner} are the roles."""
    with shop.admin() as conn:
        conn.execute(
            sql.SQL(text).format(  # type: ignore[arg-type] - the tests' own text
                app=sql.Identifier(shop.app), owner=sql.Identifier(shop.owner), current=sql.SQL(CURRENT)
            )
        )


@pytest.fixture
def site(shop: Shop) -> Shop:
    """The shop, sound, with rows of both tenants in each of its tables."""
    as_admin(shop, MORE)
    as_admin(
        shop,
        """
        ALTER TABLE shop."order lines" OWNER TO {owner};
        ALTER TABLE shop."order lines" ENABLE ROW LEVEL SECURITY;
        ALTER TABLE shop."order lines" FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenantry_tenant ON shop."order lines" USING (tenant_id = {current});
        CREATE POLICY tenantry_floor ON shop."order lines" AS RESTRICTIVE USING (tenant_id = {current});
        GRANT SELECT, INSERT, UPDATE, DELETE ON shop."order lines" TO {app};
        GRANT USAGE ON SCHEMA neon_auth TO {app};
        GRANT SELECT (id, "userId") ON neon_auth.session TO {app};
        """,
    )
    with psycopg.connect(shop.database.admin_dsn) as conn:
        for tenant, document in shop.documents.items():
            conn.execute("INSERT INTO shop.notes (tenant_id, body) VALUES (%s, 'a note')", [tenant])
            conn.execute(
                """INSERT INTO shop."order lines" (tenant_id, document_id, amount, tags)
                   VALUES (%s, %s, 1.5, '{"a b",c}')""",
                [tenant, document],
            )
    return shop


@pytest.fixture
def engine(site: Shop) -> Iterator[Engine]:
    engine = create_engine(site.database.url(site.app, "psycopg"), pool_size=1, max_overflow=0)
    yield protect(engine, allow_unsafe="the proof is to find the holes")
    engine.dispose()


def everything(shop: Shop) -> list[Any]:
    return [shop.rows(table) for table in ("documents", "notes", "order lines")]


def leaks(report: Report, table: str = "shop.documents") -> set[str]:
    return {attempt.name for attempt in report.leaks if attempt.table == table}


READS = {
    "read by tenant",
    "read by primary key",
    "read by text, unfiltered",
    "read by join",
    "read by aggregate",
    "read by COPY",
    "read with row security off",
}
ALL = READS | {
    "update their rows",
    "delete their rows",
    "lock their rows",
    "insert a row for them",
    "insert a row for them by COPY",
    "move an own row to them",
    "upsert over their row",
    "read unscoped, database",
}


def test_a_sound_database_is_proved(site: Shop, engine: Engine):
    before = everything(site)

    report = prove(engine, schema="shop", tenants=TENANTS)

    assert [attempt for attempt in report.attempts if attempt.outcome != "refused"] == []
    assert report.proved
    assert {(w.table, w.rows) for w in report.witnesses} == {
        ("shop.documents", 1),
        ("shop.notes", 1),
        ("shop.order lines", 1),
    }
    assert ALL | {"truncate", "read unscoped, client"} <= {a.name for a in report.attempts if a.table == "shop.notes"}
    assert {a.name for a in report.attempts if a.table == "neon_auth.session"} == {
        "insert",
        "delete",
        "update",
        "read token",
    }
    assert everything(site) == before


def test_the_report_is_json_with_counts(engine: Engine):
    report = prove(engine, schema="shop", tenants=TENANTS)

    said = report.as_json()

    assert (said["leaks"], said["could_not_run"], said["proved"]) == (0, 0, True)
    assert said["attempts"] == said["refused"] == len(said["details"]) >= 12
    assert "s3cret" not in repr(report)


def test_row_security_off_lets_every_attack_through_and_nothing_of_it_stays(site: Shop, engine: Engine):
    as_admin(site, 'ALTER TABLE shop."order lines" DISABLE ROW LEVEL SECURITY')
    as_admin(site, "ALTER TABLE shop.documents DISABLE ROW LEVEL SECURITY")
    before = everything(site)

    report = prove(engine, schema="shop", tenants=TENANTS)

    assert leaks(report) == ALL
    assert leaks(report, "shop.order lines") == ALL
    assert leaks(report, "shop.notes") == set()
    assert everything(site) == before


HOLES: dict[str, tuple[str, str, set[str]]] = {
    "a second permissive policy, and no floor": (
        "DROP POLICY tenantry_floor ON shop.documents; CREATE POLICY more ON shop.documents FOR SELECT USING (true)",
        "shop.documents",
        (READS - {"read with row security off"}) | {"read unscoped, database"},
    ),
    "WITH CHECK (true)": (
        """DROP POLICY tenantry_floor ON shop.documents;
        ALTER POLICY tenantry_tenant ON shop.documents WITH CHECK (true)""",
        "shop.documents",
        {"insert a row for them"},
    ),
    "no FORCE, and the app owns the table": (
        "ALTER TABLE shop.documents NO FORCE ROW LEVEL SECURITY; ALTER TABLE shop.documents OWNER TO {app}",
        "shop.documents",
        ALL | {"truncate"},
    ),
    "TRUNCATE granted": ("GRANT TRUNCATE ON shop.documents TO {app}", "shop.documents", {"truncate"}),
    "a policy that opens without a tenant": (
        """DROP POLICY tenantry_floor ON shop.documents;
        ALTER POLICY tenantry_tenant ON shop.documents USING (tenant_id = {current} OR {current} IS NULL)""",
        "shop.documents",
        {"read unscoped, database"},
    ),
    "a view with its owner's rights": (
        "CREATE VIEW shop.all_documents AS SELECT * FROM shop.documents; GRANT SELECT ON shop.all_documents TO {app}",
        "shop.all_documents",
        (READS - {"read by primary key"}) | {"read unscoped, database"},
    ),
    "neon_auth can be written": ("GRANT INSERT ON neon_auth.session TO {app}", "neon_auth.session", {"insert"}),
    "tokens can be read": ("GRANT SELECT ON neon_auth.session TO {app}", "neon_auth.session", {"read token"}),
}


@pytest.mark.parametrize(("hole", "table", "expected"), HOLES.values(), ids=HOLES)
def test_a_hole_is_found_at_the_attempts_that_go_through_it(
    site: Shop, engine: Engine, hole: str, table: str, expected: set[str]
):
    as_admin(site, hole)
    before = everything(site)

    report = prove(engine, schema="shop", tenants=TENANTS)

    assert leaks(report, table) == expected
    assert not report.proved
    assert everything(site) == before


def test_a_role_that_the_app_may_become_is_found(site: Shop, engine: Engine):
    as_admin(site, "GRANT {owner} TO {app}")

    report = prove(engine, schema="shop", tenants=TENANTS)

    assert {attempt.table for attempt in report.leaks} == {f"role {site.owner}"}


def test_a_role_with_bypassrls_is_found(site: Shop, engine: Engine):
    as_admin(site, "ALTER ROLE {app} BYPASSRLS")

    report = prove(engine, schema="shop", tenants=TENANTS)

    assert leaks(report) >= READS


def test_an_engine_without_the_guard_is_found(site: Shop):
    engine = create_engine(site.database.url(site.app, "psycopg"))

    report = prove(engine, schema="shop", tenants=TENANTS)
    engine.dispose()

    assert leaks(report) == {"read unscoped, client"}
    assert not report.proved


def test_a_tenant_without_rows_proves_nothing(site: Shop, engine: Engine):
    with site.admin() as conn:
        conn.execute("DELETE FROM shop.notes WHERE tenant_id = %s", [BOLT])

    report = prove(engine, schema="shop", tenants=TENANTS)

    missed = {(attempt.name, attempt.tenant) for attempt in report.not_proved}
    assert ("read by tenant", str(ACME)) in missed
    assert ("insert a row for them", str(BOLT)) in missed
    assert {attempt.table for attempt in report.not_proved} == {"shop.notes"}
    assert not report.proved


def test_one_tenant_is_not_enough(engine: Engine):
    with pytest.raises(UsageError, match="two or more"):
        prove(engine, schema="shop", tenants=[ACME, str(ACME)])


def test_the_control_leaks_and_puts_the_wall_back(site: Shop, engine: Engine):
    before = everything(site)
    with psycopg.connect(site.database.dsn(site.owner)) as migrator:
        report = control(engine, migrator=migrator, schema="shop", tenants=TENANTS)

    assert leaks(report) == ALL
    assert prove(engine, schema="shop", tenants=TENANTS).proved
    assert everything(site) == before


def test_the_control_puts_the_wall_back_when_the_attacks_break_off(site: Shop, engine: Engine, monkeypatch: Any):
    def broken(*args: object, **kwargs: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr("tenantry.proof.prove.prove", broken)
    with psycopg.connect(site.database.dsn(site.owner)) as migrator, pytest.raises(KeyboardInterrupt):
        control(engine, migrator=migrator, schema="shop", tenants=TENANTS)
    monkeypatch.undo()

    assert prove(engine, schema="shop", tenants=TENANTS).proved


def test_a_control_without_a_wall_to_take_away_is_refused(site: Shop, engine: Engine):
    as_admin(site, "ALTER TABLE shop.notes DISABLE ROW LEVEL SECURITY")

    with psycopg.connect(site.database.dsn(site.owner)) as migrator, pytest.raises(UsageError, match="notes"):
        control(engine, migrator=migrator, schema="shop", tenants=TENANTS, table="notes")
