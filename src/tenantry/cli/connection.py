"""`tenantry connection`: how an application connects to an environment."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    from tenantry.control.plane import RoleKind
    from tenantry.core.conninfo import Conninfo
    from tenantry.settings import Settings

__all__ = ["register"]


class Role(StrEnum):
    """Who to connect as."""

    app = "app"
    migrator = "migrator"
    owner = "owner"
    partner = "partner"
    platform = "platform"


RoleName: TypeAlias = Annotated[
    Role, typer.Option(help="Row security does not bind the owner: no application uses it.")
]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(connection)


def connection(
    app: str,
    environment: str,
    *,
    role: RoleName = Role.app,
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
    target: TargetName = None,
) -> None:
    """Print the connection URI of ENVIRONMENT of APP, with its password."""
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, target=target)
    conninfo = asyncio.run(_connection(settings, app, environment, role.value))
    if json:
        as_json(
            {
                "uri": conninfo.dsn(),
                "psycopg": conninfo.sqlalchemy_url("psycopg"),
                "asyncpg": conninfo.sqlalchemy_url("asyncpg"),
                **asdict(conninfo),
            }
        )
    else:
        console.print(conninfo.dsn(), markup=False)


async def _connection(settings: Settings, app: str, environment: str, role: RoleKind) -> Conninfo:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.connection(app, environment, role=role)
