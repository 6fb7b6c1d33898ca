"""A cluster without its rows: schema, roles and grants stay, and nothing that was in a table does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from psycopg import Connection

    from tenantry.local.clusters.cluster import Cluster

__all__ = ["empty"]

_DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"

# What belongs to an extension stays: `CREATE EXTENSION` filled it, as it would in a schema that is loaded anew.
_NOT_OF_EXTENSION = """
    NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_t%%'
"""
_RELATIONS = f"""
    SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind::text = ANY(%s) AND {_NOT_OF_EXTENSION} ORDER BY 1, 2
"""  # noqa: S608 - two constants
_LARGE_OBJECTS = "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata"
# Statistics hold samples of the rows.
_STATISTICS = (
    "SET allow_system_table_mods = on",
    """
    DELETE FROM pg_catalog.pg_statistic s USING pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
    ON n.oid = c.relnamespace WHERE c.oid = s.starelid AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    """,
    "DELETE FROM pg_catalog.pg_statistic_ext_data",
    "RESET allow_system_table_mods",
)


def empty(cluster: Cluster) -> None:
    """Remove all rows of every database of a running cluster, and set its sequences back to their start.

    As after loading a dump of the schema alone: materialized views are not populated, large objects are gone.
    """
    with cluster.connect() as connection:
        databases = [name for (name,) in connection.execute(_DATABASES)]
    for database in databases:
        with cluster.connect(database) as connection:
            _empty_database(connection)


def _empty_database(connection: Connection) -> None:
    # No trigger of the user's runs, and no event trigger.
    connection.execute("SET session_replication_role = replica")
    tables = _relations(connection, ["r", "p"])
    if tables:
        connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(tables)))
    for name in _relations(connection, ["S"]):
        connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(name))
    for name in _relations(connection, ["m"]):
        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {} WITH NO DATA").format(name))
    connection.execute(_LARGE_OBJECTS)
    for statement in _STATISTICS:
        connection.execute(statement)


def _relations(connection: Connection, kinds: list[str]) -> list[sql.Identifier]:
    return [sql.Identifier(schema, name) for schema, name in connection.execute(_RELATIONS, [kinds])]
