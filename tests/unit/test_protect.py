"""What `protect` refuses leaves the engine as it was."""

import pytest
from sqlalchemy import create_engine

from tenantry.core.errors import InvalidNameError
from tenantry.session.sqlalchemy import protect


def test_what_was_refused_is_refused_again_and_does_not_count_as_protected():
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")

    for _ in range(2):
        with pytest.raises(InvalidNameError):
            protect(engine, scope="partner", schema="No Such Schema")

    assert protect(engine) is engine
