"""Pages of a listing: a cursor names the last key, so that what changes between two pages loses no item."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tenantry.local.refusals import bad_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Page", "encode_cursor", "read_cursor", "take_page"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a listing. `last` is the cursor of its last item, None if it is empty; `more` follows or not."""

    items: tuple[T, ...]
    last: str | None
    more: bool


def encode_cursor(order: str, key: Sequence[str | int]) -> str:
    """Return the opaque cursor of the item with *key* in a listing sorted as *order* says."""
    return base64.urlsafe_b64encode(json.dumps([order, *key]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, order: str, shape: tuple[type, ...]) -> tuple[Any, ...]:
    """Return the key in *cursor*, whose parts have the types of *shape*.

    Raises a 400 if it is no cursor of a listing sorted as *order* says.
    """
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as exc:
        raise bad_field("cursor", f"{cursor!r} is not a cursor: give what the last page's pagination said") from exc
    found, *key = cast("list[object]", parts) if isinstance(parts, list) and parts else [None]
    if found != order or tuple(type(part) for part in key) != shape:
        raise bad_field(
            "cursor", f"{cursor!r} belongs to another listing: ask for the first page again, without a cursor"
        )
    return tuple(key)


def take_page(
    items: Iterable[T],
    *,
    key: Callable[[T], tuple[str, str]],
    order: str,
    descending: bool,
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """Sort *items* by *key*, which is unique, and return the *limit* that come after *cursor*."""
    ordered = sorted(items, key=key, reverse=descending)
    if cursor is not None:
        after = read_cursor(cursor, order, (str, str))
        ordered = [item for item in ordered if (key(item) < after if descending else key(item) > after)]
    taken = tuple(ordered[:limit])
    last = encode_cursor(order, key(taken[-1])) if taken else None
    return Page(taken, last, more=len(ordered) > limit)
