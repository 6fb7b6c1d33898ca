"""The engine against Neon's published OpenAPI: Schemathesis asks what it allows and forbids, and checks each answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tenantry.local.app import ROUTES
from tenantry.local.routes.published import published, without_route
from tests.plugins.engine import Serving, make_project
from tests.plugins.node import Node

# Not every status can be foreseen from a schema, so valid data may be refused (an `expires_at` in the past) and null
# may stand for absent, as it may at Neon. Whether a bad body is refused is what the other tests here are about.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
)

# A 501 is our own word for what of an operation is not served yet, such as a pooled endpoint.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501"]

[parameters]
"path.project_id" = "{project}"
"path.branch_id" = "{branch}"
"path.endpoint_id" = "{endpoint}"
"path.operation_id" = "{operation}"
"path.org_id" = "org-local-00000000"
"path.database_name" = "neondb"
"path.role_name" = "neondb_owner"
"query.db_name" = "neondb"
"query.database_name" = "neondb"
"query.role_name" = "neondb_owner"

# What is deleted, renamed or moved is not what the others look at.
[[operations]]
include-operation-id = "deleteProject"
parameters = {{ "path.project_id" = "{other_project}" }}

[[operations]]
include-operation-id = "deleteProjectBranch"
parameters = {{ "path.branch_id" = "{other_branch}" }}

[[operations]]
include-operation-id = "deleteProjectEndpoint"
parameters = {{ "path.endpoint_id" = "{other_endpoint}" }}

[[operations]]
include-operation-id = ["updateProjectBranchDatabase", "deleteProjectBranchDatabase"]
parameters = {{ "path.database_name" = "spare" }}

[[operations]]
include-operation-id = ["deleteProjectBranchRole"]
parameters = {{ "path.role_name" = "spare" }}
"""


@pytest.fixture(scope="session")
def openapi(npm) -> Path:
    """Neon's OpenAPI, which its client for npm brings along."""
    node: Node = npm(Path(__file__).parents[1] / "acceptance" / "neon_tools")
    return node.folder / "node_modules" / "@neondatabase" / "api-client" / "public-v2-for-users.gen.yaml"


def test_the_list_of_published_operations_is_that_of_the_openapi(openapi: Path):
    paths = yaml.load(openapi.read_text(), Loader=yaml.CSafeLoader)["paths"]

    there = {
        (operation["operationId"], method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }

    assert {(one.operation_id, one.method, one.path) for one in published()} == there


def arrange(engine: Serving) -> str:
    """Make one of everything on *engine*, and a spare of what is deleted; return the configuration that names them."""
    project, other = make_project(engine.api), make_project(engine.api)
    child, spare = project.fork("child"), project.fork("spare")
    engine.api.post(f"{child.path}/roles", {"role": {"name": "spare"}})
    engine.api.post(f"{child.path}/databases", {"database": {"name": "spare", "owner_name": "neondb_owner"}})
    return CONFIG.format(
        project=project.id,
        branch=child.id,
        endpoint=child.endpoint["id"],
        operation=child.body["operations"][0]["id"],
        other_project=other.id,
        other_branch=spare.id,
        other_endpoint=spare.endpoint["id"],
    )


def test_no_answer_of_a_served_operation_differs_from_neons_openapi(openapi: Path, launch, data: Path, tmp_path: Path):
    engine: Serving = launch(data)
    config = tmp_path / "schemathesis.toml"
    config.write_text(arrange(engine))
    missing = set(without_route(ROUTES))
    served = [one.operation_id for one in published() if one not in missing]

    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(openapi)),
            *(f"--url={engine.note['api']}", f"--header=Authorization: Bearer {engine.note['api_key']}"),
            *(f"--include-operation-id={name}" for name in served),
            *(f"--checks={','.join(CHECKS)}", "--phases=fuzzing", "--max-examples=4"),
            *("--seed=3", "--no-color", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr
    assert f"Selected: {len(served)}/" in done.stdout
    assert "  Errored:" not in done.stdout
