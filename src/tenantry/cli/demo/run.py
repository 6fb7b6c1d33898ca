"""Runs the demo: engine, apply, rows, attacks, control, reset. Returns what it found."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from tenantry.bootstrap import open_client, open_engine, read_secrets
from tenantry.cli.demo import branch
from tenantry.cli.demo.example import find_example, load_suite, temporary_folder
from tenantry.cli.demo.result import DemoResult, ResetView, TenantView
from tenantry.cli.output import progress
from tenantry.control.plane import ControlPlane
from tenantry.manifest import read_layout
from tenantry.proof.prove import control, prove
from tenantry.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from tenantry.cli.demo.example import Suite
    from tenantry.core.tenant import Tenant
    from tenantry.neon.client import NeonClient
    from tenantry.proof.report import Report

__all__ = ["run_demo"]

LIVE = {"brandsyncup": "prod", "legalsyncup": "production"}
"""The environment of each app that holds its customers' rows."""

APP, DEV, TABLE = "brandsyncup", "dev", "brands"
"""The development branch that the demo experiments with, and the table."""


async def run_demo(*, example: Path | None, postgres_bin: Path | None, quiet: bool) -> DemoResult:
    """Run the whole demo in a temporary folder, which is gone afterwards, with every process that it started."""
    folder = find_example(example)
    clock = _Clock()
    with temporary_folder() as here:
        settings = Settings(
            target="local",
            layout=folder / "tenantry.toml",
            data=here / "engine",
            secret_key=secrets.token_urlsafe(32),
            postgres_bin=postgres_bin,
        )
        layout = read_layout(settings.layout)
        with progress("demo", shown=not quiet) as move, open_engine(settings) as engine:
            async with open_client(settings, engine=engine) as client:
                plane = ControlPlane(client, layout, read_secrets(settings))
                result = await _Demo(load_suite(folder), client, plane, clock, move).run()
    clock.mark("stop")
    return result


@dataclass(slots=True)
class _Clock:
    """How long each part took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    started: float = field(default_factory=time.monotonic)

    def mark(self, part: str) -> None:
        """The time since the last mark was spent on *part*."""
        now = time.monotonic() - self.started
        before = self.seconds.pop("total", 0.0)
        self.seconds |= {part: round(now - before, 3), "total": round(now, 3)}


@dataclass(frozen=True, slots=True)
class _Demo:
    """The parts of the demo, in their order."""

    suite: Suite
    client: NeonClient
    plane: ControlPlane
    clock: _Clock
    move: Callable[[int, int, str], Any]

    async def run(self) -> DemoResult:
        """Do all of it."""
        await self.plane.apply(progress=self.move)
        self.clock.mark("apply")
        live = {app: await self._engine(app, name) for app, name in LIVE.items()}
        for customer in self.suite.CUSTOMERS:
            self._say(f"load the rows of {customer.name}")
            await asyncio.to_thread(self.suite.load, live[customer.app], customer)
        self.clock.mark("load")
        tenants = await asyncio.to_thread(self._views, live)
        self.clock.mark("count")
        reports: dict[str, Report] = {}
        for app, name in LIVE.items():
            self._say(f"try to reach one customer of {app} from the other")
            found = await asyncio.to_thread(prove, live[app], schema=app, tenants=self._tenants(app))
            reports[f"{app}-{name}"] = found
        self.clock.mark("prove")
        opened = await self._control()
        self.clock.mark("control")
        reset = await self._reset(live[APP])
        self.clock.mark("reset")
        branches = await self.plane.tree()
        return DemoResult(
            postgres=await asyncio.to_thread(branch.server_version, live[APP]),
            clone_methods=await self._clone_methods(),
            branches=branches,
            tenants=tenants,
            reports=reports,
            control=opened,
            control_opened=f"{APP}.{TABLE} on {APP}-{DEV}",
            reset=reset,
            seconds=self.clock.seconds,
        )

    def _say(self, label: str) -> None:
        self.move(0, 0, label)

    def _tenants(self, app: str) -> list[Tenant]:
        return [customer.tenant for customer in self.suite.CUSTOMERS if customer.app == app]

    async def _engine(self, app: str, environment: str) -> Engine:
        return branch.app_engine(await self.plane.connection(app, environment))

    def _views(self, live: dict[str, Engine]) -> tuple[TenantView, ...]:
        views: list[TenantView] = []
        for customer in self.suite.CUSTOMERS:
            expected = self.suite.expected_counts(customer)
            counts = branch.count(live[customer.app], customer.app, expected, customer.tenant)
            name = f"{customer.app}-{LIVE[customer.app]}"
            views.append(TenantView(customer.app, customer.name, str(customer.tenant), name, counts, expected))
        return tuple(views)

    async def _control(self) -> Report:
        """Take the wall off a table of the development branch, where no customer is, and attack it as before."""
        self._say(f"take row security off {APP}.{TABLE} on a development branch, and try again")
        await self.plane.reset(APP, DEV)  # its parent has rows now
        engine = await self._engine(APP, DEV)
        migrator = await self.plane.connection(APP, DEV, role="migrator")

        def attack() -> Report:
            with psycopg.connect(migrator.dsn()) as conn:
                return control(engine, migrator=conn, schema=APP, tenants=self._tenants(APP), table=TABLE)

        return await asyncio.to_thread(attack)

    async def _reset(self, parent: Engine) -> ResetView:
        """Write a row and change a table on the development branch, and reset it from its parent."""
        self._say(f"experiment on {APP}-{DEV}, and reset it")
        tenant = self._tenants(APP)[0]
        engine = await self._engine(APP, DEV)
        migrator = await self.plane.connection(APP, DEV, role="migrator")
        slug = await asyncio.to_thread(branch.experiment, engine, migrator, tenant)
        before = await asyncio.to_thread(branch.look, engine, tenant, slug)
        done = await self.plane.reset(APP, DEV)
        after = await asyncio.to_thread(branch.look, engine, tenant, slug)
        of_parent = await asyncio.to_thread(branch.look, parent, tenant, slug)
        return ResetView(
            branch=done.branch,
            parent=done.parent,
            own_rows_before=before.own_rows,
            own_rows_after=after.own_rows,
            rows_after=after.rows,
            parent_rows=of_parent.rows,
            columns_before=before.columns,
            columns_after=after.columns,
            parent_columns=of_parent.columns,
        )

    async def _clone_methods(self) -> dict[str, int]:
        """How the branches were cloned: by reflink or by copy. The local engine says so, beyond what Neon says."""
        counted = Counter[str]()
        async for project in self.client.list_projects():
            async for one in self.client.list_project_branches(project.id):
                method = (one.model_extra or {}).get("clone_method")
                if method is not None:
                    counted[method] += 1
        return dict(counted)
