"""The schema of one database of a running cluster: as `pg_dump` writes it, and as a table of tables."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

from tenantry.local.clusters import roles
from tenantry.local.clusters.privileges import clean_environment
from tenantry.local.errors import DumpError

if TYPE_CHECKING:
    from tenantry.local.clusters.cluster import Cluster

__all__ = ["dump_schema", "read_tables", "without_restrictions"]

_TIMEOUT_SECONDS = 120

# Newer versions of pg_dump fence their output with a key that is another each time.
_FENCE = re.compile(r"^\\restrict (\w+)$", re.MULTILINE)

_COLUMNS = """
    SELECT n.nspname, c.relname,
           pg_catalog.json_agg(pg_catalog.json_build_object(
               'name', a.attname,
               'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
               'nullable', NOT a.attnotnull,
               'generated', a.attgenerated <> ''
           ) ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    GROUP BY n.nspname, c.relname
    ORDER BY n.nspname, c.relname
"""

_CONSTRAINTS = """
    SELECT n.nspname, c.relname, o.conname, o.contype::text,
           (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)
            FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.number),
           fn.nspname, fc.relname,
           (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)
            FROM pg_catalog.unnest(o.confkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.confrelid AND a.attnum = k.number)
    FROM pg_catalog.pg_constraint AS o
    JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS fc ON fc.oid = o.confrelid
    LEFT JOIN pg_catalog.pg_namespace AS fn ON fn.oid = fc.relnamespace
    WHERE o.contype IN ('p', 'u', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY n.nspname, c.relname, o.contype = 'f', o.contype, o.conname
"""

_KINDS = {"p": "primary_key", "u": "unique", "f": "foreign_key"}


def dump_schema(cluster: Cluster, database: str) -> str:
    """Return the SQL that makes the objects of *database*, with their owners and no rows. Raises `DumpError`."""
    answer = subprocess.run(
        [
            str(cluster.binaries.program("pg_dump")),
            "--schema-only",
            f"--host={cluster.sockets}",
            f"--port={cluster.port}",
            f"--username={roles.SUPERUSER}",
            "--no-password",
            f"--dbname={_conninfo(database)}",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd="/",
        timeout=_TIMEOUT_SECONDS,
        env=clean_environment() | {"PGPASSWORD": cluster.superuser_password, "PGCLIENTENCODING": "UTF8"},
        **cluster.runner.spawn(),
    )
    if answer.returncode != 0:
        raise DumpError(
            cluster.data,
            why=f"`pg_dump` of the database {database!r} failed",
            way_out="mend what it says, and try again",
            log=answer.stderr,
        )
    return without_restrictions(answer.stdout)


def _conninfo(database: str) -> str:
    # A name with `=` in it would be read as a list of parameters, so it is given as one.
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{quoted}'"


def without_restrictions(dump: str) -> str:
    """Return *dump* without the fence that makes two dumps of one schema differ."""
    found = _FENCE.search(dump)
    if found is None:
        return dump
    fence = {f"\\restrict {found[1]}", f"\\unrestrict {found[1]}"}
    return "".join(line for line in dump.splitlines(keepends=True) if line.rstrip("\n") not in fence)


def read_tables(cluster: Cluster, database: str) -> list[dict[str, Any]]:
    """Return the tables of *database* as Neon's JSON schema has them: columns and constraints, in a fixed order."""
    with cluster.connect(database) as connection:
        columns = connection.execute(_COLUMNS).fetchall()
        constraints = connection.execute(_CONSTRAINTS).fetchall()
    tables: dict[tuple[str, str], dict[str, Any]] = {
        (schema, name): {"schema": schema, "name": name, "columns": found or [], "constraints": []}
        for schema, name, found in columns
    }
    for schema, name, constraint, kind, names, other_schema, other, other_names in constraints:
        entry: dict[str, Any] = {"type": _KINDS[kind], "columns": names, "name": constraint}
        if kind == "f":
            entry["referenced_table"] = {"schema": other_schema, "table": other, "columns": other_names}
        tables[schema, name]["constraints"].append(entry)
    return list(tables.values())
