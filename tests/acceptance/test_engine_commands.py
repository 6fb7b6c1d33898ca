"""`tenantry up`, `down`, `status` and `engine serve`, as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "syncupsuite" / "tenantry.toml"


def get(api, key, path="/projects"):
    return httpx2.get(f"{api}{path}", headers={"Authorization": f"Bearer {key}"}, trust_env=False)


def test_an_engine_is_up_until_it_is_taken_down(tenantry):
    before = tenantry("status", "--json")
    up = tenantry("up", "--json")
    status = tenantry("status", "--json")
    served = get(up.json()["api"], up.json()["api_key"])
    down = tenantry("down", "--json")
    after = tenantry("status", "--json")

    assert (before.status, before.json()["running"]) == (1, False)
    assert up.status == 0, up.err
    assert status.json() == up.json()
    assert (served.status_code, served.json()["projects"]) == (200, [])
    assert (down.status, down.json()["stopped"]) == (0, True)
    assert (after.status, after.json()["running"]) == (1, False)


def test_up_again_says_where_the_running_engine_is(tenantry):
    first = tenantry("up", "--json")
    second = tenantry("up", "--json")

    assert second.status == 0
    assert second.json() == first.json()


def test_a_second_engine_on_the_same_folder_says_so_and_stops(tenantry):
    pid = tenantry("up", "--json").json()["pid"]

    second = tenantry("engine", "serve")

    assert second.status == 69
    assert f"another engine (pid {pid}) holds the data folder" in second.err
    assert "tenantry down" in second.err
    assert "Traceback" not in second.err


def test_a_wrong_key_and_a_missing_one_are_refused_alike(tenantry):
    api = tenantry("up", "--json").json()["api"]

    wrong = get(api, "wrong")
    missing = httpx2.get(f"{api}/projects", trust_env=False)

    assert (wrong.status_code, missing.status_code) == (401, 401)
    assert wrong.json()["message"] == missing.json()["message"]


def test_a_taken_port_is_named_with_the_way_out(tenantry):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = tenantry("up", "--port", str(port))

    assert up.status == 69
    assert f"port {port}" in up.err
    assert "Traceback" not in up.err
    assert tenantry("status").status == 1


def test_status_for_a_shell_can_be_exported(tenantry):
    up = tenantry("up", "--json").json()

    lines = tenantry("status", "--env").out.splitlines()

    assert lines == [f"NEON_API_HOST={up['api']}", f"NEON_API_KEY={up['api_key']}"]


def test_the_key_is_in_no_log_and_no_text_that_nobody_asked_for(tenantry):
    up = tenantry("up")
    key = json.loads((tenantry.folder / "engine" / "engine.json").read_text())["api_key"]

    said = up.out + up.err + tenantry("status").out + (tenantry.folder / "engine.log").read_text()

    assert key not in said


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_one_line_of_json_and_ends_cleanly(tenantry, ending):
    process = tenantry.popen("engine", "serve")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())

    served = get(ready["api"], ready["api_key"])
    process.send_signal(ending)
    rest, errors = process.communicate(timeout=30)

    assert served.status_code == 200
    assert (process.returncode, rest) == (0, ""), errors


def test_psql_gets_through_the_uri_that_the_api_gives(tenantry, binaries):
    up = tenantry("up", "--json").json()
    made = httpx2.post(
        f"{up['api']}/projects",
        json={"project": {"name": "shop"}},
        headers={"Authorization": f"Bearer {up['api_key']}"},
        timeout=60,
        trust_env=False,
    ).json()
    uri = get(
        up["api"],
        up["api_key"],
        f"/projects/{made['project']['id']}/connection_uri?database_name=neondb&role_name=neondb_owner",
    ).json()["uri"]

    said = subprocess.run(
        [binaries.program("psql"), uri, "-XAtc", "select current_user"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )

    assert (said.returncode, said.stdout) == (0, "neondb_owner\n"), said.stderr


def test_an_engine_that_was_killed_is_up_again_with_its_rows(tenantry):
    first = tenantry("up", "--json").json()
    headers = {"Authorization": f"Bearer {first['api_key']}"}
    made = httpx2.post(
        f"{first['api']}/projects", json={"project": {"name": "kept"}}, headers=headers, timeout=60, trust_env=False
    )
    os.kill(first["pid"], signal.SIGKILL)

    again = tenantry("up", "--json").json()

    assert made.status_code == 201
    assert [one["name"] for one in get(again["api"], again["api_key"]).json()["projects"]] == ["kept"]


def test_the_engines_log_tells_what_it_put_right_and_other_commands_keep_it_to_themselves(tenantry):
    first = tenantry("up", "--json").json()
    headers = {"Authorization": f"Bearer {first['api_key']}"}
    made = httpx2.post(
        f"{first['api']}/projects", json={"project": {}}, headers=headers, timeout=60, trust_env=False
    ).json()
    os.kill(first["pid"], signal.SIGKILL)
    tenantry("up")
    adopted = (tenantry.folder / "engine.log").read_text()
    tenantry("down")

    # The engine of this command warns that the endpoint stays idle.
    host, _, port = made["endpoints"][0]["host"].partition(":")
    with socket.create_server((host, int(port))):
        listed = tenantry("branches", "list", "--layout", str(EXAMPLE))

    assert "adopted the postmaster" in adopted
    assert (listed.status, listed.err) == (0, "")


def test_without_a_postgres_it_says_what_was_looked_at(tenantry):
    (tenantry.folder / "empty").mkdir()
    up = tenantry("up", "--json", TENANTRY_POSTGRES_BIN=str(tenantry.folder / "empty")).json()
    made = httpx2.post(
        f"{up['api']}/projects",
        json={"project": {"name": "x"}},
        headers={"Authorization": f"Bearer {up['api_key']}"},
        timeout=60,
        trust_env=False,
    )

    assert made.status_code >= 400
    assert str(tenantry.folder / "empty") in made.json()["message"]
    assert "TENANTRY_POSTGRES_BIN" in made.json()["message"]
