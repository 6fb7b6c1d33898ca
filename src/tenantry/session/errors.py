"""What the data plane refuses, below `TenantContextError`. Nothing was sent when one of these is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.core.errors import TenantContextError

if TYPE_CHECKING:
    from tenantry.session.judgement import Refusal

__all__ = [
    "AuditFailedError",
    "AutocommitError",
    "CopyInError",
    "ForeignCursorError",
    "HeldCursorError",
    "JobPayloadError",
    "LibraryError",
    "ListenerError",
    "OperatorScopeError",
    "TenantNotActiveError",
    "TenantTypeError",
    "TransactionControlError",
    "TransactionOpenError",
    "UnsafeConnectionError",
    "UnsafeRoleAndServerError",
    "UnsafeRoleError",
    "UnsafeServerError",
    "UnsafeWarning",
    "UserChangedError",
]


class AutocommitError(TenantContextError):
    """The connection commits each statement, and a setting that lasts for a transaction would last for none."""

    def __init__(self) -> None:
        super().__init__(
            "this connection is in AUTOCOMMIT, where no transaction can carry the tenant: leave out "
            '`isolation_level="AUTOCOMMIT"`, and make an engine of its own, without `protect`, for what cannot run '
            "in a transaction"
        )


class OperatorScopeError(TenantContextError):
    """The scope is not of the kind that the engine is for. Nothing was sent."""

    def __init__(self, *, engine: str, now: str | None) -> None:
        example = {"partner": "partner_scope(partner, user=...)", "platform": "platform_scope(reason=..., user=...)"}
        if engine == "tenant":
            message = (
                f"the scope is that of a {now}, and this engine is the application's, which sees one tenant at a time: "
                f'make an engine of the {now} role with `protect(engine, scope="{now}", schema=...)`'
            )
        else:
            found = "no scope is open" if now is None else f"the scope is that of a {now}"
            message = f"{found}, and this engine is for a {engine}: wrap the work in `with {example[engine]}:`"
        super().__init__(message)
        self.engine = engine
        self.now = now


class AuditFailedError(TenantContextError):
    """An operator's transaction could not be entered in the audit log, so it did not begin."""

    def __init__(self, schema: str, kind: str) -> None:
        super().__init__(
            f"no row could be written to {schema}_guard.audit_log, and without one no {kind} sees anything: "
            f"log in as {schema}_{kind}, and run `tenantry apply` where the layout has this operator"
        )
        self.schema = schema
        self.kind = kind


class UserChangedError(TenantContextError):
    """The transaction began on behalf of one user, and the scope now names another."""

    def __init__(self, *, began_for: str | None, now: str | None) -> None:
        super().__init__(
            f"this transaction began for user {began_for!r}, and the scope is now that of user {now!r}: "
            "commit or roll back before the user changes"
        )
        self.began_for = began_for
        self.now = now


class TransactionOpenError(TenantContextError):
    """The connection is in a transaction that began without a tenant."""

    def __init__(self) -> None:
        super().__init__(
            "this connection is already in a transaction that carries no tenant: commit or roll it back first, "
            "so that nothing runs before the tenant is set"
        )


class TenantTypeError(TenantContextError):
    """The tenant's id cannot stand in the table's tenant column."""

    def __init__(self, *, tenant: object, column: str, wanted: str) -> None:
        super().__init__(
            f"tenant {str(tenant)!r} cannot stand in {column}: that column is of type {wanted}, "
            f"so give `tenant_scope` a {wanted}"
        )
        self.tenant = tenant
        self.column = column
        self.wanted = wanted


