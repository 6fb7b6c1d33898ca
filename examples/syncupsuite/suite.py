"""SyncUpSuite's customers, and how the rows of `data/` are shared out between them.

An app's rows are loaded as an application would write them: through its own role, inside a tenant scope, with no
`tenant_id` in sight.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from tenantry import Tenant, tenant_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer of one app, whose rows no other customer may reach."""

    app: str
    name: str
    tenant_id: UUID

    @property
    def tenant(self) -> Tenant:
        """The customer as a tenant."""
        return Tenant(self.tenant_id)


ACME = Customer("brandsyncup", "Acme Studio", UUID("a0000000-0000-4000-8000-000000000001"))
GLOBEX = Customer("brandsyncup", "Globex Brands", UUID("a0000000-0000-4000-8000-000000000002"))
INITECH = Customer("legalsyncup", "Initech Legal", UUID("b0000000-0000-4000-8000-000000000001"))
UMBRELLA = Customer("legalsyncup", "Umbrella Counsel", UUID("b0000000-0000-4000-8000-000000000002"))

CUSTOMERS = (ACME, GLOBEX, INITECH, UMBRELLA)

Rows = dict[str, list[dict[str, Any]]]
"""The rows of each table, in an order that keeps foreign keys."""


def rows_of(customer: Customer) -> Rows:
    """All rows of *customer*, without `tenant_id`."""
    return _MAKERS[customer.app](customer)


def expected_counts(customer: Customer) -> dict[str, int]:
    """How many rows of each table *customer* should see."""
    return {table: len(rows) for table, rows in rows_of(customer).items()}


def load(engine: Engine, customer: Customer) -> None:
    """Write the rows of *customer* through *engine*, which logs in as the app's role. All of them, or none."""
    tables = models(customer.app).Base.metadata.tables
    with tenant_scope(customer.tenant, user="loader"), Session(engine) as session, session.begin():
        for table, rows in rows_of(customer).items():
            session.execute(insert(tables[f"{customer.app}.{table}"]), rows)


def models(app: str) -> ModuleType:
    """The module `apps/<app>/models.py`."""
    return _MODELS[app]


def _brandsyncup(customer: Customer) -> Rows:
    organization = uuid5(customer.tenant_id, "organization")
    brands = [row for row in _read("brands.jsonl") if _belongs(row["slug"], customer is ACME, first_of_second="n")]
    documents = [
        {"organization_id": organization, "title": f"{row['name']} guidelines", "body": row["guidelines"]}
        for row in brands
        if row["guidelines"]
    ]
    slug = customer.name.lower().replace(" ", "-")
    return {
        "organizations": [{"id": organization, "name": customer.name, "slug": slug}],
        "documents": documents,
        "brands": brands,
    }


def _legalsyncup(customer: Customer) -> Rows:
    licences = [
        {"spdx_id": row["spdx_id"], "name": row["name"], "url": row.get("url"), "osi_approved": row["osiApproved"]}
        for row in _read("licences.jsonl")
        if _belongs(row["spdx_id"], customer is INITECH, first_of_second="l")
    ]
    matters = [
        {"title": f"May we ship under {row['name']}?", "spdx_id": row["spdx_id"]}
        for row in licences
        if not row["osi_approved"]
    ]
    return {"licences": licences, "matters": matters}


_MAKERS: Mapping[str, Callable[[Customer], Rows]] = {"brandsyncup": _brandsyncup, "legalsyncup": _legalsyncup}


def _belongs(key: str, to_first: bool, *, first_of_second: str) -> bool:  # noqa: FBT001 - private, one caller a line
    """The first customer has the keys that sort before *first_of_second*: shares of different sizes."""
    return (key.casefold() < first_of_second) is to_first


def _read(name: str) -> list[dict[str, Any]]:
    with (HERE / "data" / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _import(app: str) -> ModuleType:
    """Import `apps/<app>/models.py` under a name of its own: both apps call theirs `models`."""
    spec = importlib.util.spec_from_file_location(f"syncupsuite_{app}", HERE / "apps" / app / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Mapped[...] annotations are looked up in the module that sys.modules holds.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_MODELS = {app: _import(app) for app in _MAKERS}
