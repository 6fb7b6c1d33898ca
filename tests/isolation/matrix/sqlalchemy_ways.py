"""The ways through SQLAlchemy: Session, AsyncSession and Core, over psycopg and asyncpg."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tenantry.session.sqlalchemy import protect
from tests.isolation.matrix.ways import ALL, Row, Way, Work
from tests.plugins.shop import Document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sqlalchemy import Connection, Engine

__all__ = ["OrmWay"]


def _rows(result: Any) -> list[Row]:
    return [tuple(row) for row in result] if result.returns_rows else []


class _Work(Work):
    """A Session or a Core connection; `call` runs a function of it, by `run_sync` where it is async."""

    def __init__(self, target: Any, call: Any) -> None:
        self.target = target
        self.call = call
        self.unread: Any = None

    async def rows(self, query: str) -> list[Row]:
        return await self.call(lambda target: _rows(target.execute(text(query))))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[object]:
        nested = await self.call(lambda target: target.begin_nested())
        try:
            yield nested
        except BaseException:
            await self.call(lambda target: nested.rollback())
            raise
        await self.call(lambda target: nested.commit())

    async def half_read(self, query: str) -> list[Row]:
        def begin(target: Any) -> list[Row]:
            options = {"stream_results": True, "yield_per": 1}
            self.unread = target.execute(text(query), execution_options=options)
            return [tuple(self.unread.fetchone())]

        return await self.call(begin)


class OrmWay(Way):
    """SQLAlchemy with *driver*, by `Session` or, if *core*, by connections; async if *waits*."""

    def __init__(self, *args: Any, driver: str, waits: bool, core: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.driver, self.waits, self.core = driver, waits, core
        self.engine: Engine | AsyncEngine

    async def open(self) -> None:
        url = self.address.url(self.driver)
        options: dict[str, Any] = {"pool_size": self.size, "max_overflow": 0, "pool_timeout": 5}
        if self.driver == "asyncpg" and self.address.pooled and not self.prepares:
            options["connect_args"] = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        self.engine = create_async_engine(url, **options) if self.waits else create_engine(url, **options)
        protect(self.engine, pooler_prepares=self.prepares)
        await self._fill_pool()
        if self.careless:
            self._sync.dialect.do_rollback = lambda dbapi_connection: None  # type: ignore[method-assign]

    async def _fill_pool(self) -> None:
        """Make all connections now: what is done on a new one is not part of an attack."""
        if isinstance(self.engine, AsyncEngine):
            made = [await self.engine.connect() for _ in range(self.size)]
            for conn in made:
                await conn.close()
        else:
            for conn in [self.engine.connect() for _ in range(self.size)]:
                conn.close()

    @property
    def _sync(self) -> Engine:
        return self.engine.sync_engine if isinstance(self.engine, AsyncEngine) else self.engine

    async def close(self) -> None:
        if isinstance(self.engine, AsyncEngine):
            await self.engine.dispose()
        else:
            self.engine.dispose()

    async def _call(self, target: Any, work: Callable[[Any], Any]) -> Any:
        return await target.run_sync(work) if self.waits else work(target)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        if isinstance(self.engine, AsyncEngine):
            opened = self.engine.connect() if self.core else AsyncSession(self.engine)
            async with opened as target:
                yield _Work(target, target.run_sync)
                await target.commit()
        else:

            async def call(work: Callable[[Any], Any]) -> Any:
                return work(target)

            with self.engine.connect() if self.core else Session(self.engine) as target:
                yield _Work(target, call)
                target.commit()

    async def on_connection(self, work: Callable[[Connection], Any], **options: Any) -> Any:
        """Run *work* with a Core connection that has *options*, without a commit of ours."""
        if not isinstance(self.engine, AsyncEngine):
            with self.engine.connect() as conn:
                return work(conn.execution_options(**options))
        async with self.engine.connect() as conn:
            return await (await conn.execution_options(**options)).run_sync(work)

    async def on_session(self, work: Callable[[Session], Any]) -> Any:
        """Run *work* with a session, without a commit of ours."""
        if not isinstance(self.engine, AsyncEngine):
            with Session(self.engine) as session:
                return work(session)
        async with AsyncSession(self.engine) as session:
            return await session.run_sync(work)

    async def single(self, query: str) -> list[Row]:
        def run(conn: Connection) -> list[Row]:
            rows = _rows(conn.exec_driver_sql(query))
            if not options:
                conn.commit()
            return rows

        # Over asyncpg AUTOCOMMIT is refused.
        options = {} if self.driver == "asyncpg" else {"isolation_level": "AUTOCOMMIT"}
        return await self.on_connection(run, **options)

    async def own_probe(self, query: str) -> list[Row]:
        def run(conn: Connection) -> list[Row]:
            own = conn.connection.driver_connection
            with _door(own):
                cursor = conn.connection.cursor()
                cursor.execute(query)
                rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
                cursor.close()
                conn.connection.commit()
            return rows

        return await self.on_connection(run)

    def paths(self) -> Mapping[str, Callable[[], Awaitable[list[Any]]]]:
        reads = _CORE if self.core else _ORM
        run: Any = self.on_connection if self.core else self.on_session
        return {read.__name__: (lambda read=read: run(read)) for read in reads}

    async def cancelled(self, query: str) -> None:
        if self.waits and not self.careless:  # SQLAlchemy ends a connection whose task was cancelled
            await super().cancelled(query)
            return

        def time_out(conn: Connection) -> None:
            conn.execute(text("SET LOCAL statement_timeout = 30"))
            with suppress(DBAPIError):
                conn.execute(text(query))

        await self.on_connection(time_out)


def _door(own: Any) -> Any:
    """Let the driver's *own* connection pass what is sent, where it is guarded itself."""
    if hasattr(own, "unguarded"):
        return own.unguarded()
    if hasattr(own, "tenantry"):
        from tenantry.session.psycopg import unguarded  # noqa: PLC0415 - where it has a guard

        return unguarded(own)
    return nullcontext()


