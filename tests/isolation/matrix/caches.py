"""What the drivers keep of the decisions about texts, to be decided anew when a guard was taken out."""

from __future__ import annotations

import sys
from functools import _lru_cache_wrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["clear"]


def clear() -> None:
    """Empty every cache of `tenantry.session`."""
    for cache in _caches():
        cache.cache_clear()


def _caches() -> Iterator[_lru_cache_wrapper[object]]:
    for name, module in list(sys.modules.items()):
        if name.startswith("tenantry.session"):
            for thing in list(vars(module).values()):
                if isinstance(thing, _lru_cache_wrapper):
                    yield thing
