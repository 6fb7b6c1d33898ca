"""The tables of the application, and those of its register, which another role reads."""

from typing import ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__: ClassVar = {"schema": "tickets"}

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID]
    title: Mapped[str]
    author: Mapped[str]


class Customer(Base):
    __tablename__ = "tenants"
    __table_args__: ClassVar = {"schema": "register"}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[str]


class Member(Base):
    __tablename__ = "members"
    __table_args__: ClassVar = {"schema": "register"}

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Customer.id), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
