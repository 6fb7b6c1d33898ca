"""Operators on a real Postgres: partners see their own tenants and the platform all, each use in the audit log."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tenantry import ddl, partner_scope, platform_scope, tenant_scope
from tenantry.core.errors import NoTenantError, UsageError
from tenantry.core.layout import Operators, PartnerTable
from tenantry.session.errors import AuditFailedError, AutocommitError, OperatorScopeError
from tenantry.session.sqlalchemy import protect
from tests.plugins.site import COUNTRIES, DOCUMENTS, A, B, Site

C = "33333333-3333-4333-8333-333333333333"
PARTNERS = PartnerTable("brands", "id", "partner_id")
BRANDS = "CREATE TABLE brands (id uuid PRIMARY KEY, tenant_id uuid, partner_id text)"
NORTH, SOUTH = "north", "so'uth"


@dataclass
class Staff:
    """The site with three tenants of two partners, each with a document."""

    site: Site
    engines: list[Any] = field(default_factory=list[Any])

    @property
    def schema(self) -> str:
        return self.site.app.schema

    def engine(self, kind: Any, driver: str = "psycopg", **options: Any) -> Any:
        role = f"{self.schema}_{kind}"
        self.site.connect(role).close()
        scope = {} if kind == "app" else {"scope": kind, "schema": self.schema}
        self.engines.append(create_engine(self.site.database.url(role, driver), **options))
        return protect(self.engines[-1], **scope)

    def titles(self, engine: Any) -> list[str]:
        with engine.connect() as conn:
            return [*conn.execute(text(f"SELECT title FROM {self.schema}.documents ORDER BY 1")).scalars()]

    def audit(self) -> list[tuple[Any, ...]]:
        query = ddl.read_audit_log(self.site.app, limit=100)
        return [row[3:] for row in reversed(self.site.owner.execute(query).fetchall())]

    def as_role(self, kind: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run *statements* as an operator's role, past every client of ours."""
        with self.site.connect(f"{self.schema}_{kind}") as conn, conn.transaction(force_rollback=True):
            cursors = [conn.execute(statement.encode()) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []


def open_to(site: Site, operators: Operators, **app: Any) -> Staff:
    site.app = replace(site.app, operators=operators, **app)
    site.layout = replace(site.layout, apps=(site.app,))
    site.prepare()
    site.migrate(DOCUMENTS, COUNTRIES, BRANDS)
    site.secure()
    site.admin(
        f"INSERT INTO brands VALUES ('{A}', '{A}', 'north'), ('{B}', '{B}', 'north'), ('{C}', '{C}', 'so''uth')",
        f"INSERT INTO documents (tenant_id, title) VALUES ('{A}', 'a'), ('{B}', 'b'), ('{C}', 'c')",
    )
    return Staff(site)


@pytest.fixture
def staff(site: Site) -> Iterator[Staff]:
    staff = open_to(site, Operators(PARTNERS, platform=True))
    yield staff
    for engine in staff.engines:
        engine.dispose()


@pytest.fixture
def writers(site: Site) -> Iterator[Staff]:
    writers = open_to(site, Operators(PARTNERS, platform=True, write=True))
    yield writers
    for engine in writers.engines:
        engine.dispose()


def test_a_partner_sees_its_tenants_and_the_platform_sees_all(staff: Staff):
    partner, platform, app = (staff.engine(kind) for kind in ("partner", "platform", "app"))

    with partner_scope(NORTH, user="ann"):
        assert staff.titles(partner) == ["a", "b"]
    with partner_scope(SOUTH, user="ann"):
        assert staff.titles(partner) == ["c"]
    with partner_scope("nobody", user="ann"):
        assert staff.titles(partner) == []
    with platform_scope(reason="ticket 7", user="bob"):
        assert staff.titles(platform) == ["a", "b", "c"]
    with tenant_scope(A):
        assert staff.titles(app) == ["a"]
    assert (staff.site.prepare(), staff.site.secure()) == ([], [])


def test_each_transaction_is_a_row_that_a_rollback_does_not_remove(staff: Staff):
    engine = staff.engine("platform")

    with platform_scope(reason="ticket 7", user="bob"):
        with pytest.raises(DBAPIError), engine.begin() as conn:
            conn.execute(text("SELECT 1 / 0"))
        staff.titles(engine)
    with partner_scope(NORTH, user="ann", reason="quarter"), staff.engine("partner").connect() as conn:
        conn.execute(text("SELECT 1"))
        conn.execute(text("SELECT 2"))

    use = ("platform", "", "bob", "read", "ticket 7")
    assert staff.audit() == [use, use, ("partner", NORTH, "ann", "read", "quarter")]
    logins = staff.site.owner.execute(f"SELECT DISTINCT login FROM {staff.schema}_guard.audit_log".encode()).fetchall()
    assert sorted(logins) == [(f"{staff.schema}_partner",), (f"{staff.schema}_platform",)]


@pytest.mark.parametrize("kind", ["partner", "platform"])
def test_what_is_not_of_the_engines_scope_is_refused_before_anything_is_sent(staff: Staff, kind):
    engine, app = staff.engine(kind), staff.engine("app")
    scopes = {
        "partner": lambda: partner_scope(NORTH, user="ann"),
        "platform": lambda: platform_scope(reason="r", user="ann"),
        "tenant": lambda: tenant_scope(A),
    }

    for other in set(scopes) - {kind}:
        with (
            scopes[other](),
            pytest.raises(OperatorScopeError, match=f"that of a {other}, and this engine is for a {kind}"),
        ):
            staff.titles(engine)
    with pytest.raises(OperatorScopeError, match="no scope is open"):
        staff.titles(engine)
    with tenant_scope(A), scopes[kind](), pytest.raises(OperatorScopeError, match="which sees one tenant at a time"):
        staff.titles(app)
    with pytest.raises(NoTenantError):
        staff.titles(app)
    assert staff.audit() == []


def test_reading_is_held_by_the_transaction_and_by_the_grants(writers: Staff):
    engine = writers.engine("platform")
    update = text(f"UPDATE {writers.schema}.documents SET title = 'z'")

    with platform_scope(reason="r", user="bob"), engine.connect() as conn:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            conn.execute(update)
        conn.rollback()
        conn.execute(text("SELECT 1"))
        with pytest.raises(DBAPIError, match="must be set before any query"):
            conn.execute(text("SET transaction_read_only = off"))
    with platform_scope(reason="r", user="bob", write=True), engine.begin() as conn:
        assert conn.execute(update).rowcount == 3
    with partner_scope(NORTH, user="ann", write=True), writers.engine("partner").begin() as conn:
        assert conn.execute(text(f"UPDATE {writers.schema}.documents SET title = 'y'")).rowcount == 2
        with pytest.raises(DBAPIError, match="row-level security"):
            conn.execute(text(f"INSERT INTO {writers.schema}.documents (tenant_id, title) VALUES ('{C}', 'x')"))
    assert [action for _, _, _, action, _ in writers.audit()] == ["read", "read", "write", "write"]


def test_without_write_in_the_layout_no_operator_writes(staff: Staff):
    with platform_scope(reason="r", user="bob", write=True), staff.engine("platform").begin() as conn:
        for statement in ("UPDATE {}.documents SET title = 'z'", "DELETE FROM {}.documents", "TRUNCATE {}.documents"):
            with pytest.raises(DBAPIError, match="permission denied"), conn.begin_nested():
                conn.execute(text(statement.format(staff.schema)))


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_same_over_the_async_drivers(staff: Staff, driver):
    role = staff.site.app.partner_role
    staff.site.connect(role).close()

    async def run():
        engine = create_async_engine(staff.site.database.url(role, driver))
        protect(engine, scope="partner", schema=staff.schema)
        with partner_scope(SOUTH, user="ann"):
            async with engine.connect() as conn:
                found = (await conn.execute(text(f"SELECT title FROM {staff.schema}.documents"))).scalars().all()
        await engine.dispose()
        return found

    assert asyncio.run(run()) == ["c"]
    assert staff.audit() == [("partner", SOUTH, "ann", "read", "")]


DOCUMENT_COUNT = "SELECT count(*) FROM documents"
ENTRY = (
    "INSERT INTO {guard}.audit_log (id, scope, subject, acting_user, action, reason)"
    " VALUES ('{id}', '{scope}', '{subject}', 'x', 'read', '')"
)


@pytest.mark.parametrize(("kind", "subject"), [("partner", NORTH), ("platform", "")])
def test_the_database_opens_nothing_to_an_operator_without_a_committed_row_of_its_own(staff: Staff, kind, subject):
    guard, other = f"{staff.schema}_guard", "platform" if kind == "partner" else "partner"
    key = uuid4()
    entry = ENTRY.format(guard=guard, id=key, scope=kind, subject=subject)
    name = f"SET LOCAL app.audit_id = '{key}'"

    assert staff.as_role(kind, DOCUMENT_COUNT) == [(0,)]
    assert staff.as_role(kind, name, DOCUMENT_COUNT) == [(0,)], "there is no such row"
    assert staff.as_role(kind, entry, name, DOCUMENT_COUNT) == [(0,)], "it is rolled back with the transaction"
    with staff.site.connect(f"{staff.schema}_{kind}") as conn:
        conn.execute(entry.encode())
    assert staff.as_role(kind, name, DOCUMENT_COUNT) == [(3 if kind == "platform" else 2,)], "the control"
    assert staff.as_role(other, name, DOCUMENT_COUNT) == [(0,)], "it is another login's"
    assert staff.as_role("app", name, DOCUMENT_COUNT) == [(0,)]
    theirs = uuid4()
    with staff.site.connect(f"{staff.schema}_{other}") as conn:
        conn.execute(ENTRY.format(guard=guard, id=theirs, scope=kind, subject=subject).encode())
    assert staff.as_role(kind, f"SET LOCAL app.audit_id = '{theirs}'", DOCUMENT_COUNT) == [(0,)], "by another login"
    staff.site.admin(f"UPDATE {guard}.audit_log SET at = at - interval '61 seconds'")
    assert staff.as_role(kind, name, DOCUMENT_COUNT) == [(0,)], "it was a minute ago"


SETTINGS = ("bypass", "bypass_rls", "is_admin", "admin", "role", "partner_id", "platform", "operator", "scope")


@pytest.mark.parametrize("kind", ["app", "partner", "platform"])
def test_no_setting_opens_anything(staff: Staff, kind):
    values = ("on", "true", "1", "platform", NORTH, "*")
    sets = [f"SET LOCAL app.{name} = '{value}'" for name in SETTINGS for value in values]

    assert staff.as_role(kind, *sets, DOCUMENT_COUNT) == [(0,)]
    assert staff.as_role("app", f"SET LOCAL app.tenant_id = '{A}'", DOCUMENT_COUNT) == [(1,)]
    if kind != "app":
        assert staff.as_role(kind, f"SET LOCAL app.tenant_id = '{A}'", DOCUMENT_COUNT) == [(0,)]


REFUSED = """
SET ROLE {schema}_partner
SET ROLE {schema}_platform
SET ROLE {schema}_guard
SET ROLE {schema}_migrator
SET ROLE {schema}_app
SELECT * FROM {guard}.audit_log
SELECT id FROM {guard}.audit_log
UPDATE {guard}.audit_log SET reason = ''
DELETE FROM {guard}.audit_log
TRUNCATE {guard}.audit_log
INSERT INTO {guard}.audit_log (id, at) VALUES (gen_random_uuid(), '2000-01-01')
INSERT INTO {guard}.audit_log (id, login) VALUES (gen_random_uuid(), 'x')
ALTER TABLE {guard}.audit_log ALTER at DROP NOT NULL
CREATE TRIGGER t BEFORE INSERT ON {guard}.audit_log EXECUTE FUNCTION tsvector_update_trigger()
CREATE TABLE {guard}.mine (id int)
ALTER TABLE documents DISABLE ROW LEVEL SECURITY
""".strip().splitlines()


@pytest.mark.parametrize("kind", ["app", "partner", "platform"])
def test_no_role_leads_to_another_and_nobody_reads_or_mends_the_log(staff: Staff, kind):
    got_through: list[str] = []

    with staff.site.connect(f"{staff.schema}_{kind}") as conn:
        for attack in REFUSED:
            try:
                conn.execute(attack.format(schema=staff.schema, guard=f"{staff.schema}_guard").encode())
            except errors.InsufficientPrivilege:
                continue
            got_through.append(attack)

    assert got_through == [f"SET ROLE {{schema}}_{kind}"], "a role is always its own"


def test_another_role_that_somebody_let_in_sees_nothing(staff: Staff):
    other = staff.site.database.role("other")
    staff.site.admin(
        f"GRANT CONNECT ON DATABASE {staff.site.database.name} TO {other}",
        f"GRANT USAGE ON SCHEMA {staff.schema} TO {other}",
        f"GRANT SELECT ON documents TO {other}",
        f"CREATE POLICY theirs ON documents TO {other} USING (true)",
    )

    with psycopg.connect(staff.site.database.dsn(other)) as conn:
        conn.execute("SELECT set_config('app.tenant_id', %s, true)", [A])
        assert conn.execute(f"SELECT count(*) FROM {staff.schema}.documents".encode()).fetchone() == (0,)


def test_no_row_possible_and_the_scope_is_refused(staff: Staff):
    engine = staff.engine("partner")
    staff.site.admin(f"REVOKE ALL ON {staff.schema}_guard.audit_log FROM {staff.site.app.partner_role}")

    with partner_scope(NORTH, user="ann"), pytest.raises(AuditFailedError, match="no row could be written"):
        staff.titles(engine)
    assert any("write rows" in change for change in staff.site.prepare())
    with partner_scope(NORTH, user="ann"):
        assert staff.titles(engine) == ["a", "b"]


def test_autocommit_a_second_scope_in_a_transaction_and_scopes_without_names_are_refused(staff: Staff):
    engine = staff.engine("partner")
    with partner_scope(NORTH, user="ann"):
        with pytest.raises(AutocommitError):
            staff.titles(engine.execution_options(isolation_level="AUTOCOMMIT"))
        with engine.connect() as conn:
            conn.execute(text("SELECT 1"))
            with partner_scope(SOUTH, user="ann"), pytest.raises(UsageError, match="another scope"):
                conn.execute(text("SELECT 1"))
    for reason, user in ((" ", "x"), ("r", ""), ("r", None)):
        with pytest.raises(UsageError), platform_scope(reason=reason, user=user):
            pass
    with pytest.raises(UsageError), partner_scope("", user="x"):
        pass
    with pytest.raises(UsageError, match="do not go together"):
        protect(create_engine("postgresql+psycopg://"), scope="partner")


def test_operators_come_and_go_with_the_layout(staff: Staff):
    staff.site.app = replace(staff.site.app, operators=Operators())
    done = staff.site.prepare() + staff.site.secure()

    assert (staff.site.prepare(), staff.site.secure()) == ([], [])
    assert any("no policy tenantry_platform" in change for change in done)
    for kind in ("partner", "platform"):
        with pytest.raises(errors.InsufficientPrivilege):
            staff.as_role(kind, f"SELECT count(*) FROM {staff.schema}.documents")
    found = {finding.what for finding in ddl.findings(staff.site.read(), staff.site.layout, (staff.site.app,))}
    assert f"role {staff.schema}_partner is no operator of the layout" in found
    assert staff.as_role("app", f"SET LOCAL app.tenant_id = '{A}'", DOCUMENT_COUNT) == [(1,)]
