"""What the drivers keep of the decisions about texts, to be decided anew when a guard was taken out."""

from __future__ import annotations

import gc
from functools import _lru_cache_wrapper
from typing import Any

__all__ = ["clear"]


def clear() -> None:
    """Empty every cache of `tenantry.session`."""
    for cache in _caches():
        cache.cache_clear()


def _caches() -> list[Any]:
    caches: list[Any] = [thing for thing in gc.get_objects() if isinstance(thing, _lru_cache_wrapper)]
    return [cache for cache in caches if str(getattr(cache, "__module__", "")).startswith("tenantry.session")]
