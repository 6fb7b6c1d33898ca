"""The command `tenantry demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tenantry.cli.options import AsJson

__all__ = ["register"]

Example: TypeAlias = Annotated[
    Path | None, typer.Option(help="The example's folder, if it is not where tenantry expects it.")
]
PostgresBin: TypeAlias = Annotated[
    Path | None, typer.Option(envvar="TENANTRY_POSTGRES_BIN", help="The folder of the Postgres programs to use.")
]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command()(demo)


def demo(
    *,
    json: AsJson = False,
    example: Example = None,
    postgres_bin: PostgresBin = None,
) -> None:
    """Build SyncUpSuite in a temporary folder, load its rows, and try to reach one tenant from another.

    Exits 0 only if every tenant sees its own rows, no attempt got through, and the same attempts do get through once
    a policy is dropped. Leaves nothing behind.
    """
    from tenantry.cli.demo.run import run_demo
    from tenantry.cli.demo.show import show
    from tenantry.cli.output import as_json

    result = asyncio.run(run_demo(example=example, postgres_bin=postgres_bin, quiet=json))
    if json:
        as_json(result.as_json())
    else:
        show(result)
    raise typer.Exit(0 if result.ok else 1)
