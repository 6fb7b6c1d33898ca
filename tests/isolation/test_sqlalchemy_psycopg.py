"""What SQLAlchemy does of its own over a psycopg connection that carries the tenant, and what goes round it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool
from sqlalchemy import Connection, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.core.errors import UsageError
from tenantry.session.errors import TransactionControlError
from tenantry.session.psycopg import TenantConnection, unguarded
from tenantry.session.sqlalchemy import protect
from tests.plugins.shop import ACME, BOLT, Document, Driver, Shop

ALL = "SELECT tenant_id FROM shop.documents"

over_psycopg = pytest.mark.parametrize("driver", ["psycopg", "psycopg-async"], indirect=True)


@over_psycopg
def test_the_drivers_own_connection_is_guarded_too(driver: Driver):
    def raw(conn: Connection) -> list[Any]:
        cursor = conn.connection.cursor()
        try:
            cursor.execute(ALL)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    with pytest.raises(NoTenantError):
        driver.connection(raw)
    for tenant in (ACME, BOLT):
        with tenant_scope(tenant):
            assert driver.connection(raw) == [(tenant,)]


@over_psycopg
@pytest.mark.parametrize("isolation", [{}, {"isolation_level": "AUTOCOMMIT"}], ids=["transaction", "autocommit"])
def test_text_cannot_end_the_transaction(driver: Driver, isolation: dict[str, Any]):
    def work(conn: Connection) -> list[Any]:
        for query in ("COMMIT", "ROLLBACK", "BEGIN", "SELECT 1; COMMIT"):
            with pytest.raises(TransactionControlError):
                conn.execute(text(query))
            with pytest.raises(TransactionControlError):
                conn.exec_driver_sql(query)
        return list(conn.scalars(text(ALL)))

    with tenant_scope(ACME):
        assert driver.connection(work, **isolation) == [ACME]


@over_psycopg
def test_every_way_through_core_and_orm_sees_one_tenant(driver: Driver):
    def work(session: Session) -> None:
        session.add_all([Document(title=f"of many {number}") for number in range(5)])
        session.flush()
        session.execute(insert(Document), [{"title": "bulk"}, {"title": "bulk"}])
        with session.begin_nested():
            session.add(Document(title="nested"))
        assert {row.tenant_id for row in session.scalars(select(Document).execution_options(yield_per=2))} == {ACME}
        with session.connection().execution_options(stream_results=True).execute(text(ALL)) as streamed:
            assert {tenant for (tenant,) in streamed} == {ACME}
        session.commit()

    with tenant_scope(ACME):
        driver.session(work)

    assert driver.settings_left() == ("", "")


@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}], ids=["transaction", "autocommit"])
def test_a_ping_before_each_use_needs_no_scope(shop: Shop, options: dict[str, Any]):
    url = shop.database.url(shop.app, "psycopg")
    engine = protect(create_engine(url, pool_pre_ping=True, pool_size=1, max_overflow=0, **options))
    for _ in range(2):
        with engine.connect():
            pass
        with tenant_scope(ACME), engine.connect() as conn:
            assert list(conn.scalars(text(ALL))) == [ACME]
    with shop.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [shop.app])
    with tenant_scope(BOLT), engine.connect() as conn:
        assert list(conn.scalars(text(ALL))) == [BOLT]
    engine.dispose()


def test_an_application_sets_its_connections_up_without_a_scope(shop: Shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg")))

    @event.listens_for(engine, "connect")
    def set_up(dbapi_connection: Any, record: object) -> None:
        dbapi_connection.execute("SET work_mem = '3MB'")
        dbapi_connection.commit()

    with tenant_scope(ACME), engine.connect() as conn:
        assert conn.scalar(text("SHOW work_mem")) == "3MB"
        assert list(conn.scalars(text(ALL))) == [ACME]
    engine.dispose()


def test_an_engine_with_a_creator_of_its_own_is_told_what_to_make(shop: Shop):
    dsn = shop.database.dsn(shop.app)
    plain = protect(create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn)))
    with pytest.raises(UsageError, match=r"TenantConnection\.connect"), plain.connect():
        pass
    ours = protect(create_engine("postgresql+psycopg://", creator=lambda: TenantConnection.connect(dsn)))
    with tenant_scope(ACME), ours.connect() as conn:
        assert list(conn.scalars(text(ALL))) == [ACME]
    ours.dispose()


def test_a_creators_connection_is_told_how_the_engine_is_protected(shop: Shop):
    dsn = shop.database.dsn(shop.app)
    engine = create_engine("postgresql+psycopg://", creator=lambda: TenantConnection.connect(dsn))
    with tenant_scope(ACME), protect(engine, checkin="always").connect() as conn:
        own: Any = conn.connection.driver_connection

        assert own.tenantry.always
    engine.dispose()


def test_a_listener_that_changes_how_to_connect_is_heard(shop: Shop):
    engine = create_engine(shop.database.url(shop.app, "psycopg"))

    @event.listens_for(engine, "do_connect")
    def name(dialect: object, record: object, arguments: Any, options: dict[str, Any]) -> None:
        options["application_name"] = "shop"

    protect(engine)
    with tenant_scope(ACME), engine.connect() as conn:
        assert conn.scalar(text("SHOW application_name")) == "shop"
    engine.dispose()


def test_a_connection_from_before_it_was_protected_is_replaced(shop: Shop):
    engine = create_engine(shop.database.url(shop.app, "psycopg"), pool_size=1, max_overflow=0)
    with engine.connect() as conn:
        conn.execute(text("SELECT 1"))
    protect(engine)
    with tenant_scope(ACME), engine.connect() as conn:
        assert isinstance(conn.connection.driver_connection, TenantConnection)
        assert list(conn.scalars(text(ALL))) == [ACME]
    engine.dispose()


def test_a_pool_of_psycopg_serves_tenants_in_turn(shop: Shop):
    def configure(conn: Any) -> None:
        with unguarded(conn):
            conn.execute("SET work_mem = '3MB'")
            conn.commit()

    with ConnectionPool(
        shop.database.dsn(shop.app),
        connection_class=TenantConnection,
        configure=configure,
        check=ConnectionPool.check_connection,
        min_size=1,
        max_size=1,
        open=True,
    ) as pool:
        for tenant in (ACME, BOLT, ACME):
            with tenant_scope(tenant), pool.connection() as conn:
                assert conn.execute(ALL).fetchall() == [(tenant,)]
                with tenant_scope(ACME if tenant == BOLT else BOLT), pytest.raises(TenantChangedError):
                    conn.execute(ALL)
        with pool.connection() as conn, pytest.raises(NoTenantError):
            conn.execute(ALL)


class Turns:
    """A relay that counts how often the client speaks after the server did: round trips."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.count = 0
        self.turn = ""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, server = self.listener.accept()[0], socket.create_connection(self.server)
                self.sockets += [client, server]
                for pair in ((client, server, "up"), (server, client, "down")):
                    self.threads.append(threading.Thread(target=self._copy, args=pair))
                    self.threads[-1].start()

    def _copy(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.count += way == "up" != self.turn
                self.turn = way
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for one in (self.listener, *self.sockets):
            one.close()

    def of(self, work: Callable[[], Any]) -> int:
        before = self.count
        work()
        return self.count - before


@pytest.fixture
def turns(shop: Shop) -> Iterator[Turns]:
    turns = Turns("127.0.0.1", shop.database.cluster.port)
    yield turns
    turns.close()


def test_round_trips_of_psycopg(shop: Shop, turns: Turns):
    dsn = make_conninfo(shop.database.dsn(shop.app), port=turns.port)
    with closing(TenantConnection.connect(dsn, autocommit=True)) as conn, tenant_scope(ACME):
        for _ in range(8):
            assert turns.of(lambda: conn.execute(f"{ALL} WHERE title <> %s", ("x",)).fetchall()) == 1
        assert turns.of(lambda: conn.execute("INSERT INTO shop.documents (title) VALUES ('x')")) == 1
        assert turns.of(lambda: conn.execute(f"{ALL}; {ALL}")) == 1
    with closing(TenantConnection.connect(dsn)) as conn, tenant_scope(ACME):
        for _ in range(8):
            assert turns.of(lambda: conn.execute(f"{ALL} WHERE title <> %s", ("x",)).fetchall()) == 1
            assert turns.of(lambda: conn.execute(ALL, prepare=False).fetchall()) == 1
            assert turns.of(conn.commit) == 1
        conn.execute("INSERT INTO shop.documents (title) VALUES ('x')")
        assert turns.of(conn.commit) == 1
        assert turns.of(conn.commit) == 0


def test_round_trips_of_an_orm_transaction(shop: Shop, turns: Turns):
    url = shop.database.url(shop.app, "psycopg").replace(f":{shop.database.cluster.port}/", f":{turns.port}/")
    protected, plain = protect(create_engine(url)), create_engine(url)
    key = shop.documents[ACME]

    def orm(engine: Any) -> None:
        with Session(engine) as session:
            assert engine is plain or session.get(Document, key) is not None
            if engine is plain:
                session.get(Document, key)
            session.commit()

    with tenant_scope(ACME):
        for engine in (protected, plain):
            for _ in range(8):
                orm(engine)
        assert turns.of(lambda: orm(plain)) == 3
        assert turns.of(lambda: orm(protected)) == 2
    protected.dispose()
    plain.dispose()


def test_an_error_of_the_statement_is_that_of_the_driver(shop: Shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg")))
    with tenant_scope(ACME), engine.connect() as conn, pytest.raises(DBAPIError) as caught:
        conn.execute(text("SELECT 1/0"))

    assert isinstance(caught.value.orig, psycopg.errors.DivisionByZero)
    engine.dispose()
