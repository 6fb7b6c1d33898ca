"""Work in a scope of its own: the decorator on every kind of function, `in_scope`, and steps of generators."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry import NoTenantError, Tenant, argument, current_tenant, current_user, in_scope, tenant_scope
from tenantry.core.errors import UsageError
from tenantry.session.context import open_context


def now() -> str | None:
    context = open_context()
    return None if context is None else str(context.tenant)


@tenant_scope("acme", user="ann")
def function() -> list[str | None]:
    return [now(), current_user()]


@tenant_scope("acme")
async def coroutine() -> str | None:
    await asyncio.sleep(0)
    return now()


@tenant_scope("acme")
def generator() -> Generator[str | None, str | None, str]:
    sent = yield now()
    yield sent
    with tenant_scope("inner"):
        yield now()
        yield now()
    yield now()
    return "returned"


@tenant_scope("acme")
async def async_generator() -> AsyncIterator[str | None]:
    yield now()
    await asyncio.sleep(0)
    with tenant_scope("inner"):
        yield now()
        yield now()
    yield now()


def test_a_function_runs_in_its_scope_each_time():
    assert [function(), now(), function(), now()] == [["acme", "ann"], None, ["acme", "ann"], None]


def test_a_coroutine_runs_in_its_scope_and_not_its_caller():
    async def main() -> list[str | None]:
        with tenant_scope("caller"):
            started = coroutine()
            between = now()
            return [between, await started, now()]

    assert asyncio.run(main()) == ["caller", "acme", "caller"]


def test_a_generator_keeps_its_scopes_and_its_caller_keeps_its_own():
    seen: list[tuple[str | None, str | None]] = []
    with tenant_scope("caller"):
        running = generator()
        seen += [(next(running), now()), (running.send("sent"), now())]
        seen += [(item, now()) for item in running]

    assert seen == [(item, "caller") for item in ("acme", "sent", "inner", "inner", "acme")]
    assert now() is None


def test_an_async_generator_keeps_its_scopes_and_its_caller_keeps_its_own():
    async def main() -> list[tuple[str | None, str | None]]:
        with tenant_scope("caller"):
            return [(item, now()) async for item in async_generator()]

    assert asyncio.run(main()) == [(item, "caller") for item in ("acme", "inner", "inner", "acme")]


def test_what_a_generator_returns_and_what_is_thrown_into_it_pass_through():
    @tenant_scope("acme")
    def catching() -> Generator[str | None, None, str]:
        try:
            yield now()
        except KeyError:
            yield f"caught for {now()}"
        return f"returned for {now()}"

    running = catching()
    seen = [next(running), running.throw(KeyError())]
    with pytest.raises(StopIteration) as end:
        next(running)

    assert [*seen, end.value.value] == ["acme", "caught for acme", "returned for acme"]


def test_what_is_thrown_into_an_async_generator_passes_through():
    @tenant_scope("acme")
    async def catching() -> AsyncIterator[str]:
        try:
            yield "first"
        except KeyError:
            yield f"caught for {now()}"

    async def main() -> list[str]:
        running: Any = catching()
        return [await anext(running), await running.athrow(KeyError())]

    assert asyncio.run(main()) == ["first", "caught for acme"]


def test_a_generator_that_is_closed_cleans_up_in_its_scope():
    seen: list[str | None] = []

    @tenant_scope("acme")
    def closing() -> Iterator[None]:
        try:
            yield
        finally:
            seen.append(now())

    @tenant_scope("bolt")
    async def closing_async() -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append(now())

    running = closing()
    next(running)
    running.close()  # type: ignore[attr-defined] - it is a generator

    async def main() -> None:
        started: Any = closing_async()
        await anext(started)
        await started.aclose()

    asyncio.run(main())

    assert seen == ["acme", "bolt"]


def test_what_a_generator_started_ends_with_it():
    def started() -> Callable[[], str | None]:
        @tenant_scope("acme")
        def work() -> Iterator[Any]:
            yield look_again()

        return next(work())  # and the generator is closed here

    def look_again() -> Callable[[], str | None]:
        return partial(copy_context().run, now)

    assert started()() is None


@pytest.mark.parametrize(
    ("wrapped", "kind"),
    [
        (coroutine, inspect.iscoroutinefunction),
        (generator, inspect.isgeneratorfunction),
        (async_generator, inspect.isasyncgenfunction),
    ],
)
def test_a_framework_still_sees_what_kind_of_function_it_is(wrapped: Any, kind: Callable[[Any], bool]):
    assert kind(wrapped)
    assert wrapped.__name__ in {"coroutine", "generator", "async_generator"}


def test_a_partial_and_a_callable_object_are_seen_through():
    class Job:
        async def __call__(self) -> str | None:
            await asyncio.sleep(0)
            return now()

    async def take(value: str) -> tuple[str, str | None]:
        await asyncio.sleep(0)
        return value, now()

    async def main() -> list[Any]:
        scope = tenant_scope("acme")
        return [await scope(Job())(), await scope(partial(take, "x"))()]

    assert asyncio.run(main()) == ["acme", ("x", "acme")]


def test_the_tenant_and_the_user_are_taken_from_the_call():
    @tenant_scope(argument("tenant_id"), user=argument("user"))
    def work(tenant_id: UUID | str, user: str | None = "ann") -> tuple[Any, str | None]:
        return current_tenant().id, current_user()

    number = UUID(int=7)

    assert work(number) == (number, "ann")
    assert work(tenant_id="acme", user=None) == ("acme", None)


def test_an_argument_that_is_none_is_no_tenant():
    @tenant_scope(argument("tenant_id"))
    def work(tenant_id: Any) -> None: ...

    values: list[Any] = [None, True, 1.5, b"acme", ""]
    for wrong in values:
        with pytest.raises(ValueError, match="uuid"):
            work(wrong)
        with pytest.raises(ValueError, match="uuid"):
            tenant_scope(wrong)


def test_an_argument_that_the_function_has_not_is_refused_where_it_is_decorated():
    with pytest.raises(UsageError, match="'tenant_id'"):

        @tenant_scope(argument("tenant"))
        def work(tenant_id: UUID) -> None: ...


def test_an_argument_cannot_be_entered_nor_a_scope_twice():
    scope = tenant_scope("acme")
    with scope, pytest.raises(UsageError, match="again"), scope:
        pass
    with pytest.raises(UsageError, match="decorator"), tenant_scope(argument("tenant")):
        pass

    assert now() is None


def test_a_function_that_returns_what_would_run_later_is_refused():
    @tenant_scope("acme")
    def later() -> Any:
        return coroutine()

    with pytest.raises(UsageError, match="async def"):
        later()


def test_threads_and_executors_work_in_the_scope_they_are_given():
    seen: list[str | None] = []

    async def main() -> list[str | None]:
        with tenant_scope("acme"):
            work = in_scope(now)
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(None, work), await loop.run_in_executor(None, now)]

    with tenant_scope("acme"), ThreadPoolExecutor() as pool:
        thread = threading.Thread(target=in_scope(lambda: seen.append(now())))
        thread.start()
        thread.join()
        pooled = pool.submit(in_scope(now)).result(), pool.submit(now).result()

    assert seen == ["acme"]
    assert pooled == ("acme", None)
    assert asyncio.run(main()) == ["acme", None]


def rows() -> Iterator[str | None]:
    yield now()
    yield now()


async def async_rows() -> AsyncIterator[str | None]:
    yield now()
    yield now()


def test_streams_and_tasks_that_outlive_the_block_keep_their_scope():
    async def main() -> Any:
        with tenant_scope("acme"):
            streams = in_scope(rows()), in_scope(async_rows())
            later = in_scope(asyncio.sleep(0, "slept"))
            task = asyncio.create_task(in_scope(coroutine_of_now()))
        lone = now()
        return lone, list(streams[0]), [item async for item in streams[1]], await later, await task

    async def coroutine_of_now() -> str | None:
        await asyncio.sleep(0)
        return now()

    assert asyncio.run(main()) == (None, ["acme", "acme"], ["acme", "acme"], "slept", "acme")


def test_outside_a_scope_there_is_none_to_carry_and_a_list_cannot_be_run():
    with pytest.raises(NoTenantError, match="in_scope"):
        in_scope(now)
    with tenant_scope("acme"), pytest.raises(UsageError, match="generator"):
        in_scope([1])


def test_the_error_names_the_scope_that_has_ended_and_the_way_out():
    async def main() -> None:
        go_on = asyncio.Event()

        async def child() -> None:
            await go_on.wait()
            current_tenant()

        with tenant_scope("acme"):
            task = asyncio.create_task(child())
        go_on.set()
        with pytest.raises(NoTenantError, match=r"acme.*in_scope") as caught:
            await task
        assert caught.value.ended == Tenant("acme")

    asyncio.run(main())
    with pytest.raises(NoTenantError, match=r"tenant_scope.*in_scope.*job_scope"):
        current_tenant()


@given(st.lists(st.integers(0, 5), max_size=30))
def test_scopes_end_in_any_order_and_the_innermost_open_one_holds(ends: list[int]):
    """Numbers begin a scope when theirs is not open, and end it when it is."""
    opened: dict[int, Any] = {}
    order: list[int] = []
    for number in ends:
        if number in opened:
            opened.pop(number).__exit__(None, None, None)
            order.remove(number)
        else:
            opened[number] = tenant_scope(number)
            opened[number].__enter__()
            order.append(number)

        assert now() == (str(order[-1]) if order else None)
    for scope in opened.values():
        scope.__exit__(None, None, None)
    assert now() is None


@given(st.lists(st.integers(0, 3), max_size=40))
def test_generators_taken_in_turn_never_see_each_others_scopes(turns: list[int]):
    @tenant_scope(argument("number"))
    def work(number: int) -> Iterator[bool]:
        depth = 0
        while True:
            with tenant_scope(f"{number}.{depth}"):
                yield now() == f"{number}.{depth}"
            yield now() == str(number)
            depth += 1

    running = [work(number) for number in range(4)]
    with tenant_scope("caller"):
        right = [(next(running[turn]), now() == "caller") for turn in turns]

    assert right == [(True, True)] * len(turns)
    assert now() is None
