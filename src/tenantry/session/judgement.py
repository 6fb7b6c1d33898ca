"""What speaks against a connection: from the facts about its role and its server to refusals, each with its mending."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from tenantry.core.names import LOCAL_CLUSTER
from tenantry.session.vulnerabilities import VULNERABILITIES, known_holes, version_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenantry.session.facts import Facts, Owned, Reached

__all__ = ["CHECKS", "POWERFUL_ROLES", "Refusal", "caution", "judge", "pooler_refusal"]

CHECKS: Final = {
    "superuser": "the role is a superuser: no policy binds it",
    "bypassrls": "the role has BYPASSRLS: no policy binds it",
    "createrole": "the role has CREATEROLE: it can make roles, and up to Postgres 15 grant itself any",
    "replication": "the role has REPLICATION: it can read every row from the WAL",
    "owner": "the role owns something: an owner can turn row security off, drop policies and replace functions",
    "membership": "another role that can do one of these was granted to it, whether by SET ROLE, ADMIN OPTION or "
    "inheritance, or a role of Postgres or of a host that reads or writes everything",
    "row_security": "the setting `row_security` is off: statements fail instead of being filtered",
    "session_replication_role": "`session_replication_role` is not `origin`: triggers and foreign keys rest",
    "pooler": "a pooler on the way does not keep a transaction on one connection, or hands its settings on",
} | {hole.cve: f"Postgres: {hole.what}" for hole in VULNERABILITIES}
"""Every code of a refusal, and what it stands for."""

POWERFUL_ROLES: Final = {
    "pg_read_all_data": "reads every table",
    "pg_write_all_data": "writes every table",
    "pg_read_server_files": "reads the server's files, with every row in them",
    "pg_write_server_files": "writes the server's files",
    "pg_execute_server_program": "runs programs as the server",
    "neon_superuser": "bypasses row security",
    "rds_superuser": "may grant itself nearly everything",
    "cloudsqlsuperuser": "may grant itself nearly everything",
    "azure_pg_admin": "may grant itself nearly everything",
}
"""Roles whose members can do what no attribute says: Postgres's own ("Predefined Roles"), and those of hosts."""

