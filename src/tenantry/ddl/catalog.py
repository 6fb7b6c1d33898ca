"""What a database holds, as far as tenantry decides on it: read in one round trip into frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

__all__ = [
    "PUBLIC",
    "Column",
    "DatabaseState",
    "DefaultPrivileges",
    "ForeignKey",
    "Function",
    "Grant",
    "Policy",
    "Relation",
    "Role",
    "Schema",
    "read_database",
]

PUBLIC = "PUBLIC"
"""How the catalog spells everybody, in `Grant.grantee`."""

_CATALOG = files("tenantry.ddl").joinpath("catalog.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One privilege of one grantee, on an object or on one of its columns. The owner's own are left out."""

    grantee: str
    privilege: str
    grantable: bool = False
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A role, its attributes, the roles granted to it directly, and the names of the settings preset for it."""

    name: str
    login: bool
    superuser: bool = False
    bypass_rls: bool = False
    inherit: bool = False
    create_role: bool = False
    create_database: bool = False
    replication: bool = False
    member_of: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, its owner, and who else may do what in it."""

    name: str
    owner: str
    grants: frozenset[Grant] = frozenset()


@dataclass(frozen=True, slots=True)
class DefaultPrivileges:
    """What a role's future objects of one kind give to others. `schema` is None for all schemas."""

    role: str
    schema: str | None
    kind: str
    grants: frozenset[Grant] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `quoted` is its name as expressions spell it; `default` is the deparsed expression."""

    name: str
    quoted: str
    type: str
    not_null: bool
    default: str | None = None
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A row security policy. `command` is `*`, `r`, `a`, `w` or `d`; expressions are deparsed. Roles by their names."""

    name: str
    permissive: bool
    command: str
    roles: frozenset[str]
    using: str | None
    check: str | None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: its own columns and the table it points at."""

    name: str
    columns: frozenset[str]
    target_schema: str
    target: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view, materialized view, foreign table or sequence. `kind` is `pg_class.relkind`."""

    schema: str
    name: str
    kind: str
    owner: str
    partition: bool = False
    inherits: bool = False
    row_security: bool = False
    forced: bool = False
    security_invoker: bool = False
    columns: tuple[Column, ...] = ()
    leading_index_columns: frozenset[str] = frozenset()
    foreign_keys: tuple[ForeignKey, ...] = ()
    policies: tuple[Policy, ...] = ()
    grants: frozenset[Grant] = frozenset()

    def column(self, name: str) -> Column | None:
        """The column called *name*, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class Function:
    """A function or procedure. `argument_types` is as SQL spells it; a `definer` runs with the rights of its owner.

    `settings` are those it runs with, as `name=value`; `volatility` is `pg_proc.provolatile`.
    """

    schema: str
    name: str
    argument_types: str
    kind: str
    definer: bool
    owner: str
    grants: frozenset[Grant] = frozenset()
    source: str = ""
    volatility: str = "v"
    settings: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database at one moment. An empty one stands for a database that has nothing of ours yet.

    `reader` is the role that read it, and `usable_roles` those of the asked roles whose rights it has.
    """

    name: str
    reader: str
    grants: frozenset[Grant] = frozenset({Grant(PUBLIC, "CONNECT"), Grant(PUBLIC, "TEMPORARY")})
    settings: frozenset[str] = frozenset()
    roles: dict[str, Role] = field(default_factory=dict[str, Role])
    usable_roles: frozenset[str] = frozenset()
    extensions: dict[str, str] = field(default_factory=dict[str, str])
    schemas: dict[str, Schema] = field(default_factory=dict[str, Schema])
    default_privileges: tuple[DefaultPrivileges, ...] = ()
    relations: tuple[Relation, ...] = ()
    functions: tuple[Function, ...] = ()

    def relations_of(self, schema: str) -> tuple[Relation, ...]:
        """The relations of *schema*, in the order of their names."""
        return tuple(relation for relation in self.relations if relation.schema == schema)

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation, or None."""
        return next((r for r in self.relations if r.schema == schema and r.name == name), None)


def read_database(
    conn: psycopg.Connection[Any], *, schemas: Iterable[str] = (), roles: Iterable[str] = ()
) -> DatabaseState:
    """Read what is there of *schemas* and *roles*, and the extensions. One round trip for the document.

    Runs in a transaction of its own, or in a savepoint of the one that is open, and changes nothing that lasts.
    """
    parameters = {"schemas": [*schemas, "public"], "roles": list(roles)}
    with conn.transaction(), conn.cursor() as cursor:
        before = cursor.execute("SELECT pg_catalog.current_setting('search_path')").fetchone()
        cursor.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)")
        row = cursor.execute(_CATALOG.encode(), parameters).fetchone()
        # The caller's own transaction goes on with the path that it had.
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [_first(before)])
    return _database(cast("dict[str, Any]", _first(row)))


def _first(row: Any) -> Any:
    if row is None:
        raise AssertionError("a SELECT without FROM gives one row")
    return row[0] if not isinstance(row, dict) else next(iter(cast("dict[str, Any]", row).values()))


def _grants(rows: list[dict[str, Any]]) -> frozenset[Grant]:
    return frozenset(Grant(**row) for row in rows)


def _role(row: dict[str, Any]) -> Role:
    parts: dict[str, Any] = {"member_of": frozenset(row["member_of"]), "settings": frozenset(row["settings"])}
    return Role(**row | parts)


def _schema(row: dict[str, Any]) -> Schema:
    return Schema(row["name"], row["owner"], _grants(row["grants"]))


def _relation(row: dict[str, Any]) -> Relation:
    column_grants = _grants(row.pop("column_grants"))
    keys = [key | {"columns": frozenset(key["columns"])} for key in row["foreign_keys"]]
    parts: dict[str, Any] = {
        "columns": tuple(Column(**column) for column in row["columns"]),
        "leading_index_columns": frozenset(row["leading_index_columns"]),
        "foreign_keys": tuple(ForeignKey(**key) for key in keys),
        "policies": tuple(Policy(**policy | {"roles": frozenset(policy["roles"])}) for policy in row["policies"]),
        "grants": _grants(row["grants"]) | column_grants,
    }
    return Relation(**row | parts)


def _function(row: dict[str, Any]) -> Function:
    parts: dict[str, Any] = {"grants": _grants(row["grants"]), "settings": frozenset(row["settings"])}
    return Function(**row | parts)


def _database(document: dict[str, Any]) -> DatabaseState:
    return DatabaseState(
        name=document["database"]["name"],
        reader=document["current_role"],
        grants=_grants(document["database"]["grants"]),
        settings=frozenset(document["database"]["settings"]),
        roles={row["name"]: _role(row) for row in document["roles"]},
        usable_roles=frozenset(document["settable"]),
        extensions={row["name"]: row["schema"] for row in document["extensions"]},
        schemas={row["name"]: _schema(row) for row in document["schemas"]},
        default_privileges=tuple(
            DefaultPrivileges(**row | {"grants": _grants(row["grants"])}) for row in document["default_privileges"]
        ),
        relations=tuple(_relation(row) for row in document["relations"]),
        functions=tuple(_function(row) for row in document["functions"]),
    )
