"""BrandSyncUp: organizations work on documents about their brands."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Every table names its schema; nothing relies on search_path."""

    metadata = MetaData(schema="brandsyncup")


class Organization(Base):
    """A customer's organization. `tenant_id` leads each key, so no row can point into another tenant's."""

    __tablename__ = "organizations"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str]
    slug: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Document(Base):
    """A document of an organization."""

    __tablename__ = "documents"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "organization_id"], ["brandsyncup.organizations.tenant_id", "brandsyncup.organizations.id"]
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    organization_id: Mapped[UUID]
    title: Mapped[str]
    body: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Brand(Base):
    """A brand: its name, colour, and where its logo and guidelines come from."""

    __tablename__ = "brands"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    hex: Mapped[str]
    source: Mapped[str]
    guidelines: Mapped[str | None]
