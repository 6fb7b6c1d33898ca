"""The pytest plugin: options, the marker `tenantry_scoped`, and fixtures. It is there wherever tenantry is installed.

It costs a run that does not use it nothing: all but pytest itself is imported by the fixture that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tenantry.core.tenant import TenantId
    from tenantry.testing.databases import Database, Template
    from tenantry.testing.tenants import TwoTenants

__all__: list[str] = []

_MARKER = "tenantry_scoped(on=True): the test fails if it runs a statement outside a `tenant_scope`"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--tenantry-dsn` and the settings of the ini file."""
    group = parser.getgroup("tenantry")
    group.addoption("--tenantry-dsn", metavar="DSN", help="a superuser's DSN of the Postgres to make databases on")
    parser.addini("tenantry_dsn", "a superuser's DSN of the Postgres to make databases on; without, one is started")
    parser.addini("tenantry_scoped", "mark every test tenantry_scoped", type="bool", default=False)
    parser.addini("tenantry_tenant_column", "what the tenant column is called", default="tenant_id")
    parser.addini("tenantry_may_be_empty", "tables that two_tenants need no rows in", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a marked test that ran a statement in no scope; what its fixtures ran is theirs."""
    marker = item.get_closest_marker("tenantry_scoped")
    on = marker.kwargs.get("on", *marker.args[:1] or (True,)) if marker else item.config.getini("tenantry_scoped")
    if not on:
        return (yield)
    from tenantry.testing.statements import watch

    with watch() as seen:
        result = yield
    if seen:
        pytest.fail(
            f"{len(seen)} statement{'' if len(seen) == 1 else 's'} ran in no tenant scope:\n"
            + "\n".join(f"  {statement}" for statement in seen)
            + "\nwrap the work in `with tenant_scope(tenant):`, or, if no tenant's rows are meant, in "
            "`with tenantry.testing.unscoped():`",
            pytrace=False,
        )
    return result


@pytest.fixture(scope="session")
def tenantry_server(pytestconfig: pytest.Config) -> Generator[str]:
    """A superuser's DSN: of `--tenantry-dsn`, else of `tenantry_dsn` in the ini file, else of a server of our own."""
    dsn = pytestconfig.getoption("--tenantry-dsn") or pytestconfig.getini("tenantry_dsn")
    if dsn:
        yield str(dsn)
        return
    from tenantry.core.errors import EnvironmentProblem
    from tenantry.testing.databases import local_server

    try:
        with local_server() as found:
            yield found
    except EnvironmentProblem as exc:
        pytest.fail(f"{exc}\nor name a server: pytest --tenantry-dsn postgresql://...", pytrace=False)


@pytest.fixture(scope="session")
def tenantry_schema() -> Callable[[Database], object]:
    """What makes the application's tables and policies in the template. Every project writes its own."""
    return pytest.fail(
        "say how the application's tables are made, in conftest.py:\n\n"
        '    @pytest.fixture(scope="session")\n'
        "    def tenantry_schema():\n"
        "        def lay(database):\n"
        "            with database.admin() as conn:\n"
        "                conn.execute(...)  # and GRANT to database.app_role\n"
        "        return lay",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def tenantry_template(tenantry_server: str, tenantry_schema: Callable[[Database], object]) -> Generator[Template]:
    """A database in which `tenantry_schema` ran, once a session; under pytest-xdist once a worker."""
    from tenantry.testing.databases import template

    with template(tenantry_server, tenantry_schema) as made:
        yield made


@pytest.fixture
def tenantry_database(tenantry_template: Template) -> Generator[Database]:
    """A copy of the template for this test alone."""
    with tenantry_template.copy() as database:
        yield database


@pytest.fixture
def tenantry_tenants() -> tuple[TenantId, TenantId]:
    """The ids of the two tenants: random UUIDs, unless a project names its own."""
    from uuid import uuid4

    return uuid4(), uuid4()


@pytest.fixture
def tenantry_rows() -> Callable[[TenantId], object]:
    """What writes rows for a tenant; it is called in that tenant's scope. Every project writes its own."""
    return pytest.fail(
        "say what rows a tenant has, in conftest.py:\n\n"
        "    @pytest.fixture\n"
        "    def tenantry_rows(make_session):\n"
        "        def write(tenant):\n"
        "            with make_session() as session:\n"
        "                session.add(Ticket(title=...))\n"
        "                session.commit()\n"
        "        return write",
        pytrace=False,
    )


@pytest.fixture
def two_tenants(
    pytestconfig: pytest.Config,
    tenantry_database: Database,
    tenantry_tenants: tuple[TenantId, TenantId],
    tenantry_rows: Callable[[TenantId], object],
) -> TwoTenants:
    """Two tenants with rows in every tenant table. `VacuousTestError` where one has none."""
    from tenantry.session.context import tenant_scope
    from tenantry.testing.tenants import TwoTenants

    for tenant in tenantry_tenants:
        with tenant_scope(tenant):
            tenantry_rows(tenant)
    found = TwoTenants(
        *tenantry_tenants,
        admin_dsn=tenantry_database.admin_dsn,
        tenant_column=pytestconfig.getini("tenantry_tenant_column"),
        may_be_empty=tuple(pytestconfig.getini("tenantry_may_be_empty")),
        app_role=tenantry_database.app_role,
    )
    found.tables()
    return found
