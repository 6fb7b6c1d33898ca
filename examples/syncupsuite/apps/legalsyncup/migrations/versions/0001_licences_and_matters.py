"""Licences, and the matters about them."""

import sqlalchemy as sa
from alembic import op

revision = "legal0001"
down_revision = None

SCHEMA = "legalsyncup"


def upgrade() -> None:
    """Make both tables; tenantry puts row security and grants on them."""
    op.create_table(
        "licences",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("spdx_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("osi_approved", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "spdx_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "matters",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("status", sa.Text, server_default="open", nullable=False),
        sa.Column("spdx_id", sa.Text),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "spdx_id"], [f"{SCHEMA}.licences.tenant_id", f"{SCHEMA}.licences.spdx_id"]
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("matters", schema=SCHEMA)
    op.drop_table("licences", schema=SCHEMA)
