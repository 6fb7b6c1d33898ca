"""What one query tells about the server, and about the roles whose rights a connection has or can take."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, LiteralString

__all__ = ["FACTS_QUERY", "PROBE", "Facts", "Owned", "Reached", "parse_facts"]

PROBE: Final = "tenantry.probe"
"""The setting that a check makes in a transaction, to see whether it holds in it and ends with it."""

FACTS_QUERY: Final[LiteralString] = """\
WITH RECURSIVE reach (role, start, via, become) AS (
    SELECT oid, oid, 0::oid, true FROM pg_catalog.pg_roles WHERE rolname IN (session_user, current_user)
  UNION
    SELECT edge.roleid, reach.start, CASE reach.via WHEN 0 THEN edge.roleid ELSE reach.via END, edge.become
    FROM reach CROSS JOIN LATERAL (
        SELECT m.roleid,
            m.admin_option
                OR (reach.become AND coalesce((pg_catalog.to_jsonb(m) ->> 'set_option')::bool, true)) AS become,
            coalesce((pg_catalog.to_jsonb(m) ->> 'inherit_option')::bool, true) AS inherits
        FROM pg_catalog.pg_auth_members AS m WHERE m.member = reach.role
    ) AS edge
    WHERE edge.become OR edge.inherits
), here (oid) AS (
    SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
)
SELECT pg_catalog.json_build_object(
    'version', pg_catalog.current_setting('server_version_num')::int,
    'cluster', pg_catalog.current_setting('cluster_name'),
    'database', pg_catalog.current_database(),
    'session_user', session_user,
    'current_user', current_user,
    'row_security', pg_catalog.current_setting('row_security'),
    'replication_role', pg_catalog.current_setting('session_replication_role'),
    'probe', coalesce(pg_catalog.current_setting('tenantry.probe', true), ''),
    'set_for', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
            pg_catalog.split_part(setting, '=', 1), s.setdatabase <> 0, s.setrole <> 0)), '[]')
        FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS setting
        WHERE s.setdatabase IN (SELECT 0 UNION ALL SELECT oid FROM here)
            AND (s.setrole = 0 OR pg_catalog.pg_get_userbyid(s.setrole) = session_user)
            AND pg_catalog.split_part(setting, '=', 1) IN ('row_security', 'session_replication_role')
    ),
    'roles', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', r.rolname,
            'start', pg_catalog.pg_get_userbyid(reach.start),
            'via', CASE WHEN reach.via <> 0 THEN pg_catalog.pg_get_userbyid(reach.via) END,
            'become', reach.become,
            'grantors', (
                SELECT coalesce(pg_catalog.json_agg(pg_catalog.pg_get_userbyid(m.grantor)), '[]')
                FROM pg_catalog.pg_auth_members AS m WHERE m.member = reach.start AND m.roleid = reach.via
            ),
            'bootstrap', r.oid = 10,
            'superuser', r.rolsuper,
            'bypassrls', r.rolbypassrls,
            'createrole', r.rolcreaterole,
            'replication', r.rolreplication,
            'createdb', r.rolcreatedb
        ))
        FROM (
            SELECT role, start, via, pg_catalog.bool_or(become) AS become FROM reach GROUP BY role, start, via
        ) AS reach JOIN pg_catalog.pg_roles AS r ON r.oid = reach.role
    ),
    'owned', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
            pg_catalog.pg_get_userbyid(owner.role), thing.type, thing.identity)), '[]')
        FROM (SELECT DISTINCT role FROM reach) AS owner
        CROSS JOIN LATERAL (
            SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_shdepend AS d
            WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = owner.role AND d.deptype = 'o'
                AND (d.dbid = (SELECT oid FROM here)
                    OR (d.classid = 'pg_catalog.pg_database'::regclass AND d.objid = (SELECT oid FROM here)))
                AND d.classid NOT IN (
                    'pg_catalog.pg_default_acl'::regclass, 'pg_catalog.pg_user_mapping'::regclass)
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_class AS c
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid AND c.relpersistence = 't')
            LIMIT 50
        ) AS d
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS thing
        WHERE thing.identity IS NOT NULL AND pg_catalog.left(coalesce(thing.schema, ''), 7) <> 'pg_temp'
    )
)::text"""
"""One query, one row, one text: the facts as JSON. Runs on Postgres 13 and newer as any role, and takes no parameters.

Roles are reached by membership, from the session's role and the current one. Where a grant may be used for SET ROLE,
or has ADMIN OPTION and so can be made to, the role can be become; where it is only inherited, its privileges and what
it owns count, its attributes do not (Postgres docs: "Role Membership", `pg_auth_members`). What they own is read from
`pg_shdepend`, which has an index for it, at most 50 things a role; temporary things do not count.
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """A role whose rights a connection has, and how it comes by them.

    `via` is the role that was granted to `start`, by each of `grantors`; None where the role is `start` itself.
    `become` says that SET ROLE leads to it, or that it can be made to.
    """

    name: str
    start: str
    via: str | None
    become: bool
    grantors: tuple[str, ...] = ()
    bootstrap: bool = False
    superuser: bool = False
    bypassrls: bool = False
    createrole: bool = False
    replication: bool = False
    createdb: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """A thing in this database, or the database, and the role that owns it. `identity` is SQL, as in `shop.notes`."""

    role: str
    kind: str
    identity: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a connection is to be judged by.

    `version` is `server_version_num`, as 170010 for 17.10. `set_for` says where `row_security` or
    `session_replication_role` is set in the catalog: the setting, whether for this database, whether for this role.
    """

    version: int
    cluster: str
    database: str
    session_user: str
    current_user: str
    row_security: str
    replication_role: str
    probe: str
    set_for: tuple[tuple[str, bool, bool], ...]
    roles: tuple[Reached, ...]
    owned: tuple[Owned, ...]


def parse_facts(text: str) -> Facts:
    """What `FACTS_QUERY` answered, as a value. Roles and things are in the order of their names."""
    told: dict[str, Any] = json.loads(text)
    roles = [Reached(**role | {"grantors": tuple(sorted(role["grantors"]))}) for role in told["roles"]]
    owned = [Owned(*thing) for thing in told["owned"]]
    told |= {
        "set_for": tuple(sorted((name, database, role) for name, database, role in told["set_for"])),
        "roles": tuple(sorted(roles, key=lambda role: (role.start, role.via or "", role.name))),
        "owned": tuple(sorted(owned, key=lambda thing: (thing.role, thing.kind, thing.identity))),
    }
    return Facts(**told)
