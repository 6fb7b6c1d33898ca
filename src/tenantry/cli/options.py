"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["AllowChildRestore", "AsJson", "DataFolder", "LayoutFile", "PlanName", "TargetName"]

AllowChildRestore: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-child-restore",
        help="Restore child branches to a time, and snapshot them: Neon refuses. [TENANTRY_ALLOW_CHILD_RESTORE]",
    ),
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

LayoutFile: TypeAlias = Annotated[
    Path | None, typer.Option("--layout", help="The layout file. [TENANTRY_LAYOUT, else ./tenantry.toml]")
]

DataFolder: TypeAlias = Annotated[
    Path | None, typer.Option("--data", help="The local engine's data folder. [TENANTRY_DATA, else beside the layout]")
]

PlanName: TypeAlias = Annotated[
    str | None,
    typer.Option("--plan", help="Refuse what this plan of Neon would: free, launch, scale. [TENANTRY_PLAN, else none]"),
]

TargetName: TypeAlias = Annotated[
    str | None, typer.Option("--target", help="`local` or `neon`. [TENANTRY_TARGET, else local]")
]
