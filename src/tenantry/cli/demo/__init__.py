"""`tenantry demo`: SyncUpSuite stands on the local engine, and its tenants are kept apart."""

from tenantry.cli.demo.command import register

__all__ = ["register"]
