"""Any order of scopes, statements, savepoints, errors and ends of transactions, against a model of who sees what.

`TENANTRY_STATEFUL_EXAMPLES` says how many orders are tried on each way.
"""

import os
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantry import NoTenantError, TenantChangedError, tenant_scope
from tenantry.session.psycopg import TenantConnection
from tenantry.session.sqlalchemy import protect
from tests.plugins.postgres import Cluster, fresh_database
from tests.plugins.shop import ACME, BOLT, Shop, make_shop

EXAMPLES = int(os.environ.get("TENANTRY_STATEFUL_EXAMPLES", "12"))
READ = "SELECT tenant_id, title FROM shop.documents"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Plain:
    """A `TenantConnection` that begins transactions by itself; given back and taken again as a pool does."""

    def __init__(self, shop: Shop) -> None:
        self.conn = TenantConnection.connect(shop.database.dsn(shop.app))

    def run(self, query: str) -> list[Any]:
        cursor = self.conn.execute(query)  # type: ignore[arg-type] - the test's own text
        return cursor.fetchall() if cursor.description else []

    def commit(self) -> None:
        self.conn.commit()

    def rollback(self) -> None:
        self.conn.rollback()

    def give_back(self) -> None:
        self.conn.rollback()

    def close(self) -> None:
        self.conn.close()


class Orm:
    """A Session over a pool of one connection."""

    def __init__(self, shop: Shop) -> None:
        self.engine = protect(create_engine(shop.database.url(shop.app, "psycopg"), pool_size=1, max_overflow=0))
        self.session = Session(self.engine)

    def run(self, query: str) -> list[Any]:
        result: Any = self.session.execute(text(query))
        return [tuple(row) for row in result] if result.returns_rows else []

    def commit(self) -> None:
        self.session.commit()

    def rollback(self) -> None:
        self.session.rollback()

    def give_back(self) -> None:
        self.session.close()
        self.session = Session(self.engine)

    def close(self) -> None:
        self.session.close()
        self.engine.dispose()


class Machine(RuleBasedStateMachine):
    """The model: the open scopes, whose transaction is open, its savepoints, and the titles of each tenant."""

    make: ClassVar[Any]
    admin: ClassVar[psycopg.Connection[Any]]

    def __init__(self) -> None:
        super().__init__()
        self.admin.execute("TRUNCATE shop.documents CASCADE")
        self.way = self.make()
        self.scopes: list[tuple[UUID, Any]] = []
        self.owner: UUID | None = None  # whose transaction is open
        self.broken = False
        self.savepoints: list[dict[UUID, set[str]]] = []
        self.kept: dict[UUID, set[str]] = {ACME: set(), BOLT: set()}
        self.now = self._copy(self.kept)
        self.titles = 0

    def _copy(self, titles: dict[UUID, set[str]]) -> dict[UUID, set[str]]:
        return {tenant: set(found) for tenant, found in titles.items()}

    def _send(self, query: str) -> list[Any] | None:
        """Send *query*, and see it refused where the model says so. None where it was refused or failed."""
        tenant = self.scopes[-1][0] if self.scopes else None
        if tenant is None:
            with pytest.raises(NoTenantError):
                self.way.run(query)
            return None
        if self.owner is not None and self.owner != tenant:
            with pytest.raises(TenantChangedError):
                self.way.run(query)
            return None
        self.owner = tenant
        if self.broken:
            with pytest.raises((psycopg.Error, DBAPIError)):
                self.way.run(query)
            return None
        return self.way.run(query)

    def _end(self) -> None:
        self.owner, self.broken, self.savepoints = None, False, []

    @rule(tenant=st.sampled_from([ACME, BOLT]))
    def enter(self, tenant: UUID) -> None:
        scope = tenant_scope(tenant)
        scope.__enter__()
        self.scopes.append((tenant, scope))

    @precondition(lambda self: self.scopes)
    @rule(place=st.integers(0, 5))
    def leave_in_any_order(self, place: int) -> None:
        _, scope = self.scopes.pop(place % len(self.scopes))
        scope.__exit__(None, None, None)

    @rule()
    def read(self) -> None:
        rows = self._send(READ)
        if rows is not None:
            owner = self.scopes[-1][0]
            assert sorted(rows) == sorted((owner, title) for title in self.now[owner])

    @rule()
    def write(self) -> None:
        self.titles += 1
        if self._send(f"INSERT INTO shop.documents (title) VALUES ('{self.titles}')") is not None:
            self.now[self.scopes[-1][0]].add(str(self.titles))

    @precondition(lambda self: self.owner is not None and not self.broken)
    @rule()
    def fail(self) -> None:
        if self.scopes and self.scopes[-1][0] == self.owner:
            with pytest.raises((psycopg.Error, DBAPIError)):
                self.way.run("SELECT 1/0")
            self.broken = True

    @precondition(lambda self: self.owner is not None and len(self.savepoints) < 3)
    @rule()
    def savepoint(self) -> None:
        if self._send(f"SAVEPOINT s{len(self.savepoints)}") is not None:
            self.savepoints.append(self._copy(self.now))

    @precondition(lambda self: self.savepoints and not self.broken)
    @rule()
    def release(self) -> None:
        if self._send(f"RELEASE SAVEPOINT s{len(self.savepoints) - 1}") is not None:
            self.savepoints.pop()

    @precondition(lambda self: self.savepoints and self.scopes and self.scopes[-1][0] == self.owner)
    @rule()
    def roll_back_to(self) -> None:
        self.way.run(f"ROLLBACK TO SAVEPOINT s{len(self.savepoints) - 1}")
        self.now, self.broken = self._copy(self.savepoints[-1]), False

    @rule()
    def commit(self) -> None:
        self.way.commit()
        self.kept = self._copy(self.kept if self.broken else self.now)
        self.now = self._copy(self.kept)
        self._end()

    @rule(give_back=st.booleans())
    def roll_back(self, give_back: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        (self.way.give_back if give_back else self.way.rollback)()
        self.now = self._copy(self.kept)
        self._end()

    def teardown(self) -> None:
        for _, scope in reversed(self.scopes):
            scope.__exit__(None, None, None)
        self.way.close()
        found: dict[UUID, set[str]] = {ACME: set(), BOLT: set()}
        for tenant, title in self.admin.execute(READ).fetchall():
            found[tenant].add(title)
        assert found == self.kept


@pytest.fixture(scope="module")
def shop_of_all(postgres: Cluster) -> Iterator[Shop]:
    with fresh_database(postgres) as database:
        yield make_shop(database)


@pytest.mark.parametrize("way", [Plain, Orm])
def test_whatever_the_order_each_tenant_sees_its_own(way: Any, shop_of_all: Shop):
    with shop_of_all.admin() as admin:
        machine: Any = type("Tried", (Machine,), {"make": staticmethod(lambda: way(shop_of_all)), "admin": admin})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
                database=None,
            ),
        )
