"""The layout: what should exist, as frozen values. `manifest` reads one from `tenantry.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tenantry.core.names import (
    TENANT_COLUMN,
    app_role,
    branch_name,
    guard_role,
    migrator_role,
    owner_role,
    partner_role,
    platform_role,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "App",
    "ContextSource",
    "Environment",
    "Layout",
    "MigrationSource",
    "Operators",
    "PartnerTable",
    "ProjectSpec",
    "TenantType",
]

TenantType = Literal["uuid", "text", "bigint"]

ContextSource = Literal["setting", "signed"]


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """A Neon project: `region` is Neon's region id, `postgres` a major version, `database` the one that is used."""

    name: str
    region: str = "aws-us-east-2"
    postgres: int = 17
    database: str = "neondb"

    @property
    def owner(self) -> str:
        """The role that Neon makes for the database. It has BYPASSRLS, so no application may use it."""
        return owner_role(self.database)


@dataclass(frozen=True, slots=True)
class MigrationSource:
    """Where an app's schema changes come from. `path` is absolute."""

    kind: Literal["alembic"]
    path: Path


@dataclass(frozen=True, slots=True)
class Environment:
    """One branch of an app. `parent` is another environment of the same app, or None for the default branch.

    An ephemeral environment may be reset from its parent at any time: what only it holds is lost then.
    """

    app: str
    name: str
    parent: str | None = None
    ephemeral: bool = False

    @property
    def branch(self) -> str:
        """The branch's name."""
        return branch_name(self.app, self.name)

    @property
    def parent_branch(self) -> str | None:
        """The parent branch's name, or None for the default branch."""
        return None if self.parent is None else branch_name(self.app, self.parent)


@dataclass(frozen=True, slots=True)
class PartnerTable:
    """Which tenants a partner has: a table of the app's schema, and its columns with the tenant and the partner."""

    table: str
    tenant: str
    partner: str


@dataclass(frozen=True, slots=True)
class Operators:
    """Who works across tenants: partners, the platform. They read, and *write* only if it says so."""

    partners: PartnerTable | None = None
    platform: bool = False
    write: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """An application: one schema, its migrations, and its environments, parents before children."""

    name: str
    schema: str
    environments: tuple[Environment, ...]
    migrations: MigrationSource | None = None
    tenant_type: TenantType = "uuid"
    tenant_column: str = TENANT_COLUMN
    global_tables: frozenset[str] = frozenset()
    """Tables without a tenant column that the app may read and not write."""

    context: ContextSource = "setting"
    """What policies believe: the setting, which any SQL of the app role may change, or a token that the app signed."""

    context_keys: tuple[int, ...] = (1,)
    """The numbers of the keys whose tokens are good. The application signs with the last."""

    operators: Operators = Operators()
    """Who works across tenants, each logged in as a role of its own."""

    @property
    def partner_role(self) -> str:
        """The role that a partner's people log in with, if the app has partners."""
        return partner_role(self.schema)

    @property
    def platform_role(self) -> str:
        """The role that the platform's people log in with, if the app has such a role."""
        return platform_role(self.schema)

    @property
    def operator_roles(self) -> tuple[str, ...]:
        """The roles that work across tenants."""
        partner = (self.partner_role,) if self.operators.partners else ()
        return (*partner, self.platform_role) if self.operators.platform else partner

    @property
    def app_role(self) -> str:
        """The role that the application logs in with."""
        return app_role(self.schema)

    @property
    def migrator_role(self) -> str:
        """The role that owns the app's objects."""
        return migrator_role(self.schema)

    @property
    def guard_role(self) -> str:
        """The role without login, and the schema of the same name, that check a signed context."""
        return guard_role(self.schema)


@dataclass(frozen=True, slots=True)
class Layout:
    """All that should exist. `environments()` yields parents before children."""

    project: ProjectSpec
    default_branch: str = "production"
    extensions: tuple[str, ...] = ()
    auth_schema: str = "neon_auth"
    apps: tuple[App, ...] = ()

    def environments(self) -> Iterator[tuple[App, Environment]]:
        """Every environment of every app, in the order of the file, parents first."""
        for app in self.apps:
            for environment in app.environments:
                yield app, environment
