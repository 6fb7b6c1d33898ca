"""Names that two layers share: settings, roles, branches, and the rules that a name of each kind keeps.

Nothing else in tenantry may produce a branch name, a role name or the name of a setting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tenantry.core.errors import InvalidNameError

__all__ = [
    "APPLICATION_NAME",
    "AUDIT_COLUMNS",
    "AUDIT_SETTING",
    "AUDIT_TABLE",
    "CONTEXT_KEY_SETTING",
    "FLOOR_POLICY",
    "LOCAL_CLUSTER",
    "LOOKUP_POLICY",
    "MAX_IDENTIFIER_BYTES",
    "PARTNER_FLOOR_POLICY",
    "PARTNER_POLICY",
    "PLATFORM_POLICY",
    "RESERVED_SCHEMAS",
    "ROLES_POLICY",
    "TENANT_COLUMN",
    "TENANT_POLICY",
    "TENANT_SETTING",
    "TOKEN_SETTING",
    "USER_SETTING",
    "VERSION_TABLE",
    "BranchParts",
    "app_role",
    "branch_name",
    "check_app_name",
    "check_database_name",
    "check_default_branch_name",
    "check_environment_name",
    "check_identifier",
    "check_partner_id",
    "check_schema_name",
    "guard_role",
    "migrator_role",
    "owner_role",
    "parse_branch_name",
    "partner_role",
    "platform_role",
]

TENANT_SETTING: Final = "app.tenant_id"
"""The setting that a session sets for its transaction and a policy reads."""

USER_SETTING: Final = "app.user_id"
"""The acting user, set beside the tenant. Empty where no user was given."""

TOKEN_SETTING: Final = "app.tenant_token"  # noqa: S105 - its name, not its value
"""The signed context, which a policy reads instead where the layout says `context = "signed"`."""

CONTEXT_KEY_SETTING: Final = "TENANTRY_CONTEXT_KEY"
"""The environment variable from which an application takes the key that it signs with."""

APPLICATION_NAME: Final = "application_name"
"""Postgres's own setting: what `pg_stat_activity` and `%a` in the server's log call a connection."""

AUDIT_SETTING: Final = "app.audit_id"
"""The row of the audit log for whose sake an operator's transaction sees anything."""

AUDIT_TABLE: Final = "audit_log"
"""Stands in the guard's schema: a row for each use of an app by an operator."""

AUDIT_COLUMNS: Final = ("id", "scope", "subject", "acting_user", "action", "reason")
"""What an operator writes of a row. When, and as which login, the server does."""

TENANT_COLUMN = "tenant_id"

TENANT_POLICY = "tenantry_tenant"
"""The permissive policy of every tenant table."""

FLOOR_POLICY = "tenantry_floor"
"""The restrictive policy beside it, which holds whatever other policies somebody adds."""

LOCAL_CLUSTER: Final = "tenantry local engine"
"""The `cluster_name` of the servers that the local engine starts. Only who starts a server can set it."""

PARTNER_POLICY = "tenantry_partner"
"""Where an app has partners: what opens a table to the tenants of one."""

PARTNER_FLOOR_POLICY = "tenantry_partner_floor"
"""The restrictive policy beside it."""

PLATFORM_POLICY = "tenantry_platform"
"""Where an app has a platform role: what opens a table to it, while a use is in the audit log."""

ROLES_POLICY = "tenantry_roles"
"""Where an app has operators, each role has its own floor. This one holds every role that has none."""

LOOKUP_POLICY = "tenantry_lookup"
"""Lets the guard read which tenants a partner has."""

VERSION_TABLE = "alembic_version"
"""Stands in each app's schema and names the revision it is at. The app role has no grant on it."""

MAX_IDENTIFIER_BYTES = 63
"""Postgres cuts identifiers at NAMEDATALEN - 1 bytes, silently (docs: "Identifiers and Key Words")."""

RESERVED_SCHEMAS = frozenset({"neon_auth", "public", "information_schema", "neon", "platform"})

_APP = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9_]*")
_PARTNER = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_BRANCH_ID = re.compile(r"br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+")
_SYSTEM_DATABASES = frozenset({"postgres", "template0", "template1"})


def _check(kind: str, value: str, rule: re.Pattern[str], shape: str) -> str:
    size = len(value.encode())
    if size > MAX_IDENTIFIER_BYTES:
        raise InvalidNameError(
            kind,
            value,
            why=f"is {size} bytes long, and Postgres cuts names after {MAX_IDENTIFIER_BYTES}",
            way_out=f"shorten it to {MAX_IDENTIFIER_BYTES} bytes or fewer",
        )
    if not rule.fullmatch(value):
        raise InvalidNameError(kind, value, why="is not a name of this kind", way_out=shape)
    return value


def check_app_name(value: str) -> str:
    """Return *value* if it can name an app.

    `partner` may not be one of its parts: `<app>-partner-<id>-<env>` could then be read in two ways.
    Raises `InvalidNameError`.
    """
    _check("app", value, _APP, "use lower-case letters, digits, `_` and `-`, beginning with a letter")
    if "partner" in value.split("-"):
        raise InvalidNameError(
            "app", value, why="has `partner` as one of its parts", way_out="it is kept for `<app>-partner-<id>-<env>`"
        )
    return value


def check_environment_name(value: str) -> str:
    """Return *value* if it can name an environment. Without hyphens, or branch names could be read in two ways.

    Raises `InvalidNameError`.
    """
    return _check("environment", value, _ENVIRONMENT, "use lower-case letters, digits and `_`, beginning with a letter")


