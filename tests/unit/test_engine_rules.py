"""What the engine decides from records alone: rules, pages, repairs, and what it shows."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo

from tenantry.core.ids import BranchId, ProjectId
from tenantry.local.recovery import decide
from tenantry.local.refusals import Refusal
from tenantry.local.services import views
from tenantry.local.services.paging import encode_cursor, read_cursor, take_page
from tenantry.local.services.rules import check_restore, passwords_after_clone, sole
from tenantry.local.state import naming
from tenantry.local.state.records import BranchRecord, DatabaseRecord, RoleRecord
from tenantry.neon import wire

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def branch(name: str, *, parent: str | None = None, **more: Any) -> BranchRecord:
    values: dict[str, Any] = {
        "id": BranchId(f"br-{name}"),
        "project_id": ProjectId("p"),
        "name": name,
        "directory": f"br-{name}.0",
        "parent_id": None if parent is None else BranchId(f"br-{parent}"),
        "parent_lsn": None,
        "parent_timestamp": None,
        "is_default": parent is None,
        "protected": False,
        "expires_at": None,
        "ttl_interval_seconds": None,
        "init_source": "parent-data",
        "annotation": {},
        "clone_method": None,
        "logical_size": None,
        "restored_from": None,
        "restored_as": None,
        "last_reset_at": None,
        "state_changed_at": AT,
        "created_at": AT,
        "updated_at": AT,
    }
    return BranchRecord(**values | more)


def role(name: str, password: str | None) -> RoleRecord:
    return RoleRecord(branch_id=BranchId("br-x"), name=name, password=password, created_at=AT, updated_at=AT)


# --- pages


@given(
    items=st.lists(st.tuples(st.sampled_from("abc"), st.uuids().map(str)), max_size=40, unique=True),
    descending=st.booleans(),
    limit=st.integers(1, 10),
)
def test_the_pages_of_any_listing_hold_each_item_once_in_order(
    items: list[tuple[str, str]], *, descending: bool, limit: int
):
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = take_page(items, key=lambda one: one, order="o", descending=descending, cursor=cursor, limit=limit)
        found += page.items
        if not page.more:
            break
        cursor = page.last

    assert found == sorted(items, reverse=descending)


@given(st.text(max_size=30))
def test_no_text_is_a_cursor_by_accident_and_none_raises_anything_but_a_400(text: str):
    with pytest.raises(Refusal) as caught:
        read_cursor(text, "o", (str, str))

    assert caught.value.status == 400


@pytest.mark.parametrize("key", [["a"], ["a", 1], [1, "a"], ["a", "b", "c"], []])
def test_a_cursor_with_another_key_is_refused(key: list[Any]):
    with pytest.raises(Refusal):
        read_cursor(encode_cursor("o", key), "o", (str, str))


# --- restore


def test_a_restore_names_the_children_that_move_to_the_backup():
    main, one, child = branch("main"), branch("one", parent="main"), branch("child", parent="one")
    request = wire.BranchRestoreRequest(source_branch_id=main.id, preserve_under_name="kept")

    plan = check_restore(one, request, [main, one, child], now=AT, allow_children=False)

    assert plan.children == (child,)
    with pytest.raises(Refusal, match="preserve_under_name"):
        check_restore(
            one,
            wire.BranchRestoreRequest(source_branch_id=main.id),
            [main, one, child],
            now=AT,
            allow_children=False,
        )


# --- passwords


def test_a_clone_keeps_its_sources_passwords_unless_that_is_protected():
    roles = [role("a", "source-a"), role("b", "source-b"), role("group", None)]
    fresh = {"a": "fresh-a", "b": "fresh-b", "group": "fresh-g"}

    plain = passwords_after_clone(roles, own={}, source_protected=False, fresh=fresh)
    guarded = passwords_after_clone(roles, own={}, source_protected=True, fresh=fresh)

    assert plain == {}
    assert guarded == {"a": "fresh-a", "b": "fresh-b"}


@pytest.mark.parametrize("protected", [True, False])
def test_a_branch_that_is_restored_keeps_the_passwords_it_had(*, protected: bool):
    roles = [role("a", "source-a"), role("same", "one")]

    wanted = passwords_after_clone(
        roles, own={"a": "own-a", "same": "one", "gone": "x"}, source_protected=protected, fresh={"a": "f", "same": "f"}
    )

    assert wanted == {"a": "own-a"}


def test_a_uri_is_offered_only_where_there_is_one_role_that_can_log_in_and_one_database():
    database = DatabaseRecord(branch_id=BranchId("br-x"), name="d", owner_name="a", created_at=AT, updated_at=AT)

    assert sole([role("a", "x")], [database]) == (role("a", "x"), database)
    assert sole([role("a", "x"), role("b", "x")], [database]) is None
    assert sole([role("a", None)], [database]) is None
    assert sole([role("a", "x")], [database, database]) is None
    assert sole([], []) is None


def test_no_record_shows_a_password():
    assert "secret" not in repr(role("a", "secret"))


# --- recovery


def test_nothing_is_repaired_where_all_agree():
    branches = [branch("main"), branch("one", parent="main")]

    repairs = decide(branches, ["br-main.0", "br-one.0"])

    assert (repairs.garbage, repairs.lost, repairs.adopted, repairs.defaults, repairs.emptied) == ((), (), (), (), ())


def test_what_no_branch_names_is_garbage():
    repairs = decide([branch("main")], ["br-main.0", "br-main.1", "br-half.0"])

    assert repairs.garbage == ("br-half.0", "br-main.1")


def test_the_children_of_a_lost_branch_go_to_the_nearest_ancestor_that_is_left():
    branches = [branch("main"), branch("a", parent="main"), branch("b", parent="a"), branch("c", parent="b")]

    repairs = decide(branches, ["br-main.0", "br-c.0"])

    assert [one.name for one in repairs.lost] == ["a", "b"]
    assert [(one.name, one.parent_id) for one in repairs.adopted] == [("c", "br-main")]


def test_a_lost_default_branch_is_succeeded_by_the_oldest_that_is_left():
    branches = [
        branch("main"),
        branch("young", parent="main", created_at=AT + timedelta(hours=2)),
        branch("old", parent="main", created_at=AT + timedelta(hours=1)),
    ]

    repairs = decide(branches, ["br-young.0", "br-old.0"])

    assert repairs.defaults == ("br-old",)
    assert {one.parent_id for one in repairs.adopted} == {None}


def test_a_project_without_any_data_is_gone():
    other = replace(branch("other"), project_id=ProjectId("q"))

    repairs = decide([branch("main"), other], ["br-other.0"])

    assert repairs.emptied == ("p",)
    assert repairs.defaults == ()


# --- what is shown


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_uri_gives_any_name_and_password_back_to_libpq(text: str):
    uri = views.uri(host="127.0.0.1:5432", database=text, role=text, password=text, tls=True)

    found = conninfo.conninfo_to_dict(uri)

    assert (found["user"], found["password"], found["dbname"]) == (text, text, text)
    assert (found["host"], found["port"], found["sslmode"]) == ("127.0.0.1", "5432", "require")


@pytest.mark.parametrize(
    ("tls", "pooled", "options"),
    [
        (True, False, "sslmode=require&channel_binding=require"),
        (True, True, "sslmode=require"),
        (False, False, "sslmode=prefer"),
        (False, True, "sslmode=prefer"),
    ],
)
def test_a_uri_asks_for_no_more_than_the_server_has(*, tls: bool, pooled: bool, options: str):
    uri = views.uri(host="h", database="d", role="r", password="p", tls=tls, pooled=pooled)

    assert uri == f"postgresql://r:p@h/d?{options}"


def test_ids_have_neons_forms():
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]{8}", naming.new_project_id())
    assert re.fullmatch(r"br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+", naming.new_branch_id())
    assert re.fullmatch(r"ep-[a-z]+-[a-z]+-[a-z0-9]{8}", naming.new_endpoint_id())
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", naming.new_operation_id())
    assert re.fullmatch(r"npg_[A-Za-z0-9]{24}", naming.new_password())
    assert len({naming.new_branch_id() for _ in range(1000)}) == 1000
