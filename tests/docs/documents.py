"""What the pages take for granted: a table that row security guards, its model, two tenants, and how to connect."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TENANT = "(SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)"


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    title: Mapped[str]


def lay(database):
    """Make the table in *database*, and give the names that the pages use."""
    owner_role = database.role("owner", "SUPERUSER")
    owner = sa.create_engine(database.url(owner_role, "psycopg"))
    app = database.role("app", "NOBYPASSRLS")
    Base.metadata.create_all(owner)
    with owner.begin() as connection:
        for statement in (
            "ALTER TABLE documents ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY tenant ON documents USING (tenant_id = {TENANT})",
            f"GRANT SELECT, INSERT ON documents TO {app}",
            f"GRANT USAGE ON SEQUENCE documents_id_seq TO {app}",
        ):
            connection.execute(sa.text(statement))
    owner.dispose()
    return {
        "DATABASE_URL": database.url(app, "psycopg"),
        "OWNER_URL": database.url(owner_role, "psycopg"),
        "ASYNC_DATABASE_URL": database.url(app, "asyncpg"),
        "ASYNCPG_URL": database.url(app, "asyncpg").replace("+asyncpg", ""),
        "DSN": database.dsn(app),
        "Document": Document,
        "acme": uuid.uuid4(),
        "globex": uuid.uuid4(),
    }
