"""Names: what each kind may be, and branch names that give their parts back."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidNameError
from tenantry.core.names import (
    MAX_IDENTIFIER_BYTES,
    app_role,
    branch_name,
    check_app_name,
    check_database_name,
    check_default_branch_name,
    check_environment_name,
    check_identifier,
    check_partner_id,
    check_schema_name,
    migrator_role,
    owner_role,
    parse_branch_name,
)

WORD = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
PART = st.sampled_from(["partner", "prod", "a", "br", "x_1", "0"]) | st.from_regex(r"[a-z0-9_]{1,6}", fullmatch=True)
APPS = st.builds(lambda head, rest: "-".join([head, *rest]), WORD, st.lists(PART, max_size=2))
IDS = st.just("partner") | st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True)
PARTNERS = st.none() | st.lists(IDS, min_size=1, max_size=3).map("-".join)
BRANCHES = st.tuples(APPS, WORD, PARTNERS)


def made(app: str, environment: str, partner: str | None) -> str | None:
    try:
        return branch_name(app, environment, partner=partner)
    except InvalidNameError:
        return None


@pytest.mark.parametrize(
    ("app", "environment", "partner", "name"),
    [
        ("brandsyncup", "prod", None, "brandsyncup-prod"),
        ("legalsyncup", "development", None, "legalsyncup-development"),
        ("brandsyncup", "prod", "acme", "brandsyncup-partner-acme-prod"),
        ("my-app", "prod", "acme-gmbh_2", "my-app-partner-acme-gmbh_2-prod"),
        ("a", "e", "partner", "a-partner-partner-e"),
        ("a_partner", "e", None, "a_partner-e"),
    ],
)
def test_a_branch_is_named_after_its_parts_and_gives_them_back(app, environment, partner, name):
    assert branch_name(app, environment, partner=partner) == name

    parts = parse_branch_name(name)

    assert (parts.app, parts.environment, parts.partner) == (app, environment, partner)
    assert str(parts) == name


@given(app=APPS, environment=WORD, partner=PARTNERS)
def test_every_branch_name_gives_its_parts_back(app, environment, partner):
    name = made(app, environment, partner)
    assume(name is not None)

    parts = parse_branch_name(str(name))

    assert (parts.app, parts.environment, parts.partner) == (app, environment, partner)


@given(BRANCHES, BRANCHES)
def test_two_branches_never_share_a_name(one, other):
    assume(one != other)
    name = made(*one)
    assume(name is not None)

    assert name != made(*other)


@given(st.text(max_size=70) | st.from_regex(r"[a-z-]{1,30}", fullmatch=True))
def test_a_text_is_either_read_back_whole_or_refused(text):
    try:
        parts = parse_branch_name(text)
    except InvalidNameError:
        return

    assert str(parts) == text


@given(APPS, WORD, PARTNERS)
def test_no_branch_name_reads_as_the_id_of_a_branch_or_is_cut_by_postgres(app, environment, partner):
    name = made(app, environment, partner) or ""

    assert not re.fullmatch(r"br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+", name)
    assert len(name.encode()) <= MAX_IDENTIFIER_BYTES


def test_a_branch_name_that_reads_as_an_id_is_refused():
    with pytest.raises(InvalidNameError, match="reads as the id of a branch"):
        branch_name("br-misty-river", "prod")
    with pytest.raises(InvalidNameError, match="reads as the id of a branch"):
        branch_name("br", "prod", partner="acme")


def test_a_branch_name_may_be_63_bytes_long_and_no_longer():
    assert len(branch_name("a" * 50, "b" * 12)) == 63

    with pytest.raises(InvalidNameError, match="is 64 bytes long"):
        branch_name("a" * 50, "b" * 13)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            check_app_name,
            ["a", "a1", "a_b", "a-b", "a-1", "a" * 63],
            [
                "",
                "A",
                "1a",
                "-a",
                "a-",
                "a--b",
                "ä",
                "a b",
                "a.b",
                "partner",
                "a-partner",
                "partner-a",
                "a\n",
                "a" * 64,
            ],
        ),
        (check_environment_name, ["prod", "dev_2"], ["", "Prod", "pre-prod", "2", "_a", "prod\n", "a" * 64]),
        (check_partner_id, ["acme", "1", "a-b", "a_b"], ["", "-a", "a-", "a--b", "A", "a/b", "é", "a" * 64]),
        (
            check_schema_name,
            ["a", "_a", "pgx", "a" * 54],
            [
                "",
                "A",
                "a-b",
                "1a",
                "public",
                "neon_auth",
                "information_schema",
                "platform",
                "pg_a",
                "pg_toast",
                "a" * 55,
            ],
        ),
        (
            check_database_name,
            ["neondb", "d_1", "a" * 57],
            ["", "Neon", "a-b", "postgres", "template1", "pg", "pg_x", "a" * 58],
        ),
        (
            check_default_branch_name,
            ["main", "production", "Main branch", "br-x", "ü" * 31],
            ["", " main", "main ", "a\nb", "a\x00", "br-a-b-c", "ü" * 32],
        ),
        (lambda value: check_identifier("column", value), ["tenant_id", "_x"], ["", "Tenant", "a-b", "é", "a" * 64]),
    ],
    ids=["app", "environment", "partner", "schema", "database", "default branch", "column"],
)
def test_each_kind_of_name_takes_what_is_good_and_refuses_what_is_not(check, good, bad):
    assert [check(name) for name in good] == good

    for name in bad:
        with pytest.raises(InvalidNameError) as caught:
            check(name)
        assert caught.value.value == name


@given(st.sampled_from(["pg", "pg_", "p"]) | st.from_regex(r"[a-z_][a-z0-9_]{0,70}", fullmatch=True))
def test_the_roles_of_a_schema_and_a_database_fit_where_their_names_do(name):
    for check, roles in ((check_schema_name, (app_role, migrator_role)), (check_database_name, (owner_role,))):
        try:
            check(name)
        except InvalidNameError:
            continue
        assert all(len(role(name).encode()) <= MAX_IDENTIFIER_BYTES for role in roles)
        assert not any(role(name).startswith("pg_") for role in roles)


def test_the_roles_are_named_after_the_schema():
    assert (app_role("shop"), migrator_role("shop"), owner_role("neondb")) == (
        "shop_app",
        "shop_migrator",
        "neondb_owner",
    )
