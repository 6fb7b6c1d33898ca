"""`tenantry connection`: how an application connects to an environment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    from tenantry.core.conninfo import Conninfo
    from tenantry.settings import Settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(connection)


def connection(
    app: str,
    environment: str,
    *,
    role: str = typer.Option("app", help="`app`, `migrator`, or `owner` (row security does not bind the owner)."),
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
    target: TargetName = None,
) -> None:
    """Print the connection URI of ENVIRONMENT of APP, with its password."""
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, target=target)
    conninfo = asyncio.run(_connection(settings, app, environment, role))
    if json:
        as_json(conninfo.as_json())
    else:
        console.print(conninfo.uri(), markup=False)


async def _connection(settings: Settings, app: str, environment: str, role: str) -> Conninfo:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.connection(app, environment, role=role)
