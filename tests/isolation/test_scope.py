"""Whose rows a transaction sees, on every way through SQLAlchemy, and what it leaves on the connection."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.core.errors import UsageError
from tenantry.session.errors import TransactionOpenError, UserChangedError
from tenantry.session.sqlalchemy import protect
from tests.plugins.shop import ACME, BOLT, Document, Driver, Shop, round_the_guard

ALL = "SELECT tenant_id FROM shop.documents"


def flush_first(session: Session) -> list[Any]:
    session.add(Document(title="flushed first"))
    session.flush()
    return list(session.scalars(select(Document.tenant_id)))


def by_orm(session: Session) -> list[Any]:
    return [document.tenant_id for document in session.scalars(select(Document))]


def by_connection(session: Session) -> list[Any]:
    return list(session.connection().scalars(select(Document.tenant_id)))


def by_text(session: Session) -> list[Any]:
    return list(session.scalars(text(ALL)))


def by_driver_sql(session: Session) -> list[Any]:
    return list(session.connection().exec_driver_sql(ALL).scalars())


def streamed(session: Session) -> list[Any]:
    return list(session.scalars(select(Document.tenant_id), execution_options={"yield_per": 1}))


def after_commit(session: Session) -> list[Any]:
    session.scalars(select(Document)).all()
    session.commit()
    return list(session.scalars(select(Document.tenant_id)))


def after_rollback(session: Session) -> list[Any]:
    session.scalars(select(Document)).all()
    session.rollback()
    return list(session.scalars(select(Document.tenant_id)))


def in_a_savepoint(session: Session) -> list[Any]:
    with session.begin_nested():
        return list(session.scalars(select(Document.tenant_id)))


def after_a_savepoint_failed(session: Session) -> list[Any]:
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("SELECT 1/0"))
    return list(session.scalars(select(Document.tenant_id)))


def refreshed(session: Session) -> list[Any]:
    document = session.scalars(select(Document)).first()
    assert document is not None
    session.commit()
    session.refresh(document)
    return [document.tenant_id]


def by_lazy_attribute(session: Session) -> list[Any]:
    document = session.scalars(select(Document)).first()
    assert document is not None
    session.commit()
    return [document.tenant_id]


READS: list[Callable[[Session], list[Any]]] = [
    flush_first,
    by_orm,
    by_connection,
    by_text,
    by_driver_sql,
    streamed,
    after_commit,
    after_rollback,
    in_a_savepoint,
    after_a_savepoint_failed,
    refreshed,
    by_lazy_attribute,
]

UNGUARDED_READS = [by_orm, by_connection, by_text, by_driver_sql, streamed, after_commit, after_rollback]


# One test for all, since a database of its own for each read and driver would take minutes.
def test_each_tenant_reads_its_own_rows_and_no_others(driver: Driver):
    seen: dict[str, tuple[set[Any], set[Any]]] = {}
    for read in READS:
        with tenant_scope(ACME):
            acme = driver.session(read)
        with tenant_scope(BOLT):
            bolt = driver.session(read)
        seen[read.__name__] = (set(acme), set(bolt))

    assert seen == {read.__name__: ({ACME}, {BOLT}) for read in READS}


def test_without_wall_and_guard_the_same_reads_cross(unguarded: Driver):
    with tenant_scope(ACME):
        seen = {read.__name__: set(unguarded.session(read)) for read in UNGUARDED_READS}

    assert seen == {read.__name__: {ACME, BOLT} for read in UNGUARDED_READS}


def test_without_a_tenant_nothing_is_sent(driver: Driver, shop: Shop):
    with tenant_scope(ACME):
        driver.session(lambda session: session.execute(text("SELECT 'the last one'")).all())
    before = shop.last_statement()

    for read in READS:
        with pytest.raises(NoTenantError, match="tenant_scope"):
            driver.session(read)

    assert before is not None
    assert shop.last_statement() == before


def test_without_a_tenant_the_database_refuses_too(driver: Driver):
    def raw(conn: Connection) -> list[Any]:
        with round_the_guard(conn):
            cursor = conn.connection.cursor()
            cursor.execute(ALL)
            rows = list(cursor.fetchall())
            cursor.close()
            conn.connection.rollback()
            return rows

    rows = driver.connection(raw)

    assert rows == []


def fail(session: Session) -> None:
    session.execute(text("SELECT 1/0"))


@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close, fail])
def test_a_connection_goes_back_to_the_pool_without_tenant_or_user(driver: Driver, end: Callable[[Session], None]):
    seen: list[Any] = []

    def work(session: Session) -> None:
        seen.append(session.scalar(text("SELECT current_setting('app.tenant_id') || current_setting('app.user_id')")))
        end(session)

    with tenant_scope(ACME, user="ann"):
        if end is fail:
            with pytest.raises(DBAPIError):
                driver.session(work)
        else:
            driver.session(work)

    assert seen == [f"{ACME}ann"]
    assert driver.settings_left() == ("", "")


def test_a_session_level_setting_of_one_tenant_is_not_the_next_ones_context(driver: Driver):
    def poison(session: Session) -> None:
        session.execute(text(f"SELECT set_config('app.tenant_id', '{ACME}', false)"))
        session.commit()

    with tenant_scope(ACME):
        driver.session(poison)
    with tenant_scope(BOLT):
        rows = driver.session(by_orm)

    assert set(rows) == {BOLT}


def test_the_user_of_one_transaction_is_not_that_of_the_next(driver: Driver):
    def user(session: Session) -> Any:
        found = session.scalar(text("SELECT current_setting('app.user_id')"))
        session.commit()
        return found

    with tenant_scope(ACME, user="ann"):
        first = driver.session(user)
    with tenant_scope(ACME):
        second = driver.session(user)

    assert (first, second) == ("ann", "")


def test_a_transaction_refuses_statements_of_another_scope_and_goes_on_in_its_own(driver: Driver):
    def work(session: Session) -> list[Any]:
        session.execute(text("SELECT 1"))
        with tenant_scope(BOLT), pytest.raises(TenantChangedError) as caught:
            session.execute(text(ALL))
        assert (str(caught.value.began_for), str(caught.value.now)) == (str(ACME), str(BOLT))
        return list(session.scalars(text(ALL)))

    with tenant_scope(ACME):
        rows = driver.session(work)

    assert rows == [ACME]


def test_a_transaction_refuses_statements_for_another_user(driver: Driver):
    def work(session: Session) -> None:
        session.execute(text("SELECT 1"))
        with tenant_scope(ACME, user="bob"):
            session.execute(text(ALL))

    with tenant_scope(ACME, user="ann"), pytest.raises(UserChangedError, match="bob"):
        driver.session(work)


def test_a_transaction_that_outlives_its_scope_is_refused(driver: Driver):
    def work(session: Session) -> None:
        with tenant_scope(ACME):
            session.execute(text("SELECT 1"))
        session.execute(text(ALL))

    with pytest.raises(NoTenantError):
        driver.session(work)


def test_a_transaction_that_began_before_the_guard_is_refused(shop: Shop):
    engine = create_engine(shop.database.url(shop.app, "psycopg"))

    with engine.connect() as conn, conn.begin():
        protect(engine)
        with tenant_scope(ACME), pytest.raises(TransactionOpenError):
            conn.execute(text(ALL))

    engine.dispose()


def test_a_connection_on_which_no_transaction_could_begin_sends_nothing(shop: Shop):
    engine = create_engine(shop.database.url(shop.app, "psycopg"))
    failing: list[bool] = []

    @event.listens_for(engine, "begin")
    def fail(conn: Connection) -> None:
        if failing:
            raise RuntimeError

    protect(engine)
    with tenant_scope(ACME), engine.connect() as conn:
        conn.execute(text(ALL))
        conn.commit()
        failing.append(True)
        with pytest.raises(RuntimeError):
            conn.execute(text(ALL))
        with pytest.raises(TransactionOpenError):  # SQLAlchemy begins no other one on it
            conn.execute(text(ALL))

    engine.dispose()


def test_a_connection_detached_from_its_pool_is_guarded_as_well(shop: Shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg")))

    with engine.connect() as conn:
        conn.detach()
        with tenant_scope(ACME):
            rows = conn.scalars(text(ALL)).all()
        with tenant_scope(BOLT), pytest.raises(TenantChangedError):
            conn.scalars(text(ALL))

    assert rows == [ACME]


def test_one_session_serves_two_tenants_in_turn_where_it_holds_no_objects(driver: Driver):
    def work(session: Session) -> list[list[Any]]:
        found: list[list[Any]] = []
        for tenant in (ACME, BOLT):
            with tenant_scope(tenant):
                found.append(list(session.scalars(select(Document.tenant_id))))
                session.commit()
        return found

    found = driver.session(work)

    assert found == [[ACME], [BOLT]]


def test_autocommit_is_scoped(driver: Driver):
    def work(conn: Connection) -> list[Any]:
        return [list(conn.scalars(text(ALL))) for _ in range(8)]

    with tenant_scope(ACME):
        assert driver.connection(work, isolation_level="AUTOCOMMIT") == [[ACME]] * 8
        assert driver.connection(work) == [[ACME]] * 8

    assert driver.settings_left() == ("", "")


def test_an_autocommit_engine_is_scoped(shop: Shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg"), isolation_level="AUTOCOMMIT"))

    with engine.connect() as conn:
        with tenant_scope(ACME):
            assert list(conn.scalars(text(ALL))) == [ACME]
        with pytest.raises(NoTenantError):
            conn.scalars(text(ALL))

    engine.dispose()


def test_a_two_phase_transaction_carries_the_tenant(driver: Driver):
    def work(conn: Connection) -> list[Any]:
        with conn.begin_twophase() as transaction:
            rows = list(conn.scalars(text(ALL)))
            transaction.rollback()  # to prepare it needs max_prepared_transactions, which is 0 by default
        return rows

    with tenant_scope(ACME):
        rows = driver.connection(work)

    assert rows == [ACME]


def test_a_refused_statement_leaves_the_connection_usable(driver: Driver):
    def work(conn: Connection) -> list[Any]:
        with pytest.raises(NoTenantError):
            conn.execute(text(ALL))
        with pytest.raises(NoTenantError):
            conn.exec_driver_sql(ALL)
        with tenant_scope(ACME):
            return list(conn.scalars(text(ALL)))

    assert driver.connection(work) == [ACME]


def test_a_transaction_belongs_to_the_scope_that_it_began_in(driver: Driver):
    def work(conn: Connection) -> None:
        with tenant_scope(ACME):
            conn.begin()
        with tenant_scope(BOLT):
            conn.execute(text(ALL))

    with pytest.raises(TenantChangedError):
        driver.connection(work)


def test_an_engine_made_from_a_protected_one_is_protected(shop: Shop):
    engine = protect(create_engine(shop.database.url(shop.app, "psycopg")))
    other = engine.execution_options(logging_token="reports")

    with other.connect() as conn, pytest.raises(NoTenantError):
        conn.execute(text(ALL))

    engine.dispose()


def test_protecting_twice_changes_nothing_and_another_column_is_refused(shop: Shop):
    engine = protect(protect(create_engine(shop.database.url(shop.app, "psycopg"))))

    with pytest.raises(UsageError, match="tenant_id"):
        protect(engine, tenant_column="org_id")
