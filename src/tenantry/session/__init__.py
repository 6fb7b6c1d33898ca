"""The data plane: the tenant scope, and the drivers that carry it to Postgres."""
