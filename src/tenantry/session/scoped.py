"""Work that runs in a scope of its own: what `@tenant_scope(...)` makes of a function, and `in_scope`."""

from __future__ import annotations

import inspect
from functools import partial, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast

from tenantry.core.errors import UsageError
from tenantry.core.tenant import Tenant
from tenantry.session.context import Argument, Context, Steps, current_context, enter_scope, leave_scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

__all__ = ["by_arguments", "in_scope", "scoped"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Work = TypeVar("_Work")

ContextOf: TypeAlias = "Callable[[tuple[Any, ...], dict[str, Any]], Context]"
"""What gives the context of a call from its arguments."""


def in_scope(work: _Work) -> _Work:
    """*work* in the tenant scope of now, wherever and whenever it runs, also after that scope has ended.

    For what a thread or an executor calls (`executor.submit(in_scope(function), ...)`), for a task or a stream that
    outlives the block (`create_task(in_scope(coroutine))`, `StreamingResponse(in_scope(rows()))`), and for callbacks.
    *work* is a function of any kind, a coroutine, a generator or an async generator; each call has a scope of its
    own, and a generator's lasts until it ends or is closed.

    Raises `NoTenantError` outside any scope, and `UsageError` for what cannot be run.
    """
    context = current_context()
    wrapped: Any
    if inspect.isgenerator(work):
        wrapped = _generator(lambda: work, lambda args, kwargs: context)()  # noqa: ARG005 - it has no call
    elif inspect.isasyncgen(work):
        wrapped = _async_generator(lambda: work, lambda args, kwargs: context)()  # noqa: ARG005 - as above
    elif inspect.isawaitable(work):
        wrapped = _awaited(work, context)
    elif callable(work):
        wrapped = scoped(cast("Callable[..., Any]", work), lambda args, kwargs: context)  # noqa: ARG005 - every call's
    else:
        raise UsageError(
            f"{work!r} cannot be run in a scope: give `in_scope` a function, a coroutine or a generator, and turn "
            "another iterable into `(item for item in iterable)`"
        )
    return cast("_Work", wrapped)


def by_arguments(function: Callable[..., Any], tenant: Tenant | Argument, user: str | Argument | None) -> ContextOf:
    """What gives the context of a call of *function*, where *tenant* and *user* may be arguments of it.

    Raises `UsageError` where *function* has no such argument.
    """
    if not isinstance(tenant, Argument) and not isinstance(user, Argument):
        context = Context(tenant, user)
        return lambda args, kwargs: context  # noqa: ARG005 - every call's
    signature = inspect.signature(function)
    for wanted in (tenant, user):
        if isinstance(wanted, Argument) and wanted.name not in signature.parameters:
            raise UsageError(
                f"{_name(function)}{signature} has no argument {wanted.name!r} to take its scope from: "
                f"name one of {', '.join(map(repr, signature.parameters)) or 'its own, of which it has none'}"
            )

    def context_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Context:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()

        def value(of: object) -> Any:
            return bound.arguments[of.name] if isinstance(of, Argument) else of

        found, on_behalf_of = value(tenant), value(user)
        return Context(
            found if isinstance(found, Tenant) else Tenant(found), None if on_behalf_of is None else str(on_behalf_of)
        )

    return context_of


def scoped(function: Callable[_P, _R], context_of: ContextOf) -> Callable[_P, _R]:
    """*function* with each call in a scope of its own, which is *context_of* its arguments."""
    wrapper: Any
    if _is(function, inspect.isasyncgenfunction):
        wrapper = _async_generator(function, context_of)
    elif _is(function, inspect.isgeneratorfunction):
        wrapper = _generator(function, context_of)
    elif _is(function, inspect.iscoroutinefunction):

        async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
            scope = enter_scope(context_of(args, kwargs))
            try:
                return await cast("Awaitable[Any]", function(*args, **kwargs))
            finally:
                leave_scope(scope)

        wrapper = run_coroutine
    else:

        def run(*args: Any, **kwargs: Any) -> Any:
            scope = enter_scope(context_of(args, kwargs))
            try:
                return _finished(function, function(*args, **kwargs))
            finally:
                leave_scope(scope)

        wrapper = run
    return cast("Callable[_P, _R]", _like(wrapper, function))


def _is(function: Any, kind: Callable[[Any], bool]) -> bool:
    """Whether *function*, or the `__call__` of an object, is of *kind*; a `partial` is what it calls."""
    while isinstance(function, partial):
        function = cast("Any", function).func
    return kind(function) or (not inspect.isroutine(function) and kind(getattr(function, "__call__")))  # noqa: B004, B009 - the method of a callable object


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _like(wrapper: Any, function: Any) -> Any:
    return wraps(function)(wrapper) if inspect.isroutine(function) else update_wrapper(wrapper, function, updated=())


def _finished(function: Any, result: Any) -> Any:
    """Refuse a result whose code would only run after the scope."""
    if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError(
            f"{_name(function)} returned a {type(result).__name__}, which would run after its scope has ended: "
            f"make it `async def` or a generator itself, or let it return `in_scope(...)` of that"
        )
    return result


async def _awaited(work: Awaitable[Any], context: Context) -> Any:
    scope = enter_scope(context)
    try:
        return await work
    finally:
        leave_scope(scope)


def _generator(make: Callable[..., Any], context_of: ContextOf) -> Callable[..., Generator[Any, Any, Any]]:
    """*make*, a generator function, with each generator in a scope that holds while its own code runs."""

    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = Steps(context_of(args, kwargs))
        with steps.step():
            generator: Generator[Any, Any, Any] = make(*args, **kwargs)
        resume: Callable[[], Any] = partial(next, generator)
        try:
            while True:
                with steps.step():
                    try:
                        item = resume()
                    except StopIteration as end:
                        return end.value
                try:
                    sent = yield item
                except GeneratorExit:
                    with steps.step():
                        generator.close()
                    raise
                except BaseException as exc:  # noqa: BLE001 - whatever is thrown in is the generator's to handle
                    resume = partial(generator.throw, exc)
                else:
                    resume = partial(generator.send, sent)
        finally:
            steps.end()

    return run


def _async_generator(make: Callable[..., Any], context_of: ContextOf) -> Callable[..., AsyncGenerator[Any, Any]]:
    """`_generator` for an async generator function."""

    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = Steps(context_of(args, kwargs))
        with steps.step():
            generator: AsyncGenerator[Any, Any] = make(*args, **kwargs)
        resume: Callable[[], Awaitable[Any]] = partial(anext, generator)
        try:
            while True:
                with steps.step():
                    try:
                        item = await resume()
                    except StopAsyncIteration:
                        return
                try:
                    sent = yield item
                except GeneratorExit:
                    with steps.step():
                        await generator.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001 - as above
                    resume = partial(generator.athrow, exc)
                else:
                    resume = partial(generator.asend, sent)
        finally:
            steps.end()

    return run
