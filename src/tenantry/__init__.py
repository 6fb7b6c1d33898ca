"""What an application imports at run time. Importing this loads the standard library only."""

from tenantry.core.errors import (
    ForeignTenantError,
    NoTenantError,
    TenantChangedError,
    TenantContextError,
    TenantryError,
)
from tenantry.core.tenant import Tenant
from tenantry.session.context import current_tenant, current_user, tenant_scope

__all__ = [
    "ForeignTenantError",
    "NoTenantError",
    "Tenant",
    "TenantChangedError",
    "TenantContextError",
    "TenantryError",
    "current_tenant",
    "current_user",
    "tenant_scope",
]

__version__ = "0.1.0"
