"""For `alembic revision --autogenerate`: tenantry carries migrations out itself and does not run this file."""

import sys
from pathlib import Path

from alembic import context

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import Base

with context.config.attributes["connection"] as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_schemas=True,
        version_table_schema=Base.metadata.schema,
    )
    with context.begin_transaction():
        context.run_migrations()
