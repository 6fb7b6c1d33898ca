"""What is decided about a connection from the facts alone: no connection, no server."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tenantry.core.errors import UsageError
from tenantry.core.names import LOCAL_CLUSTER
from tenantry.session.errors import (
    UnsafeRoleAndServerError,
    UnsafeRoleError,
    UnsafeServerError,
    UnsafeWarning,
)
from tenantry.session.facts import FACTS_QUERY, Facts, Owned, Reached, parse_facts
from tenantry.session.judgement import CHECKS, caution, judge, pooler_refusal
from tenantry.session.safety import AFTER, BEGIN, COMMIT, ENTER, SafetyCheck, allowance, examine, refuse
from tenantry.session.vulnerabilities import VULNERABILITIES, Vulnerability, known_holes

APP = Reached("app", "app", None, become=True)
SAFE = Facts(
    version=999_900,
    cluster="",
    database="shop",
    session_user="app",
    current_user="app",
    row_security="on",
    replication_role="origin",
    probe="",
    set_for=(),
    roles=(APP,),
    owned=(),
)


def codes(facts: Facts) -> list[str]:
    return [code for refusal in judge(facts) for code in refusal.codes]


def granted(name: str, **more: Any) -> Facts:
    return replace(SAFE, roles=(APP, Reached(name, "app", name, **(dict[str, Any](become=True) | more))))


def test_a_role_without_rights_on_a_server_without_holes_is_safe():
    assert judge(SAFE) == ()
    assert caution(SAFE) == ()


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls", "createrole", "replication"])
def test_each_attribute_of_the_role_is_refused_and_the_sql_takes_it_away(attribute):
    (refusal,) = judge(replace(SAFE, roles=(replace(APP, **{attribute: True}),)))

    assert refusal.codes == (attribute,)
    assert "app" in refusal.what
    assert refusal.sql == (f'ALTER ROLE "app" NO{attribute.upper()};',)


def test_the_role_that_made_the_server_is_told_to_make_another():
    (refusal,) = judge(replace(SAFE, roles=(replace(APP, superuser=True, bypassrls=True, bootstrap=True),)))

    assert refusal.sql == ()
    assert "role of its own" in refusal.way_out


def test_making_databases_is_no_reason_to_refuse_but_to_say_so():
    facts = replace(SAFE, roles=(replace(APP, createdb=True),))

    assert judge(facts) == ()
    assert caution(facts)[0].startswith("role app has CREATEDB")


def test_both_the_role_of_the_session_and_the_current_one_are_judged():
    login = Reached("login", "login", None, become=True, superuser=True)

    assert codes(replace(SAFE, session_user="login", roles=(APP, login))) == ["superuser"]


def test_what_a_role_owns_is_listed_up_to_five_things():
    things = tuple(Owned("app", "table", f"shop.t{n}") for n in range(7))

    (refusal,) = judge(replace(SAFE, owned=things))

    assert "shop.t4 and more" in refusal.what
    assert "shop.t5" not in refusal.what


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls", "createrole", "replication"])
def test_an_attribute_of_a_role_that_can_be_become_is_refused(attribute):
    (refusal,) = judge(granted("boss", grantors=("admin", "other"), **{attribute: True}))

    assert refusal.codes == ("membership",)
    assert "boss" in refusal.what
    assert refusal.sql == (
        'REVOKE "boss" FROM "app" GRANTED BY "admin";',
        'REVOKE "boss" FROM "app" GRANTED BY "other";',
    )


@pytest.mark.parametrize(("attribute", "found"), [("bypassrls", []), ("createrole", []), ("superuser", ["membership"])])
def test_attributes_are_not_inherited_but_what_a_superuser_owns_is(attribute, found):
    assert codes(granted("boss", become=False, **{attribute: True})) == found


def test_before_16_a_grant_has_no_grantor_to_name():
    facts = replace(granted("boss", grantors=("admin",), bypassrls=True), version=150_099)

    assert judge(facts)[0].sql == ('REVOKE "boss" FROM "app";',)


@pytest.mark.parametrize("become", [True, False])
def test_what_a_granted_role_owns_counts_even_if_it_is_only_inherited(become):
    facts = replace(granted("boss", become=become), owned=(Owned("boss", "schema", "shop"),))

    assert codes(facts) == ["membership"]
    assert "boss owns schema shop" in judge(facts)[0].what


@pytest.mark.parametrize("become", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "pg_read_all_data",
        "pg_write_all_data",
        "pg_read_server_files",
        "pg_write_server_files",
        "pg_execute_server_program",
        "neon_superuser",
    ],
)
def test_roles_that_read_or_write_everything_are_refused(name, become):
    assert codes(granted(name, become=become)) == ["membership"]


def test_a_harmless_membership_is_none_of_our_business():
    assert judge(granted("pg_monitor")) == ()


def test_a_long_way_is_cut_at_its_beginning():
    far = Reached("owner", "app", "team", become=True, bypassrls=True, grantors=("admin",))
    facts = replace(SAFE, roles=(APP, Reached("team", "app", "team", become=True, grantors=("admin",)), far))

    (refusal,) = judge(facts)

    assert refusal.sql == ('REVOKE "team" FROM "app" GRANTED BY "admin";',)
    assert "owner has BYPASSRLS" in refusal.what


def test_a_name_that_is_no_plain_word_is_quoted():
    facts = replace(SAFE, roles=(replace(APP, name='a"; DROP', start='a"; DROP', bypassrls=True),))

    assert judge(facts)[0].sql == ('ALTER ROLE "a""; DROP" NOBYPASSRLS;',)


@pytest.mark.parametrize(
    ("told", "sql"),
    [
        ((("row_security", False, False),), ("ALTER ROLE ALL RESET row_security;",)),
        ((("row_security", True, False),), ('ALTER DATABASE "shop" RESET row_security;',)),
        ((("row_security", False, True),), ('ALTER ROLE "app" RESET row_security;',)),
        ((("row_security", True, True),), ('ALTER ROLE "app" IN DATABASE "shop" RESET row_security;',)),
        ((("session_replication_role", True, True),), ()),
    ],
)
def test_a_setting_is_taken_back_where_it_was_made(told, sql):
    (refusal,) = judge(replace(SAFE, row_security="off", set_for=told))

    assert refusal.codes == ("row_security",)
    assert refusal.sql == sql
    assert bool(refusal.way_out) == (not sql)


@pytest.mark.parametrize("value", ["replica", "local"])
def test_a_session_in_which_triggers_rest_is_refused(value):
    assert codes(replace(SAFE, replication_role=value)) == ["session_replication_role"]


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        (180_007, 0),
        (180_006, 2),
        (180_005, 3),
        (170_012, 0),
        (170_010, 3),
        (170_005, 4),
        (170_000, 6),
        (160_002, 7),
        (150_020, 0),
        (150_019, 2),
        (150_003, 8),
        (150_002, 9),
        (140_025, 0),
        (140_011, 7),
        (190_000, 0),
        # at their end of life: what was found later stays
        (130_023, 3),
        (130_022, 3),
        (130_021, 4),
        (120_022, 4),
        (110_022, 6),
        (90_624, 7),
    ],
)
def test_each_release_has_the_holes_that_a_later_one_closed(version, holes):
    assert len(known_holes(version)) == holes


def test_a_major_at_its_end_is_told_to_move_and_another_to_take_its_last_minor():
    old, late = (judge(replace(SAFE, version=version))[0] for version in (130_023, 170_010))

    assert "move to 18.7" in old.way_out
    assert "upgrade to 17.12" in late.way_out
    assert "17.10" in late.what
    assert set(late.codes) <= CHECKS.keys()


def test_a_hole_that_came_with_a_major_is_in_none_before():
    hole = Vulnerability("CVE-0", "", {16: 2}, since=16)

    assert [hole.affects(version) for version in (150_000, 160_001, 160_002, 170_000)] == [False, True, False, False]


def test_no_cve_is_listed_twice():
    assert len({hole.cve for hole in VULNERABILITIES}) == len(VULNERABILITIES)


def test_the_local_engine_s_version_is_said_and_not_refused():
    facts = replace(SAFE, version=170_010, cluster=LOCAL_CLUSTER)

    assert judge(facts) == ()
    assert "17.10" in caution(facts)[0]
    assert "CVE-2026-120154" in caution(facts)[0]


def test_facts_are_read_as_the_query_gives_them():
    role = {"name": "b", "start": "a", "via": "b", "become": False, "grantors": ["z", "y"]}
    told = {field: getattr(SAFE, field) for field in Facts.__slots__} | {
        "roles": [role, {"name": "a", "start": "a", "via": None, "become": True, "grantors": []}],
        "owned": [["b", "table", "s.t"]],
        "set_for": [["row_security", True, False]],
    }

    facts = parse_facts(json.dumps(told))

    assert facts.roles == (Reached("a", "a", None, become=True), Reached("b", "a", "b", False, ("y", "z")))
    assert facts.owned == (Owned("b", "table", "s.t"),)
    assert facts.set_for == (("row_security", True, False),)


class Server:
    """Answers the statements of a check as one server, or as a pooler that breaks transactions."""

    def __init__(self, facts: Facts = SAFE, *, kept: bool = True, after: bool = False) -> None:
        self.sent: list[str] = []
        told = {name: getattr(facts, name) for name in Facts.__slots__}
        roles = [{name: getattr(role, name) for name in Reached.__slots__} for role in facts.roles]
        self.text = json.dumps(told | {"roles": roles, "owned": [], "probe": "token" if kept else ""})
        self.answers = iter([None, "token", self.text, None, "token" if after else ""])

    def fetch(self, statement: str) -> object:
        self.sent.append(statement)
        return next(self.answers)


def test_a_check_is_one_transaction_and_a_look_after_it():
    server = Server()
    check = SafetyCheck()

    check.run(server.fetch)

    assert check.passed
    assert [server.sent[n] for n in (0, 1, 3, 4)] == [BEGIN, ENTER, COMMIT, AFTER]
    assert len(server.sent) == 5


@pytest.mark.parametrize(("kept", "after"), [(False, False), (True, True)])
def test_a_pooler_that_loses_or_hands_on_a_setting_is_refused(kept, after):
    server = Server(kept=kept, after=after)
    check = SafetyCheck()

    with pytest.raises(UnsafeServerError) as caught:
        check.run(server.fetch)

    assert [refusal.codes for refusal in caught.value.refusals] == [("pooler",)]
    assert not check.passed


class DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize("at", [BEGIN, ENTER])
def test_a_pooler_that_refuses_begin_is_refused(at):
    def fetch(statement: str) -> None:
        if statement == at:
            raise DriverError("08P01")

    with pytest.raises(UnsafeServerError, match="takes no transactions") as caught:
        SafetyCheck().run(fetch)

    assert isinstance(caught.value.__cause__, DriverError)


@pytest.mark.parametrize(("at", "sqlstate"), [(BEGIN, "57P01"), (COMMIT, "08P01")])
def test_any_other_error_of_the_driver_passes(at, sqlstate):
    server = Server()

    def fetch(statement: str) -> object:
        if statement == at:
            raise DriverError(sqlstate)
        return server.fetch(statement)

    with pytest.raises(DriverError):
        SafetyCheck().run(fetch)


def test_the_error_is_of_the_role_of_the_server_or_of_both_and_tells_everything():
    role = judge(replace(SAFE, roles=(replace(APP, bypassrls=True, createrole=True),)))
    server = (pooler_refusal("x"),)

    with pytest.raises(UnsafeRoleError, match=r"(?s)BYPASSRLS.*CREATEROLE") as of_role:
        refuse(SAFE, role, ())
    with pytest.raises(UnsafeServerError):
        refuse(SAFE, server, ())
    with pytest.raises(UnsafeRoleAndServerError):
        refuse(SAFE, role + server, ())

    assert of_role.value.sql == ('ALTER ROLE "app" NOBYPASSRLS;', 'ALTER ROLE "app" NOCREATEROLE;')
    assert not isinstance(of_role.value, UnsafeServerError)


def test_what_is_let_through_is_warned_of_and_written_to_both_logs(caplog):
    refusals = judge(replace(SAFE, roles=(replace(APP, bypassrls=True),)))

    with pytest.warns(UnsafeWarning, match="until Monday"):
        refuse(SAFE, refusals, allowance("until Monday"))

    assert {record.name for record in caplog.records} == {"tenantry", "tenantry.audit"}
    assert all("until Monday" in record.getMessage() for record in caplog.records)
    assert "bypassrls" in caplog.text


def test_a_reason_that_is_not_needed_any_more_is_warned_of_too():
    with pytest.warns(UnsafeWarning, match="take allow_unsafe out"):
        refuse(SAFE, (), allowance("until Monday"))


def test_a_reason_for_one_code_lets_no_other_through():
    refusals = judge(replace(SAFE, roles=(replace(APP, bypassrls=True, createrole=True),)))

    with pytest.raises(UnsafeRoleError, match="CREATEROLE") as caught:
        refuse(SAFE, refusals, allowance({"bypassrls": "a report"}))
    with pytest.warns(UnsafeWarning, match="bypassrls: a report"):
        refuse(SAFE, refusals[:1], allowance({"bypassrls": "a report"}))

    assert "BYPASSRLS" not in str(caught.value)


def test_holes_are_let_through_only_if_each_is_named():
    refusals = judge(replace(SAFE, version=180_006))
    named = {hole.cve: "the host is slow" for hole in known_holes(180_006)}

    with pytest.raises(UnsafeServerError):
        refuse(SAFE, refusals, allowance(dict(list(named.items())[:1])))
    with pytest.warns(UnsafeWarning):
        refuse(SAFE, refusals, allowance(named))


@pytest.mark.parametrize("given", ["", "  ", {"bypassrls": ""}, {"bypasrls": "a slip"}])
def test_an_empty_reason_and_an_unknown_code_are_refused(given):
    with pytest.raises(UsageError):
        allowance(given)


def test_a_check_that_was_forgotten_is_made_again():
    check = SafetyCheck()
    check.run(Server().fetch)

    check.forget()

    assert not check.passed


def test_the_steps_of_a_check_need_no_driver():
    steps = examine()

    assert next(steps) == BEGIN


def test_a_driver_that_begins_by_itself_is_not_told_to_and_ends_what_it_began():
    steps = examine(begun=True)

    sent = [next(steps), steps.send("token"), steps.send(Server().text), steps.send(None), steps.send("")]

    assert sent == [ENTER, FACTS_QUERY, COMMIT, AFTER, COMMIT]