class JobPayloadError(TenantContextError):
    """A job's payload names no tenant that could be entered."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the job's scope {why}: put `job_payload()` into the payload, inside the scope that queues the job, and "
            "give that value to `job_scope` unchanged"
        )
        self.why = why


class TenantNotActiveError(TenantContextError):
    """The tenant of a job was suspended or deleted, or is unknown, so the job does not run."""

    def __init__(self, *, tenant: object, state: str) -> None:
        super().__init__(
            f"tenant {tenant} is {state}, so its job does not run: catch TenantNotActiveError to drop the job, or to "
            "queue it again for when the tenant is active"
        )
        self.tenant = tenant
        self.state = state


class UnsafeConnectionError(TenantContextError):
    """A pool's first connection is unsafe, and nothing of the application was sent over it.

    `refusals` holds all that was found, and `sql` the statements that mend it, for an administrator to run in the same
    database. The next connection is checked again: what was mended works without a restart.
    """

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        found = "\n".join(f"- {refusal}" for refusal in refusals)
        super().__init__(
            f"this connection is unsafe for tenants:\n{found}\n"
            "mend it as an administrator of this database, or let the application log in as a role of its own; if it "
            'must be, say why: `allow_unsafe="<reason>"`'
        )
        self.refusals = refusals
        self.sql = tuple(statement for refusal in refusals for statement in refusal.sql)


class UnsafeRoleError(UnsafeConnectionError):
    """The role of a pool can get past row security, by itself or by a role that was granted to it."""


class UnsafeServerError(UnsafeConnectionError):
    """The server has a known hole in row security, or it or the pooler before it is set up so that none can hold."""


class UnsafeRoleAndServerError(UnsafeRoleError, UnsafeServerError):
    """Both the role and the server of a pool are unsafe."""


class UnsafeWarning(UserWarning):
    """A pool runs although it is unsafe, since `allow_unsafe` says so."""


class TransactionControlError(TenantContextError):
    """Text would begin or end a transaction behind the driver's back, and later statements would carry no tenant."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command} as text would part the transaction from its tenant: call `commit()` or `rollback()` of the "
            "connection or session, or use its `with ….transaction():` or `with ….begin():`"
        )
        self.command = command


class LibraryError(TenantContextError):
    """The text loads a library, which stays in the server's process for whoever uses the connection next."""

    def __init__(self) -> None:
        super().__init__(
            "LOAD stays on a pooled connection for good: load the library on a connection of its own, or for all by "
            "`session_preload_libraries`"
        )


class HeldCursorError(TenantContextError):
    """A cursor WITH HOLD would outlive its transaction, and with it the tenant whose rows it holds."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"cursor {name!r} would hold a tenant's rows beyond their transaction: leave out `withhold=True`, and "
            "fetch inside the transaction"
        )
        self.name = name


class ForeignCursorError(TenantContextError):
    """A cursor of a class of its own was put on a guarded connection."""

    def __init__(self) -> None:
        super().__init__(
            "this cursor was not made by its connection, so nothing reads what it sends: call `conn.cursor()`, after "
            "`conn.cursor_factory = YourCursor` if it is of a class of yours"
        )


class CopyInError(TenantContextError):
    """Postgres has no `COPY ... FROM` for a table with row security. The transaction has failed."""

    def __init__(self, statement: str) -> None:
        super().__init__(
            f"Postgres refused {statement!r}: it has no COPY FROM for a table with row security. Write the rows with "  # noqa: S608 - it is a message
            "`await conn.executemany('INSERT INTO ... VALUES ($1, $2)', rows)`, or from arrays in one statement, "
            "`INSERT INTO ... SELECT * FROM unnest($1::int[], $2::text[])`"
        )
        self.statement = statement


class ListenerError(TenantContextError):
    """A listener would outlive the tenant's use of its connection. Nothing was sent."""

    def __init__(self, channel: str) -> None:
        super().__init__(
            f"a tenant's connection cannot listen on {channel!r}: the channel is open to all tenants, and the listener "
            "would stay when the connection serves another. Listen on a connection of its own, "
            "`await asyncpg.connect(dsn)`, and enter the tenant's scope in the callback"
        )
        self.channel = channel
