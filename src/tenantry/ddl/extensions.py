"""Extensions, which stand in `public` on the default branch before any child is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from tenantry.ddl.changes import Change, Finding, identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.ddl.catalog import DatabaseState

__all__ = ["extension_changes", "extension_findings"]


def extension_changes(state: DatabaseState, extensions: Iterable[str]) -> tuple[Change, ...]:
    """Return what makes those of *extensions* that are missing. One that the layout does not name is left alone."""
    create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA public")
    return tuple(
        Change(f"create extension {name} in public", (create.format(identifier(name)),))
        for name in extensions
        if name not in state.extensions
    )


def extension_findings(state: DatabaseState, extensions: Iterable[str]) -> tuple[Finding, ...]:
    """Return which of *extensions* stand elsewhere. Only a superuser may move one: its functions are a superuser's."""
    return tuple(
        Finding(
            f"extension {name} is in schema {state.extensions[name]}, not in public",
            f"drop it and apply again, or have a superuser run ALTER EXTENSION {name} SET SCHEMA public",
        )
        for name in extensions
        if state.extensions.get(name, "public") != "public"
    )
