"""An app whose context is signed, in a database of the test's own: its key, and sessions that send SQL of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry import Tenant, ddl
from tenantry.core.names import TOKEN_SETTING
from tenantry.session.context import Context
from tenantry.session.signing import ContextKey, token_of
from tests.plugins.site import COUNTRIES, DOCUMENTS, A, B, Site

SECRET = bytes(range(32))


@dataclass
class Signed:
    """The site with a document of each of two tenants, and the key that opens it."""

    site: Site
    key: ContextKey

    @property
    def guard(self) -> str:
        return self.site.app.guard_role

    def let_open(self, *keys: ContextKey) -> None:
        """Let exactly *keys* open the app."""
        remove, add = ddl.replace_context_keys(self.site.app)
        with self.site.owner.transaction():
            self.site.owner.execute(remove, [[key.id for key in keys]])
            for key in keys:
                self.site.owner.execute(add, [key.id, *key.pads, key.id])

    @contextmanager
    def session(self, role: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the app role, that of hostile SQL."""
        with self.site.connect(role or self.site.app.app_role) as conn:
            yield conn

    def tenants_seen(self, token: str | None, *before: str) -> list[str]:
        """Whose documents a transaction sees that begins with *token*, after the statements *before*."""
        with self.session() as conn, conn.transaction():
            if token is not None:
                conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, token])
            for statement in before:
                conn.execute(statement)  # type: ignore[arg-type] - the tests' own text
            query = sql.SQL("SELECT DISTINCT tenant_id::text FROM {}.documents ORDER BY 1")
            return [row[0] for row in conn.execute(query.format(sql.Identifier(self.site.app.schema)))]

    def token(self, tenant: str = A, *, user: str | None = None, **changed: Any) -> str:
        """A good token, or one of a key that differs in *changed*."""
        now = changed.pop("now", None)
        return token_of(Context(Tenant(tenant), user), replace(self.key, **changed), now=now)


@pytest.fixture
def signed(site: Site) -> Signed:
    site.app = replace(site.app, context="signed")
    site.layout = replace(site.layout, apps=(site.app,))
    site.prepare()
    site.migrate(DOCUMENTS, COUNTRIES, "CREATE TABLE alembic_version (version_num text)")
    site.secure()
    signed = Signed(site, ContextKey(f"{site.database.name}/{site.app.schema}", SECRET))
    signed.let_open(signed.key)
    for tenant in (A, B):
        with signed.session() as conn, conn.transaction():
            conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(tenant)])
            conn.execute("INSERT INTO documents (title) VALUES ('x')")
    return signed