def check_partner_id(value: str) -> str:
    """Return *value* if it can be a partner's id in a branch name. Raises `InvalidNameError`."""
    return _check(
        "partner id", value, _PARTNER, "use lower-case letters and digits, with single `-` or `_` between them"
    )


def check_identifier(kind: str, value: str) -> str:
    """Return *value* if it can name a *kind* (table, column) that is the same quoted and unquoted.

    Raises `InvalidNameError`.
    """
    return _check(kind, value, _IDENTIFIER, "use lower-case letters, digits and `_`, beginning with a letter or `_`")


def _is_postgres_own(value: str) -> bool:
    # `pg` itself would make roles such as pg_app, and Postgres keeps role names that begin with `pg_` as well.
    return value == "pg" or value.startswith("pg_")


def check_database_name(value: str) -> str:
    """Return *value* if it can name the project's database, with room for its owner. Raises `InvalidNameError`."""
    check_identifier("database", value)
    if value in _SYSTEM_DATABASES or _is_postgres_own(value):
        raise InvalidNameError("database", value, why="is reserved by Postgres", way_out="name it after the project")
    spare = MAX_IDENTIFIER_BYTES - len(owner_role(value))
    if spare < 0:
        raise InvalidNameError(
            "database",
            value,
            why=f"makes the role name {owner_role(value)!r}, and Postgres cuts names after 63 bytes",
            way_out=f"shorten it by {-spare} or more",
        )
    return value


def check_default_branch_name(value: str) -> str:
    """Return *value* if it can name the default branch: Neon lets it be any text. Raises `InvalidNameError`."""
    if not value.isprintable() or not value or value != value.strip():
        raise InvalidNameError(
            "branch", value, why="is empty or has blanks around it", way_out="name it as in `production`"
        )
    return _check_branch_name(value)


def _check_branch_name(value: str) -> str:
    size = len(value.encode())
    if size > MAX_IDENTIFIER_BYTES:
        raise InvalidNameError(
            "branch", value, why=f"is {size} bytes long", way_out=f"shorten its parts to {MAX_IDENTIFIER_BYTES} in all"
        )
    if _BRANCH_ID.fullmatch(value):
        # Neon's tools would look it up as an id and find another branch, or none.
        raise InvalidNameError(
            "branch", value, why="reads as the id of a branch", way_out="let it not begin with `br-`"
        )
    return value


def check_schema_name(value: str) -> str:
    """Return *value* if an app may own a schema of this name. Raises `InvalidNameError`.

    Lower case only, so that the name is the same quoted and unquoted; room is left for the roles named after it.
    """
    check_identifier("schema", value)
    if value in RESERVED_SCHEMAS or _is_postgres_own(value):
        raise InvalidNameError(
            "schema",
            value,
            why="is reserved",
            way_out="app data never goes there; name a schema after the app",
        )
    longest = migrator_role(value)
    if len(longest.encode()) > MAX_IDENTIFIER_BYTES:
        raise InvalidNameError(
            "schema",
            value,
            why=f"makes the role name {longest!r} of {len(longest)} bytes, and Postgres cuts names after 63",
            way_out=f"shorten it by {len(longest) - MAX_IDENTIFIER_BYTES} or more",
        )
    return value


def app_role(schema: str) -> str:
    """The role that an application logs in with: owns nothing, and row security binds it."""
    return f"{schema}_app"


def migrator_role(schema: str) -> str:
    """The role that owns the app's objects and runs its migrations, never the application."""
    return f"{schema}_migrator"


def guard_role(schema: str) -> str:
    """The role without login that owns what checks a signed context, and the name of the schema where that stands."""
    return f"{schema}_guard"


def partner_role(schema: str) -> str:
    """The role that a partner's own people log in with."""
    return f"{schema}_partner"


def platform_role(schema: str) -> str:
    """The role that the platform's own people log in with."""
    return f"{schema}_platform"


def owner_role(database: str) -> str:
    """The role that Neon makes for a database. It bypasses row security, so no application may use it."""
    return f"{database}_owner"


@dataclass(frozen=True, slots=True)
class BranchParts:
    """What a branch name says: the app, its environment, and the partner whose branch it is, if any."""

    app: str
    environment: str
    partner: str | None = None

    def __str__(self) -> str:
        return branch_name(self.app, self.environment, partner=self.partner)


def branch_name(app: str, environment: str, *, partner: str | None = None) -> str:
    """`<app>-<environment>`, or `<app>-partner-<id>-<env>` for a partner's branch.

    Deterministic, and `parse_branch_name` gives the parts back. Raises `InvalidNameError`.
    """
    check_app_name(app)
    check_environment_name(environment)
    name = f"{app}-{environment}" if partner is None else f"{app}-partner-{check_partner_id(partner)}-{environment}"
    return _check_branch_name(name)


def parse_branch_name(name: str) -> BranchParts:
    """Return the parts of a name that `branch_name` made. Raises `InvalidNameError` for any other."""
    head, hyphen, environment = name.rpartition("-")
    app, marker, partner = head.partition("-partner-")
    parts = BranchParts(app, environment, partner if marker else None)
    if not hyphen or str(parts) != name:
        raise InvalidNameError(
            "branch", name, why="is not a name that tenantry makes", way_out="<app>-<env> or <app>-partner-<id>-<env>"
        )
    return parts
