"""`tenantry context-key`: the key with which an application signs its context."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    import typer

    from tenantry.session.signing import ContextKey
    from tenantry.settings import Settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command("context-key")(context_key)


def context_key(
    app: str,
    environment: str,
    *,
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
    target: TargetName = None,
) -> None:
    """Print the key with which APP signs its context in ENVIRONMENT, for TENANTRY_CONTEXT_KEY. A secret.

    It is the last of the layout's `context_keys`, and good once `tenantry apply` has let it sign.
    """
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, target=target)
    key = asyncio.run(_context_key(settings, app, environment))
    if json:
        as_json({"key": key.reveal(), "id": key.id, "audience": key.audience})
    else:
        console.print(key.reveal(), markup=False)


async def _context_key(settings: Settings, app: str, environment: str) -> ContextKey:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.context_key(app, environment)
