"""A cluster without its rows: nothing that was in a table is left, and all else is."""

from typing import Any

from tenantry.local.clusters.cluster import Cluster
from tenantry.local.clusters.emptying import empty
from tests.plugins.postgres import scalar

_SCHEMA = """
CREATE TABLE parent (id serial PRIMARY KEY, name text);
CREATE TABLE child (id int GENERATED ALWAYS AS IDENTITY, parent int REFERENCES parent, note text);
CREATE TABLE parts (a int) PARTITION BY RANGE (a);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE SEQUENCE numbers START 5;
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not allowed'; END $$;
CREATE TRIGGER never BEFORE TRUNCATE ON child EXECUTE FUNCTION no();
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON child USING (true);
CREATE ROLE reader_of_emptied;
GRANT SELECT ON child TO reader_of_emptied;
INSERT INTO parent (name) SELECT 'a secret' FROM generate_series(1, 100);
INSERT INTO child (parent, note) VALUES (1, 'x');
INSERT INTO parts VALUES (1);
CREATE MATERIALIZED VIEW seen AS SELECT name FROM parent;
SELECT nextval('numbers');
SELECT lo_from_bytea(0, 'a secret');
ANALYZE;
"""


def test_rows_statistics_and_sequences_go_and_the_schema_stays(cluster: Cluster):
    cluster.create_database("shop", "cloud_admin")
    with cluster.connect("shop") as connection:
        connection.execute(_SCHEMA)

    empty(cluster)

    def read(query: Any) -> Any:
        return scalar(cluster, query, database="shop")

    for table in ("parent", "child", "parts"):
        assert read(f"SELECT count(*) FROM {table}") == 0
    assert read("SELECT relispopulated FROM pg_class WHERE relname = 'seen'") is False
    assert read("SELECT count(*) FROM pg_largeobject_metadata") == 0
    assert read("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'") == 0
    assert read("SELECT nextval('numbers')") == 5
    assert read("INSERT INTO parent (name) VALUES ('first') RETURNING id") == 1
    assert read("INSERT INTO child (note) VALUES ('first') RETURNING id") == 1
    assert read("SELECT count(*) FROM pg_policies") == 1
    assert read("SELECT has_table_privilege('reader_of_emptied', 'child', 'SELECT')") is True
