"""`tenantry up`, `down`, `status` and `engine serve`: the local engine as a process of its own."""

from __future__ import annotations

import json as jsonlib
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import typer

from tenantry.cli.options import AllowChildRestore, AsJson, DataFolder, LayoutFile, PlanName

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.local.engine import RunningEngine
    from tenantry.settings import Settings

__all__ = ["register"]

START_SECONDS = 60
STOP_SECONDS = 60


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    noun = typer.Typer(help="Run the local engine in the foreground.", no_args_is_help=True)
    noun.callback()(_noun)
    noun.command()(serve)
    app.add_typer(noun, name="engine")


def _noun() -> None:
    """Run the local engine in the foreground."""


Port = typer.Option(0, help="The port of the API; 0 takes a free one.")


def up(
    *,
    port: int = Port,
    plan: PlanName = None,
    allow_child_restore: AllowChildRestore = False,
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
) -> None:
    """Start the local engine and leave it running. If it runs already, say where."""
    from tenantry.local.engine import running_engine
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data, plan=plan, allow_child_restore=allow_child_restore)
    running = running_engine(settings.data)
    if running is None or running.api is None:
        running = _start(settings, port)
    _print_running(running, settings, json=json)


def down(*, json: AsJson = False, layout: LayoutFile = None, data: DataFolder = None) -> None:
    """Stop the local engine and its computes. The data stays."""
    from tenantry.cli.output import as_json, console
    from tenantry.core.errors import EnvironmentProblem
    from tenantry.local.engine import running_engine
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data)
    running = running_engine(settings.data)
    if running is not None:
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running_engine(settings.data) is not None:
            if time.monotonic() > deadline:
                raise EnvironmentProblem(
                    f"the engine with pid {running.pid} did not stop within {STOP_SECONDS} s",
                    way_out=f"look at {_log(settings)}, then `kill -9 {running.pid}`: no committed row is lost",
                )
            time.sleep(0.05)
    if json:
        as_json({"stopped": running is not None, "data": str(settings.data)})
    else:
        console.print("stopped" if running else "no engine is running", f"(data in {settings.data})")


def status(
    *,
    env: bool = typer.Option(False, "--env", help="Print NEON_API_HOST and NEON_API_KEY for a shell."),
    json: AsJson = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
) -> None:
    """Say whether the local engine runs, and where. Exits 1 if it does not."""
    from tenantry.cli.output import as_json, console
    from tenantry.local.engine import running_engine
    from tenantry.settings import read_settings

    settings = read_settings(layout=layout, data=data)
    running = running_engine(settings.data)
    if running is None or running.api is None:
        if json:
            as_json({"running": False, "data": str(settings.data)})
        else:
            console.print(f"no engine is running on {settings.data}: start it with `tenantry up`")
        raise typer.Exit(1)
    if env:
        console.print(f"NEON_API_HOST={running.api}\nNEON_API_KEY={running.api_key}", markup=False)
    else:
        _print_running(running, settings, json=json)


def serve(
    *,
    port: int = Port,
    api_key: str | None = typer.Option(None, envvar="NEON_API_KEY", help="The key that callers must give."),
    env: bool = typer.Option(False, "--env", help="Say it is ready by NEON_API_HOST and NEON_API_KEY lines."),
    plan: PlanName = None,
    allow_child_restore: AllowChildRestore = False,
    layout: LayoutFile = None,
    data: DataFolder = None,
) -> None:
    """Serve Neon's API until SIGTERM or Ctrl-C. Prints one JSON line with address and key once it is ready."""
    from tenantry.bootstrap import open_engine
    from tenantry.local.serve import serve as serve_engine
    from tenantry.settings import read_settings

    def ready(line: str) -> None:
        if env:
            parts = jsonlib.loads(line)
            line = f"NEON_API_HOST={parts['api']}\nNEON_API_KEY={parts['api_key']}"
        print(line, flush=True)  # noqa: T201 - the one line that a program reads

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("tenantry").setLevel(logging.INFO)
    with open_engine(
        read_settings(layout=layout, data=data, plan=plan, allow_child_restore=allow_child_restore), api_key=api_key
    ) as engine:
        serve_engine(engine, port=port, ready=ready)


def _start(settings: Settings, port: int) -> RunningEngine:
    from tenantry.core.errors import EnvironmentProblem
    from tenantry.local.engine import running_engine

    log = _log(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tenantry.cli", "engine", "serve", "--port", str(port)]
    command += ["--data", str(settings.data), "--layout", str(settings.layout), "--plan", settings.plan.name]
    command += ["--allow-child-restore"] if settings.allow_child_restore else []
    environ = {name: value for name, value in os.environ.items() if name != "NEON_API_KEY"}
    # Standard output is the one ready line, which carries the key: it goes to us and into no log.
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            env=environ,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = running_engine(settings.data)
        if running is not None and running.api is not None and running.pid == process.pid:
            return running
        if process.poll() is not None:
            break
        time.sleep(0.02)
    else:
        process.terminate()
    lines = log.read_text(errors="replace").strip().splitlines()
    raise EnvironmentProblem(
        f"the engine did not start: {(lines or ['it said nothing'])[-1]}", way_out=f"its log is {log}"
    )


def _log(settings: Settings) -> Path:
    return settings.data.with_name(f"{settings.data.name}.log")


def _print_running(running: RunningEngine, settings: Settings, *, json: bool) -> None:
    from tenantry.cli.output import as_json, console, table

    if json:
        as_json(
            {
                "running": True,
                "api": running.api,
                "api_key": running.api_key,
                "pid": running.pid,
                "data": str(settings.data),
            }
        )
        return
    table(("", ""), (("API", running.api), ("pid", str(running.pid)), ("data", settings.data)), title="local engine")
    console.print("for other tools: `tenantry status --env`; next: `tenantry apply`")
