"""`/users/me`, its organizations, and `/regions`: the one user and organization of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.local.routes.calling import Answer, Call, reading
from tenantry.local.services import views
from tenantry.local.services.projects import DEFAULT_REGION, ORGANIZATION_ID, REGIONS
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["ROUTES"]

_SINCE = "2026-01-01T00:00:00Z"


def _me(_call: Call) -> Answer:
    extra: dict[str, Any] = {
        "active_seconds_limit": 0,
        "auth_accounts": [],
        "image": "",
        "last_name": "",
        "max_autoscaling_limit": 8.0,
    }
    user = wire.CurrentUser(
        id=views.OWNER_ID,
        email="local@localhost.localdomain",
        login="local",
        name="local",
        plan="local",
        projects_limit=0,
        branches_limit=0,
        **extra,
    )
    return Answer(200, user)


def _organizations(_call: Call) -> Answer:
    extra: dict[str, Any] = {"managed_by": "console", "created_at": _SINCE, "updated_at": _SINCE}
    organization = wire.Organization(id=ORGANIZATION_ID, name="local", handle="local", plan="local", **extra)
    return Answer(200, wire.OrganizationsResponse(organizations=[organization]))


def _regions(_call: Call) -> Answer:
    extra: dict[str, Any] = {"geo_lat": "0", "geo_long": "0"}
    return Answer(
        200,
        wire.RegionsResponse(
            regions=[
                wire.Region(region_id=region, name=name, default=region == DEFAULT_REGION, **extra)
                for region, name in REGIONS.items()
            ]
        ),
    )


ROUTES: list[Route] = [
    reading("/users/me", _me),
    reading("/users/me/organizations", _organizations),
    reading("/regions", _regions),
]
