"""The scope in log records: a filter for `logging`, and a processor for structlog. Ids only, never what they own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tenantry.session.context import open_context

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["TenantFilter", "add_tenant"]


class TenantFilter(logging.Filter):
    """Gives each record `tenant_id` and `user_id` of the scope that it was logged in, or *outside* where there is none.

    Put it on handlers, which see the records of all loggers: `handler.addFilter(TenantFilter())`, and then
    `%(tenant_id)s` in the format. With a `QueueHandler` put it there, since the listener's thread is in no scope. It
    passes every record.
    """

    def __init__(self, *, outside: str = "-") -> None:
        super().__init__()
        self.outside = outside

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the ids into *record*, whatever it had there: the scope is what the application verified."""
        tenant, user = _ids()
        record.tenant_id = self.outside if tenant is None else tenant
        record.user_id = self.outside if user is None else user
        return True


def add_tenant(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001 - structlog's signature
    """Give structlog's *event* the `tenant_id` and `user_id` of the scope; outside of one it has neither.

    `structlog.configure(processors=[add_tenant, ...])`, before what renders.
    """
    for name, value in zip(("tenant_id", "user_id"), _ids(), strict=True):
        event.pop(name, None)
        if value is not None:
            event[name] = value
    return event


def _ids() -> tuple[str | None, str | None]:
    context = open_context()
    if context is None:
        return None, None
    return _line(str(context.tenant)), None if context.user is None else _line(context.user)


def _line(text: str) -> str:
    """*text* without what would end a line of a log or begin another: an id may be any text."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
