"""Neon's own tools on an engine that `tenantry engine serve` runs: what a command says, and how it ended."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenantry.local.clusters.binaries import Binaries
from tests.plugins.cli import MINE, Done
from tests.plugins.node import Node

PACKAGES = Path(__file__).parents[1] / "acceptance" / "neon_tools"
CLIS = {"neon": "node_modules/neon/dist/cli.js", "neonctl": "node_modules/neonctl/bin/cli.js"}


@dataclass(frozen=True, slots=True)
class Tools:
    """One engine, and everything that finds it there by `NEON_API_HOST` and `NEON_API_KEY`."""

    node: Node
    api: str
    key: str = field(repr=False)
    environ: dict[str, str] = field(repr=False)
    folder: Path

    def run(self, *command: str, folder: Path | None = None) -> Done:
        """Run any program to its end."""
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def cli(self, *arguments: str, tool: str = "neon", folder: Path | None = None) -> Done:
        """Run Neon's command line."""
        return self.run(
            str(self.node.program), str(self.node.folder / CLIS[tool]), "--no-analytics", *arguments, folder=folder
        )

    def ask(self, *arguments: str, tool: str = "neon") -> Any:
        """Run Neon's command line, which must succeed, and return the JSON that it prints."""
        done = self.cli(*arguments, "--output", "json", tool=tool)
        assert done.status == 0, f"{arguments}: {done.err}{done.out}"
        return json.loads(done.out) if done.out.strip() else None

    def script(self, name: str) -> Any:
        """Run a script beside the packages, which must succeed, and return the JSON that it prints."""
        return json.loads(self.node.run(PACKAGES / name, NEON_API_HOST=self.api, NEON_API_KEY=self.key))


@dataclass(frozen=True, slots=True)
class ToolProject:
    """A project that Neon's command line made."""

    tools: Tools
    id: str

    def ask(self, *arguments: str) -> Any:
        """Run a command on this project; return the JSON that it prints."""
        return self.tools.ask(*arguments, "--project-id", self.id)

    def cli(self, *arguments: str) -> Done:
        """Run a command on this project, however it ends."""
        before, dashes, after = (
            (arguments[: arguments.index("--")], ("--",), arguments[arguments.index("--") + 1 :])
            if "--" in arguments
            else (arguments, (), ())
        )
        return self.tools.cli(*before, "--project-id", self.id, *dashes, *after)

    def sql(self, uri: str, query: str) -> str:
        """What psql prints for *query*."""
        done = self.tools.run("psql", uri, "-XqAtc", query)
        assert done.status == 0, done.err
        return done.out.strip()


@pytest.fixture(scope="session")
def neon_tools(npm: Callable[[Path], Node]) -> Node:
    """Neon's command lines and clients from npm."""
    return npm(PACKAGES)


@pytest.fixture(scope="session")
def tools(folder: Path, neon_tools: Node, binaries: Binaries) -> Iterator[Tools]:
    """An engine for the session, and Neon's tools to use it."""
    here = folder / f"tools-{secrets.token_hex(4)}"
    home = here / "home"
    home.mkdir(parents=True)
    here.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*MINE, "PG"))}
    with (here / "engine.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tenantry.cli", "engine", "serve", "--data", str(here / "engine")],
            cwd=here,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (here / "engine.log").read_text()
    ready = json.loads(line)
    environ = kept | {
        "NEON_API_HOST": ready["api"],
        "NEON_API_KEY": ready["api_key"],
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "CI": "1",
        "NO_COLOR": "1",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "PATH": f"{binaries.program('psql').parent}:{os.environ['PATH']}",
    }
    yield Tools(neon_tools, ready["api"], ready["api_key"], environ, here)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def tool_project(tools: Tools) -> ToolProject:
    """A project of the module's own, made as a person would."""
    made = tools.ask("projects", "create", "--name", f"p-{secrets.token_hex(4)}")
    return ToolProject(tools, made["project"]["id"])
