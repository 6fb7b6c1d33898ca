"""A session gives out no object of another tenant, however it got it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from tenantry import ForeignTenantError, NoTenantError, TenantChangedError, tenant_scope
from tests.plugins.shop import ACME, BOLT, Document, Driver, Shop


def get(session: Session, key: Any) -> Any:
    return session.get(Document, key)


def get_after_caught_refusal(session: Session, key: Any) -> Any:
    with pytest.raises(TenantChangedError):
        session.scalars(select(Document)).all()
    with pytest.raises(TenantChangedError):  # the same transaction, tried again
        session.scalars(select(Document)).all()
    return session.get(Document, key)


def query(session: Session, key: Any) -> Any:
    return session.scalars(select(Document)).all()


def core(session: Session, key: Any) -> Any:
    return session.connection().execute(text("SELECT 1")).all()


def flush(session: Session, key: Any) -> Any:
    session.add(Document(title="of the second tenant"))
    return session.flush()


@pytest.mark.parametrize("use", [get, get_after_caught_refusal, query, core, flush])
@pytest.mark.parametrize("kept", [{}, {"expire_on_commit": False}], ids=["expired", "kept"])
def test_a_session_that_holds_objects_of_one_tenant_is_refused_to_another(
    driver: Driver, shop: Shop, use: Callable[[Session, Any], Any], kept: dict[str, Any]
):
    key = shop.documents[ACME]

    def work(session: Session) -> None:
        with tenant_scope(ACME):
            document = session.get(Document, key)
            assert document is not None
            session.commit()
        with tenant_scope(BOLT), pytest.raises(TenantChangedError, match="its own session"):
            use(session, key)
        del document

    driver.session(work, **kept)

    assert driver.settings_left() == ("", "")


def test_without_the_guard_a_session_gives_out_the_other_tenants_object(unguarded: Driver, shop: Shop):
    key = shop.documents[ACME]

    def work(session: Session) -> Any:
        with tenant_scope(ACME):
            document = session.get(Document, key)
            session.commit()
        with tenant_scope(BOLT):
            return session.get(Document, key) is document

    assert unguarded.session(work, expire_on_commit=False)


def test_outside_a_scope_a_session_gives_out_no_object_at_all(driver: Driver, shop: Shop):
    key = shop.documents[ACME]

    def work(session: Session) -> None:
        with tenant_scope(ACME):
            document = session.get(Document, key)
            session.commit()
        with pytest.raises(NoTenantError):
            session.get(Document, key)
        del document

    driver.session(work, expire_on_commit=False)


@pytest.mark.parametrize("clear", [Session.close, Session.expunge_all])
def test_a_session_that_let_its_objects_go_serves_the_next_tenant(
    driver: Driver, shop: Shop, clear: Callable[[Session], None]
):
    def work(session: Session) -> tuple[Any, Any]:
        with tenant_scope(ACME):
            document = session.get(Document, shop.documents[ACME])
            session.commit()
            clear(session)
        with tenant_scope(BOLT):
            found = session.get(Document, shop.documents[ACME]), session.get(Document, shop.documents[BOLT])
        assert document is not None
        return found

    foreign, own = driver.session(work)

    assert (foreign, own.title) == (None, f"of {BOLT}")


def detached(session: Session, key: Any) -> Document:
    document = session.get(Document, key)
    assert document is not None
    session.commit()
    session.refresh(document)
    session.expunge_all()
    session.commit()
    return document


@pytest.mark.parametrize("first", [None, "SELECT 1"], ids=["a fresh session", "a used session"])
def test_an_object_from_another_session_is_taken_for_its_own_tenant_only(driver: Driver, shop: Shop, first: str | None):
    with tenant_scope(ACME):
        document = driver.session(lambda session: detached(session, shop.documents[ACME]))

    def change(session: Session) -> None:
        if first:
            session.execute(text(first))
        session.add(document)
        document.title = "changed"
        session.flush()
        session.commit()
        session.expunge_all()

    with tenant_scope(BOLT), pytest.raises(ForeignTenantError):
        driver.session(change)
    unchanged = shop.rows()
    with tenant_scope(ACME):
        document = driver.session(lambda session: detached(session, shop.documents[ACME]))
        driver.session(change)

    assert "changed" not in {title for _, _, title in unchanged}
    assert "changed" in {title for _, _, title in shop.rows()}


def test_a_session_of_the_callers_own_class_is_guarded_as_well(driver: Driver, shop: Shop):
    class OwnSession(Session):
        pass

    def work(session: Session) -> None:
        maker = sessionmaker(session.get_bind(), class_=OwnSession, expire_on_commit=False)
        with maker() as own:
            with tenant_scope(ACME):
                document = own.get(Document, shop.documents[ACME])
                own.commit()
            with tenant_scope(BOLT), pytest.raises(TenantChangedError):
                own.get(Document, shop.documents[ACME])
            del document

    driver.session(work)
