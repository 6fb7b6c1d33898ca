"""The SQL that keeps tenants apart: schemas, roles, policies, extensions."""
