"""Carries out the attacks through an application's own engine, each in a transaction that is rolled back.

`prove` says whether tenants are apart; `control` takes the wall away for a moment and says whether `prove` would have
noticed.
"""

from __future__ import annotations

from contextvars import Context
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy.exc import DBAPIError

from tenantry.core.errors import NoTenantError, UsageError
from tenantry.core.names import TENANT_COLUMN, TENANT_SETTING, TOKEN_SETTING
from tenantry.core.tenant import Tenant, TenantId
from tenantry.proof.attacks import (
    Attack,
    Row,
    forged,
    judge_answer,
    judge_error,
    on_auth,
    on_role,
    on_table,
    specimen,
    unscoped,
)
from tenantry.proof.report import Attempt, Outcome, Report, Witness
from tenantry.proof.tables import TenantTable, read_auth_tables, read_strong_roles, read_tables
from tenantry.session.context import tenant_scope
from tenantry.session.psycopg import unguarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

__all__ = ["control", "prove"]

LOCK_TIMEOUT = "2s"
"""How long an attack waits for a lock before it counts as not run."""


def prove(
    engine: Engine,
    *,
    schema: str,
    tenants: Sequence[Tenant | TenantId],
    tenant_column: str = TENANT_COLUMN,
    auth_schema: str = "neon_auth",
    tables: Sequence[TenantTable] | None = None,
    signed: bool = False,
) -> Report:
    """Try to reach, as each of *tenants*, what belongs to each other one, in every table of *schema* with a tenant.

    *engine* is the application's: protected, over psycopg, logged in with the app role. *tables* narrows the attacks
    to some. With *signed*, each also forges the other's context, which only a signed one withstands. Nothing that an
    attack changes stays. A tenant needs rows of its own to attack with and to be attacked;
    where it has none the report says so, and `proved` is false.

    Raises `UsageError` if there are fewer than two tenants.
    """
    scopes = [tenant if isinstance(tenant, Tenant) else Tenant(tenant) for tenant in tenants]
    if len(set(scopes)) < 2:  # noqa: PLR2004 - one who attacks and one who is attacked
        raise UsageError(f"{len(set(scopes))} tenants cannot be kept apart: give two or more")
    with engine.connect() as conn:
        with tenant_scope(scopes[0]):
            found = read_tables(conn, schema, tenant_column=tenant_column) if tables is None else tuple(tables)
            auth = read_auth_tables(conn, auth_schema)
            roles = read_strong_roles(conn, schema, auth_schema)
            conn.rollback()
        specimens = {(table, tenant): _specimen(conn, table, tenant) for table in found for tenant in scopes}
        witnesses = tuple(Witness(str(table), str(tenant), rows) for (table, tenant), (rows, _) in specimens.items())
        attempts: list[Attempt] = []
        for tenant, against in permutations(scopes, 2):
            crossing = _Crossing(conn, tenant, against)
            for table in found:
                own, others = specimens[table, tenant][1], specimens[table, against][1]
                planned = on_table(table, tenant=str(tenant), against=str(against), own=own, others=others)
                attempts += (crossing.scoped(attack, str(table)) for attack in planned)
                if signed:
                    forging = forged(table, tenant=str(tenant), against=str(against))
                    nothing = f"{against} has no row here to reach"
                    attempts += (
                        crossing.scoped(attack if others else (attack.name, nothing), str(table)) for attack in forging
                    )
                attempts += crossing.without_scope(table, others)
            attempts.append(crossing.left_on_the_connection())
        crossing = _Crossing(conn, scopes[0], None)
        attempts += (crossing.scoped(on_role(role), f"role {role}") for role in roles)
        attempts += (crossing.scoped(attack, str(table)) for table in auth for attack in on_auth(table))
    return Report(tuple(attempts), witnesses)


def control(
    engine: Engine,
    *,
    migrator: psycopg.Connection[Any],
    schema: str,
    tenants: Sequence[Tenant | TenantId],
    tenant_column: str = TENANT_COLUMN,
    table: str | None = None,
    signed: bool = False,
) -> Report:
    """Take row security off one table, attack it as `prove` does, and put it back. What leaks shows `prove` is real.

    The table is *table*, or the first that both tenants have rows in. *migrator* owns it and is idle. One dropped
    policy would not do: without the permissive one nobody sees anything, and without the restrictive one the other
    still holds.

    While it runs, the table is open to all tenants of the database: run it on a branch, never where customers are.
    If this process dies meanwhile, `tenantry apply` puts the wall back.

    Raises `UsageError` if no such table has row security and rows of two tenants.
    """
    with engine.connect() as conn, tenant_scope(tenants[0]):
        found = [one for one in read_tables(conn, schema, tenant_column=tenant_column) if one.writable]
        conn.rollback()
    chosen = [one for one in found if table in {None, one.name} and _has_row_security(migrator, one)]
    if table is None:
        chosen = [one for one in chosen if all(_rows_of(engine, one, tenant) for tenant in tenants)]
    if not chosen:
        wanted = f"table {table}" if table else "a table with rows of each tenant"
        raise UsageError(f"schema {schema} has no {wanted} under row security: name one that has, or load rows first")
    opened = chosen[0]
    name = sql.Identifier(opened.schema, opened.name)
    _alter(migrator, sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))
    restore = sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(name)
    try:
        return prove(
            engine, schema=schema, tenants=tenants, tenant_column=tenant_column, tables=[opened], signed=signed
        )
    finally:
        try:
            _alter(migrator, restore)
        except psycopg.Error as exc:
            exc.add_note(f"row security of {opened} is still off: run {restore.as_string()}")
            raise


