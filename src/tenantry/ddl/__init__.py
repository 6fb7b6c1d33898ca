"""The SQL that keeps tenants apart: schemas, roles, policies, extensions.

Functions compare a `DatabaseState` with the layout and return changes as values; `execute` carries them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.ddl.auth import auth_changes, auth_grant_changes, copied_sessions, end_copied_sessions
from tenantry.ddl.catalog import DatabaseState, read_database
from tenantry.ddl.changes import Change, Finding, execute
from tenantry.ddl.errors import RefusedTablesError
from tenantry.ddl.extensions import extension_changes, extension_findings
from tenantry.ddl.guard import guard_changes, guard_findings, has_context_keys, read_context_keys, replace_context_keys
from tenantry.ddl.operators import read_audit_log
from tenantry.ddl.roles import role_changes, set_password
from tenantry.ddl.schemas import database_changes, schema_changes, schema_findings
from tenantry.ddl.tables import TableReview, review_tables

if TYPE_CHECKING:
    from tenantry.core.layout import App, Layout

__all__ = [
    "Change",
    "DatabaseState",
    "Finding",
    "RefusedTablesError",
    "TableReview",
    "app_changes",
    "base_changes",
    "copied_sessions",
    "end_copied_sessions",
    "execute",
    "findings",
    "has_context_keys",
    "prepare_changes",
    "read_audit_log",
    "read_context_keys",
    "read_database",
    "replace_context_keys",
    "review_tables",
    "set_password",
    "wanted_names",
]


def wanted_names(layout: Layout, apps: tuple[App, ...]) -> dict[str, list[str]]:
    """The schemas and roles that `read_database` must look at for *apps*, as its keyword arguments."""
    return {
        "schemas": [layout.auth_schema, *(schema for app in apps for schema in (app.schema, app.guard_role))],
        "roles": [
            layout.auth_schema,
            *(role for app in apps for role in (app.app_role, app.migrator_role, app.guard_role)),
            *(role for app in apps for role in (app.partner_role, app.platform_role)),
        ],
    }


def base_changes(state: DatabaseState, layout: Layout) -> tuple[Change, ...]:
    """Return what every database of the layout needs, whatever apps are in it."""
    return (
        *extension_changes(state, layout.extensions),
        *auth_changes(state, layout.auth_schema),
        *database_changes(state),
    )


def app_changes(state: DatabaseState, layout: Layout, app: App) -> tuple[Change, ...]:
    """Return what *app* needs before its migrations run, once `base_changes` are done."""
    return (
        *role_changes(state, app),
        *schema_changes(state, app),
        *auth_grant_changes(state, layout.auth_schema, app.app_role),
        *guard_changes(state, app),
    )


def prepare_changes(state: DatabaseState, layout: Layout, apps: tuple[App, ...]) -> tuple[Change, ...]:
    """Return all that a database needs before the migrations of *apps* run, in the order in which to do it."""
    own = (change for app in apps for change in app_changes(state, layout, app))
    return (*base_changes(state, layout), *own)


def findings(state: DatabaseState, layout: Layout, apps: tuple[App, ...]) -> tuple[Finding, ...]:
    """Return what is more than wanted and is left to a person."""
    found = [*extension_findings(state, layout.extensions)]
    for app in apps:
        found += schema_findings(state, app)
        found += guard_findings(state, app)
        found += review_tables(state, app).findings
    return tuple(found)
