"""Settings: read once from the environment and the command line; everything below gets arguments."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

from tenantry.core.errors import SettingError
from tenantry.local.plans import PLANS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenantry.local.plans import Plan

__all__ = ["SETTINGS", "Setting", "Settings", "Target", "read_settings"]

Target = Literal["local", "neon"]

NEON_API = "https://console.neon.tech/api/v2"


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, what it decides, and what holds without it."""

    name: str
    decides: str
    default: str


SETTINGS = (
    Setting("TENANTRY_TARGET", "`local` (the engine on this machine) or `neon`", "`local`"),
    Setting("TENANTRY_LAYOUT", "the layout file", "`tenantry.toml` in the current folder"),
    Setting("TENANTRY_DATA", "the local engine's data folder", "`.tenantry/engine` beside the layout file"),
    Setting("TENANTRY_SECRET_KEY", "the key that role passwords are derived from", "a file `.tenantry/secret.key`"),
    Setting("TENANTRY_POSTGRES_BIN", "the folder of the Postgres programs that the local engine uses", "looked for"),
    Setting("TENANTRY_RUN_AS", "the user that Postgres runs as when the engine runs as root", "`postgres` or `nobody`"),
    Setting("TENANTRY_SUSPEND_SECONDS", "after how many idle seconds the local engine suspends a compute", "`300`"),
    Setting("TENANTRY_PLAN", "the plan of Neon whose limits the local engine has: `free`, `launch`, `scale`", "`none`"),
    Setting(
        "TENANTRY_ALLOW_CHILD_RESTORE",
        "`1` lets the local engine restore child branches to a time and take snapshots of them, which Neon refuses",
        "`0`",
    ),
    Setting("NEON_API_KEY", "the key for Neon's API; needed for the target `neon`", "none"),
    Setting("NEON_API_HOST", "the address of Neon's API", f"`{NEON_API}`"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment and the command line say, as values. Secrets stay out of its `repr`."""

    target: Target
    layout: Path
    data: Path
    neon_api: str = NEON_API
    neon_api_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    postgres_bin: Path | None = None
    run_as: str | None = None
    plan: Plan = PLANS["none"]
    suspend_timeout_seconds: int = 300
    allow_child_restore: bool = False

    @property
    def secret_key_file(self) -> Path:
        """Where the key is kept when the environment does not give it."""
        return self.layout.parent / ".tenantry" / "secret.key"

    def require_neon_api_key(self) -> str:
        """The key for Neon's API. Raises `SettingError` where there is none."""
        if not self.neon_api_key:
            raise SettingError(
                "NEON_API_KEY",
                why="is not set, and the target is neon",
                way_out="make a key in Neon's console and export it, or use `--target local`",
            )
        return self.neon_api_key


def read_settings(
    environ: Mapping[str, str] = os.environ,
    *,
    target: str | None = None,
    layout: Path | None = None,
    data: Path | None = None,
    plan: str | None = None,
    allow_child_restore: bool = False,
) -> Settings:
    """Read *environ*; what the command line gives by keyword goes before it. Raises `SettingError`."""
    wanted = target or environ.get("TENANTRY_TARGET") or "local"
    if not _is_target(wanted):
        raise SettingError("TENANTRY_TARGET", why=f"is {wanted!r}", way_out="use `local` or `neon`")
    plan_name = plan or environ.get("TENANTRY_PLAN") or "none"
    if plan_name not in PLANS:
        raise SettingError("TENANTRY_PLAN", why=f"is {plan_name!r}", way_out=f"use one of {', '.join(PLANS)}")
    flag = environ.get("TENANTRY_ALLOW_CHILD_RESTORE") or "0"
    if flag not in {"0", "1"}:
        raise SettingError("TENANTRY_ALLOW_CHILD_RESTORE", why=f"is {flag!r}", way_out="use 1 for yes, 0 for no")
    layout_file = (layout or Path(environ.get("TENANTRY_LAYOUT") or "tenantry.toml")).absolute()
    if data is None and environ.get("TENANTRY_DATA"):
        data = Path(environ["TENANTRY_DATA"])
    postgres_bin = environ.get("TENANTRY_POSTGRES_BIN")
    return Settings(
        target=wanted,
        layout=layout_file,
        data=(data or default_data(layout_file.parent, is_root=os.geteuid() == 0)).absolute(),
        neon_api=environ.get("NEON_API_HOST") or NEON_API,
        neon_api_key=environ.get("NEON_API_KEY") or None,
        secret_key=environ.get("TENANTRY_SECRET_KEY") or None,
        postgres_bin=Path(postgres_bin) if postgres_bin else None,
        run_as=environ.get("TENANTRY_RUN_AS") or None,
        plan=PLANS[plan_name],
        suspend_timeout_seconds=_seconds("TENANTRY_SUSPEND_SECONDS", environ.get("TENANTRY_SUSPEND_SECONDS") or "300"),
        allow_child_restore=allow_child_restore or flag == "1",
    )


def _seconds(name: str, text: str) -> int:
    if text != "-1" and not (text.isascii() and text.isdigit()):
        raise SettingError(name, why=f"is {text!r}", way_out="use a whole number of seconds, or -1 for never")
    return int(text)


def default_data(folder: Path, *, is_root: bool) -> Path:
    """`.tenantry/engine` in *folder*, the layout's.

    Postgres does not run as root, so root's engine runs it as another user, and that user cannot pass through a
    folder such as /root. Then it is a folder of the layout's own below /var/lib/tenantry.
    """
    if is_root and not all(_others_may_pass(parent) for parent in (folder, *folder.parents)):
        own = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        return Path("/var/lib/tenantry") / f"{folder.name}-{own}"
    return folder / ".tenantry" / "engine"


def _others_may_pass(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & 0o001)


def _is_target(value: str) -> TypeGuard[Target]:
    return value in {"local", "neon"}
