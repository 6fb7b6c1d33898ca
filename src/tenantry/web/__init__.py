"""The web: a gate that says which request enters which tenant, and middlewares that carry its verdict out."""

from tenantry.session.jobs import TenantState
from tenantry.web.answers import NOT_FOUND, SUSPENDED, UNAUTHENTICATED, Answer
from tenantry.web.gate import Gate, Standing
from tenantry.web.naming import Claims, FromHost, FromPath, FromSession, Named
from tenantry.web.request import Request

__all__ = [
    "NOT_FOUND",
    "SUSPENDED",
    "UNAUTHENTICATED",
    "Answer",
    "Claims",
    "FromHost",
    "FromPath",
    "FromSession",
    "Gate",
    "Named",
    "Request",
    "Standing",
    "TenantState",
]
