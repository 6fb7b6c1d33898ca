"""Connection URIs, and the answers that hold everything that was made."""

from __future__ import annotations

from pydantic import Field, SecretStr

from tenantry.neon.wire.base import Wire
from tenantry.neon.wire.branches import Branch, BranchOperations
from tenantry.neon.wire.databases import Database
from tenantry.neon.wire.endpoints import Endpoint
from tenantry.neon.wire.projects import ProjectResponse
from tenantry.neon.wire.roles import Role

__all__ = [
    "ConnectionParameters",
    "ConnectionUri",
    "ConnectionUriResponse",
    "CreatedBranch",
    "CreatedProject",
]


class ConnectionParameters(Wire):
    """The parts of a connection URI."""

    database: str
    role: str
    password: SecretStr
    host: str
    pooler_host: str


class ConnectionUri(Wire):
    """A connection URI with its password, and its parts."""

    connection_uri: SecretStr
    connection_parameters: ConnectionParameters


class ConnectionUriResponse(Wire):
    """`GET /projects/{project_id}/connection_uri`."""

    uri: SecretStr


class CreatedProject(ProjectResponse):
    """Everything that `POST /projects` made."""

    branch: Branch
    connection_uris: list[ConnectionUri] = Field(default_factory=list[ConnectionUri])
    roles: list[Role] = Field(default_factory=list[Role])
    databases: list[Database] = Field(default_factory=list[Database])
    endpoints: list[Endpoint] = Field(default_factory=list[Endpoint])


class CreatedBranch(BranchOperations):
    """Everything that `POST .../branches` made. No `connection_uris` if the parent has several roles or databases."""

    endpoints: list[Endpoint] = Field(default_factory=list[Endpoint])
    roles: list[Role] = Field(default_factory=list[Role])
    databases: list[Database] = Field(default_factory=list[Database])
    connection_uris: list[ConnectionUri] | None = None
