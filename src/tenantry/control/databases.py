"""What the control plane does inside a branch's database: blocking, a connection each, no decisions."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg.rows import dict_row

from tenantry import ddl, migrations
from tenantry.control.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from tenantry.core.conninfo import Conninfo
    from tenantry.core.layout import App, Layout
    from tenantry.ddl import DatabaseState
    from tenantry.session.signing import ContextKey

__all__ = [
    "Inside",
    "connect",
    "end_copied_sessions",
    "look_inside",
    "prepare",
    "read_audit_log",
    "secure",
    "set_context_keys",
    "set_passwords",
    "try_login",
    "upgrade",
]

APPLICATION_NAME = "tenantry"

_CONNECT_TIMEOUT_SECONDS = 30

_WAYS_OUT: dict[type[psycopg.Error], str] = {
    psycopg.errors.FeatureNotSupported: "this Postgres does not offer it; take it out of the layout or use another one",
    psycopg.errors.UndefinedFile: "this Postgres does not offer it; take it out of the layout or use another one",
    psycopg.errors.NotNullViolation: "give every row a tenant in a migration first",
    psycopg.errors.LockNotAvailable: "another session holds a lock; try again when it has ended",
}


@contextmanager
def connect(conninfo: Conninfo, *, name: str = APPLICATION_NAME) -> Generator[psycopg.Connection[Any]]:
    """Open a connection for the work inside, in autocommit. What Postgres refuses is a `DatabaseFailedError`."""
    try:
        with psycopg.connect(
            conninfo.dsn(), autocommit=True, application_name=name, connect_timeout=_CONNECT_TIMEOUT_SECONDS
        ) as conn:
            yield conn
    except psycopg.Error as error:
        _fail(error)


def _fail(error: psycopg.Error) -> NoReturn:
    # The message in full may quote the statement that sets a password, so only its first part goes on, and no cause.
    reason = error.diag.message_primary or (str(error) if error.sqlstate is None else type(error).__name__)
    way_out = next((text for kind, text in _WAYS_OUT.items() if isinstance(error, kind)), None)
    raise DatabaseFailedError(f"{reason}: {way_out}" if way_out else reason, sqlstate=error.sqlstate) from None


@dataclass(frozen=True, slots=True)
class Inside:
    """What is in a branch's database.

    `revisions` says where the migrations of each schema stand, and `context_keys`, by the name of a signed app, the ids
    of the keys that open it.
    """

    database: DatabaseState
    revisions: Mapping[str, frozenset[str]]
    copied_sessions: bool
    context_keys: Mapping[str, frozenset[str]]


def look_inside(owner: Conninfo, layout: Layout, apps: tuple[App, ...]) -> Inside:
    """Read what a branch's database holds. Changes nothing."""
    with connect(owner) as conn:
        database = ddl.read_database(conn, **ddl.wanted_names(layout, apps))
        revisions = {app.schema: migrations.read_current(conn, app.schema) for app in apps}
        tables = {relation.name for relation in database.relations_of(layout.auth_schema)}
        copied = False
        if {"session", "verification", "account", "jwks"} <= tables:
            row = conn.execute(ddl.copied_sessions(layout.auth_schema)).fetchone()
            copied = row is not None and bool(row[0])
        keys = {
            app.name: frozenset(row[0] for row in conn.execute(ddl.read_context_keys(app)))
            for app in apps
            if app.context == "signed" and ddl.has_context_keys(database, app)
        }
    return Inside(database, revisions, copied, keys)


def try_login(conninfo: Conninfo) -> bool:
    """Whether the role gets in with this password."""
    try:
        with connect(conninfo):
            return True
    except DatabaseFailedError:
        return False


def set_passwords(owner: Conninfo, passwords: Mapping[str, str]) -> None:
    """Give each role its password, all in one transaction."""
    with connect(owner) as conn, conn.transaction():
        _set_passwords(conn, passwords)


def _set_passwords(conn: psycopg.Connection[Any], passwords: Mapping[str, str]) -> None:
    for role, password in passwords.items():
        conn.execute("SELECT pg_catalog.set_config('tenantry.password', %s, true)", [password])
        for statement in ddl.set_password(role):
            conn.execute(statement)


def set_context_keys(owner: Conninfo, app: App, keys: Iterable[ContextKey]) -> None:
    """Let exactly *keys* open *app*, in one transaction. They are parameters, and stand in no statement's text."""
    remove, add = ddl.replace_context_keys(app)
    wanted = {key.id: key.pads for key in keys}
    with connect(owner) as conn, conn.transaction():
        conn.execute(remove, [list(wanted)])
        for key, pads in wanted.items():
            conn.execute(add, [key, *pads, key])


def read_audit_log(owner: Conninfo, app: App, limit: int) -> tuple[dict[str, Any], ...]:
    """Read the latest uses of *app* by its operators, the newest first."""
    with connect(owner) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return tuple(cursor.execute(ddl.read_audit_log(app, limit=limit)).fetchall())


def end_copied_sessions(owner: Conninfo, schema: str) -> None:
    """Make the copy of the auth schema worthless to whoever reads it."""
    with connect(owner) as conn, conn.transaction():
        for statement in ddl.end_copied_sessions(schema):
            conn.execute(statement)


def prepare(owner: Conninfo, layout: Layout, apps: tuple[App, ...], passwords: Mapping[str, str]) -> None:
    """Make what is missing before migrations, with the passwords of the roles that are new: all of it, or nothing."""
    with connect(owner) as conn, conn.transaction():
        database = ddl.read_database(conn, **ddl.wanted_names(layout, apps))
        ddl.execute(conn, ddl.prepare_changes(database, layout, apps))
        _set_passwords(conn, {role: word for role, word in passwords.items() if role not in database.roles})


def upgrade(migrator: Conninfo, app: App) -> None:
    """Bring the schema of *app* to head, as its migrator."""
    if app.migrations is None:
        raise AssertionError(f"{app.name} has no migrations to run")
    dsn = migrator.dsn()

    def open_one() -> psycopg.Connection[Any]:
        return psycopg.connect(dsn, application_name=APPLICATION_NAME, connect_timeout=_CONNECT_TIMEOUT_SECONDS)

    migrations.upgrade(open_one, app.migrations.path, schema=app.schema)


def secure(owner: Conninfo, layout: Layout, app: App) -> None:
    """Wall in the tables of *app*: all of them, or nothing. Raises `RefusedTablesError` before anything is granted."""
    names: dict[str, Iterable[str]] = {**ddl.wanted_names(layout, (app,))}
    with connect(owner) as conn, conn.transaction():
        review = ddl.review_tables(ddl.read_database(conn, **names), app)
        if review.refusals:
            raise ddl.RefusedTablesError(app.schema, review.refusals)
        ddl.execute(conn, review.changes)
