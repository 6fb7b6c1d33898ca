"""The attacks on a table, as statements, and what an answer to one means. Nothing here sends anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from tenantry.core.names import TENANT_SETTING, TOKEN_SETTING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tenantry.proof.report import Outcome
    from tenantry.proof.tables import AuthTable, TenantTable

__all__ = [
    "Attack",
    "Row",
    "forged",
    "judge_answer",
    "judge_error",
    "on_auth",
    "on_role",
    "on_table",
    "specimen",
    "unscoped",
]

Row = dict[str, str | None]
"""A row as texts, which Postgres reads back in the type of each column."""

Sign = Literal["row", "change", "success"]

INSUFFICIENT_PRIVILEGE = "42501"
FEATURE_NOT_SUPPORTED = "0A000"
INTEGRITY = "23"

# Row security and privileges are checked before constraints, so whoever meets a constraint is past the wall.
_PAST_THE_WALL = (INTEGRITY,)

_CREDENTIALS = frozenset({
    "token", "password", "accesstoken", "refreshtoken", "idtoken", "privatekey", "secret", "value", "backupcodes",
    "clientsecret", "key",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attack:
    """A statement that must not get through, and the sign that it did.

    `through` are the beginnings of the SQLSTATEs that come from behind the wall. `copy` is what a COPY FROM is fed.
    `prologue` runs before it, in the same transaction.
    """

    name: str
    query: sql.Composed
    params: tuple[str | None, ...] = ()
    sign: Sign = "row"
    through: tuple[str, ...] = _PAST_THE_WALL
    refusals: tuple[str, ...] = (INSUFFICIENT_PRIVILEGE,)
    copy: Literal["no", "out", "in"] = "no"
    row: tuple[str | None, ...] = ()
    prologue: sql.Composed | None = None


def judge_answer(attack: Attack, *, found: bool, affected: int) -> tuple[Outcome, str]:
    """What it means that *attack* was answered without an error: with a row or none, with so many rows affected."""
    if attack.sign == "success":
        return "leaked", "allowed"
    if attack.sign == "change":
        return ("leaked", f"{affected} rows changed") if affected > 0 else ("refused", "no row is in reach")
    return ("leaked", "a row was read") if found else ("refused", "no row is in reach")


def judge_error(attack: Attack, sqlstate: str | None, name: str) -> tuple[Outcome, str]:
    """What it means that *attack* ended in an error. Its text is left out, since it may quote a row."""
    said = f"{name} ({sqlstate})"
    if sqlstate is not None and sqlstate.startswith(attack.through):
        return "leaked", f"past row security and privileges, and stopped by {said} only"
    if sqlstate in attack.refusals:
        return "refused", said
    return "could not run", said


def on_table(
    table: TenantTable, *, tenant: str, against: str, own: Row | None, others: Row | None
) -> Iterator[Attack | tuple[str, str]]:
    """Yield the attacks of *tenant* on the rows of *against* in *table*.

    *own* and *others* are a row of each, if there is one. Where an attack needs more than is there, its name and the
    reason come instead.
    """
    name, column = sql.Identifier(table.schema, table.name), sql.Identifier(table.tenant_column)
    if others is None:
        yield from ((attack, f"{against} has no row here to reach") for attack in _READS)
    else:
        yield from _reads(table, name, column, tenant=tenant, against=against, others=others)
    if not table.writable:
        return
    harmless = sql.Identifier(table.harmless)
    if others is None:
        yield from ((attack, f"{against} has no row here to reach") for attack in _CHANGES)
    else:
        yield Attack(
            "update their rows",
            sql.SQL("UPDATE {} SET {} = {} WHERE {} = %s").format(name, harmless, harmless, column),
            (against,),
            "change",
        )
        yield Attack(
            "delete their rows", sql.SQL("DELETE FROM {} WHERE {} = %s").format(name, column), (against,), "change"
        )
        yield Attack(
            "lock their rows", sql.SQL("SELECT 1 FROM {} WHERE {} = %s FOR UPDATE").format(name, column), (against,)
        )
    if own is None:
        yield from ((attack, f"{tenant} has no row here to begin with") for attack in _PLANTS)
    else:
        yield from _plants(table, name, against=against, own=own)
    if own is None or others is None or not table.key:
        yield "upsert over their row", "it needs a primary key and a row of each"
    else:
        yield _upsert(table, name, own=own, others=others)
    yield Attack(
        "truncate",
        sql.SQL("TRUNCATE {}").format(name),
        sign="success",
        # Where another table refers to it: the privilege was there all the same.
        through=(*_PAST_THE_WALL, FEATURE_NOT_SUPPORTED),
    )


_READS = (
    "read by tenant",
    "read by primary key",
    "read by text, unfiltered",
    "read by join",
    "read by aggregate",
    "read by COPY",
    "read with row security off",
)
_CHANGES = ("update their rows", "delete their rows", "lock their rows")
_PLANTS = ("insert a row for them", "insert a row for them by COPY", "move an own row to them")


def _reads(
    table: TenantTable, name: sql.Identifier, column: sql.Identifier, *, tenant: str, against: str, others: Row
) -> Iterator[Attack | tuple[str, str]]:
    theirs = sql.SQL("SELECT 1 FROM {} WHERE {} = %s LIMIT 1").format(name, column)
    yield Attack("read by tenant", theirs, (against,))
    if table.key:
        condition, params = _equal(table.key, others)
        yield Attack("read by primary key", sql.SQL("SELECT 1 FROM {} WHERE {}").format(name, condition), params)
    else:
        yield "read by primary key", "the table has none"
    yield Attack(
        "read by text, unfiltered",
        sql.SQL("SELECT 1 FROM {} WHERE {} IS DISTINCT FROM %s LIMIT 1").format(name, column),
        (tenant,),
    )
    yield Attack(
        "read by join",
        sql.SQL(
            "SELECT 1 FROM (VALUES (1)) AS one (n) LEFT JOIN {} AS theirs ON true WHERE theirs.{} = %s LIMIT 1"
        ).format(name, column),
        (against,),
    )
    yield Attack(
        "read by aggregate",
        sql.SQL("SELECT 1 FROM {} GROUP BY {} HAVING {} = %s AND pg_catalog.count(*) > 0").format(name, column, column),
        (against,),
    )
    yield Attack(
        "read by COPY",
        sql.SQL("COPY (SELECT 1 FROM {} WHERE {} = {} LIMIT 1) TO STDOUT").format(name, column, sql.Literal(against)),
        copy="out",
    )
    yield Attack(
        "read with row security off", theirs, (against,), prologue=sql.SQL("SET LOCAL row_security = off").format()
    )


def _plants(table: TenantTable, name: sql.Identifier, *, against: str, own: Row) -> Iterator[Attack]:
    planted = {**own, table.tenant_column: against}
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    values = tuple(planted[column] for column in table.columns)
    yield Attack(
        "insert a row for them",
        sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(name, columns, _places(values)),
        values,
        "change",
    )
    yield Attack(
        "insert a row for them by COPY",
        sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns),
        sign="success",
        refusals=(INSUFFICIENT_PRIVILEGE, FEATURE_NOT_SUPPORTED),  # Postgres has no COPY FROM under row security
        copy="in",
        row=values,
    )
    condition, params = _equal(table.key or (table.tenant_column,), own)
    yield Attack(
        "move an own row to them",
        sql.SQL("UPDATE {} SET {} = %s WHERE {}").format(name, sql.Identifier(table.tenant_column), condition),
        (against, *params),
        "change",
    )


def _upsert(table: TenantTable, name: sql.Identifier, *, own: Row, others: Row) -> Attack:
    values = tuple((others if column in table.key else own)[column] for column in table.columns)
    harmless = sql.Identifier(table.harmless)
    return Attack(
        "upsert over their row",
        sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} = EXCLUDED.{}"
        ).format(
            name,
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            _places(values),
            sql.SQL(", ").join(map(sql.Identifier, table.key)),
            harmless,
            harmless,
        ),
        values,
        "change",
    )


def unscoped(table: TenantTable) -> Attack:
    """Read *table* with no tenant set."""
    return Attack("read unscoped", sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table.schema, table.name)))


def forged(table: TenantTable, *, tenant: str, against: str) -> Iterator[Attack]:
    """Yield the attempts of *tenant* to be *against* where the context is signed. A plain setting would let it."""
    theirs = sql.SQL("SELECT 1 FROM {} WHERE {} = %s LIMIT 1").format(
        sql.Identifier(table.schema, table.name), sql.Identifier(table.tenant_column)
    )
    yield Attack(
        "name them in the setting",
        theirs,
        (against,),
        prologue=sql.SQL("SELECT pg_catalog.set_config({}, {}, true)").format(
            sql.Literal(TENANT_SETTING), sql.Literal(against)
        ),
    )
    yield Attack(
        "forge a token",
        theirs,
        (against,),
        prologue=sql.SQL(
            "SELECT pg_catalog.set_config({token}, pg_catalog.replace("
            "pg_catalog.current_setting({token}, true), {own}, {theirs}), true)"
        ).format(token=sql.Literal(TOKEN_SETTING), own=sql.Literal(tenant), theirs=sql.Literal(against)),
    )


def on_role(role: str) -> Attack:
    """Become *role*, which row security does not bind or which owns the tables."""
    return Attack("become a stronger role", sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)), sign="success")


def on_auth(table: AuthTable) -> Iterator[Attack]:
    """Yield the attacks on a table of the shared authentication: write to it, and read what makes one a user.

    They touch no row: privileges are checked before.
    """
    name = sql.Identifier(table.schema, table.name)
    first = sql.Identifier(table.columns[0]) if table.columns else None
    yield Attack("insert", sql.SQL("INSERT INTO {} DEFAULT VALUES").format(name), sign="success")
    yield Attack("delete", sql.SQL("DELETE FROM {} WHERE false").format(name), sign="success")
    if first is not None:
        yield Attack("update", sql.SQL("UPDATE {} SET {} = DEFAULT WHERE false").format(name, first), sign="success")
    for column in table.columns:
        if column.replace("_", "").lower() in _CREDENTIALS:
            yield Attack(
                f"read {column}",
                sql.SQL("SELECT {} FROM {} LIMIT 0").format(sql.Identifier(column), name),
                sign="success",
            )


def specimen(table: TenantTable) -> sql.Composed:
    """One row of a tenant and how many it has, read in its own scope: the count, then `columns` as texts."""
    return sql.SQL("SELECT pg_catalog.count(*) OVER (), {} FROM {} WHERE {} = %s LIMIT 1").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in table.columns),
        sql.Identifier(table.schema, table.name),
        sql.Identifier(table.tenant_column),
    )


def _places(values: Sequence[object]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("%s") for _ in values)


def _equal(columns: Iterable[str], row: Mapping[str, str | None]) -> tuple[sql.Composed, tuple[str | None, ...]]:
    names = tuple(columns)
    tests = (sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names)
    return sql.SQL(" AND ").join(tests), tuple(row[name] for name in names)
