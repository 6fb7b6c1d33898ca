"""`tenantry neon`: Neon's own command line, on the local engine that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tenantry.cli.options import DataFolder, LayoutFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tenantry.local.engine import RunningEngine

__all__ = ["command", "environment", "find_cli", "register"]

PROGRAMS = ("neon", "neonctl")
NOT_PROXIED = "127.0.0.1,localhost"


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command(
        # Ours stand right after `neon`; from the first word on all is Neon's, `--` too.
        context_settings={
            "allow_extra_args": True,
            "allow_interspersed_args": False,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )(neon)


def neon(context: typer.Context, *, layout: LayoutFile = None, data: DataFolder = None) -> None:
    """Run Neon's own command line on the local engine: `tenantry neon branches list`. All else is its own.

    It is `neon` or `neonctl`, on PATH or in the `node_modules` of this folder or one above. Its exit status is ours.
    """
    from tenantry.core.errors import EnvironmentProblem
    from tenantry.local.engine import running_engine
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data)
    running = running_engine(settings.data)
    if running is None or running.api is None:
        raise EnvironmentProblem(f"no engine is running on {settings.data}", way_out="start it with `tenantry up`")
    program = find_cli(Path.cwd())
    if program is None:
        raise EnvironmentProblem(
            f"Neon's command line is neither on PATH nor in node_modules (looked for {' and '.join(PROGRAMS)})",
            way_out="`npm install -g neon`, or `npm install neon` in this folder",
        )
    done = subprocess.run(command(program, context.args), env=environment(running, os.environ), check=False)
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def find_cli(folder: Path, *, path: str | None = None) -> Path | None:
    """Return Neon's command line: of *folder* or the nearest above, as npm does, else on *path* or the real PATH."""
    for place in (folder, *folder.parents):
        for name in PROGRAMS:
            program = place / "node_modules" / ".bin" / name
            if os.access(program, os.X_OK):
                return program
    found = (shutil.which(name, path=path) for name in PROGRAMS)
    return next((Path(program) for program in found if program is not None), None)


def command(program: Path, arguments: Iterable[str]) -> Sequence[str]:
    """Return the command line: with no word home about what is run."""
    return [str(program), "--no-analytics", *arguments]


def environment(running: RunningEngine, environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* with the engine in Neon's place: no proxy stands before it."""
    assert running.api is not None
    own = {"NEON_API_HOST": running.api, "NEON_API_KEY": running.api_key}
    for name in ("NO_PROXY", "no_proxy"):
        own[name] = ",".join(part for part in (environ.get(name), NOT_PROXIED) if part)
    return {**environ, **own}
