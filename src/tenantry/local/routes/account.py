"""`/users/me`, its organizations, and `/regions`: the one user and organization of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.local.refusals import not_found
from tenantry.local.routes.calling import Answer, Call, reading
from tenantry.local.services import views
from tenantry.local.services.projects import DEFAULT_REGION, ORGANIZATION_ID, REGIONS
from tenantry.neon import wire

if TYPE_CHECKING:
    from starlette.routing import Route

    from tenantry.local.plans import Plan

__all__ = ["ROUTES"]

_SINCE = "2026-01-01T00:00:00Z"
_EMAIL = "local@localhost.localdomain"

# PyPI's neon-api reads no user without it.
_BILLING = {
    "state": "active",
    "payment_source": {"type": ""},
    "subscription_type": "UNKNOWN",
    "payment_method": "none",
    "quota_reset_at_last": _SINCE,
    "name": "local",
    "email": _EMAIL,
    "address_city": "",
    "address_country": "",
    "address_line1": "",
    "address_line2": "",
    "address_postal_code": "",
    "address_state": "",
}


def _plan_name(plan: Plan) -> str:
    return "local" if plan.name == "none" else plan.name


UNLIMITED = 0
"""Neon's word for no limit."""


def _me(call: Call) -> Answer:
    plan = call.engine.plan
    extra: dict[str, Any] = {
        "active_seconds_limit": UNLIMITED,
        "billing_account": _BILLING,
        "auth_accounts": [],
        "image": "",
        "last_name": "",
        "max_autoscaling_limit": float(UNLIMITED),
    }
    user = wire.CurrentUser(
        id=views.OWNER_ID,
        email=_EMAIL,
        login="local",
        name="local",
        plan=_plan_name(plan),
        projects_limit=plan.projects or UNLIMITED,
        branches_limit=plan.branches or UNLIMITED,
        **extra,
    )
    return Answer(200, user)


def _organization_of_this_machine(call: Call) -> wire.Organization:
    extra: dict[str, Any] = {"managed_by": "console", "created_at": _SINCE, "updated_at": _SINCE}
    return wire.Organization(
        id=ORGANIZATION_ID, name="local", handle="local", plan=_plan_name(call.engine.plan), **extra
    )


def _organizations(call: Call) -> Answer:
    return Answer(200, wire.OrganizationsResponse(organizations=[_organization_of_this_machine(call)]))


def _organization(call: Call) -> Answer:
    if call.path["org_id"] != ORGANIZATION_ID:
        raise not_found("organization", call.path["org_id"])
    return Answer(200, _organization_of_this_machine(call))


def _auth(_call: Call) -> Answer:
    return Answer(200, {"account_id": views.OWNER_ID, "auth_method": "api_key_user"})


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
    reading("/auth", _auth),
    reading("/organizations/{org_id}", _organization),
    reading("/users/me", _me),
    reading("/users/me/organizations", _organizations),
    reading("/regions", _regions),
]
