"""A transaction of SQLAlchemy's ORM that reads one row: without any tenant, ours, and each peer's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from benchmarks.context import database
from benchmarks.context.database import TENANT
from benchmarks.context.direct import OURS
from benchmarks.context.peers import Item, installed, mapped
from benchmarks.context.timing import AsyncWay, Contest, Way
from tenantry import tenant_scope
from tenantry.session.sqlalchemy import protect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from typing import Any

    from sqlalchemy import URL, Engine

    from benchmarks.context.database import Url
    from benchmarks.context.timing import Contender

__all__ = ["transaction", "transaction_asyncpg"]

PLAIN = "the same without a tenant"
SESSION_WIDE = "set_config for the session, and back"


def _read(engine: Engine, item: type[Item]) -> Callable[[int], int]:
    def read(number: int) -> int:
        with Session(engine) as session:
            found = session.scalars(select(item).where(item.id == number)).one().id
            session.commit()
            return found

    return read


def transaction(network: str, url: Url) -> Contest:
    """One transaction of a `Session` over psycopg."""
    address = make_url(url.sqlalchemy("psycopg"))
    settings: dict[str, Any] = {"connect_args": {"prepare_threshold": None}} if url.pooled else {}

    @contextlib.contextmanager
    def plain() -> Generator[Way]:
        engine = create_engine(address, **settings)
        yield Way(_read(engine, Item))
        engine.dispose()

    own = make_url(url.of(database.OURS).sqlalchemy("psycopg"))

    @contextlib.contextmanager
    def ours() -> Generator[Way]:
        engine = protect(create_engine(own))
        with tenant_scope(TENANT):
            yield Way(_read(engine, mapped("items", schema=database.OURS.schema)))
        engine.dispose()

    @contextlib.contextmanager
    def session_wide() -> Generator[Way]:
        """What a middleware does that sets the tenant when a request begins, and takes it back at its end."""
        engine, item = create_engine(own, **settings), mapped("items", schema=database.OURS.schema)
        event.listen(engine, "checkin", lambda dbapi, _record: _reset(dbapi))

        def read(number: int) -> int:
            with Session(engine) as session:
                session.execute(text("SELECT set_config('app.tenant_id', :tenant, false)"), {"tenant": str(TENANT)})
                found = session.scalars(select(item).where(item.id == number)).one().id
                session.commit()
                return found

        yield Way(read)
        engine.dispose()

    ways: dict[str, Callable[[], AbstractContextManager[Contender]]] = {PLAIN: plain, OURS: ours}
    if not url.pooled:  # it would be another tenant's connection at the next transaction
        ways[SESSION_WIDE] = session_wide
    for peer in installed():
        if peer.transaction is not None and not url.pooled:
            ways[peer.name] = _peer(peer.transaction, address.set(username=peer.user))
    return Contest(
        f"A transaction of the ORM, psycopg, {network}", OURS, ways, {PLAIN: 1.0 if url.slow else 1.05}, slow=url.slow
    )


def transaction_asyncpg(network: str, url: Url) -> Contest:
    """One transaction of an `AsyncSession` over asyncpg."""
    address = make_url(url.sqlalchemy("asyncpg"))
    settings: dict[str, Any] = {}
    if url.pooled:
        settings = {"connect_args": {"statement_cache_size": 0, "prepared_statement_cache_size": 0}}

    @contextlib.contextmanager
    def plain() -> Generator[AsyncWay]:
        engine = create_async_engine(address, **settings)
        with asyncio.Runner() as runner:

            async def read(number: int) -> int:
                async with AsyncSession(engine) as session:
                    found = (await session.scalars(select(Item).where(Item.id == number))).one().id
                    await session.commit()
                    return found

            yield AsyncWay(read, runner.run)
            runner.run(engine.dispose())

    own = make_url(url.of(database.OURS).sqlalchemy("asyncpg"))

    @contextlib.contextmanager
    def ours() -> Generator[AsyncWay]:
        engine, item = protect(create_async_engine(own)), mapped("items", schema=database.OURS.schema)
        with asyncio.Runner() as runner:

            async def read(number: int) -> int:
                with tenant_scope(TENANT):
                    async with AsyncSession(engine) as session:
                        found = (await session.scalars(select(item).where(item.id == number))).one().id
                        await session.commit()
                        return found

            yield AsyncWay(read, runner.run)
            runner.run(engine.dispose())

    ways: dict[str, Callable[[], AbstractContextManager[Contender]]] = {PLAIN: plain, OURS: ours}
    for peer in installed():
        if peer.transaction_asyncpg is not None and not url.pooled:
            ways[peer.name] = _peer_asyncpg(peer.transaction_asyncpg, address.set(username=peer.user))
    return Contest(
        f"A transaction of the ORM, asyncpg, {network}", OURS, ways, {PLAIN: 1.0 if url.slow else 1.05}, slow=url.slow
    )


def _reset(dbapi: Any) -> None:
    if dbapi is not None:
        dbapi.execute("SELECT set_config('app.tenant_id', '', false)")
        dbapi.commit()


def _peer(open_way: Callable[..., AbstractContextManager[Way]], url: URL) -> Callable[[], AbstractContextManager[Way]]:
    return lambda: open_way(url, TENANT)


def _peer_asyncpg(
    open_way: Callable[..., AbstractContextManager[AsyncWay]], url: URL
) -> Callable[[], AbstractContextManager[AsyncWay]]:
    @contextlib.contextmanager
    def opened() -> Generator[AsyncWay]:
        with asyncio.Runner() as runner, open_way(url, TENANT, runner) as way:
            yield way

    return opened
