"""An engine that is told a plan of Neon refuses what the cloud would, and does nothing then."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tenantry.local.engine import Engine
from tenantry.local.plans import PLANS
from tests.plugins.engine import InProcess, Project, make_project


@pytest.fixture(scope="module")
def free(folder: Path, in_process: InProcess):
    """A project on an engine with the free plan, whose default branch is all there is."""
    with Engine.open(folder / "free-engine", plan=PLANS["free"]) as engine:
        yield make_project(in_process.api(engine))


def names(project: Project) -> set[str]:
    return {branch["name"] for branch in project.api.get(f"{project.path}/branches")["branches"]}


def test_the_eleventh_branch_is_refused_with_neons_code_and_a_deleted_one_makes_room(free: Project):
    made = [free.fork(f"b-{number}", compute=False) for number in range(9)]
    path = f"{free.path}/branches"
    before = names(free)

    refused = free.api.post(path, {"branch": {"name": "eleventh"}}, status=422)
    preserved = free.api.post(
        f"{made[0].path}/restore",
        {"source_branch_id": free.main.id, "preserve_under_name": "kept"},
        status=422,
    )
    unchanged = names(free)
    free.api.delete(made[-1].path)
    in_its_place = free.fork("eleventh", compute=False)

    assert refused["code"] == preserved["code"] == "BRANCHES_LIMIT_EXCEEDED"
    assert refused["message"].startswith("branches limit exceeded")
    assert unchanged == before
    for branch in [*made[:-1], in_its_place]:
        free.api.delete(branch.path)


def test_the_free_plan_protects_no_branch_however_it_is_asked(free: Project):
    patched = free.api.patch(free.main.path, {"branch": {"protected": True}}, status=422)
    made = free.api.post(f"{free.path}/branches", {"branch": {"name": "p", "protected": True}}, status=422)

    assert patched["code"] == made["code"] == "BRANCHES_PROTECTED_LIMIT_EXCEEDED"
    assert names(free) == {"main"}
    assert not free.main.show()["protected"]


def test_the_free_plan_lets_nobody_choose_when_a_compute_sleeps(free: Project):
    api, endpoint = free.api, f"{free.path}/endpoints/{free.main.endpoint['id']}"
    compute = {"type": "read_write", "suspend_timeout_seconds": 60}
    asked = [
        api.patch(endpoint, {"endpoint": {"suspend_timeout_seconds": -1}}, status=412),
        api.post(f"{free.path}/branches", {"branch": {"name": "s"}, "endpoints": [compute]}, status=412),
        api.post("/projects", {"project": {"default_endpoint_settings": {"suspend_timeout_seconds": 60}}}, status=412),
        api.patch(free.path, {"project": {"default_endpoint_settings": {"suspend_timeout_seconds": 60}}}, status=412),
    ]
    bare = free.fork("bare", compute=False)
    asked.append(api.post(f"{free.path}/endpoints", {"endpoint": compute | {"branch_id": bare.id}}, status=412))
    api.delete(bare.path)

    assert {one["message"].partition(":")[0] for one in asked} == {
        "suspend interval changing is not allowed for your account"
    }
    assert names(free) == {"main"}
    assert len(api.get("/projects")["projects"]) == 1


def test_a_project_on_the_free_plan_has_six_hours_of_history_and_no_more(free: Project):
    api, shown = free.api, free.api.get(free.path)["project"]

    assert shown["history_retention_seconds"] == 6 * 3600
    for call, path in ((api.post, "/projects"), (api.patch, free.path)):
        assert "21600" in call(path, {"project": {"history_retention_seconds": 86_400}}, status=422)["message"]


def test_who_asks_is_told_the_plan(free: Project):
    me = free.api.get("/users/me")

    assert (me["plan"], me["projects_limit"], me["branches_limit"]) == ("free", 100, 10)


def test_computes_beyond_the_plans_may_not_start_and_those_of_the_default_branch_may(free: Project, monkeypatch):
    engine = free.api.engine
    assert engine is not None
    monkeypatch.setattr(engine, "plan", PLANS["none"])
    awake, asleep = free.fork("awake"), free.fork("asleep")
    start = f"{free.path}/endpoints/{asleep.endpoint['id']}"
    free.api.post(f"{start}/suspend")
    monkeypatch.setattr(engine, "plan", replace(PLANS["free"], active_computes=1))

    refused = [
        free.api.post(f"{start}/start", status=422),
        free.api.post(f"{start}/restart", status=422),
        free.api.post(
            f"{free.path}/branches", {"branch": {"name": "n"}, "endpoints": [{"type": "read_write"}]}, status=422
        ),
    ]
    free.api.post(f"{free.path}/endpoints/{awake.endpoint['id']}/restart")
    main = f"{free.path}/endpoints/{free.main.endpoint['id']}"
    free.api.post(f"{main}/suspend")
    free.api.post(f"{main}/start")
    free.api.post(f"{free.path}/endpoints/{awake.endpoint['id']}/suspend")
    free.api.post(f"{start}/start")
    for branch in (awake, asleep):
        free.api.delete(branch.path)

    assert {one["code"] for one in refused} == {"ACTIVE_ENDPOINTS_LIMIT_EXCEEDED"}
    assert names(free) == {"main"}


def test_who_connects_to_a_sleeping_compute_beyond_the_plans_is_told_at_once(free: Project, monkeypatch):
    engine = free.api.engine
    assert engine is not None
    monkeypatch.setattr(engine, "plan", PLANS["none"])
    monkeypatch.setattr(engine.power, "plan", replace(PLANS["free"], active_computes=1))
    awake, asleep = free.fork("awake"), free.fork("asleep")
    free.api.post(f"{free.path}/endpoints/{asleep.endpoint['id']}/suspend")
    free.api.post(f"{free.path}/endpoints/{free.main.endpoint['id']}/suspend")
    began = time.monotonic()

    with pytest.raises(psycopg.OperationalError, match="limit of concurrently active endpoints"):
        asleep.sql("SELECT 1")
    took = time.monotonic() - began
    states = {one["branch_id"]: one["current_state"] for one in free.api.get(f"{free.path}/endpoints")["endpoints"]}
    assert free.main.sql("SELECT 1") == [(1,)]  # the default branch's may, whatever else is active
    free.api.post(f"{free.path}/endpoints/{awake.endpoint['id']}/suspend")
    assert asleep.sql("SELECT 1") == [(1,)]
    for branch in (awake, asleep):
        free.api.delete(branch.path)

    assert states[asleep.id] == "idle"
    assert took < 5


def test_roles_databases_and_projects_are_counted(free: Project, monkeypatch):
    engine = free.api.engine
    monkeypatch.setattr(engine, "plan", replace(PLANS["free"], roles=1, databases=1, projects=1))

    role = free.api.post(f"{free.main.path}/roles", {"role": {"name": "one_more"}}, status=422)
    wanted = {"database": {"name": "one_more", "owner_name": "neondb_owner"}}
    database = free.api.post(f"{free.main.path}/databases", wanted, status=422)
    project = free.api.post("/projects", {"project": {}}, status=422)

    assert [one["code"] for one in (role, database, project)] == [
        "ROLES_LIMIT_EXCEEDED",
        "DATABASES_LIMIT_EXCEEDED",
        "PROJECTS_LIMIT_EXCEEDED",
    ]