class _Crossing:
    """One tenant's attempts at another, on one connection."""

    def __init__(self, conn: Connection, tenant: Tenant, against: Tenant | None) -> None:
        self.conn = conn
        self.tenant = tenant
        self.against = against

    def scoped(self, attack: Attack | tuple[str, str], table: str) -> Attempt:
        """Run *attack* in the scope of the attacker, through every guard that the application has."""
        if isinstance(attack, tuple):
            name, why = attack
            return self._attempt(name, table, ("could not run", why))

        def run() -> tuple[bool, int]:
            with tenant_scope(self.tenant):
                self.conn.exec_driver_sql("SELECT pg_catalog.set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
                if attack.prologue is not None:
                    self.conn.exec_driver_sql(attack.prologue.as_string())
                if attack.copy != "no":
                    return _copy(self.conn, attack)
                result = self.conn.exec_driver_sql(attack.query.as_string(), attack.params)
                return (result.returns_rows and result.first() is not None), result.rowcount

        return self._attempt(attack.name, table, self._outcome(attack, run))

    def without_scope(self, table: TenantTable, others: Row | None) -> Iterator[Attempt]:
        """Run an unscoped query: through the application's guard, and then straight at the database."""
        attack = unscoped(table)

        def through_the_client() -> tuple[bool, int]:
            # An empty context: the caller may be in a scope of its own.
            Context().run(lambda: self.conn.exec_driver_sql(attack.query.as_string()))
            return True, 0

        def at_the_database() -> tuple[bool, int]:
            with unguarded(self.conn.connection.driver_connection):
                cursor = self.conn.connection.cursor()
                cursor.execute(attack.query.as_string())
                return cursor.fetchone() is not None, 0

        # The client is to refuse whatever there is to read.
        said = self._outcome(replace(attack, sign="success"), through_the_client)
        yield self._attempt(f"{attack.name}, client", str(table), said)
        if others is None:
            said = "could not run", f"{self.against} has no row here to read"
        else:
            said = self._outcome(attack, at_the_database)
        yield self._attempt(f"{attack.name}, database", str(table), said)

    def left_on_the_connection(self) -> Attempt:
        """Look for the context of the other's last transaction on the connection that it gave back."""
        assert self.against is not None
        with tenant_scope(self.against):
            self.conn.exec_driver_sql("SELECT 1")
            self.conn.commit()
        with unguarded(self.conn.connection.driver_connection):
            cursor = self.conn.connection.cursor()
            cursor.execute(
                f"SELECT nullif(pg_catalog.current_setting('{TENANT_SETTING}', true), ''),"
                f" nullif(pg_catalog.current_setting('{TOKEN_SETTING}', true), '')"
            )
            left = any(value is not None for value in cursor.fetchone() or ())
            self.conn.connection.rollback()
        said: tuple[Outcome, str] = ("leaked", "the tenant is still set") if left else ("refused", "nothing is set")
        return self._attempt("use the context left on the connection", "pooled connection", said)

    def _outcome(self, attack: Attack, run: Callable[[], tuple[bool, int]]) -> tuple[Outcome, str]:
        try:
            found, affected = run()
            return judge_answer(attack, found=found, affected=affected)
        except NoTenantError as exc:
            return "refused", f"the client: {type(exc).__name__}"
        except (DBAPIError, psycopg.Error) as exc:
            cause = exc.orig if isinstance(exc, DBAPIError) else exc
            return judge_error(attack, getattr(cause, "sqlstate", None), type(cause).__name__)
        finally:
            self.conn.rollback()
            self.conn.connection.rollback()

    def _attempt(self, name: str, table: str, said: tuple[Outcome, str]) -> Attempt:
        outcome, how = said
        return Attempt(name, table, str(self.tenant), str(self.against or ""), outcome, how)


def _copy(conn: Connection, attack: Attack) -> tuple[bool, int]:
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(attack.query) as copy:
        if attack.copy == "in":
            copy.write_row(attack.row)
            return True, 1
        return bool([*copy]), 0


def _specimen(conn: Connection, table: TenantTable, tenant: Tenant) -> tuple[int, Row | None]:
    try:
        with tenant_scope(tenant):
            found = conn.exec_driver_sql(specimen(table).as_string(), (str(tenant),)).first()
    except DBAPIError:  # not readable at all: the attempts will say that there was no row to reach
        found = None
    finally:
        conn.rollback()
    return (0, None) if found is None else (found[0], dict(zip(table.columns, found[1:], strict=True)))


def _rows_of(engine: Engine, table: TenantTable, tenant: Tenant | TenantId) -> int:
    with engine.connect() as conn:
        return _specimen(conn, table, tenant if isinstance(tenant, Tenant) else Tenant(tenant))[0]


def _has_row_security(migrator: psycopg.Connection[Any], table: TenantTable) -> bool:
    query = "SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = %s::regclass"
    name = sql.Identifier(table.schema, table.name).as_string()
    with migrator.transaction():
        found = migrator.execute(query, [name]).fetchone()
    return found is not None and bool(found[0])


def _alter(migrator: psycopg.Connection[Any], statement: sql.Composed) -> None:
    with migrator.transaction():
        migrator.execute(statement)
