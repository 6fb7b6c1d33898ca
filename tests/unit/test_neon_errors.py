"""Neon's errors: their classes, bodies and tree."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import TenantryError
from tenantry.neon import errors
from tenantry.neon.errors import error_class, read_error_body


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (401, "", "UnauthorizedError"),
        (403, "", "UnauthorizedError"),
        (404, "", "NotFoundError"),
        (409, "", "ConflictError"),
        (423, "", "LockedError"),
        (429, "", "RateLimitedError"),
        (422, "BRANCHES_LIMIT_EXCEEDED", "LimitExceededError"),
        (402, "COMPUTE_TIME_EXCEEDED", "LimitExceededError"),
        (422, "BRANCH_SIZE_LIMIT_EXCEEDED_THRESHOLD", "LimitExceededError"),
        (423, "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED", "LimitExceededError"),
        (409, "PROJECT_ID_ALREADY_EXISTS", "ConflictError"),
        (500, "", "ServerError"),
        (524, "", "ServerError"),
        (302, "", "UnreadableAnswerError"),
        (400, "", "NeonError"),
        (412, "", "NeonError"),
        (422, "", "NeonError"),
    ],
)
def test_status_and_code_choose_the_class(status, code, name):
    assert error_class(status, code).__name__ == name


@given(status=st.integers(300, 599), code=st.text(max_size=30))
def test_every_answer_has_a_class(status, code):
    assert issubclass(error_class(status, code), errors.NeonError)


@given(st.binary(max_size=200))
def test_any_body_can_be_read(content):
    assert isinstance(read_error_body(content).message, str)


@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (b'{"code":"","message":"branch not ready yet"}', "branch not ready yet", ""),
        (b'{"code":"X","message":null,"request_id":7}', "", "X"),
        (b"<html>secret words of a proxy</html>", "the body is 36 bytes that are not Neon's", ""),
        (b"[1]", "the body is 3 bytes that are not Neon's", ""),
        (b"\xff\xfe", "the body is 2 bytes that are not Neon's", ""),
        (b"[" * 100_000, "the body is 100000 bytes that are not Neon's", ""),
        (b"", "", ""),
    ],
)
def test_a_body_that_is_not_neons_is_described_and_not_quoted(content, message, code):
    body = read_error_body(content)

    assert (body.message, body.code) == (message, code)


def test_an_error_names_what_was_asked_what_came_and_the_way_out():
    error = errors.ConflictError(
        status=409, code="X_EXISTS", message="it exists", request_id="r-1", method="POST", path="/projects"
    )

    assert str(error) == (
        "POST /projects: 409: it exists (X_EXISTS, request r-1): "
        "read what there is, and take or delete it before this is sent again"
    )


def test_the_tree_at_the_head_of_the_file_is_the_tree_of_the_classes():
    classes = {
        name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__
    }
    drawn: dict[str, str] = {}
    stack = ["TenantryError"]
    for line in (errors.__doc__ or "").splitlines():
        head, marker, rest = line.partition("── ")
        if marker:
            depth = (len(head) - len("    ├")) // 4 + 1
            stack[depth:] = [rest.split()[0]]
            drawn[stack[depth]] = stack[depth - 1]

    assert drawn == {name: cls.__mro__[1].__name__ for name, cls in classes.items()}
    assert all(issubclass(cls, TenantryError) for cls in classes.values())
