"""The tenant scope for plain psycopg 3: connections that carry it, and a transaction that does on any connection."""

from __future__ import annotations

from tenantry.session.psycopg.connections import AsyncTenantConnection, TenantConnection, unguarded
from tenantry.session.psycopg.transactions import async_tenant_transaction, tenant_transaction

__all__ = [
    "AsyncTenantConnection",
    "TenantConnection",
    "async_tenant_transaction",
    "tenant_transaction",
    "unguarded",
]
