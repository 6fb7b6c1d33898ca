"""What the demo does inside the databases of branches: counting, experimenting, looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import column, func, insert, select, table

from tenantry.session.context import tenant_scope
from tenantry.session.sqlalchemy import protect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from tenantry.core.conninfo import Conninfo
    from tenantry.core.tenant import Tenant

__all__ = ["Look", "app_engine", "count", "experiment", "look", "server_version"]

BRANDS = table(
    "brands", column("tenant_id"), column("slug"), column("name"), column("hex"), column("source"), schema="brandsyncup"
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a branch has in the table of brands: rows, those of the experiment, columns."""

    rows: int
    own_rows: int
    columns: tuple[str, ...]


def app_engine(conninfo: Conninfo) -> Engine:
    """An engine as an application makes it. Without a pool, since branches are reset under it."""
    return protect(create_engine(conninfo.sqlalchemy_url(), poolclass=NullPool))


def server_version(engine: Engine) -> str:
    """The version of the Postgres behind *engine*."""
    with engine.connect() as conn:
        return ".".join(map(str, conn.dialect.server_version_info or ()))


def count(engine: Engine, schema: str, tables: Iterable[str], tenant: Tenant) -> dict[str, int]:
    """How many rows *tenant* sees in each of *tables*, without a WHERE."""
    with tenant_scope(tenant), engine.connect() as conn:
        return {name: conn.scalar(select(func.count()).select_from(table(name, schema=schema))) or 0 for name in tables}


def experiment(engine: Engine, migrator: Conninfo, tenant: Tenant) -> str:
    """Write a brand and add a column, and return the brand's slug."""
    slug = f"experiment-{uuid4().hex[:8]}"
    with tenant_scope(tenant), engine.begin() as conn:
        conn.execute(insert(BRANDS).values(slug=slug, name="Experiment", hex="000000", source="a developer"))
    with psycopg.connect(migrator.dsn()) as owner:
        owner.execute("ALTER TABLE brandsyncup.brands ADD COLUMN mood text")
    return slug


def look(engine: Engine, tenant: Tenant, slug: str) -> Look:
    """Look at the table of brands as *tenant*."""
    own = select(func.count()).select_from(BRANDS).where(BRANDS.c.slug == slug)
    columns = text(
        "SELECT attname FROM pg_catalog.pg_attribute "
        "WHERE attrelid = 'brandsyncup.brands'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    with tenant_scope(tenant), engine.connect() as conn:
        return Look(
            rows=conn.scalar(select(func.count()).select_from(BRANDS)) or 0,
            own_rows=conn.scalar(own) or 0,
            columns=tuple(conn.scalars(columns)),
        )
