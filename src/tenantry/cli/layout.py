"""`tenantry layout`: checking a layout file without touching anything."""

from __future__ import annotations

import typer

from tenantry.cli.options import AsJson, LayoutFile

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    noun = typer.Typer(help="Check the layout file.", no_args_is_help=True)
    noun.callback()(_noun)
    noun.command()(check)
    app.add_typer(noun, name="layout")


def _noun() -> None:
    """Check the layout file."""


def check(*, json: AsJson = False, layout: LayoutFile = None) -> None:
    """Read the layout file and report every mistake at once."""
    from tenantry.cli.output import as_json, table
    from tenantry.core.errors import LayoutError
    from tenantry.manifest import read_layout
    from tenantry.settings import read_settings

    try:
        wanted = read_layout(read_settings(layout=layout).layout)
    except LayoutError as exc:
        if not json:
            raise
        mistakes = [{"line": m.line, "key": m.key, "message": m.message, "way_out": m.way_out} for m in exc.mistakes]
        as_json({"ok": False, "mistakes": mistakes})
        raise typer.Exit(exc.exit_status) from None
    rows = [(a.name, e.name, e.branch, e.parent_branch or wanted.default_branch) for a, e in wanted.environments()]
    if json:
        columns = ("app", "environment", "branch", "parent")
        as_json({"ok": True, "mistakes": [], "environments": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        table(("app", "environment", "branch", "parent"), rows)
