"""The one place that knows both Neon over HTTPS and the local engine.

Locally a command talks to the engine that `tenantry up` keeps running, if one does, and else opens the engine in this
process for as long as the command lasts. The bytes are the same in all three cases.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx2

from tenantry.control.plane import ControlPlane
from tenantry.manifest import read_layout
from tenantry.neon.client import NeonClient
from tenantry.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from tenantry.local.engine import Engine
    from tenantry.settings import Settings

__all__ = ["open_client", "open_engine", "open_plane", "read_secrets"]


@contextmanager
def open_engine(settings: Settings, *, api_key: str | None = None) -> Generator[Engine]:
    """Open the local engine of the settings' data folder in this process; its computes stop at the end.

    Raises `EnvironmentProblem` where another process holds the folder or this machine has no Postgres.
    """
    from tenantry.local.engine import Engine

    engine = Engine.open(
        settings.data,
        api_key=api_key,
        postgres_bin=settings.postgres_bin,
        run_as=settings.run_as,
        plan=settings.plan,
        suspend_timeout_seconds=settings.suspend_timeout_seconds,
        allow_child_restore=settings.allow_child_restore,
    )
    try:
        yield engine
    finally:
        engine.close()


@asynccontextmanager
async def open_client(settings: Settings, *, engine: Engine | None = None) -> AsyncGenerator[NeonClient]:
    """A client of the API that the settings choose, or of *engine*, which is open in this process."""
    if settings.target == "neon":
        async with NeonClient(settings.require_neon_api_key(), base_url=settings.neon_api) as client:
            yield client
    elif engine is not None:
        from tenantry.local.app import create_app

        transport = httpx2.ASGITransport(create_app(engine))
        async with NeonClient(engine.api_key, base_url="http://engine/api/v2", transport=transport) as client:
            yield client
    else:
        async with _open_local_client(settings) as client:
            yield client


@asynccontextmanager
async def _open_local_client(settings: Settings) -> AsyncGenerator[NeonClient]:
    from tenantry.local.engine import running_engine

    running = running_engine(settings.data)
    if running is not None and running.api is not None:
        # A proxy that the environment names is for the world outside.
        async with NeonClient(running.api_key, base_url=running.api, trust_env=False) as client:
            yield client
        return
    with open_engine(settings) as engine:
        async with open_client(settings, engine=engine) as client:
            yield client


@asynccontextmanager
async def open_plane(settings: Settings) -> AsyncGenerator[ControlPlane]:
    """The control plane of the settings' layout. Raises `LayoutError` before anything is opened."""
    layout, secrets = read_layout(settings.layout), read_secrets(settings)
    async with open_client(settings) as client:
        yield ControlPlane(client, layout, secrets)


def read_secrets(settings: Settings) -> Secrets:
    """The key that role passwords are derived from: the setting's, else the file's. Raises `SettingError`."""
    if settings.secret_key is not None:
        return Secrets.from_value(settings.secret_key)
    return Secrets.from_file(settings.secret_key_file)
