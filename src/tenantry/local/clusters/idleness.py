"""Whether a compute is in use, as Neon sees it: asked of Postgres, and decided from what it says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster

__all__ = ["DEFAULT_SUSPEND_SECONDS", "Sample", "last_use", "suspend_after", "take_sample"]

log = logging.getLogger(__name__)

DEFAULT_SUSPEND_SECONDS = 300

# Neon's rule: what counts is a session that does something, or has a transaction open, or did so lately. Sessions are
# counted too, so that one that came and went between two looks is not missed; those of `postgres` are mostly ours.
_SAMPLE = """
    SELECT coalesce(bool_or(state IS DISTINCT FROM 'idle'), false),
           extract(epoch FROM max(state_change))::float8,
           (SELECT coalesce(sum(sessions), 0)::bigint FROM pg_catalog.pg_stat_database WHERE datname <> 'postgres')
      FROM pg_catalog.pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
       AND usename IS DISTINCT FROM 'cloud_admin'
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a compute did: whether a session is at work now, when one last was (epoch), how many there were ever."""

    busy: bool
    last_change: float | None
    sessions: int


def suspend_after(wanted: int, *, default: int) -> int | None:
    """Return after how many idle seconds a compute is suspended: 0 is the *default*, and -1, None here, is never."""
    seconds = wanted or default or DEFAULT_SUSPEND_SECONDS
    return None if seconds < 0 else seconds


def last_use(sample: Sample, before: Sample | None, *, known: float, at: float) -> float:
    """Return when a compute was last used, as far as a look at it tells. *known* is the last use known so far."""
    if sample.busy or (before is not None and sample.sessions != before.sessions):
        return at
    # A clock that was set back must not keep a compute awake for as long.
    return min(at, max(known, sample.last_change or 0.0))


def take_sample(cluster: Cluster) -> Sample | None:
    """Ask a compute what it does; None if it gives no answer."""
    try:
        with cluster.connect() as connection:
            row = connection.execute(_SAMPLE).fetchone()
    except psycopg.Error as problem:
        log.info("the compute in %s does not say whether it is idle: %s", cluster.data, problem)
        return None
    assert row is not None
    return Sample(*row)
