"""The scope in OpenTelemetry's spans: `tenant.id` on each that starts inside it, and on the one that is current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import get_current_span

from tenantry.session.context import open_context

if TYPE_CHECKING:
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.sdk.trace import Span
    from opentelemetry.trace import Span as AnySpan

    from tenantry.session.context import Context

__all__ = ["TENANT_ID", "USER_ID", "TenantSpanProcessor", "mark_current_span"]

TENANT_ID = "tenant.id"
"""The attribute that holds the tenant's id."""

USER_ID = "user.id"
"""The attribute that holds the user's, as OpenTelemetry's conventions name it."""


class TenantSpanProcessor(SpanProcessor):
    """Gives each span that starts in a scope the tenant's id, and the user's too with *users*.

    `provider.add_span_processor(TenantSpanProcessor())`, before the one that exports. A span that an instrumentation
    started for the request, before there was a scope, gets it by `Gate(entered=mark_current_span)`.
    """

    def __init__(self, *, users: bool = False) -> None:
        self._users = users

    def on_start(self, span: Span, parent_context: TraceContext | None = None) -> None:  # noqa: ARG002 - OpenTelemetry's signature
        """Write the ids; a span that starts in no scope has none."""
        _mark(span, open_context(), users=self._users)


def mark_current_span(context: Context) -> None:
    """Give the span that is current the id of *context*'s tenant: for `Gate(entered=...)`."""
    _mark(get_current_span(), context, users=False)


def _mark(span: AnySpan, context: Context | None, *, users: bool) -> None:
    if context is None:
        return
    span.set_attribute(TENANT_ID, str(context.tenant))
    if users and context.user is not None:
        span.set_attribute(USER_ID, context.user)
