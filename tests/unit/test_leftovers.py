"""What a statement leaves on its connection, read from its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.session.errors import LibraryError, TransactionControlError
from tenantry.session.leftovers import EVERYTHING, NOTHING, Left, clean_after, clean_before, read

QUIET = [
    "SELECT id, title FROM documents WHERE id = $1",
    "SELECT documents.id AS documents_id FROM shop.documents WHERE documents.id = %(pk_1)s::UUID",
    "SELECT count(*), max(x) FILTER (WHERE x > 0), row_number() OVER (PARTITION BY a ORDER BY (b)) FROM t",
    "WITH x (a, b) AS (SELECT 1, 2) SELECT * FROM x WHERE (a) IN (1, 2) AND EXISTS (SELECT 1) AND a = ANY ($1)",
    "UPDATE t SET a = coalesce($1, lower(b)) WHERE c::numeric(10, 2) > 1",
    "DELETE FROM t USING u WHERE t.id = u.id RETURNING t.id",
    "SELECT a FROM t JOIN LATERAL (SELECT 1) AS s (b) ON (true) GROUP BY (a) HAVING count(*) > 1 LIMIT (3)",
    "SELECT pg_catalog.set_config('app.tenant_id', $1, true)",
    "SELECT set_config('a', 'b', TRUE)",
    "SET LOCAL statement_timeout = 1",
    "SET TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL DEFERRED",
    "SELECT temp, listen, prepare FROM t",
    "SELECT 'LISTEN x; SET a = 1', $$ DO 1; PREPARE x $$, $a$ $$ nextval('s') $a$, E'\\'; SET a = 1'",
    "SELECT 1 -- nextval('s')\n, 2 /* f() /* g() */ h() */",
    'SELECT "f(1)", "nextval" FROM t',
    "EXPLAIN (ANALYZE) SELECT 1",
    "COPY (SELECT 1) TO STDOUT",
    "SAVEPOINT a; RELEASE a",
    "DECLARE c CURSOR FOR SELECT 1",
    "SELECT x::date, date '2026-01-01', current_date, now(), current_setting('a', true)",
    "VALUES (1), (2)",
]


@pytest.mark.parametrize("text", QUIET)
def test_what_leaves_nothing_costs_nothing(text: str):
    assert read(text).left == NOTHING
    assert clean_before(NOTHING) == clean_after(NOTHING) == ()


LEAVING = {
    "CREATE TEMP TABLE t (a int)": Left.TEMP,
    "create local temporary view v as select 1": Left.TEMP,
    "SELECT 1 AS a INTO TEMPORARY t": Left.TEMP,
    "CREATE TABLE pg_temp.t (a int)": Left.TEMP,
    "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1": Left.CURSORS,
    "LISTEN jobs": Left.LISTEN,
    "SET statement_timeout = 0": Left.SETTINGS,
    "set SESSION characteristics AS TRANSACTION READ ONLY": Left.SETTINGS,
    "SELECT set_config('a', 'b', false)": Left.SETTINGS | Left.ROLE,
    "SELECT set_config('a', 'b', $1)": Left.SETTINGS | Left.ROLE,
    "SELECT set_config('a', upper(concat('b', true)), is_local => true)": Left.SETTINGS | Left.ROLE,
    "SELECT \"set_config\"('a', 'b', false)": Left.SETTINGS | Left.ROLE,
    "SELECT pg_catalog . set_config ('a', 'b', false)": Left.SETTINGS | Left.ROLE,
    "SET ROLE admin": Left.ROLE,
    "SET SESSION ROLE admin": Left.ROLE,
    "SET SESSION AUTHORIZATION admin": Left.ROLE,
    "SELECT pg_advisory_lock(1)": Left.LOCKS,
    "SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)": Left.LOCKS,
    "PREPARE p AS SELECT 1": Left.PREPARED,
    "INSERT INTO shop.documents (title) VALUES ('a')": Left.SEQUENCES,
    "WITH a AS (INSERT INTO t (b) VALUES (1) RETURNING *) SELECT * FROM a": Left.SEQUENCES,
    "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED THEN INSERT VALUES (1)": Left.SEQUENCES,
    "SELECT nextval('s')": Left.SEQUENCES,
    "SELECT 1; /* a */ LISTEN x -- b\n; SELECT 2": Left.LISTEN,
    "COPY t FROM STDIN": Left.SEQUENCES,
    "DO $$ BEGIN NULL; END $$": EVERYTHING,
    "CALL p()": EVERYTHING,
    "SELECT f(1)": EVERYTHING,
    "SELECT shop.lower(1)": EVERYTHING,
    'SELECT "Lower"(1)': EVERYTHING,
    "SELECT 1 FROM t JOIN u ON f(t.a)": EVERYTHING,
    "SELECT dblink_exec('x')": EVERYTHING,
    "SELECT query_to_xml('select nextval(''s'')', true, true, '')": EVERYTHING,
    "EXPLAIN ANALYZE EXECUTE p; SELECT f ()": EVERYTHING,
    "SELECT 'a\\', f(1) --'": EVERYTHING,
    "SELECT /* no end": EVERYTHING,
    "SELECT $a$ no end": EVERYTHING,
}


@pytest.mark.parametrize(("text", "left"), LEAVING.items())
def test_what_leaves_something_is_seen(text: str, left: Left):
    assert read(text).left == left
    assert clean_before(left)


CONTROL = ["BEGIN", "start transaction", "COMMIT", "commit and chain", "END", "ROLLBACK", "ROLLBACK WORK", "ABORT"]
CONTROL += ["PREPARE TRANSACTION 'x'", "SELECT 1; commit", "/* a /* b */ */ COMMIT", "SELECT 1 -- a\r; ROLLBACK"]
CONTROL += ["SELECT 'a'';'; END", "SELECT $$;$$; END", "SELECT E'\\';'; END;", ";;COMMIT", 'SELECT "a;"; COMMIT']


@pytest.mark.parametrize("text", CONTROL)
def test_text_that_begins_or_ends_a_transaction_is_refused(text: str):
    with pytest.raises(TransactionControlError, match="as text"):
        read(text).check()

    assert not read(text).plain


@pytest.mark.parametrize(
    "text", ["ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a", "SELECT 'COMMIT'", "SELECT 1 AS begin"]
)
def test_savepoints_and_mere_words_are_not(text: str):
    read(text).check()

    assert read(text).plain


def test_a_library_is_refused():
    with pytest.raises(LibraryError):
        read("LOAD 'x'").check()


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), (" ; -- a\n;/* b */", 0), ("SELECT 1;", 1), ("SELECT 1; SELECT ';'", 2)]
)
def test_statements_are_counted(text: str, count: int):
    assert read(text).count == count


def test_a_rollback_undoes_most_of_it():
    assert clean_after(Left.TEMP | Left.SETTINGS | Left.ROLE | Left.LISTEN | Left.CURSORS) == ()
    assert len(clean_after(EVERYTHING)) == 3


@given(st.text())
def test_every_text_can_be_read(text: str):
    assert read(text) == read(text)


@given(st.text(alphabet="aA'\"$;-/*\\ \n(", max_size=12), st.sampled_from(["LISTEN x", "SELECT f(1)"]))
def test_what_follows_a_statement_is_read_or_taken_for_anything(before: str, after: str):
    """Whatever comes before: either it swallows the text, as Postgres does too, or the text counts."""
    reading = read(f"{before}\n;{after}")

    quoted = before.count("'") % 2 or before.count('"') % 2 or "$" in before or "/*" in before
    assert quoted or reading.left != NOTHING
