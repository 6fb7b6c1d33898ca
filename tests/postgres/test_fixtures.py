"""The fixtures themselves: other tests stand on them."""

import psycopg
import pytest
import sqlalchemy as sa


def test_a_role_of_the_database_logs_in_with_its_attributes(database):
    role = database.role("app", "NOBYPASSRLS", "NOINHERIT")

    with psycopg.connect(database.dsn(role)) as connection:
        found = connection.execute(
            "SELECT current_database(), rolbypassrls, rolinherit FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()

    assert found == (database.name, False, False)


def test_an_sqlalchemy_url_of_a_role_connects(database):
    engine = sa.create_engine(database.url(database.role("app"), "psycopg"))

    with engine.connect() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
    engine.dispose()

    assert name == database.name


@pytest.mark.parametrize("turn", [1, 2])
def test_roles_that_a_test_made_by_sql_are_gone_in_the_next(database, turn):
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE made_by_sql")
        connection.execute("CREATE TABLE public.t (a int)")
        connection.execute("GRANT ALL ON TABLE public.t TO made_by_sql")

        # The second turn would fail above, had the first left its role.
        assert turn in {1, 2}
