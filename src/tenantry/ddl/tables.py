"""The tables of an app's schema: which are walled in and how, which are refused, what the app role may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from tenantry.core.names import MAX_IDENTIFIER_BYTES, VERSION_TABLE
from tenantry.ddl.catalog import PUBLIC, Grant
from tenantry.ddl.changes import Change, Finding, identifier
from tenantry.ddl.policies import (
    COLUMN_TYPES,
    OUR_POLICIES,
    create_policy,
    deparsed_context,
    tenant_context,
    wanted_policies,
)
from tenantry.ddl.roles import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.core.layout import App
    from tenantry.ddl.catalog import Column, DatabaseState, Function, Relation
    from tenantry.ddl.changes import Statement

__all__ = ["TableReview", "index_name", "review_tables"]

_PRIVILEGES: dict[str, tuple[LiteralString, ...]] = {
    "tenant": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "global": ("SELECT",),
    "view": ("SELECT",),
    "sequence": ("USAGE",),
    "versions": (),
}

_KINDS = {"m": "materialized view", "f": "foreign table", "p": "partitioned table"}


@dataclass(frozen=True, slots=True)
class TableReview:
    """What differs in a schema: *changes* mend it, *refusals* forbid any change until they are gone.

    *findings* are left to a person, and the floor holds all the same.
    """

    changes: tuple[Change, ...] = ()
    refusals: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()


def review_tables(state: DatabaseState, app: App) -> TableReview:
    """Compare every relation and function in the schema of *app* with what it should be.

    A table is walled in if it has the tenant column, is only read if it is a global table, and is refused otherwise.
    """
    changes: list[Change] = []
    refusals: list[Finding] = []
    findings: list[Finding] = []
    for relation in state.relations_of(app.schema):
        refusal = _refusal(relation, app)
        if refusal is not None:
            refusals.append(refusal)
            continue
        changes += _relation_changes(relation, state, app)
        findings += _relation_findings(relation, state, app)
    for function in state.functions:
        if function.schema == app.schema:
            changes += _function_changes(function, app)
            findings += _function_findings(function, app)
    return TableReview(tuple(changes), tuple(refusals), tuple(findings))


def index_name(table: str, column: str) -> str:
    """The name of the index that tenantry makes on *column* of *table*: cut, but not so that two become one."""
    name = f"{table}_{column}_tenantry_idx"
    if len(name.encode()) <= MAX_IDENTIFIER_BYTES:
        return name
    tail = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}_tenantry_idx"
    head = name.encode()[: MAX_IDENTIFIER_BYTES - len(tail)].decode(errors="ignore")
    return head + tail


def _role_of(relation: Relation, app: App) -> str:
    """How a relation is treated: a key of `_PRIVILEGES`."""
    if relation.kind == "S":
        return "sequence"
    if relation.kind == "v":
        return "view"
    if relation.name == VERSION_TABLE:
        return "versions"
    return "global" if relation.name in app.global_tables else "tenant"


def _refusal(relation: Relation, app: App) -> Finding | None:
    name = f"{relation.schema}.{relation.name}"
    if relation.kind in _KINDS or relation.partition or relation.inherits:
        kind = _KINDS.get(relation.kind, "part of a partitioned or inherited table")
        way_out = "make it an ordinary table: a query of a parent is held by the parent's policies only"
        if relation.kind in {"m", "f"}:
            way_out = "no row security holds it; move it to a schema that no application reads"
        return Finding(f"{name} is a {kind}", way_out)
    if relation.kind == "v":
        if relation.security_invoker:
            return None
        return Finding(
            f"view {name} reads with its owner's rights, past the caller's row security",
            f"ALTER VIEW {name} SET (security_invoker = true) in a migration",
        )
    column = relation.column(app.tenant_column)
    match _role_of(relation, app):
        case "global" if column is not None:
            return Finding(
                f"{name} is a global table and has the column {app.tenant_column}",
                "take it out of global_tables, or drop the column",
            )
        case "tenant":
            return _column_refusal(name, column, app)
        case _:
            return None


def _column_refusal(name: str, column: Column | None, app: App) -> Finding | None:
    if column is None:
        return Finding(
            f"table {name} has no column {app.tenant_column}",
            f"add it in a migration ({app.tenant_column} {app.tenant_type} NOT NULL), or name the table in "
            "global_tables if every tenant may read all of it",
        )
    if column.type not in COLUMN_TYPES[app.tenant_type]:
        return Finding(
            f"{name}.{column.name} is {column.type}, and the layout's tenant_type is {app.tenant_type}",
            "alter the column's type in a migration, or change tenant_type",
        )
    if column.generated:
        return Finding(f"{name}.{column.name} is generated", "make it an ordinary column in a migration")
    return None


def _relation_changes(relation: Relation, state: DatabaseState, app: App) -> list[Change]:
    role = _role_of(relation, app)
    table = identifier(relation.schema, relation.name)
    done: list[tuple[str, Iterable[Statement]]] = []
    # A sequence of a serial column follows its table.
    if relation.owner != app.migrator_role and role != "sequence":
        alter = sql.SQL("ALTER TABLE {} OWNER TO {}").format(table, identifier(app.migrator_role))
        done.append((f"owner {app.migrator_role} instead of {relation.owner}", acting_as(state, relation.owner, alter)))
    if role == "tenant":
        column = relation.column(app.tenant_column)
        if column is None:
            raise AssertionError("a tenant table without the column is refused before")
        done += _column(table, column, app)
        done += _row_security(relation, table, column, app)
        done += _index(relation, table, app)
    done += _grants(relation, app.app_role, _PRIVILEGES[role], grantees=(PUBLIC, app.app_role))
    for operator in (app.partner_role, app.platform_role):
        wanted = _operator_privileges(role, app) if operator in app.operator_roles else ()
        done += _grants(relation, operator, wanted, grantees=(operator,))
    done += _lookup(relation, app)
    if not done:
        return []
    text = f"{'wall in' if role == 'tenant' else 'mend'} {relation.schema}.{relation.name}: "
    statements = tuple(statement for _, each in done for statement in each)
    return [Change(text + ", ".join(what for what, _ in done), statements)]


def _column(table: sql.Identifier, column: Column, app: App) -> Iterable[tuple[str, Iterable[Statement]]]:
    name = identifier(column.name)
    if column.default != deparsed_context(app):
        default = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(table, name, tenant_context(app))
        yield f"default of {column.name} from the context", (default,)
    if not column.not_null:
        yield f"{column.name} not null", (sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(table, name),)


def _row_security(
    relation: Relation, table: sql.Identifier, column: Column, app: App
) -> Iterable[tuple[str, Iterable[Statement]]]:
    # First, so that no reader comes between a new policy and the switch that makes it hold.
    if not relation.row_security:
        yield "row security on", (sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table),)
    if not relation.forced:
        yield "row security forced on its owner", (sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table),)
    every = wanted_policies(app, relation.name, column)
    for wanted in every:
        if wanted.policy not in relation.policies:
            drop = sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(identifier(wanted.policy.name), table)
            yield f"policy {wanted.policy.name}", (drop, create_policy(wanted, table=table))
    # Last, so that a floor that goes is followed by none but a wider one.
    for name in sorted(OUR_POLICIES & {policy.name for policy in relation.policies}):
        if name not in {wanted.policy.name for wanted in every}:
            drop = sql.SQL("DROP POLICY {} ON {}").format(identifier(name), table)
            yield f"no policy {name}", (drop,)


def _index(relation: Relation, table: sql.Identifier, app: App) -> Iterable[tuple[str, Iterable[Statement]]]:
    if app.tenant_column not in relation.leading_index_columns:
        name = index_name(relation.name, app.tenant_column)
        create = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
            identifier(name), table, identifier(app.tenant_column)
        )
        yield f"index on {app.tenant_column}", (create,)


def _grants(
    relation: Relation, role: str, privileges: tuple[LiteralString, ...], *, grantees: tuple[str, ...]
) -> Iterable[tuple[str, Iterable[Statement]]]:
    kind = sql.SQL("SEQUENCE") if relation.kind == "S" else sql.SQL("TABLE")
    name = identifier(relation.schema, relation.name)
    wanted = frozenset(Grant(role, privilege) for privilege in privileges)
    given = relation.grants
    for grantee in grantees:
        surplus = {grant for grant in given if grant.grantee == grantee} - wanted
        if surplus:
            who = sql.SQL("PUBLIC") if grantee == PUBLIC else identifier(grantee)
            what = ", ".join(sorted({grant.privilege for grant in surplus}))
            yield f"no {what} for {grantee}", (sql.SQL("REVOKE ALL ON {} {} FROM {}").format(kind, name, who),)
            given = frozenset(grant for grant in given if grant.grantee != grantee)
    if not wanted <= given:
        grant = sql.SQL("GRANT {} ON {} {} TO {}").format(
            sql.SQL(", ").join(sql.SQL(privilege) for privilege in privileges), kind, name, identifier(role)
        )
        yield f"{', '.join(privileges)} for {role}", (grant,)


def _operator_privileges(role: str, app: App) -> tuple[LiteralString, ...]:
    """What an operator may do with what is treated as *role*: all that the app may, or only read."""
    if app.operators.write:
        return _PRIVILEGES[role]
    return tuple(privilege for privilege in _PRIVILEGES[role] if privilege == "SELECT")


def _lookup(relation: Relation, app: App) -> Iterable[tuple[str, Iterable[Statement]]]:
    """Let the guard read two columns of the table that says which tenants a partner has, and nothing else."""
    partners = app.operators.partners
    columns = (partners.tenant, partners.partner) if partners and relation.name == partners.table else ()
    there = {column.name for column in relation.columns}
    wanted = {Grant(app.guard_role, "SELECT", column=column) for column in columns if column in there}
    given = {grant for grant in relation.grants if grant.grantee == app.guard_role}
    table, guard = identifier(relation.schema, relation.name), identifier(app.guard_role)
    if given - wanted:
        yield f"no more for {app.guard_role}", (sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(table, guard),)
    if wanted and given != wanted:
        names = sql.SQL(", ").join(identifier(column) for column in columns)
        grant = sql.SQL("GRANT SELECT ({}) ON TABLE {} TO {}").format(names, table, guard)
        yield f"SELECT of {len(columns)} columns for {app.guard_role}", (grant,)


def _known(app: App) -> set[str]:
    return {PUBLIC, app.app_role, app.migrator_role, app.partner_role, app.platform_role, app.guard_role}


def _relation_findings(relation: Relation, state: DatabaseState, app: App) -> list[Finding]:
    name = f"{relation.schema}.{relation.name}"
    findings = [
        Finding(f"{other} has rights on {name}", f"if that is not meant, run REVOKE ALL ON {name} FROM {other}")
        for other in sorted({grant.grantee for grant in relation.grants} - _known(app))
    ]
    if _role_of(relation, app) != "tenant":
        return findings
    findings += [
        Finding(
            f"{name} has the policy {policy.name}, which is not tenantry's",
            "the floor holds whatever it says; drop it if nobody needs it",
        )
        for policy in relation.policies
        if policy.name not in OUR_POLICIES
    ]
    for key in relation.foreign_keys:
        target = state.relation(key.target_schema, key.target)
        if target is not None and target.column(app.tenant_column) and app.tenant_column not in key.columns:
            findings.append(
                Finding(
                    f"foreign key {key.name} of {name} does not carry {app.tenant_column}, so a row of one tenant can "
                    f"point at another's in {key.target_schema}.{key.target}",
                    f"make both keys begin with {app.tenant_column} in a migration",
                )
            )
    return findings


def _function_changes(function: Function, app: App) -> list[Change]:
    # A function of the migrator that runs as its caller is no door; one that runs as its owner is given by hand.
    name = sql.SQL("ROUTINE {}({})").format(
        identifier(function.schema, function.name),
        sql.SQL(function.argument_types),  # pyright: ignore[reportArgumentType] - as the catalog spells types
    )
    shown = f"{function.schema}.{function.name}({function.argument_types})"
    changes: list[Change] = []
    if any(grant.grantee == PUBLIC for grant in function.grants):
        changes.append(
            Change(f"take EXECUTE on {shown} from PUBLIC", (sql.SQL("REVOKE ALL ON {} FROM PUBLIC").format(name),))
        )
    if not function.definer and Grant(app.app_role, "EXECUTE") not in function.grants:
        grant = sql.SQL("GRANT EXECUTE ON {} TO {}").format(name, identifier(app.app_role))
        changes.append(Change(f"let {app.app_role} execute {shown}", (grant,)))
    return changes


def _function_findings(function: Function, app: App) -> list[Finding]:
    if not function.definer or not any(grant.grantee == app.app_role for grant in function.grants):
        return []
    shown = f"{function.schema}.{function.name}({function.argument_types})"
    return [
        Finding(
            f"{app.app_role} may execute {shown}, which runs as {function.owner}",
            "see that it reads one tenant's rows only, or make it SECURITY INVOKER",
        )
    ]
