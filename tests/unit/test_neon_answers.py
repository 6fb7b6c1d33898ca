"""The Neon client: errors, and the secrets that none of them shows."""

from __future__ import annotations

import logging
import traceback

import httpx2
import pytest
from pydantic import SecretStr

from tenantry.core.errors import SettingError
from tenantry.neon import wire
from tenantry.neon.client import NeonClient
from tenantry.neon.errors import (
    ConflictError,
    LimitExceededError,
    ServerError,
    UnauthorizedError,
    UnreadableAnswerError,
)
from tests.plugins.neon import (
    CHANGED_ROLE,
    KEY,
    PASSWORD,
    Server,
    answer,
    client_of,
    refusal,
    run,
)


def test_an_error_carries_the_parts_of_the_answer():
    server = Server([refusal(409, "branch already exists", "EXISTS")])

    with pytest.raises(ConflictError) as caught:
        run(client_of(server).create_project_branch("p"))

    error = caught.value
    assert (error.status, error.code, error.message) == (409, "EXISTS", "branch already exists")
    assert (error.request_id, error.method, error.path) == ("r-1", "POST", "/projects/p/branches")


def test_a_limit_of_the_plan_is_told_by_its_code():
    server = Server([refusal(422, "branches limit exceeded", "BRANCHES_LIMIT_EXCEEDED")])

    with pytest.raises(LimitExceededError):
        run(client_of(server).create_project_branch("p"))


def test_the_request_id_is_taken_from_the_header_where_the_body_has_none():
    server = Server([httpx2.Response(500, text="<html>", headers={"X-Request-ID": "r-9"})])

    with pytest.raises(ServerError) as caught:
        run(client_of(server).create_project_branch("p"))

    assert caught.value.request_id == "r-9"


def test_a_wrong_key_names_the_setting():
    with pytest.raises(UnauthorizedError, match="set NEON_API_KEY"):
        run(client_of(Server([refusal(401)])).get_current_user_info())


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"", b"[]", b'{"uri": 7}'])
def test_a_success_that_cannot_be_read_is_an_error_that_does_not_quote_it(content):
    server = Server([httpx2.Response(200, content=content)])

    with pytest.raises(UnreadableAnswerError, match="ConnectionUriResponse") as caught:
        run(client_of(server).get_connection_uri("p", database_name="d", role_name="r"))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_redirect_is_not_followed():
    server = Server([httpx2.Response(302, headers={"Location": "http://elsewhere.test/"}), answer({"count": 1})])

    with pytest.raises(UnreadableAnswerError):
        run(client_of(server).count_project_branches("p"))

    assert len(server.requests) == 1


def shown(error: BaseException) -> str:
    texts = ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    each: BaseException | None = error
    while each is not None:
        texts += [str(each), repr(each), repr(vars(each))]
        each = each.__cause__ or each.__context__
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("no route"),
        refusal(401, f"bad header Authorization: Bearer {KEY}", code=KEY, X_Request_ID=KEY),
        refusal(400, f"bad key {KEY}"),
        httpx2.Response(500, text=f"Authorization: Bearer {KEY}"),
        httpx2.Response(200, text=f'{{"key": "{KEY}"}}'),
    ],
)
def test_the_key_shows_in_no_error(fault):
    client = client_of(Server([fault]))

    with pytest.raises(Exception) as caught:
        run(client.get_project("p"))

    assert KEY not in shown(caught.value)


def test_the_key_shows_in_no_repr_of_the_client_or_of_what_it_holds():
    client = client_of(Server([answer()]))

    assert KEY not in "".join(map(repr, [client, vars(client), vars(client._exchange), vars(client._exchange._http)]))


def test_neither_key_nor_password_is_logged(caplog):
    server = Server([refusal(423, KEY), answer(CHANGED_ROLE, 201)])

    with caplog.at_level(logging.DEBUG):
        made = run(client_of(server).create_project_branch_role("p", "b", wire.RoleCreate(name="r")))

    assert made.role.password.get_secret_value() == PASSWORD
    assert "POST /projects/p/branches/b/roles: 201" in caplog.text
    assert KEY not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("key", ["", "napi with space", "napi_line\n", "napi_\r\nX-Evil: 1", "napi_é", "napi_\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(SettingError, match="NEON_API_KEY") as caught:
        NeonClient(key)

    assert not key or key not in str(caught.value)


def test_a_key_may_be_given_as_a_secret():
    assert NeonClient(SecretStr(KEY))


@pytest.mark.parametrize(
    "url", ["", "neon.test", "ftp://neon.test", "https://", "https://user:hunter2@neon.test", "http://[::"]
)
def test_an_address_that_is_not_an_apis_is_refused_without_showing_it(url):
    with pytest.raises(SettingError, match="base_url") as caught:
        NeonClient(KEY, base_url=url)

    assert "hunter2" not in str(caught.value)
