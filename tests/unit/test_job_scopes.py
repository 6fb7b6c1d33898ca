"""A scope in a job's payload: what it holds, how it is entered again, and when it is not."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry import NoTenantError, TenantState, current_tenant, current_user, job_payload, job_scope, tenant_scope
from tenantry.core.errors import UsageError
from tenantry.session.context import Context, open_context
from tenantry.session.errors import JobPayloadError, TenantNotActiveError
from tenantry.session.jobs import read_payload

IDS = st.one_of(st.uuids(), st.integers(), st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))


def active(context: Context) -> TenantState:
    return TenantState.ACTIVE


@given(IDS, st.none() | st.text())
def test_an_id_comes_back_as_what_it_was_by_way_of_json(tenant: Any, user: str | None):
    with tenant_scope(tenant, user=user):
        queued = json.dumps({"order": 7, "scope": job_payload()})

    with job_scope(json.loads(queued)["scope"], check=active) as entered:
        assert (current_tenant().id, type(current_tenant().id)) == (tenant, type(tenant))
        assert current_user() == user
        assert entered == current_tenant()
    assert open_context() is None


def test_outside_a_scope_there_is_nothing_to_queue():
    with pytest.raises(NoTenantError):
        job_payload()


GOOD: dict[str, Any] = {"tenantry": 1, "tenant": "acme", "type": "text", "user": None}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (None, "NoneType"),
        ("acme", "str"),
        ({}, "version"),
        ({**GOOD, "tenantry": "1"}, "version"),
        ({**GOOD, "tenantry": True}, "version"),
        ({**GOOD, "tenantry": 0}, "version"),
        ({**GOOD, "tenantry": 2}, "upgrade"),
        ({**GOOD, "more": 1}, "more"),
        ({key: value for key, value in GOOD.items() if key != "user"}, "keys"),
        ({**GOOD, "tenant": 7, "type": "bigint"}, "7"),
        ({**GOOD, "tenant": ""}, "text"),
        ({**GOOD, "type": "uuid"}, "uuid"),
        ({**GOOD, "type": "bigint"}, "bigint"),
        ({**GOOD, "type": "float"}, "float"),
        ({**GOOD, "tenant": "1_0", "type": "bigint"}, "10"),
        ({**GOOD, "type": ["text"]}, "text"),
        ({**GOOD, "user": 7}, "7"),
    ],
)
def test_a_payload_that_is_none_is_refused(payload: Any, why: str):
    with pytest.raises(JobPayloadError, match=why):
        job_scope(payload, check=active)


@pytest.mark.parametrize("state", [state for state in TenantState if state is not TenantState.ACTIVE])
def test_the_job_of_a_tenant_that_is_not_active_does_not_run(state: TenantState):
    async def check(context: Context) -> TenantState:
        await asyncio.sleep(0)
        return state

    async def main() -> None:
        async with job_scope(GOOD, check=check):
            raise AssertionError

    with pytest.raises(TenantNotActiveError, match=state.value) as caught, job_scope(GOOD, check=lambda context: state):
        raise AssertionError
    with pytest.raises(TenantNotActiveError):
        asyncio.run(main())

    assert str(caught.value.tenant) == "acme"
    assert open_context() is None


def test_the_check_is_asked_outside_any_new_scope_with_the_tenant_and_the_user():
    asked: list[Any] = []

    def check(context: Context) -> TenantState:
        asked.append((context, open_context()))
        return TenantState.ACTIVE

    with job_scope({**GOOD, "tenant": str(UUID(int=7)), "type": "uuid", "user": "ann"}, check=check):
        pass

    assert [(context.tenant.id, context.user, outer) for context, outer in asked] == [(UUID(int=7), "ann", None)]


def test_an_answer_that_is_no_state_runs_nothing():
    with pytest.raises(UsageError, match="True"), job_scope(GOOD, check=lambda context: True):  # type: ignore[arg-type,return-value] - what is refused
        raise AssertionError


def test_a_check_that_has_to_be_awaited_asks_for_async_with():
    async def check(context: Context) -> TenantState:
        return TenantState.ACTIVE

    with pytest.raises(UsageError, match="async with"), job_scope(GOOD, check=check):
        raise AssertionError


def test_a_check_that_fails_runs_nothing():
    def check(context: Context) -> TenantState:
        raise ConnectionError

    with pytest.raises(ConnectionError), job_scope(GOOD, check=check):
        raise AssertionError


def test_an_async_job_ends_its_scope():
    async def main() -> tuple[Any, Any]:
        async with job_scope(GOOD, check=active) as tenant:
            inside = current_tenant()
        return inside == tenant, open_context()

    assert asyncio.run(main()) == (True, None)
    assert read_payload(GOOD).user is None
