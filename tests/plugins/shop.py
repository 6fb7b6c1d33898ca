"""A small shop with two tenants, kept apart as the design says, and the drivers that reach it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, FetchedValue, ForeignKey, Uuid, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenantry.session import psycopg as own_psycopg
from tenantry.session.sqlalchemy import protect
from tests.plugins.postgres import Database

ACME = UUID("aaaaaaaa-0000-4000-8000-00000000000a")
BOLT = UUID("bbbbbbbb-0000-4000-8000-00000000000b")

CURRENT = "(SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)"

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.documents (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    tenant_id uuid NOT NULL DEFAULT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid,
    title text NOT NULL
);
-- no default: what stands in its tenant_id was sent by the client
CREATE TABLE shop.notes (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    tenant_id uuid NOT NULL,
    document_id uuid REFERENCES shop.documents,
    body text NOT NULL
);
CREATE TABLE shop.settings (id int PRIMARY KEY, value text);
"""

TABLES = ("documents", "notes")

POLICIES = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenantry_tenant ON {table} USING (tenant_id = {current}) WITH CHECK (tenant_id = {current});
CREATE POLICY tenantry_floor ON {table} AS RESTRICTIVE USING (tenant_id = {current}) WITH CHECK (tenant_id = {current});
"""


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    __table_args__: ClassVar = {"schema": "shop"}
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(Uuid, server_default=FetchedValue())
    title: Mapped[str]


class Note(Base):
    __tablename__ = "notes"
    __table_args__: ClassVar = {"schema": "shop"}
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner: Mapped[UUID] = mapped_column("tenant_id", Uuid)
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey(Document.id))
    body: Mapped[str]


@dataclass(frozen=True)
class Shop:
    """The database with one document of each tenant in it."""

    database: Database
    owner: str
    app: str
    documents: dict[UUID, UUID]

    def admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database.admin_dsn, autocommit=True)

    def rows(self, table: str = "documents") -> list[tuple[Any, ...]]:
        """What is really in *table*, whoever owns it."""
        with self.admin() as conn:
            query = sql.SQL("SELECT * FROM shop.{} ORDER BY 1, 2").format(sql.Identifier(table))
            return conn.execute(query).fetchall()

    def tenants_in(self, table: str) -> list[UUID]:
        with self.admin() as conn:
            query = sql.SQL("SELECT tenant_id FROM shop.{} ORDER BY 1").format(sql.Identifier(table))
            return [tenant for (tenant,) in conn.execute(query)]

    def start_again(self) -> None:
        """Leave one document of each tenant, and no note."""
        with self.admin() as conn:
            conn.execute("TRUNCATE shop.documents, shop.notes")
            for tenant, document in self.documents.items():
                conn.execute("INSERT INTO shop.documents VALUES (%s, %s, %s)", [document, tenant, f"of {tenant}"])

    def drop_the_wall(self) -> None:
        with self.admin() as conn:
            for table in TABLES:
                name = sql.Identifier("shop", table)
                conn.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))

    def last_statement(self) -> tuple[str, str] | None:
        """State and text of the app role's backend, as the server saw them last."""
        with self.admin() as conn:
            return conn.execute(
                "SELECT state, query FROM pg_catalog.pg_stat_activity WHERE usename = %s", [self.app]
            ).fetchone()


def make_shop(database: Database) -> Shop:
    """Make the shop in *database*, with its owner and the role that both tenants use."""
    owner = database.role("migrator", "NOSUPERUSER", "NOBYPASSRLS")
    app = database.role("app", "NOSUPERUSER", "NOBYPASSRLS", "NOINHERIT", "NOCREATEROLE")
    documents = {ACME: uuid4(), BOLT: uuid4()}
    with psycopg.connect(database.admin_dsn) as conn:
        conn.execute(SCHEMA)
        conn.execute(sql.SQL("ALTER SCHEMA shop OWNER TO {}").format(sql.Identifier(owner)))
        for table in TABLES:
            name = sql.Identifier("shop", table)
            conn.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(name, sql.Identifier(owner)))
            conn.execute(sql.SQL(POLICIES).format(table=name, current=sql.SQL(CURRENT)))
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA shop TO {}").format(sql.Identifier(app)))
        conn.execute(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shop TO {}").format(
                sql.Identifier(app)
            )
        )
        for tenant, document in documents.items():
            conn.execute("INSERT INTO shop.documents VALUES (%s, %s, %s)", [document, tenant, f"of {tenant}"])
    return Shop(database, owner, app, documents)