_ATTRIBUTES = {
    "superuser": ("is a superuser, whom no policy binds", "NOSUPERUSER"),
    "bypassrls": ("has BYPASSRLS: no policy binds it", "NOBYPASSRLS"),
    "createrole": ("has CREATEROLE: it can make roles, and through them get rights", "NOCREATEROLE"),
    "replication": ("has REPLICATION: it can read every row from the WAL", "NOREPLICATION"),
}
_OWN_GRANTS = 160_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that speaks against a connection: `codes` are keys of `CHECKS`, `what` names the role or the version.

    `sql` mends it, statement by statement, by an administrator who is connected to `database`; where no SQL does, it
    is empty and `way_out` says what does.
    """

    codes: tuple[str, ...]
    what: str
    sql: tuple[str, ...] = ()
    way_out: str = ""

    @property
    def about_role(self) -> bool:
        """Whether another role would mend it, and not another server, setting or pooler."""
        return self.codes[0] in {*_ATTRIBUTES, "owner", "membership"}

    def __str__(self) -> str:
        lines = [self.what, *(f"    {statement}" for statement in self.sql)]
        return "\n".join([*lines, *([f"    {self.way_out}"] if self.way_out else ())])


def judge(facts: Facts) -> tuple[Refusal, ...]:
    """All that speaks against running an application's statements on this connection; nothing if it is safe.

    Says nothing of the pooler: that takes more than one statement, see `safety.examine`.
    """
    return tuple(refusal for rule in (_own_rights, _rights_of_others, _server, _settings) for refusal in rule(facts))


def caution(facts: Facts) -> tuple[str, ...]:
    """What does not speak against the connection, but should be known: sentences for a log."""
    found = [
        f"role {role.name} has CREATEDB: take it away with `ALTER ROLE {_quoted(role.name)} NOCREATEDB;`, unless the "
        "application makes databases"
        for role in facts.roles
        if role.via is None and role.createdb and not role.superuser
    ]
    if _is_local(facts) and (holes := known_holes(facts.version)):
        found.append(
            f"Postgres {version_name(facts.version)} of this local engine has {', '.join(h.cve for h in holes)}: keep "
            "no real tenant's data in it; elsewhere such a server is refused"
        )
    return tuple(found)


def _own_rights(facts: Facts) -> Iterator[Refusal]:
    for role in facts.roles:
        if role.via is not None:
            continue
        for code, (what, mended) in _ATTRIBUTES.items():
            if not getattr(role, code):
                continue
            if role.bootstrap and code != "superuser":
                continue  # one reason is enough against the role that owns Postgres itself
            if role.bootstrap:
                way_out = "it stays one: let the application log in as a role of its own"
                yield Refusal((code,), f"role {role.name} made this server and {what}", (), way_out)
            else:
                yield Refusal((code,), f"role {role.name} {what}", (f"ALTER ROLE {_quoted(role.name)} {mended};",))
        things = [thing for thing in facts.owned if thing.role == role.name]
        if things:
            what = f"role {role.name} owns {_listed(things)}: an owner can turn row security off"
            mending = f"REASSIGN OWNED BY {_quoted(role.name)} TO CURRENT_USER;"
            yield Refusal(("owner",), what, (mending,))


def _rights_of_others(facts: Facts) -> Iterator[Refusal]:
    """One refusal for each granted role, since revoking it ends all that it leads to."""
    others = [role for role in facts.roles if role.via is not None]
    for (start, via), group in groupby(others, key=lambda role: (role.start, role.via)):
        reached = list(group)
        reasons = [f"{role.name} {what}" for role in reached for what in _powers(role, facts)]
        if not reasons:
            continue
        # From 16 on a grant is its grantor's, and who revokes it names them (Postgres docs: REVOKE).
        grantors = {grantor for role in reached for grantor in role.grantors} if facts.version >= _OWN_GRANTS else ()
        revoke = f"REVOKE {_quoted(str(via))} FROM {_quoted(start)}"
        sql = [f"{revoke} GRANTED BY {_quoted(one)};" for one in sorted(grantors)] or [f"{revoke};"]
        yield Refusal(("membership",), f"role {start} was granted {via}: {'; '.join(reasons)}", tuple(sql))


def _powers(role: Reached, facts: Facts) -> Iterator[str]:
    """What a reached role adds: by being become, by what it owns, and by what Postgres or a host lets it do."""
    for code, (what, _) in _ATTRIBUTES.items():
        # A superuser's own are Postgres's catalogs: who inherits from one owns them.
        if getattr(role, code) and (role.become or code == "superuser"):
            yield what
    if role.name in POWERFUL_ROLES:
        yield POWERFUL_ROLES[role.name]
    things = [thing for thing in facts.owned if thing.role == role.name]
    if things:
        yield f"owns {_listed(things)}"


def _server(facts: Facts) -> Iterator[Refusal]:
    holes = known_holes(facts.version)
    if not holes or _is_local(facts):
        return
    major = facts.version // 10_000
    minors = [hole.fixed[major] for hole in holes if major in hole.fixed]
    if len(minors) == len(holes):
        way_out = (
            f"upgrade to {major}.{max(minors)} or newer, e.g. `apt-get install --only-upgrade postgresql-{major}`, and "
            "restart it; a host such as Neon does so when the compute restarts, once it offers that version"
        )
    else:
        newest, minor = max(holes[0].fixed.items())
        way_out = f"Postgres {major} gets no more fixes: move to {newest}.{minor} or newer"
    listed = "".join(f"\n    {hole.cve}: {hole.what}" for hole in holes)
    what = f"Postgres {version_name(facts.version)} has known holes in row security:{listed}"
    yield Refusal(tuple(hole.cve for hole in holes), what, (), way_out)


def _settings(facts: Facts) -> Iterator[Refusal]:
    for name, value, wanted in (
        ("row_security", facts.row_security, "on"),
        ("session_replication_role", facts.replication_role, "origin"),
    ):
        if value == wanted:
            continue
        sql = tuple(
            f"ALTER {_set_for(facts, database=database, role=role)} RESET {name};"
            for setting, database, role in facts.set_for
            if setting == name
        )
        way_out = "" if sql else f"have {name} = {wanted} in postgresql.conf, and not in the connection's options"
        what = f"{name} is {value}, not {wanted}, for role {facts.session_user}"
        yield Refusal((name,), what, sql, way_out)


def _set_for(facts: Facts, *, database: bool, role: bool) -> str:
    of_database = f"DATABASE {_quoted(facts.database)}"
    if not role:
        return of_database if database else "ROLE ALL"
    return f"ROLE {_quoted(facts.session_user)}" + (f" IN {of_database}" if database else "")


def pooler_refusal(what: str) -> Refusal:
    """A pooler on the way that breaks transactions, as *what* shows."""
    way_out = "set `pool_mode = transaction` (or session) in PgBouncer, or connect to Postgres directly"
    return Refusal(("pooler",), f"a setting of a transaction does not last for it, and no longer: {what}", (), way_out)


def _is_local(facts: Facts) -> bool:
    return facts.cluster == LOCAL_CLUSTER


def _listed(things: Sequence[Owned]) -> str:
    shown = ", ".join(f"{thing.kind} {thing.identity}" for thing in things[:_SHOWN])
    return shown if len(things) <= _SHOWN else f"{shown} and more"


def _quoted(name: str) -> str:
    """A name as SQL, for people to paste. Always in quotes, so that no word is a keyword."""
    return '"' + name.replace('"', '""') + '"'
