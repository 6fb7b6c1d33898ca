"""LegalSyncUp: matters, and the licences that they are about."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Every table names its schema; nothing relies on search_path."""

    metadata = MetaData(schema="legalsyncup")


class Licence(Base):
    """A licence by its SPDX id. The same id may stand in each tenant: `tenant_id` leads the key."""

    __tablename__ = "licences"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    spdx_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    url: Mapped[str | None]
    osi_approved: Mapped[bool]


class Matter(Base):
    """A matter that is open or closed, about a licence or none."""

    __tablename__ = "matters"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "spdx_id"], ["legalsyncup.licences.tenant_id", "legalsyncup.licences.spdx_id"]
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    title: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="open")
    spdx_id: Mapped[str | None]
    opened_at: Mapped[datetime] = mapped_column(server_default=func.now())
