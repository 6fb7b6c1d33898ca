"""The tenant scope: whose rows the current unit of work may see, held in context variables."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tenantry.core.errors import NoTenantError
from tenantry.core.tenant import Tenant, TenantId

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["current_tenant", "current_user", "tenant_scope"]

_tenant: ContextVar[Tenant | None] = ContextVar("tenantry_tenant", default=None)
_user: ContextVar[str | None] = ContextVar("tenantry_user", default=None)


@contextmanager
def tenant_scope(tenant: Tenant | TenantId, *, user: object = None) -> Generator[Tenant]:
    """Do the work inside for *tenant*, and on behalf of *user* if one is given.

    Scopes nest: the inner one holds until it ends. A transaction belongs to the tenant it began for, so end it
    before its scope ends. Works the same in sync and async code, since tasks copy their context.
    """
    entered = tenant if isinstance(tenant, Tenant) else Tenant(tenant)
    tenant_token = _tenant.set(entered)
    user_token = _user.set(None if user is None else str(user))
    try:
        yield entered
    finally:
        _user.reset(user_token)
        _tenant.reset(tenant_token)


def current_tenant() -> Tenant:
    """The tenant of the innermost scope. Raises `NoTenantError` outside any."""
    tenant = _tenant.get()
    if tenant is None:
        raise NoTenantError
    return tenant


def current_user() -> str | None:
    """The user of the innermost scope, or None."""
    return _user.get()
