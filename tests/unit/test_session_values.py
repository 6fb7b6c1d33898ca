"""The statement that carries the tenant, and the rows that carry it, decided without a database."""

import json
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

from tenantry import ForeignTenantError, Tenant
from tenantry.session.context import Context
from tenantry.session.errors import TenantTypeError
from tenantry.session.protection import DEFAULT
from tenantry.session.statements import set_locally, set_locally_with_literals, settings_of
from tenantry.session.writes import TenantColumn, check_value, fill_rows

ACME = UUID("aaaaaaaa-0000-4000-8000-00000000000a")
BOLT = UUID("bbbbbbbb-0000-4000-8000-00000000000b")
UUIDS = TenantColumn("shop.notes", "tenant_id", "tenant_id", takes=UUID, uuid=True)
TEXTS = TenantColumn("shop.notes", "tenant_id", "tenant_id", takes=str)
NUMBERS = TenantColumn("shop.notes", "tenant_id", "tenant_id", takes=int)


def test_tenant_and_user_are_parameters_of_one_statement_for_the_transaction_only():
    query, params = set_locally(settings_of(Context(Tenant(ACME), "o'ann"), DEFAULT))

    assert query == (
        "SELECT pg_catalog.set_config('app.tenant_id', %s, true), pg_catalog.set_config('app.user_id', %s, true)"
    )
    assert params == (str(ACME), "o'ann")


def test_no_user_is_the_empty_text_and_asyncpg_gets_its_own_placeholders():
    query, params = set_locally(settings_of(Context(Tenant(7)), DEFAULT), numeric=True)

    assert ("$1" in query, "$2" in query, "%s" in query) == (True, True, False)
    assert params == ("7", "")


def test_literals_are_escaped_for_either_reading_of_a_backslash():
    query = set_locally_with_literals(settings_of(Context(Tenant("a\\b"), "o'ann"), DEFAULT))

    assert query == (
        "SELECT pg_catalog.set_config('app.tenant_id', E'a\\\\b', true), "
        "pg_catalog.set_config('app.user_id', E'o''ann', true)"
    )


@pytest.mark.parametrize(
    ("column", "tenant", "value"),
    [
        (UUIDS, Tenant(ACME), str(ACME).upper()),
        (UUIDS, Tenant(str(ACME)), ACME),
        (UUIDS, Tenant(str(ACME).upper()), str(ACME)),
        (TEXTS, Tenant("acme"), "acme"),
        (NUMBERS, Tenant("7"), 7),
    ],
)
def test_an_id_is_the_tenants_own_however_it_is_spelled(column: TenantColumn, tenant: Tenant, value: Any):
    check_value(column, value, tenant)

    assert fill_rows(column, [{"tenant_id": value}], tenant) == [{"tenant_id": value}]


@pytest.mark.parametrize(
    ("column", "tenant", "value"),
    [
        (UUIDS, Tenant(ACME), BOLT),
        (UUIDS, Tenant(ACME), "acme"),
        (TEXTS, Tenant("acme"), "ACME"),
        (NUMBERS, Tenant(7), 8),
    ],
)
def test_an_id_of_another_is_refused(column: TenantColumn, tenant: Tenant, value: Any):
    with pytest.raises(ForeignTenantError) as caught:
        fill_rows(column, [{}, {"tenant_id": value}], tenant)

    assert (caught.value.table, caught.value.row_tenant, caught.value.tenant) == ("shop.notes", value, tenant)


@pytest.mark.parametrize(
    ("column", "tenant", "own"),
    [
        (UUIDS, Tenant(str(ACME)), ACME),
        (TEXTS, Tenant(7), "7"),
        (NUMBERS, Tenant("7"), 7),
        (TenantColumn("notes", "tenant_id", "tenant_id"), Tenant(ACME), ACME),
    ],
)
def test_a_row_is_filled_in_the_type_of_its_column_and_the_callers_stays_as_it_was(
    column: TenantColumn, tenant: Tenant, own: object
):
    rows: list[dict[str, Any]] = [{"body": "one"}, {"body": "two", "tenant_id": None}]

    filled = fill_rows(column, rows, tenant)

    assert [row["tenant_id"] for row in filled] == [own, own]
    assert rows == [{"body": "one"}, {"body": "two", "tenant_id": None}]


@pytest.mark.parametrize(("column", "wanted"), [(UUIDS, "uuid"), (NUMBERS, "int")])
def test_a_tenant_that_the_column_cannot_hold_is_named(column: TenantColumn, wanted: str):
    with pytest.raises(TenantTypeError, match=wanted):
        column.value_for(Tenant("acme"))


def test_importing_tenantry_loads_the_standard_library_only():
    code = (
        "import json, sys; before = set(sys.modules); import tenantry; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )

    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)

    assert set(loaded) - set(sys.stdlib_module_names) == {"tenantry"}
