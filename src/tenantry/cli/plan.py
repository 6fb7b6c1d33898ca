"""`tenantry plan` and `tenantry apply`: what would change, and changing it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    from tenantry.control.apply import Applied
    from tenantry.control.plan import Plan
    from tenantry.settings import Settings

__all__ = ["register"]

CHANGES = 2
"""What `plan` ends with where something would change."""


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command()(plan)
    app.command()(apply)


def plan(
    *, json: AsJson = False, layout: LayoutFile = None, data: DataFolder = None, target: TargetName = None
) -> None:
    """Print what `apply` would change. Exits 0 if nothing, 2 if there are changes. Changes nothing."""
    from tenantry.cli.output import as_json
    from tenantry.settings import read_settings

    planned = asyncio.run(_plan(read_settings(layout=layout, data=data, target=target)))
    if json:
        as_json(planned.as_json())
    else:
        _print_plan(planned)
    raise typer.Exit(CHANGES if planned.steps else 0)


def apply(
    *, json: AsJson = False, layout: LayoutFile = None, data: DataFolder = None, target: TargetName = None
) -> None:
    """Make what the layout wants. Safe to run again: it goes on where a run that died left off."""
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    applied = asyncio.run(_apply(read_settings(layout=layout, data=data, target=target), show=not json))
    if json:
        as_json(applied.as_json())
    else:
        count = len(applied.steps)
        console.print(f"{count} step{'' if count == 1 else 's'} done" if count else "nothing to change")


async def _plan(settings: Settings) -> Plan:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.plan()


async def _apply(settings: Settings, *, show: bool) -> Applied:
    from tenantry.bootstrap import open_plane
    from tenantry.cli.output import progress

    with progress("apply", shown=show) as move:
        async with open_plane(settings) as plane:
            return await plane.apply(progress=move)


def _print_plan(planned: Plan) -> None:
    from tenantry.cli.output import console, note, table

    for warning in planned.warnings:
        note(f"warning: {warning}")
    numbered = enumerate(planned.steps, 1)
    if planned.steps:
        rows = ((n, s.branch, "\n".join((s.describe(), *(f"- {each}" for each in s.details())))) for n, s in numbered)
        table(("", "branch", "step"), rows)
        console.print(f"{len(planned.steps)} to do: run `tenantry apply`")
    else:
        console.print("nothing to change")
