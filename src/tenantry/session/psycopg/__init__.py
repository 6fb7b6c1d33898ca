"""The tenant scope for plain psycopg 3: connections that carry it, and a transaction that does on any connection."""

from __future__ import annotations

from tenantry.session.psycopg.bulk import async_copy_rows, copy_rows
from tenantry.session.psycopg.chosen import AsyncTenantConnection, TenantConnection
from tenantry.session.psycopg.state import unguarded
from tenantry.session.psycopg.transactions import async_tenant_transaction, tenant_transaction

__all__ = [
    "AsyncTenantConnection",
    "TenantConnection",
    "async_copy_rows",
    "async_tenant_transaction",
    "copy_rows",
    "tenant_transaction",
    "unguarded",
]
