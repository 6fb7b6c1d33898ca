"""What an application imports at run time. Loads the standard library only, and that when a name is first used."""

from importlib import import_module

TYPE_CHECKING = False  # what type checkers know by this name; `typing` itself takes longer than all else here
if TYPE_CHECKING:
    from tenantry.core.errors import (
        ForeignTenantError,
        NoTenantError,
        TenantChangedError,
        TenantContextError,
        TenantryError,
    )
    from tenantry.core.tenant import Tenant
    from tenantry.session.context import argument, current_tenant, current_user, tenant_scope
    from tenantry.session.jobs import TenantState, job_payload, job_scope
    from tenantry.session.operators import partner_scope, platform_scope
    from tenantry.session.scoped import in_scope

__all__ = [
    "ForeignTenantError",
    "NoTenantError",
    "Tenant",
    "TenantChangedError",
    "TenantContextError",
    "TenantState",
    "TenantryError",
    "argument",
    "current_tenant",
    "current_user",
    "in_scope",
    "job_payload",
    "job_scope",
    "partner_scope",
    "platform_scope",
    "tenant_scope",
]

__version__ = "0.1.0"

_HOMES = {
    "ForeignTenantError": "tenantry.core.errors",
    "NoTenantError": "tenantry.core.errors",
    "Tenant": "tenantry.core.tenant",
    "TenantChangedError": "tenantry.core.errors",
    "TenantContextError": "tenantry.core.errors",
    "TenantState": "tenantry.session.jobs",
    "TenantryError": "tenantry.core.errors",
    "argument": "tenantry.session.context",
    "current_tenant": "tenantry.session.context",
    "current_user": "tenantry.session.context",
    "in_scope": "tenantry.session.scoped",
    "job_payload": "tenantry.session.jobs",
    "job_scope": "tenantry.session.jobs",
    "partner_scope": "tenantry.session.operators",
    "platform_scope": "tenantry.session.operators",
    "tenant_scope": "tenantry.session.context",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
