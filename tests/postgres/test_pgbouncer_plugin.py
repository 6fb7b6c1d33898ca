"""The tests' PgBouncer stands in between, in transaction mode."""

from contextlib import closing

import psycopg

from tests.plugins.pgbouncer import Bouncer
from tests.plugins.postgres import Database

ME = "SELECT pg_backend_pid()"


def test_two_clients_meet_on_one_server(database: Database, pgbouncer: Bouncer):
    role = database.role("app")
    dsn = pgbouncer.dsn(database, role)
    with closing(psycopg.connect(dsn, autocommit=True)) as one, closing(psycopg.connect(dsn, autocommit=True)) as two:
        assert one.execute(ME).fetchall() == two.execute(ME).fetchall() != [(one.info.backend_pid,)]
        one.execute("SET app.kept = 'here'")

        assert two.execute("SHOW app.kept").fetchone() == ("here",)


def test_it_comes_back_at_its_port_after_it_was_stopped(database: Database, new_pgbouncer):
    bouncer = new_pgbouncer(pool_size=2)
    bouncer.stop()
    bouncer.start()

    with closing(psycopg.connect(bouncer.dsn(database, database.role("app")))) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
