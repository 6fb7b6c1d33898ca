"""Bringing an app's schema to head."""

from tenantry.migrations.alembic import LOCK_TIMEOUT, read_current, read_history, upgrade
from tenantry.migrations.errors import MigrationFailedError, MigrationFolderError, UnknownRevisionError
from tenantry.migrations.history import History, Revision

__all__ = [
    "LOCK_TIMEOUT",
    "History",
    "MigrationFailedError",
    "MigrationFolderError",
    "Revision",
    "UnknownRevisionError",
    "read_current",
    "read_history",
    "upgrade",
]
