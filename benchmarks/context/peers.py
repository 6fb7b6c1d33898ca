"""The libraries that ours is set beside: what each asks of its table, and one transaction of each.

A peer that is not installed is left out: `pip install 'tenantry[bench]'` brings them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

import pydantic
from sqlalchemy import UUID as SQL_UUID
from sqlalchemy import column, create_engine, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from benchmarks.context.timing import AsyncWay, Way

if TYPE_CHECKING:
    from asyncio import Runner
    from collections.abc import Callable, Generator, Iterable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import URL

__all__ = ["PEERS", "Item", "Peer", "installed", "mapped"]


class Base(DeclarativeBase):
    pass


class Item(Base):
    """A row of the table without row security."""

    __tablename__ = "items_bare"
    __table_args__ = {"schema": "bench"}  # noqa: RUF012 - as SQLAlchemy wants it
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


def mapped(table: str, *, schema: str = "bench") -> type[Item]:
    """The same class for the table of another way."""

    class Other(DeclarativeBase):
        pass

    class OtherItem(Other):
        __tablename__ = table
        __table_args__ = {"schema": schema}  # noqa: RUF012 - as above
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    return OtherItem  # pyright: ignore[reportReturnType] - the same columns


@dataclass(frozen=True, slots=True)
class Peer:
    """A library: its table `items_<table>`, what makes it as the library wants it, and its transactions."""

    name: str
    package: str
    table: str
    statements: Callable[[Sequence[UUID]], Iterable[str]]
    transaction: Callable[[URL, UUID], AbstractContextManager[Way]] | None = None
    transaction_asyncpg: Callable[[URL, UUID, Runner], AbstractContextManager[AsyncWay]] | None = None
    user: str = "bench_app"
    kind: LiteralString = "uuid"
    column: str = "tenant_id"


def installed() -> list[Peer]:
    """The peers of this environment."""
    return [peer for peer in PEERS if find_spec(peer.package) is not None]


def _rls_statements(tenants: Sequence[UUID]) -> Iterable[str]:  # noqa: ARG001 - as the others have it
    schemas = import_module("rls.schemas")
    policy = schemas.Permissive(
        condition_args=[schemas.ConditionArg(comparator_name="tenant_id", type=SQL_UUID)],
        cmd=[schemas.Command.all],
        custom_expr=lambda tenant: column("tenant_id") == tenant,
        custom_policy_name="own",
    )
    return [text.text.replace(" ON items_rls", " ON bench.items_rls") for text in policy.get_sql_policies("items_rls")]


def _rls_context(tenant: UUID) -> Any:
    frozen = pydantic.ConfigDict(frozen=True)
    return pydantic.create_model("Context", __config__=frozen, tenant_id=(type(tenant), ...))(tenant_id=tenant)


@contextlib.contextmanager
def _rls(url: URL, tenant: UUID) -> Generator[Way]:
    item, context, engine = mapped("items_rls"), _rls_context(tenant), create_engine(url)
    make = sessionmaker(engine, class_=import_module("rls.rls_session").RlsSession)

    def read(number: int) -> int:
        with make(context=context) as session:
            found = session.scalars(select(item).where(item.id == number)).one().id
            session.commit()
            return found

    yield Way(read)
    engine.dispose()


@contextlib.contextmanager
def _rls_asyncpg(url: URL, tenant: UUID, runner: Runner) -> Generator[AsyncWay]:
    session_class = import_module("rls.rls_session").AsyncRlsSession
    item, context, engine = mapped("items_rls"), _rls_context(tenant), create_async_engine(url)

    async def read(number: int) -> int:
        async with session_class(context, engine) as session:
            found = (await session.scalars(select(item).where(item.id == number))).one().id
            await session.commit()
            return found

    yield AsyncWay(read, runner.run)
    runner.run(engine.dispose())


def _tenants_statements(tenants: Sequence[UUID]) -> Iterable[str]:
    core = import_module("sqlalchemy_tenants.core")
    # Its migration makes this function, and offers no other way to.
    yield core._GET_TENANT_FUNCTION_TEMPLATE.format(  # noqa: SLF001 - as said
        name=core.GET_TENANT_FUNCTION_NAME, tenant_role_prefix=core.TENANT_ROLE_PREFIX
    )
    policy = core.get_table_policy(table_name="items_roles", column_type=UUID)
    yield policy.replace('"items_roles"', "bench.items_roles")
    for tenant in tenants:
        role = f'"{core.get_tenant_role_name(tenant)}"'
        yield f"CREATE ROLE {role}"
        yield f"GRANT {role} TO bench_switching"
        yield f"GRANT USAGE ON SCHEMA bench TO {role}"
        yield f"GRANT SELECT ON bench.items_roles TO {role}"


@contextlib.contextmanager
def _tenants(url: URL, tenant: UUID) -> Generator[Way]:
    item, engine = mapped("items_roles"), create_engine(url)
    manager = import_module("sqlalchemy_tenants.managers").PostgresManager("bench", engine, sessionmaker(engine))

    def read(number: int) -> int:
        with manager.new_tenant_session(tenant, create_if_missing=False) as session:
            found = session.scalars(select(item).where(item.id == number)).one().id
            session.commit()
            return found

    yield Way(read)
    engine.dispose()


@contextlib.contextmanager
def _tenants_asyncpg(url: URL, tenant: UUID, runner: Runner) -> Generator[AsyncWay]:
    managers = import_module("sqlalchemy_tenants.aio.managers")
    item, engine = mapped("items_roles"), create_async_engine(url)
    manager = managers.PostgresManager("bench", engine, async_sessionmaker(engine))

    async def read(number: int) -> int:
        async with manager.new_tenant_session(tenant, create_if_missing=False) as session:
            found = (await session.scalars(select(item).where(item.id == number))).one().id
            await session.commit()
            return found

    yield AsyncWay(read, runner.run)
    runner.run(engine.dispose())


def _tenancy_statements(tenants: Sequence[UUID]) -> Iterable[str]:  # noqa: ARG001 - as the others have it
    shown = import_module("fastapi_tenancy.isolation.rls")._SAMPLE_POLICY_SQL  # noqa: SLF001 - shown to its users
    text = shown.format(table_name="bench.items_text")
    return [statement for statement in text.split(";\n") if "CREATE POLICY" in statement]


@contextlib.contextmanager
def _tenancy_asyncpg(url: URL, tenant: UUID, runner: Runner) -> Generator[AsyncWay]:
    item, engine = mapped("items_text"), create_async_engine(url)
    address = url.render_as_string(hide_password=False)
    config = import_module("fastapi_tenancy.core.config").TenancyConfig(database_url=address, isolation_strategy="rls")
    provider = import_module("fastapi_tenancy.isolation.rls").RLSIsolationProvider(config, engine)
    whose = import_module("fastapi_tenancy.core.types").Tenant(
        id=str(tenant), identifier="the-tenant", name="The tenant"
    )

    async def read(number: int) -> int:
        async with provider.get_session(whose) as session:
            found = (await session.scalars(select(item).where(item.id == number))).one().id
            await session.commit()
            return found

    yield AsyncWay(read, runner.run)
    runner.run(engine.dispose())


PEERS = (
    Peer("rls", "rls", "rls", _rls_statements, _rls, _rls_asyncpg),
    Peer(
        "sqlalchemy-tenants",
        "sqlalchemy_tenants",
        "roles",
        _tenants_statements,
        _tenants,
        _tenants_asyncpg,
        user="bench_switching",
        column="tenant",
    ),
    Peer(
        "fastapi-tenancy",
        "fastapi_tenancy",
        "text",
        _tenancy_statements,
        transaction_asyncpg=_tenancy_asyncpg,
        kind="text",
    ),
)
