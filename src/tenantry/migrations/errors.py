"""What goes wrong with an app's migrations.

TenantryError
├── UsageError
│   └── MigrationFolderError      the folder cannot be read, or has not exactly one head
├── UnknownRevisionError          the database is at a revision that the folder does not have
└── MigrationFailedError          a migration raised; nothing of it stays
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.core.errors import TenantryError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MigrationFailedError", "MigrationFolderError", "UnknownRevisionError"]


class MigrationFolderError(UsageError):
    """A folder of migrations cannot be used. Nothing was run."""

    def __init__(self, folder: Path, *, why: str, way_out: str) -> None:
        super().__init__(f"migrations in {folder} {why}: {way_out}")
        self.folder = folder
        self.why = why
        self.way_out = way_out


class UnknownRevisionError(TenantryError):
    """A database is at a revision that the folder does not have, so what is pending cannot be told."""

    def __init__(self, revision: str, *, schema: str, folder: Path) -> None:
        super().__init__(
            f"schema {schema} is at revision {revision}, which {folder} does not have: "
            "take the version of the app that has it, or reset the branch if it is ephemeral"
        )
        self.revision = revision
        self.schema = schema
        self.folder = folder


class MigrationFailedError(TenantryError):
    """A migration raised. Nothing of it stays; what was migrated before it does."""

    def __init__(self, revision: str, *, file: Path, schema: str, reason: str) -> None:
        super().__init__(f"migration {revision} ({file}) failed in schema {schema}: {reason}")
        self.revision = revision
        self.file = file
        self.schema = schema
        self.reason = reason
