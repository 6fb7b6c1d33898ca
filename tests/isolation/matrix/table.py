"""Every attack on pools, sessions and contexts, and the holes that are tried elsewhere."""

from __future__ import annotations

from tests.isolation.matrix import left_behind, scopes, transactions
from tests.isolation.matrix.attack import Elsewhere

__all__ = ["ATTACKS", "ELSEWHERE", "HOLES"]

HOLES = [*(f"P{n:02}" for n in range(1, 25)), *(f"C{n:02}" for n in range(1, 8)), "C16"]

ATTACKS = [*left_behind.ATTACKS, *transactions.ATTACKS, *scopes.ATTACKS]

ELSEWHERE = [
    Elsewhere(
        "P20",
        "a cache before the database answers by the query's text",
        "not yet: nothing of tenantry's is put behind such a cache; the decision on Hyperdrive comes with the Worker's "
        "side, and until then leave its cache disabled",
    ),
    Elsewhere(
        "P24",
        "a pool that is found by less than tenant, role and branch, or after a move",
        "not yet: tenantry has no registry that finds pools; one engine or pool has one address and one `Protection`",
    ),
    Elsewhere("C01", "a tenant from a header, host or path that the client chose", "tests of the web middleware"),
    Elsewhere("C02", "a forged or confused token", "tests of the web middleware and of signed contexts"),
    Elsewhere(
        "C03",
        "an id that was used before, renamed or deleted",
        "`tests/unit/test_job_scopes.py`: a job asks the application's register each time",
    ),
    Elsewhere("C04", "a cache whose keys lack the tenant", "not yet: tenantry caches no rows and offers no keys"),
    Elsewhere("C16", "both places readable while a tenant is moved", "not yet: tenants are moved in a later release"),
]
