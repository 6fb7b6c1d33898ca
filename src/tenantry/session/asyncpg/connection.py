"""The asyncpg connection that sends nothing without its tenant, over a `Guard` of its protocol."""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from asyncpg import Connection

from tenantry.session.asyncpg.guard import Guard
from tenantry.session.asyncpg.texts import cleaning
from tenantry.session.errors import ListenerError
from tenantry.session.protection import DEFAULT, Protection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["GuardedConnection"]


class GuardedConnection(Connection):
    """See `TenantConnection`."""

    protection: ClassVar[Protection] = DEFAULT

    def __init__(self, protocol: Any, transport: Any, loop: Any, addr: Any, config: Any, params: Any) -> None:
        self.guard = Guard(protocol, transport, self.protection, prepares=config.statement_cache_size > 0)
        super().__init__(self.guard, transport, loop, addr, config, params)

    @contextmanager
    def unguarded(self) -> Generator[None]:
        """Let what the block sends pass as it is: what sets a connection up, before any tenant's work."""
        self.guard.guarded = False
        try:
            yield
        finally:
            self.guard.guarded = True

    def let_pass(self, *, passing: bool) -> None:
        """Let what is sent pass as it is from now on, or not."""
        self.guard.guarded = not passing

    @classmethod
    def protected_by(cls, protection: Protection) -> type[GuardedConnection]:
        """The class of connections that *protection* is told."""
        return _protected_by(cls, protection)

    def transaction(self, **options: Any) -> Any:
        """Give a transaction, or a savepoint in one."""
        if self._top_xact is not None and not self.is_in_transaction():
            self._top_xact = None  # asyncpg keeps one whose BEGIN was refused, and would take the next for a savepoint
        return super().transaction(**options)

    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> NoReturn:  # noqa: ARG002 - asyncpg's signature
        """Refuse, with `ListenerError`."""
        raise ListenerError(channel)

    def get_reset_query(self) -> str:
        """What removes what was left on the connection; empty, and so not sent, where nothing was."""
        return cleaning(self.guard.left)

    async def reset(self, *, timeout: float | None = None) -> None:
        """Roll back what is open, remove what was left, and send nothing where there is neither."""
        with self.unguarded():
            await super().reset(timeout=timeout)
        self.guard.forget()


@lru_cache
def _protected_by(base: type[GuardedConnection], protection: Protection) -> type[GuardedConnection]:
    if protection == base.protection:
        return base
    return type(base.__name__, (base,), {"protection": protection, "__doc__": base.__doc__})
