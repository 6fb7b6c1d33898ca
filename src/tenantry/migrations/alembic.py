"""Alembic: reading a script folder, where a database stands, and bringing it to head.

The folder's `env.py` is not run: the target, the transactions and the version table are tenantry's
(`docs/decisions/2026-11-24-alembic-without-env.md`).
"""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from tenantry.core.names import VERSION_TABLE
from tenantry.migrations.errors import MigrationFailedError, MigrationFolderError
from tenantry.migrations.history import History, Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["LOCK_TIMEOUT", "read_current", "read_history", "upgrade"]

LOCK_TIMEOUT = timedelta(seconds=10)
"""How long a migration waits for a lock while everybody who came after it waits for the migration."""

# `alembic.op` is one for the process: two migrations at once would write through each other's connection.
_running = threading.Lock()


def read_history(folder: Path) -> History:
    """Read the revisions of *folder*. Runs the revision files' top level, and no `env.py`.

    Raises `MigrationFolderError` if a file cannot be loaded, a revision is missing, or there are two heads.
    """
    if not (folder / "versions").is_dir():
        raise MigrationFolderError(
            folder,
            why="cannot be read: there is no folder `versions` in it",
            way_out="give a folder that `alembic init` made",
        )
    script = ScriptDirectory(str(folder))
    try:
        heads = script.get_heads()
        found = [] if not heads else list(script.walk_revisions())
    except Exception as error:
        # Anything may be raised: the revision files are the app's own code.
        raise MigrationFolderError(
            folder, why=f"cannot be read: {_one_line(error)}", way_out="see that `alembic history` works there"
        ) from error
    if len(heads) > 1:
        raise MigrationFolderError(
            folder,
            why=f"have {len(heads)} heads, {', '.join(sorted(heads))}",
            way_out="join them with `alembic merge heads`",
        )
    revisions = [
        Revision(
            id=each.revision,
            file=Path(each.path),
            after=frozenset(each._all_down_revisions),  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - with depends_on
            title=each.doc,
        )
        for each in reversed(found)
    ]
    return History(folder, tuple(revisions))


def read_current(conn: psycopg.Connection[Any], schema: str) -> frozenset[str]:
    """Return the revisions that *schema* is at: none where nothing was migrated, several between branches."""
    table = sql.Identifier(schema, VERSION_TABLE)
    there = conn.execute("SELECT pg_catalog.to_regclass(%s)", [table.as_string(conn)]).fetchone()
    if there is None or there[0] is None:
        return frozenset()
    return frozenset(row[0] for row in conn.execute(sql.SQL("SELECT version_num FROM {}").format(table)))


def upgrade(
    connect: Callable[[], psycopg.Connection[Any]], folder: Path, *, schema: str, lock_timeout: timedelta = LOCK_TIMEOUT
) -> tuple[str, ...]:
    """Bring *schema* to the head of *folder*, each revision in a transaction of its own, and return those that ran.

    *connect* gives a connection as the role that is to own what is made, with autocommit off; it is closed here.
    Names without a schema are found in *schema*, then in `public`. Safe to repeat. Raises `MigrationFailedError`,
    after which nothing of the revision that failed is left, `UnknownRevisionError` and `MigrationFolderError`.
    """
    history = read_history(folder)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool)
    ran: list[str] = []

    def settle(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(
            "SELECT pg_catalog.set_config('search_path', %s, true), pg_catalog.set_config('lock_timeout', %s, true)",
            (f"{sql.Identifier(schema).as_string()}, public, pg_temp", f"{int(lock_timeout.total_seconds() * 1000)}ms"),
        )

    event.listen(engine, "begin", settle)
    with _running, engine.connect() as connection:
        _upgrade(connection, history, schema=schema, ran=ran)
    return tuple(ran)


def _upgrade(connection: sqlalchemy.Connection, history: History, *, schema: str, ran: list[str]) -> None:
    script = ScriptDirectory(str(history.folder))
    files = {revision.id: revision.file for revision in history.revisions}

    def steps(current: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        # Not taken from the plan: what is pending is read in the transaction that runs it.
        history.pending(frozenset(context.get_current_heads()), schema=schema)
        for step in script._upgrade_revs("head", current):  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what `alembic upgrade` calls
            ran.append(str(step.revision.revision))
            yield step

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            version_table_schema=schema,
            transaction_per_migration=True,
        )
        try:
            with environment.begin_transaction():
                environment.run_migrations()
        except Exception as error:
            # Anything may be raised: the migration is the app's own code.
            if not ran:
                raise
            failed = ran.pop()
            raise MigrationFailedError(failed, file=files[failed], schema=schema, reason=_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    """Say what went wrong without what SQLAlchemy adds: the statement and its parameters may hold anything."""
    cause = error.orig or error if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        return cause.diag.message_primary
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
