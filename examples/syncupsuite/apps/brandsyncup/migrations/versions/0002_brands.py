"""Brands."""

import sqlalchemy as sa
from alembic import op

revision = "brand0002"
down_revision = "brand0001"

SCHEMA = "brandsyncup"


def upgrade() -> None:
    """Make the table of brands."""
    op.create_table(
        "brands",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hex", sa.CHAR(6), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("guidelines", sa.Text),
        sa.PrimaryKeyConstraint("tenant_id", "slug"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drop the table of brands."""
    op.drop_table("brands", schema=SCHEMA)
