"""Mutations: one at a time in a project, undone when the machine fails; and the pages of long listings."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tenantry.local.clusters.cluster import Cluster, hold
from tenantry.local.engine import Engine
from tenantry.local.state.records import BranchRecord, OperationRecord, ProjectRecord
from tests.plugins.engine import Api, Branch, InProcess, Project


def cluster_of(branch: Branch) -> Cluster:
    engine = branch.api.engine
    assert engine is not None
    record = engine.store.get(BranchRecord, id=branch.id)
    project = engine.store.get(ProjectRecord, id=branch.project_id)
    assert record is not None
    assert project is not None
    endpoint = engine.computes.endpoint_of(record)
    return engine.computes.cluster(project, record.directory, port=endpoint.port if endpoint else 0)


def directories(api: Api) -> set[str]:
    assert api.engine is not None
    return {path.name for path in api.engine.computes.folder.iterdir()}


def wait_for_running(project: Project) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        (operation,) = project.api.get(f"{project.path}/operations?limit=1")["operations"]
        if operation["status"] == "running":
            return
        time.sleep(0.01)
    raise AssertionError("no operation runs")


def test_a_second_mutation_is_locked_out_and_readers_are_not(own_project: Project, project: Project):
    api = own_project.api
    asleep = own_project.fork(compute=False)
    never_run = cluster_of(asleep)
    made: list[Branch] = []
    first = threading.Thread(target=lambda: made.append(own_project.fork(parent=asleep, compute=False)))
    with hold(never_run):  # the clone waits for it
        first.start()
        wait_for_running(own_project)

        body = api.post(f"{own_project.path}/branches", {"branch": {"name": "second"}}, status=423)
        api.patch(own_project.path, {"project": {"name": "x"}}, status=423)
        api.delete(own_project.path, status=423)
        names = [one["name"] for one in api.get(f"{own_project.path}/branches")["branches"]]
        elsewhere = project.fork(compute=False)
        assert first.is_alive()
    first.join(30)

    assert body["message"] == (
        "project already has running conflicting operations, scheduling of new ones is prohibited"
    )
    assert "second" not in names
    assert elsewhere.show()["current_state"] == "ready"
    assert made[0].show()["parent_id"] == asleep.id
    api.post(f"{own_project.path}/branches", {"branch": {"name": "second"}}, status=201)


@contextmanager
def no_large_files(most: int) -> Iterator[None]:
    """Let this process write no file of more than *most* bytes: the kernel refuses, as it does on a full disk.

    The store's own log grows to 4 MB before it is begun anew, so *most* is above that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def full_branch(project: Project) -> Branch:
    """A branch with a file that `no_large_files(8_000_000)` lets nobody copy."""
    branch = project.fork()
    branch.sql("CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 100000) AS i")
    return branch


def test_a_clone_that_the_disk_refuses_leaves_nothing_and_its_operation_says_why(project: Project, full_branch: Branch):
    api = project.api
    before, count = directories(api), api.get(f"{project.path}/branches/count")

    with no_large_files(8_000_000):
        body = api.post(
            f"{project.path}/branches",
            {"branch": {"name": "never", "parent_id": full_branch.id}, "endpoints": [{"type": "read_write"}]},
            status=500,
        )

    operations = api.get(f"{project.path}/operations?limit=2")["operations"]
    assert "cloning" in body["message"]
    assert [(one["action"], one["status"]) for one in operations] == [
        ("start_compute", "cancelled"),
        ("create_branch", "failed"),
    ]
    assert "cloning" in operations[1]["error"]
    assert directories(api) == before
    assert api.get(f"{project.path}/branches/count") == count
    assert project.fork("never", parent=full_branch).sql("SELECT count(*) FROM t") == [(100000,)]


def test_a_reset_that_the_disk_refuses_leaves_the_old_rows_and_a_running_compute(project: Project, full_branch: Branch):
    api = project.api
    child = project.fork()
    child.sql("CREATE TABLE own AS SELECT 1 AS a")
    before = directories(api)

    with no_large_files(8_000_000):
        api.post(f"{child.path}/restore", {"source_branch_id": full_branch.id}, status=500)

    assert child.sql("SELECT a FROM own") == [(1,)]
    assert directories(api) == before


def test_a_reset_whose_clone_does_not_start_goes_back_to_the_old_data(project: Project):
    api = project.api
    parent, child = project.fork(), project.fork()
    child.sql("CREATE TABLE own AS SELECT 1 AS a")
    with cluster_of(parent).connect() as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'is_not_there'")
    before, shown = directories(api), child.show()

    body = api.post(f"{child.path}/restore", {"source_branch_id": parent.id}, status=500)

    assert "is_not_there" in body["message"]
    assert child.sql("SELECT a FROM own") == [(1,)]
    assert directories(api) == before
    assert child.show() == shown
    statuses = [one["status"] for one in api.get(f"{project.path}/operations?limit=4")["operations"]]
    assert statuses == ["cancelled", "failed", "cancelled", "cancelled"]


