"""Organizations and their documents."""

import sqlalchemy as sa
from alembic import op

revision = "brand0001"
down_revision = None

SCHEMA = "brandsyncup"


def upgrade() -> None:
    """Make both tables; tenantry puts row security and grants on them."""
    op.create_table(
        "organizations",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "slug"),
        schema=SCHEMA,
    )
    op.create_table(
        "documents",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "organization_id"], [f"{SCHEMA}.organizations.tenant_id", f"{SCHEMA}.organizations.id"]
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("documents", schema=SCHEMA)
    op.drop_table("organizations", schema=SCHEMA)
