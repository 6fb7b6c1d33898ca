"""Attacks through the scope itself: tasks, threads, generators, jobs, objects, odd ids (P21 to P23, C05 to C07)."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tenantry import job_payload, job_scope, tenant_scope
from tenantry.core.errors import TenantContextError
from tenantry.session.jobs import TenantState
from tests.isolation.matrix.arena import MEMOS
from tests.isolation.matrix.attack import Attack, Try
from tests.isolation.matrix.guards import ENDED, NEEDED, OBJECTS, QUOTING, SAME, WALL
from tests.isolation.matrix.transactions import foreign
from tests.isolation.matrix.ways import ALL, Way
from tests.plugins.shop import ACME, BOLT, Document

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["ATTACKS"]


async def _unguarded_pool(at: Try) -> list[Any]:
    return await at.way.probe(ALL)


async def _read(at: Try) -> list[Any]:
    try:
        async with at.way.work() as work:
            return await work.rows(ALL)
    except TenantContextError:
        return []


async def _late_task(at: Try) -> list[Any]:
    go = asyncio.Event()

    async def late() -> list[Any]:
        await go.wait()
        return await _read(at)

    with tenant_scope(ACME):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    go.set()
    return await task


async def _late_thread(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        copied = copy_context()
    got: list[Any] = []
    if at.way.waits:  # an async driver stays on its loop, and the copied scope comes along
        return await asyncio.create_task(_read(at), context=copied)
    thread = threading.Thread(target=lambda: copied.run(lambda: got.extend(asyncio.run(_read(at)))))
    thread.start()
    await asyncio.to_thread(thread.join)
    return got


async def _open_transaction(at: Try) -> list[Any]:
    """A transaction that is still open where its scope has ended, as a streamed response or a dependency leaves it."""
    got: list[Any] = []
    scope = tenant_scope(ACME)
    scope.__enter__()
    try:
        async with at.way.work() as work:
            await work.rows(ALL)
            scope.__exit__(None, None, None)
            with suppress(TenantContextError):
                got = await work.rows(ALL)
    except TenantContextError:
        return got
    return got


async def _generator(at: Try) -> list[Any]:
    """A generator that is closed after a later scope began must not bring its own back."""

    async def rows() -> AsyncGenerator[list[Any]]:
        with tenant_scope(ACME):
            yield await _read(at)
            yield await _read(at)

    outer = rows()
    await anext(outer)
    got: list[Any] = []
    scope = tenant_scope(BOLT)
    scope.__enter__()
    await outer.aclose()
    got += foreign(await _read(at), BOLT)
    scope.__exit__(None, None, None)
    return got + await _read(at)


IDS = [
    "' || 'victim' || '",
    "x', true), pg_catalog.set_config('app.tenant_id', 'victim', true), pg_catalog.set_config('a.b', '",
    "\\' || $$victim$$ || \\'",
    "-c app.tenant_id=victim",
    "victim'; --",
    "VICTIM",
    "victim ",
    "%s",
    "$1",
    "victim%00",
]


async def _odd_ids(at: Try) -> list[Any]:
    got: list[Any] = []
    for one in IDS:
        with tenant_scope(one):
            try:
                async with at.way.work() as work:
                    got += await work.rows(MEMOS)
                got += await at.way.single(MEMOS)
                got += await at.way.single(f"/* {'x' * 5000} */ {MEMOS}")
            except Exception as exc:  # noqa: BLE001 - text that was not escaped
                got.append(f"trouble: {type(exc).__name__}")
    return got


def _has_sessions(way: Way) -> bool:
    return hasattr(way, "on_session") and not getattr(way, "core", False)


async def _objects(at: Try) -> list[Any]:
    key = at.arena.shop.documents[ACME]

    def work(session: Any) -> list[Any]:
        got: list[Any] = []
        with tenant_scope(ACME):
            mine = session.get(Document, key)
            session.commit()
            assert mine.title
            session.commit()
            session.get(Document, key)
        with tenant_scope(BOLT):
            try:
                found = session.get(Document, key)
                got += [found] if found is not None else []
            except TenantContextError:
                pass
        return got

    return await at.way.on_session(work)


async def _job(at: Try) -> list[Any]:
    """A job that is queued by ACME and tried again by a worker in the middle of BOLT's work."""
    with tenant_scope(ACME):
        payload = job_payload()

    def active(context: Any) -> TenantState:
        return TenantState.ACTIVE

    got: list[Any] = []
    with tenant_scope(BOLT):
        async with at.way.work() as work:
            await work.rows(ALL)
            with job_scope(payload, check=active), suppress(TenantContextError):
                got += await work.rows(ALL)  # the connection is BOLT's still
        with job_scope(payload, check=active):
            got += foreign(await _read(at), ACME)
        got += foreign(await _read(at), BOLT)
    return got


async def _batch(at: Try) -> list[Any]:
    """A batcher that collects keys of both tenants and loads them in the scope of whoever asked first."""
    waiting: list[tuple[UUID, asyncio.Future[list[Any]]]] = []

    async def load() -> None:
        await asyncio.sleep(0)
        keys = ", ".join(f"'{key}'" for key, _ in waiting)
        try:
            async with at.way.work() as work:
                rows = await work.rows(f"SELECT id, tenant_id FROM shop.documents WHERE id IN ({keys})")
        except TenantContextError:
            rows = []
        for key, answer in waiting:
            answer.set_result([tenant for found, tenant in rows if str(found) == str(key)])

    async def ask(key: UUID) -> list[Any]:
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        waiting.append((key, answer))
        if len(waiting) == 1:
            tasks.append(asyncio.create_task(load()))
        return await answer

    tasks: list[asyncio.Task[None]] = []
    documents = at.arena.shop.documents

    async def tenants_view(tenant: UUID, key: UUID) -> list[Any]:
        with tenant_scope(tenant):
            return [row for row in await ask(key) if str(row) != str(tenant)]

    # BOLT asks for ACME's key, in a batch that ACME's request began, and that one for BOLT's.
    views = await asyncio.gather(
        tenants_view(ACME, documents[BOLT]), tenants_view(BOLT, documents[BOLT]), return_exceptions=True
    )
    return [row for view in views if not isinstance(view, BaseException) for row in view]


ATTACKS = [
    Attack(
        "P21",
        "a pool that nobody protected",
        "a second pool of the same role, without a guard",
        WALL,
        _unguarded_pool,
    ),
    Attack("P22", "a task that outlives its scope", "work goes on after its scope has ended", ENDED, _late_task),
    Attack("P22", "a thread with a copied scope", "work goes on after its scope has ended", ENDED, _late_thread),
    Attack(
        "P22",
        "a transaction that outlives its scope",
        "a transaction is used after its scope has ended",
        NEEDED,
        _open_transaction,
    ),
    Attack(
        "P22",
        "a generator that is closed late",
        "a scope that ends out of order brings another back",
        ENDED,
        _generator,
    ),
    Attack("P23", "an id that is SQL", "a tenant's id is read as SQL or as options of a connection", QUOTING, _odd_ids),
    Attack(
        "C05",
        "an object of the last tenant's",
        "a session hands out an object that it holds for another tenant",
        OBJECTS,
        _objects,
        concerns=_has_sessions,
        reason="only a Session holds objects",
    ),
    Attack("C06", "a job in another's work", "a job runs in the context of whoever runs it", SAME, _job),
    Attack("C07", "a batch of two tenants", "a batcher loads keys of two tenants in one query", WALL, _batch),
]
