"""What the plans allow, decided from counts, and which operations have a route."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.core.errors import SettingError
from tenantry.core.ids import BranchId, EndpointId, ProjectId
from tenantry.local.app import ROUTES
from tenantry.local.clusters.dump import without_restrictions
from tenantry.local.plans import PLANS
from tenantry.local.refusals import Refusal
from tenantry.local.routes.published import published, shape, without_route
from tenantry.local.routes.unserved import refusals
from tenantry.local.services import limits
from tenantry.local.services.limits import Usage
from tenantry.local.services.schemas import unified_diff
from tenantry.local.state.records import EndpointRecord, now
from tenantry.settings import read_settings

FREE, LAUNCH, SCALE, NONE = (PLANS[name] for name in ("free", "launch", "scale", "none"))
HOUR = 3600


def refused(*arguments, check, **more):
    with pytest.raises(Refusal) as found:
        check(*arguments, **more)
    return found.value.status, found.value.code, found.value.message


@pytest.mark.parametrize(
    ("plan", "before", "more", "code"),
    [
        (FREE, Usage(10, 1, 0), {"branches": 1}, "BRANCHES_LIMIT_EXCEEDED"),
        (FREE, Usage(4, 3, 0), {"branches": 1, "roots": 1}, "ROOT_BRANCHES_LIMIT_EXCEEDED"),
        (FREE, Usage(4, 1, 0), {"protected": 1}, "BRANCHES_PROTECTED_LIMIT_EXCEEDED"),
        (LAUNCH, Usage(5000, 1, 0), {"branches": 1}, "BRANCHES_LIMIT_EXCEEDED"),
        (LAUNCH, Usage(9, 5, 0), {"branches": 1, "roots": 1}, "ROOT_BRANCHES_LIMIT_EXCEEDED"),
        (LAUNCH, Usage(9, 1, 2), {"protected": 1}, "BRANCHES_PROTECTED_LIMIT_EXCEEDED"),
        (SCALE, Usage(30, 25, 0), {"branches": 1, "roots": 1}, "ROOT_BRANCHES_LIMIT_EXCEEDED"),
        (SCALE, Usage(9, 1, 5), {"protected": 1}, "BRANCHES_PROTECTED_LIMIT_EXCEEDED"),
    ],
)
def test_one_more_than_the_plan_allows_is_refused_and_the_last_one_is_not(plan, before, more, code):
    status, found, message = refused(plan, before, before.plus(**more), check=limits.check_usage)
    one_less = before.plus(**{name: -count for name, count in more.items()})
    limits.check_usage(plan, one_less, before)

    assert (status, found) == (422, code)
    assert "limit exceeded" in message
    assert repr(plan.name) in message


def test_what_is_above_a_limit_already_may_shrink_and_be_left_alone():
    much = Usage(40, 12, 9)

    limits.check_usage(FREE, much, much)
    limits.check_usage(FREE, much, much.plus(branches=-1, roots=-1, protected=-1))


def test_without_a_plan_nothing_is_counted():
    huge = Usage(10**6, 10**6, 10**6)

    limits.check_usage(NONE, huge, huge.plus(branches=1, roots=1, protected=1))
    limits.check_projects(NONE, 10**6)
    limits.check_roles(NONE, 10**6)
    limits.check_databases(NONE, 10**6)
    limits.check_snapshots(NONE, 10**6)


@pytest.mark.parametrize(
    ("check", "plan", "count", "code", "words"),
    [
        (limits.check_projects, FREE, 100, "PROJECTS_LIMIT_EXCEEDED", "user projects limit of 100 exceeded, got 100"),
        (limits.check_projects, SCALE, 1000, "PROJECTS_LIMIT_EXCEEDED", "user projects limit of 1000 exceeded"),
        (limits.check_roles, LAUNCH, 500, "ROLES_LIMIT_EXCEEDED", "roles limit exceeded"),
        (limits.check_databases, LAUNCH, 500, "DATABASES_LIMIT_EXCEEDED", "databases limit exceeded"),
        (limits.check_snapshots, FREE, 1, "SNAPSHOTS_LIMIT_EXCEEDED", "snapshots limit exceeded"),
        (limits.check_snapshots, SCALE, 10, "SNAPSHOTS_LIMIT_EXCEEDED", "snapshots limit exceeded"),
    ],
)
def test_a_full_house_takes_no_more(check, plan, count, code, words):
    status, found, message = refused(plan, count, check=check)
    check(plan, count - 1)

    assert (status, found) == (422, code)
    assert message.startswith(words)


def endpoint(branch, *, active=True):
    return EndpointRecord(
        id=EndpointId(f"ep-{branch}"),
        project_id=ProjectId("p"),
        branch_id=BranchId(branch),
        name=None,
        type="read_write",
        port=1,
        active=active,
        disabled=False,
        autoscaling_limit_min_cu=0.25,
        autoscaling_limit_max_cu=0.25,
        suspend_timeout_seconds=0,
        settings={},
        started_at=None,
        suspended_at=None,
        created_at=now(),
        updated_at=now(),
    )


def test_twenty_computes_may_be_active_beside_those_of_the_default_branch():
    main = BranchId("main")
    asleep = [endpoint(f"asleep-{number}", active=False) for number in range(30)]
    nineteen = [endpoint("main"), *asleep, *(endpoint(f"br-{number}") for number in range(19))]
    twenty = [*nineteen, endpoint("br-19")]

    limits.check_active(FREE, nineteen, branch_id=BranchId("new"), default_branch_id=main)
    limits.check_active(FREE, twenty, branch_id=main, default_branch_id=main)
    limits.check_active(NONE, twenty, branch_id=None, default_branch_id=main)
    for new in (BranchId("new"), None):
        status, code, message = refused(SCALE, twenty, branch_id=new, default_branch_id=main, check=limits.check_active)
        assert (status, code) == (422, "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED")
        assert message.startswith("active endpoints limit exceeded")


@pytest.mark.parametrize(
    ("active", "more", "allowed"),
    [
        ([], "a", True),
        (["a"], "b", True),
        (["a", "b"], "c", False),
        (["a", "a"], "c", False),  # a reader of a branch is a compute too
        (["a", "main"], "c", True),
        (["a", "b", "main"], "main", True),
        (["a", "b"], None, False),
    ],
)
def test_who_starts_a_compute_is_answered_in_one_place(active, more, allowed):
    plan = replace(FREE, active_computes=2)

    assert plan.allows_active(active, more=more, default="main") is allowed
    assert plan.allows_active(["a", "b"], more=None, default=None) is False


@pytest.mark.parametrize(
    ("plan", "allowed", "not_allowed"),
    [
        (FREE, [None, 0, 300], [-1, 60, 299, 301, 604_800]),
        (LAUNCH, [None, 0, 300, -1], [60, 299, 301, 604_800]),
        (SCALE, [None, 0, 60, 300, -1, 604_800], [1, 59, 604_801]),
        (NONE, [None, 0, 1, -1, 604_800], []),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_plan_has_its_own_suspend_timeouts(plan, allowed, not_allowed):
    for seconds in allowed:
        limits.check_suspend_timeout(plan, seconds)
    for seconds in not_allowed:
        status, _, message = refused(plan, seconds, check=limits.check_suspend_timeout)

        assert status == 412
        assert message.startswith("suspend interval changing is not allowed for your account")


@pytest.mark.parametrize(("plan", "hours"), [(FREE, 6), (LAUNCH, 7 * 24), (SCALE, 30 * 24)])
def test_each_plan_keeps_its_own_history(plan, hours):
    limits.check_history(plan, None)
    limits.check_history(plan, hours * HOUR)

    assert refused(plan, hours * HOUR + 1, check=limits.check_history)[0] == 422
    assert limits.allowed_history(plan, 24 * HOUR) == min(24, hours) * HOUR


def test_the_plan_is_a_setting_and_the_command_line_goes_before_it():
    assert read_settings({}).plan.name == "none"
    assert read_settings({"TENANTRY_PLAN": "free"}).plan == FREE
    assert read_settings({"TENANTRY_PLAN": "free"}, plan="scale").plan == SCALE
    with pytest.raises(SettingError, match=r"TENANTRY_PLAN.*'gold'.*free, launch, scale"):
        read_settings({"TENANTRY_PLAN": "gold"})


# --- operations


def test_every_published_operation_has_exactly_one_answer():
    shapes = [shape(method, route.path) for route in [*ROUTES, *refusals(ROUTES)] for method in route.methods or ()]
    asked = [shape(one.method, one.path) for one in published()]

    assert len(asked) == len(set(asked)) > 150
    assert len(shapes) == len(set(shapes))
    assert set(asked) <= set(shapes)


def test_a_route_that_goes_away_is_refused_in_its_place():
    without_projects = [route for route in ROUTES if route.path != "/projects"]

    lost = {one.operation_id for one in without_route(without_projects)} - {
        one.operation_id for one in without_route(ROUTES)
    }

    assert lost == {"listProjects", "createProject"}


# --- schemas


def test_two_dumps_of_one_schema_are_equal_whatever_their_fence():
    one = "--\n\\restrict abc123\nCREATE TABLE t ();\n\\unrestrict abc123\n"
    other = one.replace("abc123", "xyz789")

    assert without_restrictions(one) == without_restrictions(other) == "--\nCREATE TABLE t ();\n"
    assert without_restrictions("no fence\n\\unrestrict abc\n") == "no fence\n\\unrestrict abc\n"


def test_a_diff_names_the_database_on_both_sides_and_is_empty_where_nothing_differs():
    diff = unified_diff("a\nb\n", "a\nc\n", name="shop")

    assert diff.splitlines()[:2] == ["--- a/shop", "+++ b/shop"]
    assert diff.splitlines()[-2:] == ["-b", "+c"]
    assert unified_diff("a\n", "a\n", name="shop") == ""
