"""How the connections of one pool are protected, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tenantry.core.names import TENANT_COLUMN

if TYPE_CHECKING:
    from tenantry.session.safety import Allowance
    from tenantry.session.signing import ContextKey

__all__ = ["DEFAULT", "Protection"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What `protect` and the drivers' connection classes were told.

    `tenant_column` is what the column is called in the tables that are reached. With a `key` the context is signed
    besides, for an app whose layout says `context = "signed"`. `allow_unsafe` names what the check of the first
    connection lets through, and why. `scope` says whose scopes the pool is for: a tenant's, or those of an operator of
    the app of `schema`.

    `checkin` says when a transaction ends with a clean-up of what it may leave on its connection: where its statements
    show that it may ("auto"), or each time ("always"), for functions, triggers and views that leave something unseen.
    `pooler_prepares` says whether a pooler in between can hold prepared statements: PgBouncer 1.21 or newer with
    `max_prepared_statements`. None takes it that Neon's can and others cannot, and makes no difference without one.

    With an `application_name` each transaction is called that and its tenant's id, as in `web tenant=7`, in
    `pg_stat_activity` and in the server's log. Every session of the same role sees it there, so only where tenants
    send no SQL of their own.
    """

    tenant_column: str = TENANT_COLUMN
    scope: Literal["tenant", "partner", "platform"] = "tenant"
    schema: str | None = None
    key: ContextKey | None = None
    allow_unsafe: Allowance = ()
    checkin: Literal["auto", "always"] = "auto"
    pooler_prepares: bool | None = None
    application_name: str | None = None


DEFAULT = Protection()
