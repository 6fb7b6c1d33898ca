"""What the guard knows of one psycopg connection, and what it decides from that."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tenantry.session.context import check_same, current_context
from tenantry.session.errors import TransactionOpenError
from tenantry.session.leftovers import EVERYTHING, NOTHING, Left, Reading, clean_before
from tenantry.session.statements import are_public, set_locally, set_locally_with_literals, settings_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from tenantry.session.context import Context
    from tenantry.session.protection import Protection
    from tenantry.session.statements import Settings

__all__ = ["WHO", "State", "unguarded"]

WHO = ", pg_catalog.pg_backend_pid()"
"""What asks in the same query who answers it."""


@lru_cache
def _encoded(query: str) -> tuple[bytes, bytes]:
    return query.encode(), (query + WHO).encode()


class State:
    """The state of one connection: whose transaction is open on it, what it will leave, who is in between.

    `pooled` is None until the server was asked: its backend's pid is then another than the client was told.
    """

    __slots__ = (
        "_entered",
        "_made",
        "_settings",
        "always",
        "batch",
        "began_for",
        "in_transaction",
        "left",
        "names",
        "open_door",
        "pooled",
        "protection",
        "query",
        "query_to_learn",
        "values",
    )

    def __init__(self, protection: Protection) -> None:
        self.protect(protection)
        self.began_for: Context | None = None
        self.in_transaction = False  # in a block that we began; a pipeline does not say
        self.left = NOTHING
        self.batch = False  # an executemany in autocommit is a transaction of its own
        self.open_door = False  # while the connection is set up
        self.pooled: bool | None = None
        self.names: dict[bytes, bytes] = {}  # by text: what sets the context, prepared under names of ours
        self.query = self.query_to_learn = b""
        self.values: list[bytes] = []
        self._settings: Settings = ()
        self._made = 0

    def protect(self, protection: Protection) -> None:
        """Take *protection* for the connection's own."""
        self.protection = protection
        self.always = protection.checkin == "always"
        self._entered: Context | None = None

    def enter(self, conn: Any) -> None:
        """Make ready the statement of the scope that a transaction begins with. Raises `NoTenantError`."""
        context = current_context()
        self.began_for = context
        if context is self._entered:
            return
        self._settings = settings_of(context, self.protection)
        query, values = set_locally(self._settings, numeric=True)
        self.query, self.query_to_learn = _encoded(query)
        encoding = conn.info.encoding
        self.values = [value.encode(encoding) for value in values]
        # A token is good for a while only, and `settings_of` knows how long.
        self._entered = context if self.protection.key is None else None

    def new_name(self) -> bytes:
        """A name under which to prepare the statement that was entered. None comes twice on a connection."""
        self._made += 1
        name = self.names[self.query] = b"_tenantry_%d" % self._made
        return name

    def literals(self, conn: Any) -> bytes | None:
        """The same statement with its values in it, or None where they may not stand in a text."""
        if not are_public(self._settings):
            return None
        text = set_locally_with_literals(self._settings)
        return (text + WHO if self.pooled is None else text).encode(conn.info.encoding)

    def begun(self) -> None:
        """A transaction block is open, for the context that was entered."""
        self.in_transaction = True

    def ended(self) -> None:
        """No transaction block is open any more, and nothing is left of it."""
        self.in_transaction = False
        self.began_for = None
        self.left = NOTHING

    def check(self) -> None:
        """Refuse what is not of the transaction's tenant."""
        context = current_context()
        if self.began_for is None or not self.in_transaction:
            raise TransactionOpenError
        check_same(self.began_for, context)

    def same(self) -> bool:
        """Whether the scope is that of the statement before."""
        return self.began_for == current_context()

    def note(self, reading: Reading) -> None:
        """Refuse text that would end the transaction, and keep in mind what it leaves."""
        reading.check()
        self.left |= reading.left

    def what_to_clean(self) -> Left:
        """What the transaction that ends now may have left."""
        return EVERYTHING if self.always else self.left

    def clean_with(self, reading: Reading) -> tuple[bytes, ...]:
        """What a statement in autocommit ends with: its clean-up and a COMMIT, or nothing."""
        left = EVERYTHING if self.always else reading.left
        texts = clean_before(left)
        return (*(text.encode() for text in texts), b"COMMIT") if texts else ()

    def learn(self, conn: Any, result: Any) -> None:
        """See from the answer of the statement that sets the context whether a pooler is in between."""
        if self.pooled is None:
            self.take_pid(conn, int(result.get_value(0, result.nfields - 1)))

    def take_pid(self, conn: Any, pid: int) -> None:
        """Know by the *pid* of the backend that answered whether a pooler is in between, and prepare nothing there."""
        self.pooled = pid != conn.info.backend_pid
        if self.pooled and not self._pooler_prepares(conn):
            conn.prepare_threshold = None

    def _pooler_prepares(self, conn: Any) -> bool:
        told = self.protection.pooler_prepares
        return conn.info.host.endswith(".neon.tech") if told is None else told


@contextmanager
def unguarded(conn: Any) -> Generator[None]:
    """Let statements through without a tenant while *conn* is set up, e.g. in the `configure` of a psycopg pool.

    They see no row that a policy keeps. What they leave on the connection stays there, such as a `SET` of the
    application's own. Commit or roll back inside. A connection that is not guarded stays as it is.
    """
    state: State | None = getattr(conn, "tenantry", None)
    if state is None:
        yield
        return
    state.open_door = True
    try:
        yield
    finally:
        state.open_door = False
