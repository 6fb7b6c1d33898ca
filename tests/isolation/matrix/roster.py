"""The ways that attacks go, by name, each direct and through PgBouncer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.isolation.matrix.asyncpg_ways import AsyncpgWay
from tests.isolation.matrix.guards import CONTROL
from tests.isolation.matrix.psycopg_ways import AsyncPsycopgWay, PsycopgWay
from tests.isolation.matrix.sqlalchemy_ways import OrmWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.isolation.matrix.guards import Guard
    from tests.isolation.matrix.ways import Way

__all__ = ["UNSEEN", "WAYS"]

WAYS: dict[str, Callable[..., Way]] = {
    "Session over psycopg": partial(OrmWay, driver="psycopg", waits=False),
    "Core over psycopg": partial(OrmWay, driver="psycopg", waits=False, core=True),
    "AsyncSession over psycopg": partial(OrmWay, driver="psycopg", waits=True),
    "AsyncSession over asyncpg": partial(OrmWay, driver="asyncpg", waits=True),
    "psycopg": partial(PsycopgWay, autocommit=False),
    "psycopg in autocommit": partial(PsycopgWay, autocommit=True),
    "async psycopg": partial(AsyncPsycopgWay, autocommit=False),
    "async psycopg in autocommit": partial(AsyncPsycopgWay, autocommit=True),
    "asyncpg": AsyncpgWay,
}

UNSEEN: dict[str, dict[Guard, str]] = {
    "AsyncSession over asyncpg": {
        CONTROL: "without it SQLAlchemy and the server disagree about the transaction, and the way hangs"
    }
}
"""Guards whose attacks are tried on a way, and which cannot be taken out there, with the reason."""