def test_a_compute_that_does_not_start_leaves_no_branch(project: Project):
    api = project.api
    parent = project.fork()
    with cluster_of(parent).connect() as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'is_not_there'")
    before = directories(api)

    api.post(
        f"{project.path}/branches",
        {"branch": {"name": "stillborn", "parent_id": parent.id}, "endpoints": [{"type": "read_write"}]},
        status=500,
    )

    assert directories(api) == before
    assert api.get(f"{project.path}/branches?search=stillborn")["branches"] == []


def test_an_operation_is_found_by_its_id_and_only_in_its_project(api: Api, project: Project, own_project: Project):
    operation = own_project.body["operations"][0]

    assert api.get(f"{own_project.path}/operations/{operation['id']}")["operation"] == operation
    api.get(f"{project.path}/operations/{operation['id']}", status=404)


def test_operations_are_paged_newest_first_until_an_empty_page(own_project: Project):
    for _ in range(3):
        own_project.fork(compute=False)
    found: list[str] = []
    cursor = ""
    while True:
        page = own_project.api.get(f"{own_project.path}/operations?limit=2&cursor={cursor}")
        if not page["operations"]:
            break
        found += [one["action"] for one in page["operations"]]
        cursor = page["pagination"]["cursor"]

    assert found == ["create_branch"] * 3 + ["start_compute", "create_timeline"]
    assert "pagination" not in page


@pytest.fixture
def many(own_project: Project) -> Project:
    """A project with 1,000 branches more, in the store alone."""
    engine = own_project.api.engine
    assert engine is not None
    model = engine.store.get(BranchRecord, id=own_project.main.id)
    assert model is not None
    with engine.store.write() as writer:
        for number in range(1000):
            at = model.created_at + timedelta(seconds=number % 7)  # many share a time
            writer.insert(
                replace(
                    model,
                    id=f"br-many-branches-{own_project.id[-8:]}{number:04}",
                    name=f"many-{number:04}",
                    directory=f"{own_project.id}.{number}",
                    parent_id=model.id,
                    is_default=False,
                    created_at=at,
                    updated_at=at,
                )
            )
    return own_project


@pytest.mark.parametrize("order", ["", "&sort_by=name&sort_order=asc", "&sort_by=created_at&sort_order=desc"])
def test_a_thousand_branches_come_page_by_page_each_once(many: Project, order: str):
    pages: list[list[str]] = []
    cursor = ""
    while True:
        page = many.api.get(f"{many.path}/branches?limit=90{order}&cursor={cursor}")
        pages.append([one["name"] for one in page["branches"]])
        if "next" not in page["pagination"]:
            break
        cursor = page["pagination"]["next"]

    names = [name for page in pages for name in page]
    assert sorted(names) == sorted(["main", *(f"many-{number:04}" for number in range(1000))])
    assert [len(page) for page in pages] == [90] * 11 + [11]
    if "sort_by=name" in order:
        assert names == sorted(names)


def test_a_page_is_not_upset_by_what_is_renamed_between_pages(many: Project):
    first = many.api.get(f"{many.path}/branches?limit=500&sort_by=name&sort_order=asc")
    early = first["branches"][10]
    many.api.patch(f"{many.path}/branches/{early['id']}", {"branch": {"name": "aaa"}})

    rest = many.api.get(f"{many.path}/branches?sort_by=name&sort_order=asc&cursor={first['pagination']['next']}")

    assert len(first["branches"]) + len(rest["branches"]) == 1001


def test_a_cursor_of_another_order_is_refused(many: Project):
    cursor = many.api.get(f"{many.path}/branches?limit=1&sort_by=name")["pagination"]["next"]

    body = many.api.get(f"{many.path}/branches?limit=1&sort_by=created_at&cursor={cursor}", status=400)

    assert body["message"].startswith("cursor: ")


def test_branches_are_all_on_one_page_by_default_and_can_be_searched_and_counted(many: Project):
    whole = many.api.get(f"{many.path}/branches")

    assert len(whole["branches"]) == 1001
    assert "next" not in whole["pagination"]
    assert len(many.api.get(f"{many.path}/branches?search=MANY-00")["branches"]) == 100
    assert many.api.get(f"{many.path}/branches/count") == {"count": 1001}
    assert many.api.get(f"{many.path}/branches/count?search=many-000") == {"count": 10}


def test_projects_are_paged_newest_first_until_an_empty_page(api: Api, project: Project):
    engine = api.engine
    assert engine is not None
    model = engine.store.get(ProjectRecord, id=project.id)
    assert model is not None
    made = [replace(model, id=f"paged-project-{number:08}", name="paged") for number in range(25)]
    with engine.store.write() as writer:
        for record in made:
            writer.insert(record)
    found: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"/projects?search=paged&cursor={cursor}")
        if not page["projects"]:
            break
        found += [one["id"] for one in page["projects"]]
        cursor = page["pagination"]["cursor"]
    with engine.store.write() as writer:
        for record in made:
            writer.delete(ProjectRecord, id=record.id)

    assert found == sorted((record.id for record in made), reverse=True)
    assert api.get("/projects?org_id=org-other")["projects"] == []


def test_an_engine_that_stops_takes_no_new_mutation(data, in_process: InProcess):
    with Engine.open(data) as engine:
        api = in_process.api(engine)
        engine.operations.close(timeout_seconds=1)

        body = api.post("/projects", {"project": {}}, status=503)

        assert "stopping" in body["message"]
        assert engine.store.select(OperationRecord) == []
