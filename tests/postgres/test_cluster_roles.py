"""Roles and databases with the attributes that Neon's API gives them."""

import psycopg
import pytest
from psycopg import sql

from tenantry.local.errors import ForeignRoleError
from tests.plugins.postgres import HOST

ATTRIBUTES = """
    SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
           pg_has_role(oid, 'neon_superuser', 'member')
    FROM pg_catalog.pg_roles WHERE rolname = %s
"""


def log_in(cluster, role, password, database="postgres"):
    return psycopg.connect(host=HOST, port=cluster.port, user=role, password=password, dbname=database, autocommit=True)


def attributes(cluster, name):
    with cluster.connect() as connection:
        return connection.execute(ATTRIBUTES, [name]).fetchone()


def test_a_role_has_the_attributes_of_one_that_neons_api_made(database):
    cluster, name = database.cluster, f"{database.name}_owner"

    cluster.ensure_role(name, "first")

    assert attributes(cluster, name) == (False, True, True, True, True, True, True, True)
    log_in(cluster, name, "first").close()


def test_a_role_without_login_has_the_rest_of_them(database):
    cluster, name = database.cluster, f"{database.name}_group"

    cluster.ensure_role(name, None, no_login=True)

    assert attributes(cluster, name) == (False, True, True, True, False, True, True, True)


def test_making_a_role_again_gives_it_its_attributes_and_the_new_password(database):
    cluster, name = database.cluster, f"{database.name}_owner"
    cluster.ensure_role(name, "first")
    with cluster.connect() as connection:
        connection.execute(f"ALTER ROLE {name} NOBYPASSRLS NOLOGIN")

    cluster.ensure_role(name, "second")

    assert attributes(cluster, name) == (False, True, True, True, True, True, True, True)
    log_in(cluster, name, "second").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(cluster, name, "first")


def test_a_role_made_by_sql_never_comes_to_bypass_row_security(database):
    app = database.role("app", "NOBYPASSRLS")

    with pytest.raises(ForeignRoleError) as caught:
        database.cluster.ensure_role(app, "x")

    assert caught.value.name == app
    assert attributes(database.cluster, app)[6:] == (False, False)


def test_a_new_password_takes_the_place_of_the_old(database):
    cluster, name = database.cluster, f"{database.name}_owner"
    cluster.ensure_role(name, "first")

    cluster.set_role_password(name, "it's \\ new")

    log_in(cluster, name, "it's \\ new").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(cluster, name, "first")


def test_names_are_never_taken_for_sql(database):
    cluster, name = database.cluster, f'{database.name}"; DROP ROLE cloud_admin; --'

    cluster.ensure_role(name, "x")
    cluster.create_database(name, name)
    cluster.drop_database(name)
    cluster.drop_role(name)

    assert attributes(cluster, name) is None
    assert attributes(cluster, "cloud_admin") is not None


def test_a_dropped_roles_objects_go_to_the_owner_of_their_database(database):
    cluster, leaver, owner = database.cluster, f"{database.name}_leaver", f"{database.name}_owner"
    cluster.ensure_role(leaver, "x")
    cluster.ensure_role(owner, "y")
    cluster.alter_database_owner(database.name, owner)
    made = sql.Identifier(f"{database.name}_made_by_leaver")
    with cluster.connect(database.name) as connection:
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(leaver)))
    with log_in(cluster, leaver, "x", database.name) as connection:
        connection.execute("CREATE TABLE public.left_behind (a int)")
        connection.execute(sql.SQL("CREATE ROLE {}").format(made))
        connection.execute(sql.SQL("GRANT {} TO {}").format(made, sql.Identifier(owner)))

    cluster.drop_role(leaver)
    cluster.drop_role(leaver)

    assert attributes(cluster, leaver) is None
    with cluster.connect(database.name) as connection:
        found = connection.execute("SELECT tableowner FROM pg_catalog.pg_tables WHERE tablename = 'left_behind'")
        assert found.fetchone() == (owner,)


@pytest.fixture
def owned(database):
    """A database that an owner of Neon's kind has, and that owner."""
    cluster, name = database.cluster, f"{database.name}_db"
    cluster.ensure_role(f"{name}_owner", "x")
    cluster.create_database(name, f"{name}_owner")
    yield name, f"{name}_owner"
    cluster.drop_database(name)
    cluster.drop_database(f"{name}_renamed")


def test_a_database_and_its_public_schema_are_its_owners(database, owned):
    name, owner = owned

    database.cluster.create_database(name, owner)

    with log_in(database.cluster, owner, "x", name) as connection:
        connection.execute("CREATE TABLE public.mine (a int)")
        row = connection.execute(
            "SELECT pg_catalog.pg_get_userbyid(datdba), to_regnamespace('public')::oid IN "
            "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspowner = current_user::regrole) "
            "FROM pg_catalog.pg_database WHERE datname = current_database()"
        ).fetchone()
        defaults = connection.execute(
            "SELECT defaclobjtype::text, defaclacl::text FROM pg_catalog.pg_default_acl ORDER BY 1"
        ).fetchall()
    assert row == (owner, True)
    assert [kind for kind, _ in defaults] == ["S", "r"]
    assert all("neon_superuser=" in acl and "*" in acl for _, acl in defaults)


def test_a_database_is_renamed_though_somebody_is_in_it(database, owned):
    name, owner = owned
    with log_in(database.cluster, owner, "x", name) as connection:
        database.cluster.rename_database(name, f"{name}_renamed")

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    log_in(database.cluster, owner, "x", f"{name}_renamed").close()


def test_a_database_gets_another_owner(database, owned):
    name, _ = owned
    heir = f"{database.name}_heir"
    database.cluster.ensure_role(heir, "x")

    database.cluster.alter_database_owner(name, heir)

    with database.cluster.connect() as connection:
        found = connection.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [name])
        assert found.fetchone() == (heir,)


def test_a_database_is_dropped_though_somebody_is_in_it(database, owned):
    name, owner = owned
    with log_in(database.cluster, owner, "x", name):
        database.cluster.drop_database(name)
        database.cluster.drop_database(name)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        log_in(database.cluster, owner, "x", name)
