"""A scope holds until it ends, for everyone who copied it, in whatever order scopes end."""

import asyncio
import threading
from collections.abc import Generator
from contextvars import copy_context
from functools import partial
from uuid import UUID

import pytest

from tenantry import NoTenantError, Tenant, current_tenant, current_user, tenant_scope
from tenantry.core.errors import TenantChangedError
from tenantry.session.context import Context, check_same
from tenantry.session.errors import UserChangedError


def test_outside_any_scope_there_is_no_tenant_and_no_user():
    with pytest.raises(NoTenantError):
        current_tenant()

    assert current_user() is None


def test_scopes_nest_and_the_inner_one_holds_until_it_ends():
    with tenant_scope("outer", user="ann"):
        with tenant_scope("inner"):
            inner = current_tenant(), current_user()
        outer = current_tenant(), current_user()

    assert (inner, outer) == ((Tenant("inner"), None), (Tenant("outer"), "ann"))


def test_a_scope_ends_when_its_block_raises():
    with pytest.raises(RuntimeError), tenant_scope("acme"):
        raise RuntimeError

    with pytest.raises(NoTenantError):
        current_tenant()


def held_open(tenant: str) -> Generator[None]:
    with tenant_scope(tenant):
        yield


def test_a_scope_that_a_generator_ends_late_leaves_the_callers_scope_alone():
    generator = held_open("of the generator")
    next(generator)
    with tenant_scope("of the caller"):
        generator.close()
        during = current_tenant()

    assert during == Tenant("of the caller")
    with pytest.raises(NoTenantError):  # and the ended one does not come back
        current_tenant()


def test_a_generator_closed_in_another_context_ends_its_scope_where_it_began():
    generator = held_open("acme")
    next(generator)

    copy_context().run(generator.close)

    with pytest.raises(NoTenantError):
        current_tenant()


def test_tasks_keep_their_own_scope():
    async def one(tenant: str) -> str:
        with tenant_scope(tenant):
            await asyncio.sleep(0)
            return str(current_tenant())

    async def both() -> list[str]:
        return [*await asyncio.gather(one("acme"), one("bolt"))]

    assert asyncio.run(both()) == ["acme", "bolt"]


def test_a_task_works_for_the_tenant_of_the_scope_it_was_started_in():
    async def child() -> str:
        await asyncio.sleep(0)
        return str(current_tenant())

    async def parent() -> str:
        with tenant_scope("acme"):
            return await asyncio.create_task(child())

    assert asyncio.run(parent()) == "acme"


def test_a_task_that_outlives_the_scope_it_was_started_in_has_no_tenant():
    async def child(go_on: asyncio.Event) -> str:
        await go_on.wait()
        return str(current_tenant())

    async def parent() -> str:
        go_on = asyncio.Event()
        with tenant_scope("acme"):
            task = asyncio.create_task(child(go_on))
        go_on.set()
        return await task

    with pytest.raises(NoTenantError):
        asyncio.run(parent())


def test_a_thread_has_no_tenant_unless_it_is_given_one():
    seen: list[object] = []

    def work() -> None:
        try:
            seen.append(current_tenant())
        except NoTenantError as exc:
            seen.append(type(exc))

    with tenant_scope("acme"):
        for target in (work, partial(copy_context().run, work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    assert seen == [NoTenantError, Tenant("acme")]


def test_tenants_are_the_same_when_postgres_reads_the_same_text():
    number = UUID("aaaaaaaa-0000-4000-8000-00000000000a")

    assert Tenant(number) == Tenant(str(number))
    assert len({Tenant(number), Tenant(str(number))}) == 1
    assert Tenant(7) != Tenant(8)


@pytest.mark.parametrize(
    ("now", "error"),
    [(Context(Tenant("bolt"), "ann"), TenantChangedError), (Context(Tenant("acme"), "bob"), UserChangedError)],
)
def test_a_transaction_is_kept_to_its_tenant_and_its_user(now: Context, error: type[Exception]):
    began_for = Context(Tenant("acme"), "ann")
    check_same(began_for, Context(Tenant("acme"), "ann"))

    with pytest.raises(error):
        check_same(began_for, now)
