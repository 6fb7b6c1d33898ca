"""Databases of a branch."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.operations import Operation

__all__ = [
    "Database",
    "DatabaseCreate",
    "DatabaseCreateRequest",
    "DatabaseOperations",
    "DatabaseResponse",
    "DatabaseUpdate",
    "DatabaseUpdateRequest",
    "DatabasesResponse",
]


class Database(Wire):
    """A database of a branch. Its id is a number."""

    id: int
    branch_id: str
    name: str
    owner_name: str
    created_at: datetime
    updated_at: datetime


class DatabaseCreate(Request):
    """A database to make."""

    name: str
    owner_name: str


class DatabaseCreateRequest(Request):
    """`POST .../databases`."""

    database: DatabaseCreate


class DatabaseUpdate(Request):
    """What of a database can change."""

    name: str | None = None
    owner_name: str | None = None


class DatabaseUpdateRequest(Request):
    """`PATCH .../databases/{name}`."""

    database: DatabaseUpdate


class DatabaseResponse(Wire):
    """One database."""

    database: Database


class DatabasesResponse(Wire):
    """The databases of a branch."""

    databases: list[Database]


class DatabaseOperations(Wire):
    """A database and the operations that a change of it started."""

    database: Database
    operations: list[Operation] = Field(default_factory=list[Operation])
