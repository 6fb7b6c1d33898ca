"""The scope's tenant and user as FastAPI dependencies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from tenantry.core.tenant import Tenant
from tenantry.session.context import current_tenant, current_user

__all__ = ["CurrentTenant", "CurrentUser"]


async def _tenant() -> Tenant:  # async: FastAPI runs a plain function in a thread
    return current_tenant()


async def _user() -> str | None:
    return current_user()


CurrentTenant = Annotated[Tenant, Depends(_tenant)]
"""The tenant of the request: `async def endpoint(tenant: CurrentTenant)`. `NoTenantError`, and so 500, without one."""

CurrentUser = Annotated[str | None, Depends(_user)]
"""The user on whose behalf the request runs, or None."""
