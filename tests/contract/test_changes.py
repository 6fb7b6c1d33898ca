"""Roles and databases, cut short at each point between the store and Postgres: finished by whoever comes next."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import cast

import psycopg
import pytest

from tenantry.local import changes
from tenantry.local.changes import Change
from tenantry.local.clusters.cluster import Cluster
from tenantry.local.clusters.processes import postmaster_of
from tenantry.local.engine import Engine
from tenantry.local.state.records import BranchRecord, ProjectRecord
from tests.plugins.engine import Branch, InProcess, Project, make_project

CHANGES = [
    Change("create_role", "new_role", password="first-password-of-24-letters"),
    Change("create_role", "nobody"),
    Change("reset_password", "new_role", password="second-password-of-24-letter"),
    Change("create_database", "new_database", owner="neondb_owner"),
    Change("update_database", "new_database", new_name="renamed", owner="new_role"),
    Change("update_database", "renamed", owner="neondb_owner"),
    Change("delete_database", "renamed"),
    Change("delete_role", "new_role"),
]


def record_of(engine: Engine, branch: Branch) -> BranchRecord:
    found = engine.store.get(BranchRecord, id=branch.id)
    assert found is not None
    return found


def check_agrees(branch: Branch) -> tuple[set[str], set[str]]:
    """The roles and databases that the API tells of; each is in Postgres, and who has a password can log in."""
    roles = {role["name"]: role["authentication_method"] for role in branch.api.get(f"{branch.path}/roles")["roles"]}
    databases = {one["name"]: one["owner_name"] for one in branch.api.get(f"{branch.path}/databases")["databases"]}
    real_roles = branch.sql("SELECT rolname FROM pg_roles WHERE rolname ~ '^(neondb_owner|old|new|nobody)'")
    real = branch.sql(
        "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname !~ '^(postgres|template)'"
    )

    assert {name for (name,) in real_roles} == set(roles)
    assert dict(real) == databases
    for role, method in roles.items():
        if method == "password":
            query = f"database_name=neondb&role_name={role}&branch_id={branch.id}"
            uri = branch.api.get(f"/projects/{branch.project_id}/connection_uri?{query}")["uri"]
            assert branch.sql("SELECT current_user", uri) == [(role,)]
    return set(roles), set(databases)


@pytest.mark.parametrize("done", [False, True], ids=["nothing done in Postgres", "all done in Postgres"])
def test_a_change_that_was_cut_short_is_finished(own_project: Project, *, done: bool):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    told: list[tuple[set[str], set[str]]] = []
    for change in CHANGES:
        kept = record_of(engine, branch)
        changes.begin(engine.store, kept, change)
        if done:
            (project,) = engine.store.select(ProjectRecord, id=branch.project_id)
            with engine.computes.awake(project, kept) as cluster:
                changes.carry_out(cluster, change)
        changes.finish_all(engine.store, engine.computes)
        told.append(check_agrees(branch))

    owner, both, all_three = {"neondb_owner"}, {"neondb_owner", "new_role"}, {"neondb_owner", "new_role", "nobody"}
    assert told == [
        (both, {"neondb"}),
        (all_three, {"neondb"}),
        (all_three, {"neondb"}),
        (all_three, {"neondb", "new_database"}),
        (all_three, {"neondb", "renamed"}),
        (all_three, {"neondb", "renamed"}),
        (all_three, {"neondb"}),
        (owner | {"nobody"}, {"neondb"}),
    ]


def test_an_engine_that_opens_finishes_what_the_last_one_began(data: Path, in_process: InProcess):
    with Engine.open(data) as engine:
        branch = make_project(in_process.api(engine)).main
        changes.begin(engine.store, record_of(engine, branch), CHANGES[0])

    with Engine.open(data) as engine:
        api = in_process.api(engine)

        assert check_agrees(Branch(api, branch.project_id, branch.id, branch.name, branch.body))[0] == {
            "neondb_owner",
            "new_role",
        }


def test_the_next_change_finishes_the_one_before_it(own_project: Project):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    changes.begin(
        engine.store, record_of(engine, branch), Change("create_role", "new_role", password="a-password-of-24-letters")
    )

    branch.api.post(f"{branch.path}/roles", {"role": {"name": "old_role"}})

    assert check_agrees(branch)[0] == {"neondb_owner", "new_role", "old_role"}


def test_a_change_that_postgres_refuses_is_given_up(own_project: Project):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    branch.sql("CREATE ROLE new_role")
    changes.begin(engine.store, record_of(engine, branch), Change("create_role", "new_role", password="x" * 24))

    changes.finish_all(engine.store, engine.computes)
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "new_role"}}, status=409)

    assert [role["name"] for role in branch.api.get(f"{branch.path}/roles")["roles"]] == ["neondb_owner"]
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "old_role"}})


def test_a_change_that_failed_with_postgres_lost_stays_to_be_finished(own_project: Project):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    kept = record_of(engine, branch)

    class Lost:
        def ensure_role(self, *_: object, **__: object) -> None:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    changes.begin(engine.store, kept, Change("create_role", "new_role", password="x" * 24))
    with pytest.raises(psycopg.OperationalError):
        changes.finish(engine.store, kept, cast("Cluster", Lost()))
    changes.finish_all(engine.store, engine.computes)

    assert check_agrees(branch)[0] == {"neondb_owner", "new_role"}


def test_a_request_that_postgres_refuses_leaves_nothing_to_finish(own_project: Project):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    branch.sql("CREATE ROLE new_role")

    branch.api.post(f"{branch.path}/roles", {"role": {"name": "new_role"}}, status=409)
    branch.sql("DROP ROLE new_role")
    changes.finish_all(engine.store, engine.computes)

    assert check_agrees(branch)[0] == {"neondb_owner"}


def test_a_database_that_sql_made_is_never_taken_for_one_that_was_cut_short(own_project: Project):
    branch = own_project.main
    branch.sql("CREATE DATABASE new_database")
    body = {"database": {"name": "new_database", "owner_name": "neondb_owner"}}

    branch.api.post(f"{branch.path}/databases", body, status=409)
    branch.api.post(f"{branch.path}/roles", {"role": {"name": "old_role"}})

    assert ("new_database",) in branch.sql("SELECT datname FROM pg_database")


def test_a_postmaster_that_is_killed_under_a_change_is_started_and_the_change_done(own_project: Project):
    engine, branch = own_project.api.engine, own_project.main
    assert engine is not None
    directory = engine.data / "clusters" / record_of(engine, branch).directory
    body = {"database": {"name": "new_database", "owner_name": "neondb_owner"}}
    pid = postmaster_of(directory)
    assert pid is not None
    with psycopg.connect(branch.uri.replace("/neondb?", "/template1?"), autocommit=True):
        # CREATE DATABASE waits five seconds for this session on its template to go.
        killer = threading.Timer(0.5, os.kill, [pid, signal.SIGKILL])
        killer.start()
        began = time.monotonic()
        branch.api.post(f"{branch.path}/databases", body, status=201)

    assert time.monotonic() - began > 0.4
    assert postmaster_of(directory) not in {None, pid}
    assert check_agrees(branch)[1] == {"neondb", "new_database"}
