"""The database in which every attack is tried: two tenants, a role that serves both, and one for what is unguarded."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import conninfo, sql

from tests.plugins.shop import ACME, BOLT, TABLES, Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugins.pgbouncer import Bouncer
    from tests.plugins.postgres import Database

__all__ = ["MEMOS", "Address", "Arena", "make_arena"]

MEMOS = "SELECT body FROM memos"

_MORE = """
CREATE SEQUENCE shop.numbers;
CREATE TABLE shop.memos (tenant_id text NOT NULL, body text NOT NULL);
ALTER TABLE shop.memos ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.memos FORCE ROW LEVEL SECURITY;
CREATE POLICY tenantry_tenant ON shop.memos USING (tenant_id = pg_catalog.current_setting('app.tenant_id', true));
INSERT INTO shop.memos VALUES ('victim', 'of the victim');
CREATE FUNCTION shop.quiet() RETURNS text LANGUAGE sql
    AS $$ SELECT pg_catalog.set_config('statement_timeout', '1234567', false) $$;
CREATE FUNCTION shop.tenant_once() RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid $$;
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a way connects, as which role, and whether through PgBouncer."""

    dsn: str
    pooled: bool

    def url(self, driver: str = "") -> str:
        """The same for asyncpg or, with a *driver*, for SQLAlchemy."""
        part = conninfo.conninfo_to_dict(self.dsn)
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{part['user']}:{part['password']}@{part['host']}:{part['port']}/{part['dbname']}"


@dataclass(frozen=True, slots=True)
class Arena:
    """The shop, its two equal roles and the guest that both may become."""

    shop: Shop
    spare: str
    guest: str
    bouncer: Bouncer
    conn: psycopg.Connection[Any]
    """A superuser's, in autocommit."""

    def address(self, *, pooled: bool, spare: bool) -> Address:
        role = self.spare if spare else self.shop.app
        database = self.shop.database
        return Address(self.bouncer.dsn(database, role) if pooled else database.dsn(role), pooled)

    def restore(self) -> None:
        """Leave one document of each tenant."""
        self.conn.execute("TRUNCATE shop.documents, shop.notes")
        for tenant, document in self.shop.documents.items():
            self.conn.execute("INSERT INTO shop.documents VALUES (%s, %s, 'restored')", [document, tenant])

    def forget_spare(self) -> None:
        """End every session of the spare role, also those that PgBouncer keeps."""
        self.conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE usename = %s", [self.spare]
        )

    @contextmanager
    def poisoned(self, role: str) -> Iterator[None]:
        """Let each session of *role* begin with ACME's tenant set for the session, as a careless pool leaves it."""
        name, database = sql.Identifier(role), sql.Identifier(self.shop.database.name)
        setting = sql.SQL("ALTER ROLE {} IN DATABASE {} {} app.tenant_id")
        self.conn.execute(setting.format(name, database, sql.SQL("SET")) + sql.SQL(" = {}").format(str(ACME)))
        try:
            yield
        finally:
            self.conn.execute(setting.format(name, database, sql.SQL("RESET")))

    @contextmanager
    def without_wall(self) -> Iterator[None]:
        """Take row security off."""
        self._each_table("ALTER TABLE {} DISABLE ROW LEVEL SECURITY")
        try:
            yield
        finally:
            self._each_table("ALTER TABLE {} ENABLE ROW LEVEL SECURITY")

    @contextmanager
    def with_policy(self, condition: LiteralString) -> Iterator[None]:
        """Let the policies say *condition* instead."""
        kept = "tenant_id = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)"
        self._policies(condition)
        try:
            yield
        finally:
            self._policies(kept)

    def _policies(self, condition: LiteralString) -> None:
        for policy in ("tenantry_tenant", "tenantry_floor"):
            self._each_table(f"ALTER POLICY {policy} ON {{}} USING ({condition}) WITH CHECK ({condition})")  # type: ignore[arg-type] - constants of ours

    def _each_table(self, statement: LiteralString) -> None:
        for table in TABLES:
            self.conn.execute(sql.SQL(statement).format(sql.Identifier("shop", table)))


@contextmanager
def make_arena(database: Database, bouncer: Bouncer) -> Iterator[Arena]:
    """Make the shop and what the attacks need besides."""
    shop = make_shop(database)
    spare = database.role("spare", "NOSUPERUSER", "NOBYPASSRLS", "NOINHERIT", "NOCREATEROLE")
    guest = database.role("guest", "NOSUPERUSER", "NOBYPASSRLS")
    with psycopg.connect(database.admin_dsn) as conn:
        conn.execute(_MORE)
        for role in (shop.app, spare):
            name = sql.Identifier(role)
            conn.execute(sql.SQL("GRANT USAGE ON SCHEMA shop TO {}").format(name))
            conn.execute(
                sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shop TO {}").format(name)
            )
            conn.execute(sql.SQL("GRANT USAGE ON SEQUENCE shop.numbers TO {}").format(name))
            conn.execute(sql.SQL("GRANT {} TO {} WITH SET TRUE").format(sql.Identifier(guest), name))
            conn.execute(
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = shop").format(
                    name, sql.Identifier(database.name)
                )
            )
        conn.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(database.name)))
    assert {ACME, BOLT} == set(shop.documents)
    with shop.admin() as conn:
        yield Arena(shop, spare, guest, bouncer, conn)
