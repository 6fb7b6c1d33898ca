"""For the tests of an application: a pytest plugin, and what its fixtures hand out. Loads nothing until it is used."""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tenantry.testing.databases import Database
    from tenantry.testing.isolation import assert_isolated, async_assert_isolated
    from tenantry.testing.statements import unscoped
    from tenantry.testing.tenants import TwoTenants

__all__ = ["Database", "TwoTenants", "assert_isolated", "async_assert_isolated", "unscoped"]

_HOMES = {
    "Database": "databases",
    "TwoTenants": "tenants",
    "assert_isolated": "isolation",
    "async_assert_isolated": "isolation",
    "unscoped": "statements",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
