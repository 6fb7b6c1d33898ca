"""What every request to the engine meets: the key, the request id, Neon's error form, and bodies that make no sense."""

import re

import pytest

from tests.plugins.engine import Api, InProcess, Project

UNKNOWN = "br-nobody-knows-a1b2c3d4"


def test_an_answer_echoes_the_request_id_that_was_sent(api: Api):
    answer = api.send("GET", "/projects", headers={"X-Request-ID": "mine-42"})

    assert answer.headers["X-Request-ID"] == "mine-42"


def test_an_answer_carries_a_new_request_id_where_none_or_an_unusable_one_was_sent(api: Api):
    first, second = api.send("GET", "/projects"), api.send("GET", "/projects", headers={"X-Request-ID": "a b"})

    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f-]{36}", second.headers["X-Request-ID"])


def test_an_error_body_carries_the_request_id_of_its_header(api: Api):
    answer = api.send("GET", "/projects/nobody")

    assert answer.status_code == 404
    assert answer.json() == {
        "request_id": answer.headers["X-Request-ID"],
        "code": "",
        "message": "project not found; project: 'nobody'",
    }


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer é"])
def test_a_wrong_or_missing_key_is_refused_in_neons_words(api: Api, value: str):
    assert api.engine is not None
    header = value.format(key=api.engine.api_key).encode()

    answer = api.send("GET", "/projects", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.json()["message"] == "supplied credentials do not pass authentication"
    assert answer.json()["code"] == ""


def test_a_wrong_key_learns_not_even_which_routes_there_are(in_process: InProcess, api: Api):
    assert api.engine is not None
    stranger = in_process.api(api.engine, key="wrong")

    for path in ("/projects", "/nothing", "/projects/x/snapshots"):
        stranger.get(path, status=401)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("PUT", "/projects"), ("GET", "/projects/"), ("HEAD", "/projects")]
)
def test_a_route_that_is_not_served_is_a_404_in_neons_form(api: Api, method: str, path: str):
    answer = api.send(method, path)

    assert answer.status_code == 404
    if method != "HEAD":
        assert set(answer.json()) == {"request_id", "code", "message"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api_keys"),
        ("GET", "{branch}/masking_rules"),
        ("POST", "{branch}/anonymize"),
        ("PUT", "{branch}/auth/webhooks"),
        ("DELETE", "{branch}/credentials/some-token"),
    ],
)
def test_what_is_not_served_yet_is_a_501_that_names_it(api: Api, project: Project, method: str, path: str):
    body = api.call(method, path.format(project=project.path, branch=project.main.path), status=501)

    assert "the local engine does not serve" in body["message"]


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{}", "project"),
        (b'{"project": 7}', "project"),
        (b'{"project": {"name": 7}}', "project.name"),
        (b'{"project": {"name": ""}}', "project.name"),
        (b'{"project": {"name": "%s"}}' % (b"x" * 257), "project.name"),
        (b'{"project": {"pg_version": "17"}}', "project.pg_version"),
        (b'{"project": {"pg_version": 9}}', "project.pg_version"),
        (b'{"project": {"region_id": "mars"}}', "project.region_id"),
        (b'{"project": {"history_retention_seconds": -1}}', "project.history_retention_seconds"),
        (b'{"project": {"branch": {"name": "\\u0000"}}}', "project.branch.name"),
        (b'{"project": {"branch": {"database_name": "template1"}}}', "project.branch.database_name"),
        (b'{"project": {"branch": {"role_name": "pg_me"}}}', "project.branch.role_name"),
        (b'{"project": {"branch": {"role_name": "%s"}}}' % (b"r" * 64), "project.branch.role_name"),
        (b'{"project": {"default_endpoint_settings": {"suspend_timeout_seconds": "x"}}}', "suspend_timeout_seconds"),
        (b'{"project": {"default_endpoint_settings": {"suspend_timeout_seconds": -2}}}', "suspend_timeout_seconds"),
        (b'{"project": {"default_endpoint_settings": {"autoscaling_limit_max_cu": 0}}}', "autoscaling_limit_max_cu"),
        (b'{"project": {"default_endpoint_settings": {"pg_settings": {"work_mem": 4}}}}', "pg_settings.work_mem"),
        (
            (
                b'{"project": {"default_endpoint_settings":'
                b' {"autoscaling_limit_min_cu": 2, "autoscaling_limit_max_cu": 1}}}'
            ),
            "autoscaling_limit_min_cu",
        ),
        (b'{"project": {"settings": {"audit_log_level": "loud"}}}', "project.settings.audit_log_level"),
        (b'{"project": {"settings": {"quota": {"active_time_seconds": -1}}}}', "project.settings.quota"),
        (b'{"project": {"settings": {"maintenance_window": {}}}}', "project.settings.maintenance_window.weekdays"),
        (b'{"project": {"autoscaling_limit_min_cu": 0.1}}', "autoscaling_limit_min_cu"),
        (b"\xff\xfe", "body"),
    ],
)
def test_a_body_that_makes_no_sense_is_a_400_that_names_the_field(api: Api, raw: bytes, named: str):
    answer = api.send("POST", "/projects", content=raw)

    assert answer.status_code == 400, answer.text
    assert named in answer.json()["message"].partition(": ")[0]


