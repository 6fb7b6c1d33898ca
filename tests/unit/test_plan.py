"""The planner, pure: what it yields, every plan cut at every step, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.control.actual import Actual, BranchState, ProjectState
from tenantry.control.errors import LayoutMismatchError
from tenantry.control.plan import Plan, make_plan
from tenantry.control.steps import (
    CreateBranch,
    CreateEndpoint,
    CreateProject,
    EndCopiedSessions,
    Migrate,
    PrepareDatabase,
    ResetOwnerPassword,
    SecureTables,
    SetContextKeys,
    SetRolePasswords,
)
from tenantry.control.wanted import Wanted
from tenantry.core.ids import ProjectId
from tenantry.core.layout import App, Environment, Layout, MigrationSource, ProjectSpec
from tenantry.ddl.catalog import Column, Relation
from tenantry.migrations import History, Revision, UnknownRevisionError

SOURCE = MigrationSource("alembic", Path("m"))
BRANDS = App(
    "brands",
    "brands",
    (Environment("brands", "prod"), Environment("brands", "dev", parent="prod", ephemeral=True)),
    migrations=SOURCE,
)
LEGAL = App("legal", "legal", (Environment("legal", "prod"),), migrations=SOURCE)
LAYOUT = Layout(ProjectSpec("suite"), extensions=("pgcrypto",), apps=(BRANDS, LEGAL))


def history(*ids):
    before = [frozenset()] + [frozenset({each}) for each in ids[:-1]]
    return History(Path("m"), tuple(Revision(each, Path(each), after) for each, after in zip(ids, before, strict=True)))


WANTED = Wanted(LAYOUT, {"brands": history("b1", "b2"), "legal": history("l1")})


def carry_out(actual, steps):
    for step in steps:
        actual = step.after(actual)
    return actual


def settled(wanted=WANTED):
    return carry_out(Actual(), make_plan(wanted, Actual()).steps)


def kinds(plan, branch):
    return [type(step) for step in plan.only(branch).steps]


def change(actual, name, **parts):
    branch = actual.branch(name)
    assert branch is not None
    return actual.with_branch(replace(branch, **parts))


def test_a_plan_from_nothing_is_complete():
    plan = make_plan(WANTED, Actual())

    assert kinds(plan, "production") == [CreateProject, PrepareDatabase]
    assert kinds(plan, "brands-prod") == [
        CreateBranch,
        ResetOwnerPassword,
        EndCopiedSessions,
        PrepareDatabase,
        Migrate,
        SecureTables,
    ]


def test_a_child_inherits_what_its_parent_will_have_by_then():
    plan = make_plan(WANTED, Actual())

    assert kinds(plan, "brands-dev") == [CreateBranch, ResetOwnerPassword, SetRolePasswords, EndCopiedSessions]


def test_extensions_come_before_any_child():
    steps = make_plan(WANTED, Actual()).steps

    first_child = next(n for n, step in enumerate(steps) if isinstance(step, CreateBranch))
    assert any("create extension pgcrypto in public" in step.details() for step in steps[:first_child])


def test_nothing_is_left_after_a_plan():
    assert make_plan(WANTED, settled()) == Plan()


WHOLE = len(make_plan(WANTED, Actual()).steps)


@pytest.mark.parametrize("cut", range(WHOLE + 1))
def test_a_plan_cut_anywhere_goes_on_from_there(cut):
    steps = make_plan(WANTED, Actual()).steps
    middle = carry_out(Actual(), steps[:cut])

    rest = make_plan(WANTED, middle)

    end = carry_out(middle, rest.steps)
    assert end == settled()
    assert make_plan(WANTED, end) == Plan()


STALE = Wanted(LAYOUT, {"brands": history("b1"), "legal": history("l1")})
DRIFTS = st.fixed_dictionaries(
    {},
    optional={
        "endpoint": st.just(False),
        "owner_password_inherited": st.just(True),
        "own_passwords": st.just(frozenset()),
        "copied_sessions": st.just(True),
        "settled": st.sets(st.sampled_from(["base", "app:brands", "app:legal", "tables:brands", "tables:legal"])).map(
            frozenset
        ),
    },
)


@given(st.dictionaries(st.sampled_from(["brands-prod", "brands-dev", "legal-prod"]), DRIFTS), st.data())
def test_whatever_drifted_and_wherever_it_is_cut_the_end_is_the_same(drifts, data):
    actual = settled(STALE)
    for name, parts in drifts.items():
        actual = change(actual, name, **parts)
    steps = make_plan(WANTED, actual).steps
    cut = data.draw(st.integers(0, len(steps)))

    middle = carry_out(actual, steps[:cut])
    end = carry_out(middle, make_plan(WANTED, middle).steps)

    assert make_plan(WANTED, middle).steps == steps[cut:]
    assert end == carry_out(actual, steps)
    assert make_plan(WANTED, end).steps == ()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"endpoint": False}, [CreateEndpoint]),
        ({"owner_password_inherited": True}, [ResetOwnerPassword]),
        ({"own_passwords": frozenset({"brands_app"})}, [SetRolePasswords]),
        ({"copied_sessions": True}, [EndCopiedSessions]),
        ({"revisions": {"brands": frozenset({"b1"})}}, [Migrate, SecureTables]),
        ({"revisions": {}}, [Migrate, SecureTables]),
    ],
)
def test_what_is_missing_on_a_branch_is_all_that_is_planned(parts, expected):
    plan = make_plan(WANTED, change(settled(), "brands-dev", **parts))

    assert kinds(plan, "brands-dev") == expected
    assert len(plan.steps) == len(expected)


def test_inherited_passwords_are_changed_before_anything_else():
    fork = settled().branch("brands-prod")
    assert fork is not None
    actual = settled().with_branch(BranchState("brands-dev", "brands-prod").forked(fork))

    assert kinds(make_plan(WANTED, actual), "brands-dev")[:2] == [ResetOwnerPassword, SetRolePasswords]


def test_a_new_branch_is_not_migrated_again_where_its_parent_will_be():
    actual = replace(settled(STALE), branches=tuple(b for b in settled(STALE).branches if b.name != "brands-dev"))

    plan = make_plan(WANTED, actual)

    assert kinds(plan, "brands-prod") == [Migrate, SecureTables]
    assert Migrate not in kinds(plan, "brands-dev")


def test_a_branch_into_which_nothing_could_look_is_planned_as_a_fork():
    plan = make_plan(
        WANTED, settled().with_branch(BranchState("brands-dev", "brands-prod", endpoint=False, database=None))
    )

    assert kinds(plan, "brands-dev") == [CreateEndpoint, ResetOwnerPassword, SetRolePasswords, EndCopiedSessions]


def test_the_sessions_of_the_default_branch_are_never_ended():
    plan = make_plan(WANTED, change(settled(), "production", copied_sessions=True))

    assert plan.steps == ()


def test_a_branch_under_another_parent_is_an_error_that_names_both():
    actual = change(settled(), "brands-dev", parent="production")

    with pytest.raises(LayoutMismatchError, match=r"brands-dev is a child of production.*under brands-prod"):
        make_plan(WANTED, actual)


def test_another_default_branch_is_an_error_that_names_both():
    actual = Actual(None, (BranchState("main", None, default=True),))

    with pytest.raises(LayoutMismatchError, match="default branch is main, and the layout wants production"):
        make_plan(WANTED, actual)


def test_a_branch_that_the_layout_does_not_know_is_a_warning_and_no_step():
    plan = make_plan(WANTED, settled().with_branch(BranchState("somebodys", "production")))

    assert plan.steps == ()
    assert ["branch somebodys is not in the layout" in warning for warning in plan.warnings] == [True]


def test_what_a_project_keeps_is_a_warning():
    actual = replace(settled(), project=ProjectState(ProjectId("p"), "suite", "aws-eu-central-1", 16))

    warnings = make_plan(WANTED, actual).warnings

    assert [word in warning for word, warning in zip(("aws-eu-central-1", "Postgres 16"), warnings, strict=True)] == [
        True,
        True,
    ]


def test_a_revision_that_the_app_does_not_have_stops_the_plan():
    actual = change(settled(), "brands-dev", revisions={"brands": frozenset({"zz"})})

    with pytest.raises(UnknownRevisionError):
        make_plan(WANTED, actual)


def test_a_table_that_no_wall_would_hold_shows_in_the_plan():
    table = Relation("brands", "notes", "r", "brands_migrator", columns=(Column("id", "id", "integer", not_null=True),))
    branch = settled().branch("brands-prod")
    assert branch is not None
    assert branch.database is not None
    actual = change(
        settled(),
        "brands-prod",
        database=replace(branch.database, relations=(table,)),
        settled=branch.settled - {"tables:brands"},
    )

    (step,) = make_plan(WANTED, actual).steps

    assert any("REFUSED: table brands.notes has no column tenant_id" in each for each in step.details())
    assert "1 REFUSAL" in step.describe()


def test_a_step_is_described_in_words_and_in_json():
    for step in make_plan(WANTED, Actual()).steps:
        document = step.as_json()

        assert document["branch"] == step.branch
        assert document["text"] == step.describe()
        assert step.describe()


SIGNED = replace(WANTED, layout=replace(LAYOUT, apps=(replace(BRANDS, context="signed", context_keys=(3, 7)), LEGAL)))


def test_keys_are_there_before_the_tables_ask_for_a_token_and_a_fork_gets_its_own():
    plan = make_plan(SIGNED, Actual())

    assert kinds(plan, "brands-prod")[3:] == [PrepareDatabase, SetContextKeys, Migrate, SecureTables]
    assert kinds(plan, "brands-dev")[-1] is SetContextKeys
    assert SetContextKeys not in kinds(plan, "legal-prod")
    assert make_plan(SIGNED, settled(SIGNED)) == Plan()


def test_a_change_of_keys_is_one_step_that_shows_their_numbers():
    actual = change(settled(SIGNED), "brands-prod", own_context_keys=frozenset())

    (step,) = make_plan(SIGNED, actual).steps

    assert step.describe() == "let keys 3 and 7 of brands sign its context, and no other"
    assert step.as_json()["keys"] == (3, 7)
