"""The tenant scope for asyncpg: a class of connections, pools of them, and a transaction for any connection."""

from tenantry.session.asyncpg.choice import TenantConnection, create_pool
from tenantry.session.asyncpg.documented import tenant_transaction

__all__ = ["TenantConnection", "create_pool", "tenant_transaction"]
