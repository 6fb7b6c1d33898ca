"""Where the example is, what the demo calls of it, and the temporary folder that it runs in."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import tenantry
from tenantry.core.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sqlalchemy import Engine

    from tenantry.core.tenant import Tenant

__all__ = ["Customer", "Suite", "find_example", "load_suite", "temporary_folder"]


class Customer(Protocol):
    """A customer of an app of the example."""

    @property
    def app(self) -> str:
        """The app's name."""
        ...

    @property
    def name(self) -> str:
        """The customer's name."""
        ...

    @property
    def tenant(self) -> Tenant:
        """The customer as a tenant."""
        ...


class Suite(Protocol):
    """What the demo calls of the example's `suite.py`."""

    CUSTOMERS: Sequence[Customer]

    def expected_counts(self, customer: Customer) -> dict[str, int]:
        """How many rows of each table *customer* should see."""
        ...

    def load(self, engine: Engine, customer: Customer) -> None:
        """Write the rows of *customer*."""
        ...


def find_example(given: Path | None) -> Path:
    """The folder of SyncUpSuite: *given*, or the one in the wheel, or the one in the source tree."""
    package = Path(tenantry.__file__).parent
    places = [given] if given else [package / "_examples" / "syncupsuite", package.parents[1] / "examples/syncupsuite"]
    for place in places:
        if (place / "tenantry.toml").is_file() and (place / "suite.py").is_file():
            return place.absolute()
    raise SettingError(
        "--example",
        why=f"names no example with a tenantry.toml and a suite.py ({', '.join(map(str, places))})",
        way_out="give the folder `examples/syncupsuite` of tenantry's repository",
    )


def load_suite(folder: Path) -> Suite:
    """Import the example's `suite.py`."""
    spec = importlib.util.spec_from_file_location("syncupsuite", folder / "suite.py")
    if spec is None or spec.loader is None:
        raise AssertionError(f"{folder} was found to have a suite.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return cast("Suite", module)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """A folder that is removed at the end. The user that root's engine runs Postgres as can pass through it."""
    here = Path(tempfile.mkdtemp(prefix="tenantry-demo-"))
    try:
        if os.geteuid() == 0:
            here.chmod(0o711)
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)
