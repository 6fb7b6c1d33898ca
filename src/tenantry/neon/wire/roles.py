"""Roles and their passwords."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, SecretStr

from tenantry.neon.wire.base import Request, Wire
from tenantry.neon.wire.operations import Operation

__all__ = [
    "Role",
    "RoleCreate",
    "RoleCreateRequest",
    "RoleOperations",
    "RolePasswordResponse",
    "RoleResponse",
    "RolesResponse",
]


class Role(Wire):
    """A role. `password` is there only in the answer that made it or reset it, and never shows in a `repr`."""

    branch_id: str
    name: str
    password: SecretStr | None = None
    protected: bool = False
    authentication_method: str = "password"
    created_at: datetime
    updated_at: datetime


class RoleCreate(Request):
    """A role to make. Neon gives it BYPASSRLS, CREATEROLE, CREATEDB and REPLICATION."""

    name: str
    no_login: bool | None = None


class RoleCreateRequest(Request):
    """`POST .../roles`."""

    role: RoleCreate


class RoleResponse(Wire):
    """One role, without its password."""

    role: Role


class RolesResponse(Wire):
    """The roles of a branch."""

    roles: list[Role]


class RoleOperations(Wire):
    """A role and the operations that a change of it started."""

    role: Role
    operations: list[Operation] = Field(default_factory=list[Operation])


class RolePasswordResponse(Wire):
    """A role's password in clear."""

    password: SecretStr
