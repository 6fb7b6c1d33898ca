"""The keys of a layout file, read into a layout as it is written: parents unresolved, environments unordered.

What cannot be read has its finding and a stand-in: an empty name, which the rules pass over, or the default.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from tenantry.core.errors import InvalidNameError
from tenantry.core.layout import (
    App,
    ContextSource,
    Environment,
    Layout,
    MigrationSource,
    Operators,
    PartnerTable,
    ProjectSpec,
    TenantType,
)
from tenantry.core.names import (
    RESERVED_SCHEMAS,
    TENANT_COLUMN,
    check_app_name,
    check_database_name,
    check_default_branch_name,
    check_environment_name,
    check_identifier,
    check_schema_name,
)
from tenantry.manifest.findings import quoted
from tenantry.manifest.section import Section

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.manifest.findings import Finding

__all__ = ["KEYS", "layout_as_written"]

KEYS: dict[str, tuple[str, ...]] = {
    "": ("project", "branches", "extensions", "auth", "apps"),
    "project": ("name", "region", "postgres", "database"),
    "branches": ("default",),
    "extensions": ("public",),
    "auth": ("schema",),
    "apps.<name>": (
        "schema",
        "migrations",
        "tenant_type",
        "tenant_column",
        "global_tables",
        "context",
        "context_keys",
        "operators",
        "environments",
    ),
    "apps.<name>.migrations": ("kind", "path"),
    "apps.<name>.operators": ("platform", "partners", "write"),
    "apps.<name>.operators.partners": ("table", "tenant", "partner"),
    "apps.<name>.environments.<name>": ("parent", "ephemeral"),
}
"""Every key of the file, by its table. `docs/reference/layout.md` has an entry for each."""

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ProjectSpec)}
_TENANT_TYPES = ("uuid", "text", "bigint")
_CONTEXTS = ("setting", "signed")
_POSTGRES = range(14, 19)
_REGION = re.compile(r"(aws|azure|gcp)(-[a-z0-9]+)+")
_EXTENSION = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}")
_LATER_KINDS = ("drizzle", "sql")
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_LONGEST_PROJECT_NAME = 256


def layout_as_written(values: dict[str, Any], *, base: Path, findings: list[Finding]) -> Layout:
    """Read *values*, a parsed file in the folder *base*; what is wrong is appended to *findings*."""
    root = Section(values, (), known=KEYS[""], findings=findings)
    branches = root.table("branches", known=KEYS["branches"], example='{ default = "production" }')
    default_branch = branches.text("default", default="production", example='"production"')
    branches.check("default", default_branch, check_default_branch_name)
    auth = root.table("auth", known=KEYS["auth"], example='{ schema = "neon_auth" }')
    auth_schema = auth.text("schema", default="neon_auth", example='"neon_auth"')
    auth.check("schema", auth_schema, _check_auth_schema)
    apps = root.table("apps", known=None, example='{ myapp = { schema = "myapp" } }')
    return Layout(
        project=_project(root),
        default_branch=default_branch or "",
        extensions=_extensions(root),
        auth_schema=auth_schema or "",
        apps=tuple(_app(apps, name, base) for name in apps),
    )


def _project(root: Section) -> ProjectSpec:
    section = root.table("project", known=KEYS["project"], example='{ name = "myproject" }')
    name = section.text("name", default=None, example='"myproject"')
    section.check("name", name, _check_project_name)
    region = section.text("region", default=_DEFAULTS["region"], example='"aws-us-east-2"')
    section.check("region", region, _check_region)
    postgres = section.integer("postgres", default=_DEFAULTS["postgres"], example="17")
    if postgres not in _POSTGRES:
        choices = f"{_POSTGRES.start} to {_POSTGRES.stop - 1}"
        section.find("postgres", f"{postgres} is no version of Postgres that Neon runs", f"use one from {choices}")
    database = section.text("database", default=_DEFAULTS["database"], example='"neondb"')
    section.check("database", database, check_database_name)
    return ProjectSpec(name=name or "", region=region or "", postgres=postgres, database=database or "")


def _extensions(root: Section) -> tuple[str, ...]:
    section = root.table("extensions", known=KEYS["extensions"], example='{ public = ["pgcrypto"] }')
    names = section.texts("public", example='["pgcrypto"]')
    for place, name in names.items():
        section.check(("public", place), name, _check_extension)
    return tuple(names.values())


def _app(apps: Section, name: str, base: Path) -> App:
    apps.check(name, name, check_app_name)
    section = apps.table(name, known=KEYS["apps.<name>"], example=f'{{ schema = "{name}" }}')
    schema = section.text("schema", default=name.replace("-", "_"), example='"myapp"')
    if "schema" in section or _is_app_name(name):
        # A schema that follows from a wrong app name is wrong for the same reason.
        section.check("schema", schema, check_schema_name)
    tenant_type = section.text("tenant_type", default="uuid", example='"uuid"')
    is_type = section.choice("tenant_type", tenant_type, _TENANT_TYPES, what="type of a tenant's id")
    tenant_column = section.text("tenant_column", default=TENANT_COLUMN, example=f'"{TENANT_COLUMN}"')
    section.check("tenant_column", tenant_column, _check_column)
    global_tables = section.texts("global_tables", example='["countries"]')
    for place, table in global_tables.items():
        section.check(("global_tables", place), table, lambda value: check_identifier("table", value))
    context = section.text("context", default="setting", example='"signed"')
    is_context = section.choice("context", context, _CONTEXTS, what="source of the context")
    environments = section.table("environments", known=None, example='{ prod = { parent = "production" } }')
    return App(
        name=name,
        schema=schema or "",
        environments=tuple(_environment(environments, name, each) for each in environments),
        migrations=_migrations(section, base) if "migrations" in section else None,
        tenant_type=cast("TenantType", tenant_type) if is_type else "uuid",
        tenant_column=tenant_column or TENANT_COLUMN,
        global_tables=frozenset(global_tables.values()),
        context=cast("ContextSource", context) if is_context else "setting",
        operators=_operators(section),
        context_keys=section.numbers("context_keys", default=(1,), example="[1, 2]"),
    )


def _migrations(app: Section, base: Path) -> MigrationSource | None:
    example = '{ kind = "alembic", path = "migrations" }'
    section = app.table("migrations", known=KEYS["apps.<name>.migrations"], example=example)
    kind = section.text("kind", default=None, example='"alembic"')
    if kind in _LATER_KINDS:
        section.find(
            "kind",
            f"{kind} migrations are not supported yet",
            'use "alembic", or leave `migrations` out until they are',
        )
    else:
        section.choice("kind", kind, ("alembic",), what="kind of migrations")
    path = section.text("path", default=None, example='"migrations"')
    if path is None:
        return None
    fault = _folder_fault(base / path)
    if fault:
        section.find("path", f"{quoted(path)} {fault}", f"make the folder in {base}, or name the one that is there")
        return None
    return MigrationSource("alembic", (base / path).resolve())


def _operators(app: Section) -> Operators:
    example = "{ platform = true }"
    section = app.table("operators", known=KEYS["apps.<name>.operators"], example=example)
    write = section.flag("write", default=False)
    platform = section.flag("platform", default=False)
    if "partners" not in section:
        return Operators(platform=platform, write=write)
    example = '{ table = "brands", tenant = "id", partner = "partner_id" }'
    partners = section.table("partners", known=KEYS["apps.<name>.operators.partners"], example=example)
    table = partners.text("table", default=None, example='"brands"')
    partners.check("table", table, lambda value: check_identifier("table", value))
    tenant = partners.text("tenant", default=None, example='"id"')
    partners.check("tenant", tenant, _check_column)
    partner = partners.text("partner", default=None, example='"partner_id"')
    partners.check("partner", partner, _check_column)
    return Operators(PartnerTable(table or "", tenant or "", partner or ""), platform=platform, write=write)


def _folder_fault(folder: Path) -> str | None:
    try:
        if folder.is_dir():
            return None
        return "is not a folder" if folder.exists() else "does not exist"
    except (OSError, ValueError):
        # A name that no file system takes: too long, or with a NUL in it.
        return "cannot be a folder's name"


def _environment(environments: Section, app: str, name: str) -> Environment:
    environments.check(name, name, check_environment_name)
    known = KEYS["apps.<name>.environments.<name>"]
    section = environments.table(name, known=known, example='{ parent = "production", ephemeral = true }')
    # Without a parent that can be read it is the default branch, which never adds a mistake to the first.
    parent = section.text("parent", default="", example='"production"') if "parent" in section else None
    return Environment(app, name, parent=parent, ephemeral=section.flag("ephemeral", default=False))


def _is_app_name(name: str) -> bool:
    try:
        check_app_name(name)
    except InvalidNameError:
        return False
    return True


def _check_project_name(value: str) -> None:
    if not value.strip() or not value.isprintable() or len(value) > _LONGEST_PROJECT_NAME:
        raise InvalidNameError(
            "project",
            value,
            why=f"is not 1 to {_LONGEST_PROJECT_NAME} printable characters",
            way_out="name it as it shall stand in Neon's console",
        )


def _check_region(value: str) -> None:
    if not _REGION.fullmatch(value):
        raise InvalidNameError(
            "region", value, why="is not the id of a region", way_out="give Neon's id, as in `aws-us-east-2`"
        )


def _check_extension(value: str) -> None:
    if not _EXTENSION.fullmatch(value):
        raise InvalidNameError(
            "extension", value, why="is not an extension's name", way_out="give the name that CREATE EXTENSION takes"
        )


def _check_auth_schema(value: str) -> None:
    check_identifier("schema", value)
    if value in RESERVED_SCHEMAS - {"neon_auth"} or value.startswith("pg_"):
        raise InvalidNameError("schema", value, why="is reserved", way_out="use `neon_auth`, where Better Auth lives")


def _check_column(value: str) -> None:
    check_identifier("column", value)
    if value in _SYSTEM_COLUMNS:
        raise InvalidNameError("column", value, why="is a system column of Postgres", way_out=f"use `{TENANT_COLUMN}`")
