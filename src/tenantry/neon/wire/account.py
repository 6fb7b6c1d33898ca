"""The account: whose key it is, organizations, regions."""

from __future__ import annotations

from tenantry.neon.wire.base import Wire

__all__ = [
    "CurrentUser",
    "Organization",
    "OrganizationsResponse",
    "Region",
    "RegionsResponse",
]


class CurrentUser(Wire):
    """`GET /users/me`: whose key it is, and what the plan allows."""

    id: str
    email: str = ""
    login: str = ""
    name: str = ""
    plan: str = ""
    projects_limit: int | None = None
    branches_limit: int | None = None


class Organization(Wire):
    """An organization that owns projects."""

    id: str
    name: str
    handle: str = ""
    plan: str = ""


class OrganizationsResponse(Wire):
    """`GET /users/me/organizations`."""

    organizations: list[Organization]


class Region(Wire):
    """A region that a project can be made in."""

    region_id: str
    name: str
    default: bool = False


class RegionsResponse(Wire):
    """`GET /regions`."""

    regions: list[Region]
