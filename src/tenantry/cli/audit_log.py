"""`tenantry audit-log`: who used an app across its tenants, when and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    from tenantry.settings import Settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command("audit-log")(audit_log)


def audit_log(
    app: str,
    environment: str,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many rows, the newest first.")] = 100,
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
    target: TargetName = None,
) -> None:
    """Print who used ENVIRONMENT of APP across its tenants, when, and why."""
    from tenantry.cli.output import as_json, table
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, target=target)
    found = asyncio.run(_audit_log(settings, app, environment, limit))
    if json:
        as_json([{**row, "at": row["at"].isoformat()} for row in found])
        return
    columns = ("at", "login", "acting_user", "scope", "subject", "action", "reason")
    table(columns, [[str(row[column]) for column in columns] for row in found])


async def _audit_log(settings: Settings, app: str, environment: str, limit: int) -> tuple[dict[str, Any], ...]:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.audit_log(app, environment, limit=limit)