def test_a_body_without_end_is_refused(api: Api):
    answer = api.send("POST", "/projects", content=b" " * 1_000_001)

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/projects?limit=0", "limit"),
        ("/projects?limit=401", "limit"),
        ("/projects?limit=ten", "limit"),
        ("/projects?limit=99999999999999999999", "limit"),
        ("/projects?limit=%C2%B2", "limit"),
        ("/projects?cursor=nonsense", "cursor"),
        ("/projects?cursor=%C3%A9", "cursor"),
        ("/projects?recoverable=maybe", "recoverable"),
        ("{project}/branches?sort_by=size", "sort_by"),
        ("{project}/branches?sort_order=up", "sort_order"),
        ("{project}/branches?limit=10001", "limit"),
        ("{project}/operations?limit=1001", "limit"),
        ("{project}/connection_uri?role_name=x", "database_name"),
        ("{project}/connection_uri?database_name=x", "role_name"),
        ("{project}/connection_uri?database_name=x&role_name=y&pooled=2", "pooled"),
    ],
)
def test_a_query_that_makes_no_sense_is_a_400_that_names_the_parameter(
    api: Api, project: Project, path: str, named: str
):
    body = api.get(path.format(project=project.path), status=400)

    assert body["message"].startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/projects/nobody", None),
        ("GET", "/projects/nobody/branches", None),
        ("POST", "/projects/nobody/branches", {}),
        ("GET", "/projects/nobody/operations", None),
        ("GET", f"{{project}}/branches/{UNKNOWN}", None),
        ("PATCH", f"{{project}}/branches/{UNKNOWN}", {"branch": {"name": "x"}}),
        ("POST", f"{{project}}/branches/{UNKNOWN}/restore", {"source_branch_id": "x"}),
        ("POST", f"{{project}}/branches/{UNKNOWN}/set_as_default", None),
        ("GET", f"{{project}}/branches/{UNKNOWN}/roles", None),
        ("POST", f"{{project}}/branches/{UNKNOWN}/databases", {"database": {"name": "x", "owner_name": "y"}}),
        ("POST", "{project}/branches", {"branch": {"parent_id": UNKNOWN}}),
        ("POST", "{project}/endpoints", {"endpoint": {"branch_id": UNKNOWN, "type": "read_write"}}),
        ("GET", "{project}/endpoints/ep-none", None),
        ("POST", "{project}/endpoints/ep-none/start", None),
        ("GET", "{branch}/roles/nobody", None),
        ("GET", "{branch}/roles/nobody/reveal_password", None),
        ("POST", "{branch}/roles/nobody/reset_password", None),
        ("GET", "{branch}/databases/nothing", None),
        ("PATCH", "{branch}/databases/nothing", {"database": {"name": "x"}}),
        ("POST", "{branch}/databases", {"database": {"name": "x", "owner_name": "nobody"}}),
        ("GET", "{project}/operations/3f6c7a52-0000-4000-8000-000000000000", None),
        ("GET", "{project}/connection_uri?database_name=nothing&role_name=neondb_owner", None),
        ("GET", "{project}/connection_uri?database_name=neondb&role_name=nobody", None),
        ("GET", f"{{project}}/connection_uri?database_name=neondb&role_name=neondb_owner&branch_id={UNKNOWN}", None),
        ("GET", "{project}/connection_uri?database_name=neondb&role_name=neondb_owner&endpoint_id=ep-x", None),
    ],
)
def test_what_is_not_there_is_a_404_that_names_it(api: Api, project: Project, method: str, path: str, body: object):
    answer = api.call(method, path.format(project=project.path, branch=project.main.path), body, status=404)

    assert " not found; " in answer["message"]


def test_a_branch_of_another_project_is_not_found_and_not_touched(api: Api, project: Project, own_project: Project):
    mine = project.fork(compute=False)
    foreign = f"{own_project.path}/branches/{mine.id}"

    api.get(foreign, status=404)
    api.patch(foreign, {"branch": {"name": "stolen"}}, status=404)
    api.delete(foreign, status=404)
    api.post(f"{own_project.path}/branches", {"branch": {"parent_id": mine.id}}, status=404)
    api.post(f"{own_project.main.path}/restore", {"source_branch_id": mine.id}, status=404)

    assert mine.show()["name"] == mine.name


def test_an_endpoint_of_another_project_is_not_found_and_not_touched(api: Api, project: Project, own_project: Project):
    foreign = f"{own_project.path}/endpoints/{project.main.endpoint['id']}"

    api.get(foreign, status=404)
    api.post(f"{foreign}/suspend", status=404)
    api.delete(foreign, status=404)

    assert project.main.sql("SELECT 1") == [(1,)]


def test_deleting_what_does_not_exist_is_a_204_as_at_neon(api: Api, project: Project):
    for path in (
        f"{project.path}/branches/{UNKNOWN}",
        f"{project.path}/endpoints/ep-none",
        f"{project.main.path}/roles/nobody",
        f"{project.main.path}/databases/nothing",
    ):
        api.delete(path, status=204)


def test_the_account_has_one_organization_and_neons_regions(api: Api):
    (organization,) = api.get("/users/me/organizations")["organizations"]
    regions = api.get("/regions")["regions"]

    assert api.get("/users/me")["id"]
    assert organization["id"]
    assert [region["region_id"] for region in regions if region["default"]] == ["aws-us-east-2"]
    assert api.get("/projects/shared")["projects"] == []
