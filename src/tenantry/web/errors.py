"""What the web layer refuses: a gate that is set up wrongly, and callables of the app that answer what they may not."""

from __future__ import annotations

from tenantry.core.errors import UsageError

__all__ = ["GateAnswerError", "GateSettingError"]


class GateSettingError(UsageError):
    """A gate, or where it takes the tenant from, cannot be set up like this. Raised at start, before any request."""

    def __init__(self, setting: str, value: object, *, why: str, way_out: str) -> None:
        super().__init__(f"{setting} {value!r} {why}: {way_out}")
        self.setting = setting
        self.value = value
        self.why = why
        self.way_out = way_out


class GateAnswerError(UsageError):
    """A callable that the app gave to its gate answered something else than it may. The request was not let in."""

    def __init__(self, asked: str, *, answered: str, way_out: str) -> None:
        # The type and not the value: claims may hold what belongs in no log.
        super().__init__(f"{asked} answered with a {answered}: {way_out}")
        self.asked = asked
        self.answered = answered
        self.way_out = way_out
