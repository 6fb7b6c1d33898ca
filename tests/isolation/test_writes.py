"""What is written for a tenant: filled in where it is missing, refused where it is another's."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from typing import cast as cast_type
from uuid import uuid4

import pytest
from sqlalchemy import (
    Insert,
    Table,
    Uuid,
    bindparam,
    cast,
    column,
    event,
    func,
    insert,
    literal,
    null,
    select,
    table,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from tenantry import ForeignTenantError, tenant_scope
from tenantry.session.errors import TenantTypeError
from tests.plugins.shop import ACME, BOLT, Document, Driver, Note, Shop

NOTES = cast_type(Table, Note.__table__)
DOCUMENTS = cast_type(Table, Document.__table__)
LIGHT = table("notes", column("id"), column("tenant_id"), column("body"), schema="shop")

Write = Callable[[Session], object]


def orm_single(session: Session) -> object:
    note = Note(body="one")
    session.add(note)
    session.flush()
    assert note.__dict__["owner"] == ACME  # there without another query
    return note


def orm_all(session: Session) -> object:
    notes = [Note(body=f"{n}") for n in range(3)]
    session.add_all(notes)
    session.flush()
    assert {note.__dict__["owner"] for note in notes} == {ACME}
    return notes


def orm_default_of_the_database(session: Session) -> object:
    document = Document(title="new")
    session.add(document)
    session.flush()
    assert document.__dict__["tenant_id"] == ACME
    return document


def orm_insert_returning(session: Session) -> object:
    notes = session.scalars(insert(Note).returning(Note), [{"body": "one"}, {"body": "two"}]).all()
    assert {note.owner for note in notes} == {ACME}
    return notes


FILLED: dict[str, Write] = {
    "orm": orm_single,
    "orm add_all": orm_all,
    "orm, default of the database": orm_default_of_the_database,
    "orm insert returning": orm_insert_returning,
    "orm insert values": lambda s: s.execute(insert(Note).values(body="one")),
    "orm insert multi-values": lambda s: s.execute(insert(Note).values([{"body": "one"}, {"body": "two"}])),
    "orm insert of rows": lambda s: s.execute(insert(Note), [{"body": "one"}, {"body": "two"}]),
    "bulk_insert_mappings": lambda s: s.bulk_insert_mappings(Note.__mapper__, [{"body": "one"}, {"body": "two"}]),
    "bulk_save_objects": lambda s: s.bulk_save_objects([Note(body="one"), Note(body="two")]),
    "merge": lambda s: s.merge(Note(id=uuid4(), body="one")),
    "core": lambda s: s.connection().execute(insert(NOTES).values(body="one")),
    "core parameters": lambda s: s.connection().execute(insert(NOTES), {"body": "one"}),
    "core values and parameters": lambda s: s.connection().execute(insert(NOTES).values(body="one"), {"id": uuid4()}),
    "core executemany": lambda s: s.connection().execute(insert(NOTES), [{"body": "one"}, {"body": "two"}]),
    "core executemany returning": lambda s: (
        s.connection().execute(insert(NOTES).returning(NOTES.c.id), [{"body": "one"}, {"body": "two"}]).all()
    ),
    "core multi-values": lambda s: s.connection().execute(insert(NOTES).values([{"body": "one"}, {"body": "two"}])),
    "core multi-values as tuples": lambda s: s.connection().execute(
        insert(NOTES).values([(uuid4(), None, None, "one"), (uuid4(), None, None, "two")])
    ),
    "core without a typed table": lambda s: s.connection().execute(insert(LIGHT).values(body="one")),
    "core, none in the parameters": lambda s: s.connection().execute(
        insert(NOTES), [{"tenant_id": None, "body": "one"}, {"tenant_id": ACME, "body": "two"}]
    ),
    "core, none in the values": lambda s: s.connection().execute(insert(NOTES).values(tenant_id=None, body="one")),
    "core, null() in the values": lambda s: s.connection().execute(insert(NOTES).values(tenant_id=null(), body="one")),
    "core, none in multi-values": lambda s: s.connection().execute(
        insert(NOTES).values([{"tenant_id": None, "body": "one"}, {"tenant_id": ACME, "body": "two"}])
    ),
    "from select": lambda s: s.connection().execute(
        insert(DOCUMENTS).from_select(["title"], select(func.upper(DOCUMENTS.c.title)))
    ),
    "upsert": lambda s: s.connection().execute(
        upsert(NOTES)
        .values(body="one")
        .on_conflict_do_update(index_elements=["id"], set_={"body": upsert(NOTES).excluded.body})
    ),
    "own tenant as a UUID": lambda s: s.execute(insert(NOTES).values(tenant_id=ACME, body="one")),
    "own tenant as text": lambda s: s.execute(insert(NOTES).values(tenant_id=str(ACME).upper(), body="one")),
    "own tenant in an update": lambda s: s.execute(update(NOTES).values(tenant_id=str(ACME))),
}


# One test for all, since a database of its own for each write and driver would take minutes.
def test_a_row_gets_the_tenant_of_the_scope(driver: Driver, shop: Shop):
    def written() -> Counter[Any]:
        return Counter([*shop.tenants_in("notes"), *shop.tenants_in("documents")])

    added: dict[str, tuple[bool, int]] = {}
    for name, write in FILLED.items():
        shop.start_again()
        before = written()
        with tenant_scope(ACME):
            driver.session(lambda session, write=write: (write(session), session.commit()))
        after = written()
        added[name] = (after[ACME] > before[ACME] or name == "own tenant in an update", after[BOLT])
        assert set(after) == {ACME, BOLT}, name

    assert added == dict.fromkeys(FILLED, (True, 1))


@pytest.mark.parametrize("write", ["orm", "core multi-values", "core executemany", "own tenant as a UUID"])
def test_a_scope_may_be_given_the_id_as_text(driver: Driver, shop: Shop, write: str):
    def work(session: Session) -> None:
        FILLED[write](session)
        session.commit()

    with tenant_scope(str(ACME).upper()):
        driver.session(work)

    assert set(shop.tenants_in("notes")) == {ACME}


def set_on_an_object(session: Session) -> None:
    document = session.scalars(select(Document).where(Document.tenant_id == ACME)).one()
    document.tenant_id = BOLT
    session.flush()


def bulk_update(session: Session) -> None:
    key = session.scalars(select(Document.id).where(Document.tenant_id == ACME)).one()
    session.bulk_update_mappings(Document.__mapper__, [{"id": key, "tenant_id": BOLT}])


def orm_bulk_update_by_key(session: Session) -> None:
    key = session.scalars(select(Document.id).where(Document.tenant_id == ACME)).one()
    session.execute(update(Document), [{"id": key, "tenant_id": BOLT}])


def bolts_row(**more: Any) -> dict[str, Any]:
    return {"tenant_id": BOLT, "body": "planted", **more}


def conflicting(session: Session) -> Insert:
    key = session.scalars(select(DOCUMENTS.c.id).where(DOCUMENTS.c.tenant_id == ACME)).one()
    return upsert(DOCUMENTS).values(id=key, title="mine").on_conflict_do_update(
        index_elements=["id"], set_={"tenant_id": BOLT}
    )  # fmt: skip


FOREIGN: dict[str, Write] = {
    "orm": lambda s: (s.add(Note(owner=BOLT, body="planted")), s.flush()),
    "orm, text": lambda s: (s.add(Note(owner=str(BOLT), body="planted")), s.flush()),
    "orm add_all": lambda s: (s.add_all([Note(owner=ACME, body="own"), Note(owner=BOLT, body="planted")]), s.flush()),
    "orm insert values": lambda s: s.execute(insert(Note).values(owner=BOLT, body="planted")),
    "orm insert by attribute": lambda s: s.execute(insert(Note).values({Note.owner: BOLT, Note.body: "planted"})),
    "orm insert of rows": lambda s: s.execute(
        insert(Note), [{"body": "own", "owner": ACME}, {"body": "x", "owner": BOLT}]
    ),
    "orm insert multi-values": lambda s: s.execute(insert(Note).values([{"body": "x", "owner": BOLT}])),
    "bulk_insert_mappings": lambda s: s.bulk_insert_mappings(Note.__mapper__, [{"owner": BOLT, "body": "planted"}]),
    "bulk_save_objects": lambda s: s.bulk_save_objects([Note(owner=BOLT, body="planted")]),
    "merge": lambda s: (s.merge(Note(id=uuid4(), owner=BOLT, body="planted")), s.flush()),
    "core": lambda s: s.connection().execute(insert(NOTES).values(**bolts_row())),
    "core literal": lambda s: s.connection().execute(insert(NOTES).values(**bolts_row(tenant_id=literal(BOLT)))),
    "core cast": lambda s: s.connection().execute(insert(NOTES).values(**bolts_row(tenant_id=cast(str(BOLT), Uuid)))),
    "core type_coerce": lambda s: s.connection().execute(
        insert(NOTES).values(**bolts_row(tenant_id=type_coerce(BOLT, Uuid)))
    ),
    "core bindparam": lambda s: s.connection().execute(
        insert(NOTES).values(**bolts_row(tenant_id=bindparam("whose"))), {"whose": BOLT}
    ),
    "core parameters": lambda s: s.connection().execute(insert(NOTES), bolts_row()),
    "core parameters over values": lambda s: s.connection().execute(
        insert(NOTES).values(tenant_id=ACME, body="own"), {"tenant_id": BOLT}
    ),
    "core executemany": lambda s: s.connection().execute(
        insert(NOTES), [{"tenant_id": ACME, "body": "own"}, {"tenant_id": BOLT, "body": "planted"}]
    ),
    "core multi-values": lambda s: s.connection().execute(
        insert(NOTES).values([{"tenant_id": ACME, "body": "own"}, bolts_row()])
    ),
    "core multi-values as tuples": lambda s: s.connection().execute(
        insert(NOTES).values([(uuid4(), BOLT, None, "planted")])
    ),
    "core without a typed table": lambda s: s.connection().execute(
        insert(LIGHT).values(tenant_id=str(BOLT), body="planted")
    ),
    "in a CTE": lambda s: s.execute(
        select(insert(NOTES).values(**bolts_row()).returning(NOTES.c.id).cte("planted").c.id)
    ).all(),
    "in an added CTE": lambda s: s.execute(
        select(literal(1)).add_cte(insert(NOTES).values(**bolts_row()).cte("planted"))
    ).all(),
    "upsert": lambda s: s.connection().execute(
        upsert(NOTES).values(**bolts_row()).on_conflict_do_nothing()
    ),
    "upsert that moves": lambda s: s.connection().execute(conflicting(s)),
    "update": lambda s: s.connection().execute(update(DOCUMENTS).values(tenant_id=BOLT)),
    "update in order": lambda s: s.connection().execute(update(DOCUMENTS).ordered_values(("tenant_id", BOLT))),
    "update parameters": lambda s: s.connection().execute(update(DOCUMENTS), {"tenant_id": BOLT}),
    "update executemany": lambda s: s.connection().execute(
        update(DOCUMENTS).where(DOCUMENTS.c.title == bindparam("t")),
        [{"t": "", "tenant_id": BOLT}, {"t": f"of {ACME}", "tenant_id": BOLT}],
    ),
    "orm update": lambda s: s.execute(update(Document).values(tenant_id=BOLT)),
    "orm update by attribute": lambda s: s.execute(update(Note).values({Note.owner: BOLT})),
    "orm attribute": set_on_an_object,
    "bulk_update_mappings": bulk_update,
    "orm bulk update by key": orm_bulk_update_by_key,
}  # fmt: skip


def test_a_row_of_another_tenant_is_refused_before_it_is_sent(driver: Driver, shop: Shop):
    before = (shop.rows("notes"), shop.rows("documents"))
    sent: list[str] = []
    event.listen(driver.sync_engine, "before_cursor_execute", lambda *args: sent.append(args[2]))

    refused: dict[str, bool] = {}
    for name, write in FOREIGN.items():
        try:
            with tenant_scope(ACME):
                driver.session(lambda session, write=write: (write(session), session.commit()))
        except ForeignTenantError as exc:
            refused[name] = exc.row_tenant in {BOLT, str(BOLT)} and exc.table in {"shop.notes", "shop.documents"}

    assert refused == dict.fromkeys(FOREIGN, True)
    assert (shop.rows("notes"), shop.rows("documents")) == before
    assert [statement for statement in sent if not statement.startswith("SELECT")] == []


UPDATES_OF_NO_NOTE = {"orm update by attribute"}


@pytest.mark.parametrize("unguarded", ["psycopg"], indirect=True)
def test_without_wall_and_guard_the_same_writes_cross(unguarded: Driver, shop: Shop):
    def work(session: Session, write: Write) -> None:
        session.execute(text(f"SELECT set_config('app.tenant_id', '{ACME}', true)"))
        write(session)
        session.commit()

    crossed: dict[str, bool] = {}
    for name, write in FOREIGN.items():
        if name not in UPDATES_OF_NO_NOTE:
            unguarded.session(lambda session, write=write: work(session, write))
            crossed[name] = [*shop.tenants_in("notes"), *shop.tenants_in("documents")].count(BOLT) > 1
            shop.start_again()

    assert crossed == dict.fromkeys(set(FOREIGN) - UPDATES_OF_NO_NOTE, True)


def test_the_policy_refuses_what_the_client_cannot_see(driver: Driver, shop: Shop):
    def work(session: Session) -> None:
        session.execute(text("INSERT INTO shop.notes (tenant_id, body) VALUES (:bolt, 'planted')"), {"bolt": str(BOLT)})

    with tenant_scope(ACME), pytest.raises(Exception, match="row-level security"):
        driver.session(work)

    assert shop.tenants_in("notes") == []


def test_a_table_without_the_column_is_left_alone(driver: Driver, shop: Shop):
    settings = table("settings", column("id"), column("value"), schema="shop")

    def work(session: Session) -> None:
        session.execute(insert(settings).values(id=1, value="x"))
        session.commit()

    with tenant_scope(ACME):
        driver.session(work)

    with shop.admin() as conn:
        assert conn.execute("SELECT id, value FROM shop.settings").fetchall() == [(1, "x")]


def test_a_tenant_that_is_no_uuid_is_refused_with_the_way_out(driver: Driver):
    with tenant_scope("acme"), pytest.raises(TenantTypeError, match=r"'acme' cannot stand in shop\.notes\.tenant_id"):
        driver.session(lambda session: session.execute(insert(NOTES).values(body="one")))
