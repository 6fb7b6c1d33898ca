"""A tenant: whose rows a unit of work may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

__all__ = ["Tenant", "TenantId"]

TenantId: TypeAlias = UUID | str | int
"""What stands in `tenant_id`: a uuid, a text or a bigint, as the layout says."""


@dataclass(frozen=True, slots=True, eq=False)
class Tenant:
    """A tenant of an application. Two are the same when their ids are, in the text that Postgres compares."""

    id: TenantId

    def __post_init__(self) -> None:
        text = str(self.id)
        # What came from a request or a row may be anything: None would otherwise be the tenant "None".
        known = isinstance(self.id, (UUID, str, int)) and not isinstance(self.id, bool)  # pyright: ignore[reportUnnecessaryIsInstance] - see above
        if not known or not text or "\x00" in text:
            raise ValueError(
                f"tenant id {self.id!r} cannot stand in a setting: give a uuid, a non-empty text or an int"
            )

    def __str__(self) -> str:
        return str(self.id)

    def __eq__(self, other: object) -> bool:
        return str(self.id) == str(other.id) if isinstance(other, Tenant) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self.id))