def round_the_guard(conn: Connection) -> AbstractContextManager[None]:
    """Let what is sent on the driver's own connection pass, so that only the database is left to refuse it."""
    raw: Any = conn.connection.driver_connection
    return raw.unguarded() if hasattr(raw, "unguarded") else own_psycopg.unguarded(raw)


@pytest.fixture
def shop(database: Database) -> Shop:
    return make_shop(database)


class Driver:
    """A way through SQLAlchemy to the shop: the same function runs on Session and, by `run_sync`, on AsyncSession.

    The pool holds one connection, so that what a tenant leaves on it is met by the next.
    """

    def __init__(self, shop: Shop, kind: str, loop: asyncio.Runner, *, protected: bool = True) -> None:
        self.loop = loop
        name, _, mode = kind.partition("-")
        url = shop.database.url(shop.app, name)
        options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}
        self.engine: Engine | AsyncEngine = (
            create_async_engine(url, **options) if mode == "async" else create_engine(url, **options)
        )
        if protected:
            protect(self.engine)

    @property
    def sync_engine(self) -> Engine:
        return self.engine.sync_engine if isinstance(self.engine, AsyncEngine) else self.engine

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run *work* in the caller's scope: a runner otherwise keeps the context that it was made in."""
        return self.loop.run(work, context=copy_context())

    def session(self, work: Callable[[Session], Any], **options: Any) -> Any:
        """Run *work* with a session, without a commit of ours."""
        if not isinstance(self.engine, AsyncEngine):
            with Session(self.engine, **options) as session:
                return work(session)
        engine = self.engine

        async def run() -> Any:
            async with AsyncSession(engine, **options) as session:
                return await session.run_sync(work)

        return self.run(run())

    def connection(self, work: Callable[[Connection], Any], **options: Any) -> Any:
        """Run *work* with a Core connection, without a commit of ours."""
        if not isinstance(self.engine, AsyncEngine):
            with self.engine.connect() as conn:
                return work(conn.execution_options(**options))
        engine = self.engine

        async def run() -> Any:
            async with engine.connect() as conn:
                return await (await conn.execution_options(**options)).run_sync(work)

        return self.run(run())

    def settings_left(self) -> tuple[str, str]:
        """What the pooled connection says of tenant and user, read round every guard."""

        def read(conn: Connection) -> tuple[str, str]:
            with round_the_guard(conn):
                cursor = conn.connection.cursor()
                cursor.execute(
                    "SELECT coalesce(pg_catalog.current_setting('app.tenant_id', true), ''),"
                    " coalesce(pg_catalog.current_setting('app.user_id', true), '')"
                )
                found = cursor.fetchone()
                cursor.close()
                conn.connection.rollback()
            assert found is not None
            return (found[0], found[1])

        return self.connection(read)

    def close(self) -> None:
        if isinstance(self.engine, AsyncEngine):
            self.run(self.engine.dispose())
        else:
            self.engine.dispose()


@pytest.fixture(params=["psycopg", "asyncpg-async", "psycopg-async"])
def driver(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Driver]:
    with asyncio.Runner() as loop:
        driver = Driver(shop, request.param, loop)
        yield driver
        driver.close()


@pytest.fixture(params=["psycopg", "asyncpg-async", "psycopg-async"])
def unguarded(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The same way without `protect`, to a shop without row security: what must succeed here, or the test is blind."""
    shop.drop_the_wall()
    with asyncio.Runner() as loop:
        driver = Driver(shop, request.param, loop, protected=False)
        yield driver
        driver.close()