def flushed_first(session: Session) -> list[Any]:
    session.add(Document(title="flushed first"))
    session.flush()
    return list(session.scalars(select(Document.tenant_id)))


def by_orm(session: Session) -> list[Any]:
    return [document.tenant_id for document in session.scalars(select(Document))]


def by_connection(session: Session) -> list[Any]:
    return list(session.connection().scalars(select(Document.tenant_id)))


def streamed(session: Session) -> list[Any]:
    return list(session.scalars(select(Document.tenant_id), execution_options={"yield_per": 1}))


def after_commit(session: Session) -> list[Any]:
    session.scalars(select(Document)).all()
    session.commit()
    return list(session.scalars(select(Document.tenant_id)))


def after_rollback(session: Session) -> list[Any]:
    session.scalars(select(Document)).all()
    session.rollback()
    return list(session.scalars(select(Document.tenant_id)))


def in_a_savepoint(session: Session) -> list[Any]:
    with session.begin_nested():
        return list(session.scalars(select(Document.tenant_id)))


def by_driver_sql(session: Session) -> list[Any]:
    return list(session.connection().exec_driver_sql(ALL).scalars())


def after_bulk(session: Session) -> list[Any]:
    session.bulk_save_objects([Document(title="bulk")])
    return [document.tenant_id for document in session.scalars(select(Document))]


def of_core(conn: Connection) -> list[Any]:
    return list(conn.scalars(select(Document.__table__.c.tenant_id)))


def of_core_as_text(conn: Connection) -> list[Any]:
    return list(conn.execute(text(ALL)).scalars())


def of_core_by_driver_sql(conn: Connection) -> list[Any]:
    return list(conn.exec_driver_sql(ALL).scalars())


def of_core_streamed(conn: Connection) -> list[Any]:
    return list(conn.execution_options(yield_per=1).scalars(select(Document.__table__.c.tenant_id)))


def of_core_after_rollback(conn: Connection) -> list[Any]:
    conn.execute(text(ALL))
    conn.rollback()
    return list(conn.execute(text(ALL)).scalars())


_ORM: list[Callable[[Session], list[Any]]] = [
    flushed_first,
    by_orm,
    by_connection,
    streamed,
    after_commit,
    after_rollback,
    in_a_savepoint,
    by_driver_sql,
    after_bulk,
]
_CORE: list[Callable[[Connection], list[Any]]] = [
    of_core,
    of_core_as_text,
    of_core_by_driver_sql,
    of_core_streamed,
    of_core_after_rollback,
]
