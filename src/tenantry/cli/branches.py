"""`tenantry branches`: the tree of branches, and resetting one from its parent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from tenantry.cli.options import AsJson, DataFolder, LayoutFile, TargetName

if TYPE_CHECKING:
    from tenantry.control.branches import BranchNode, Reset
    from tenantry.settings import Settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    noun = typer.Typer(help="List branches; reset one from its parent.", no_args_is_help=True)
    noun.command("list")(list_branches)
    noun.command("reset")(reset)
    app.add_typer(noun, name="branches")


def list_branches(
    *, json: AsJson = False, layout: LayoutFile = None, data: DataFolder = None, target: TargetName = None
) -> None:
    """Print the tree of branches."""
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    nodes = asyncio.run(_tree(read_settings(layout=layout, data=data, target=target)))
    if json:
        as_json([node.as_json() for node in nodes])
    elif nodes:
        print_tree(nodes)
    else:
        console.print("no branches yet: run `tenantry apply`")


def reset(
    app: str,
    environment: str,
    *,
    yes: bool = typer.Option(False, "--yes", help="Do it. Without this, only say what would happen."),
    force: bool = typer.Option(False, "--force", help="Also when the layout does not call it ephemeral."),
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
    target: TargetName = None,
) -> None:
    """Make ENVIRONMENT of APP what its parent is now. What only it holds is lost."""
    from tenantry.cli.output import as_json, console
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, target=target)
    done = asyncio.run(_reset(settings, app, environment, force=force, dry_run=not yes))
    if json:
        as_json(done.as_json())
    elif yes:
        console.print(f"{done.branch} is what {done.parent} was at {done.at:%H:%M:%S}")
    else:
        console.print(f"{done.branch} would become what {done.parent} is now: give --yes to do it")


def print_tree(nodes: list[BranchNode]) -> None:
    """Draw *nodes*, parents first."""
    from tenantry.cli.output import tree

    children: dict[str | None, list[str]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node.name)
    tree({node.name: node.describe() for node in nodes}, children)


async def _tree(settings: Settings) -> list[BranchNode]:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return list(await plane.tree())


async def _reset(settings: Settings, app: str, environment: str, *, force: bool, dry_run: bool) -> Reset:
    from tenantry.bootstrap import open_plane

    async with open_plane(settings) as plane:
        return await plane.reset(app, environment, force=force, dry_run=dry_run)
