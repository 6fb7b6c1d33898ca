"""Attacks on the next tenant of a connection, by what one tenant's statements leave on it (P01 to P11)."""

from __future__ import annotations

from typing import Any

from tenantry import tenant_scope
from tests.isolation.matrix.attack import Attack, Run, Try
from tests.isolation.matrix.guards import CLEANING, LOCAL
from tests.isolation.matrix.ways import ALL
from tests.plugins.shop import ACME, BOLT

__all__ = ["ATTACKS"]

TENANT_LEFT = "SELECT current_setting('app.tenant_id', true) WHERE current_setting('app.tenant_id', true) <> ''"
SETTINGS_LEFT = (
    "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name IN"
    " ('statement_timeout', 'default_transaction_read_only', 'enable_seqscan', 'row_security')"
)


def _leave(*texts: str, look: str, single: bool, probe: bool = False) -> Run:
    """ACME sends *texts*, in one transaction or each on its own; then BOLT, or nobody, asks for *look*."""

    async def run(at: Try) -> list[Any]:
        with tenant_scope(ACME):
            if single:
                for text in texts:
                    await at.way.single(at.said(text))
            else:
                async with at.way.work() as work:
                    for text in texts:
                        await work.rows(at.said(text))
        if probe:
            return await at.way.peek(look)
        with tenant_scope(BOLT):
            return await at.way.look(look)

    return run


def _attacks(
    hole: str, name: str, tries: str, *texts: str, look: str, probe: bool = False, alone: bool = False
) -> list[Attack]:
    return [
        Attack(
            hole,
            f"{name}{', each statement on its own' if single else ''}",
            tries,
            CLEANING,
            _leave(*texts, look=look, single=single, probe=probe),
        )
        for single in ((False, True) if alone else (False,))
    ]


async def _shadow(at: Try) -> list[Any]:
    with tenant_scope(ACME):
        async with at.way.work() as work:
            await work.rows("CREATE TEMPORARY TABLE documents (LIKE shop.documents)")
            await work.rows("ALTER TABLE pg_temp.documents ALTER tenant_id DROP NOT NULL, ALTER id DROP NOT NULL")
    with tenant_scope(BOLT):
        async with at.way.work() as work:
            await work.rows("INSERT INTO documents (title) VALUES ('secret of bolt')")
    with tenant_scope(ACME):
        return await at.way.look("SELECT title FROM pg_temp.documents")


async def _own_context(at: Try) -> list[Any]:
    with tenant_scope(ACME, user="ann"):
        async with at.way.work() as work:
            await work.rows(ALL)
    left = await at.way.peek(TENANT_LEFT)
    with tenant_scope(ACME):
        await at.way.single(ALL)
    return [*left, *await at.way.peek(TENANT_LEFT)]


ATTACKS = [
    *_attacks(
        "P01",
        "a tenant set for the session by text",
        "a tenant set for the session outlives its transaction",
        f"SET app.tenant_id = '{ACME}'",
        look=ALL,
        probe=True,
        alone=True,
    ),
    *_attacks(
        "P01",
        "a tenant set for the session by a function",
        "a tenant set for the session outlives its transaction",
        f"SELECT set_config('app.tenant_id', '{ACME}', false)",
        look=ALL,
        probe=True,
    ),
    Attack("P01", "the scope's own context", "the context outlives its transaction", LOCAL, _own_context),
    *_attacks(
        "P02",
        "a temporary table",
        "a temporary table is read by the next tenant",
        "CREATE TEMPORARY TABLE loot AS SELECT tenant_id FROM shop.documents",
        look="SELECT * FROM pg_temp.loot",
        alone=True,
    ),
    *_attacks(
        "P02",
        "a temporary table by SELECT INTO",
        "a temporary table is read by the next tenant",
        "SELECT tenant_id INTO /* of mine */ TEMP loot FROM shop.documents",
        look="SELECT * FROM pg_temp.loot",
    ),
    Attack(
        "P03",
        "a temporary table in the place of a real one",
        "a temporary table of a real one's name takes the next tenant's rows",
        CLEANING,
        _shadow,
        writes=True,
    ),
    *_attacks(
        "P04",
        "a held cursor",
        "a cursor WITH HOLD is fetched by the next tenant",
        "DECLARE loot CURSOR WITH HOLD FOR SELECT tenant_id FROM shop.documents",
        look="FETCH ALL FROM loot",
        alone=True,
    ),
    *_attacks(
        "P05",
        "lastval",
        "the next tenant reads the last value of a sequence",
        "SELECT nextval('shop.numbers')",
        look="SELECT lastval()",
        alone=True,
    ),
    *_attacks(
        "P05",
        "currval",
        "the next tenant reads the last value of a sequence",
        "SELECT nextval('shop.numbers')",
        look="SELECT currval('shop.numbers')",
    ),
    *_attacks(
        "P06",
        "a prepared statement with a value of the tenant's",
        "a statement that SQL prepared is run by the next tenant",
        "PREPARE loot AS SELECT 'card of acme'",
        look="EXECUTE loot",
        alone=True,
    ),
    *_attacks(
        "P07",
        "a role",
        "a role that was set stays",
        "SET ROLE {guest}",
        look="SELECT 1 WHERE current_user <> session_user",
        alone=True,
    ),
    *_attacks(
        "P07",
        "a role by set_config",
        "a role that was set stays",
        "SELECT set_config('role', '{guest}', false)",
        look="SELECT 1 WHERE current_user <> session_user",
    ),
    *_attacks(
        "P08",
        "a search path",
        "a search path that was set stays",
        "SET search_path = pg_temp, public",
        look="SELECT 1 WHERE current_setting('search_path') <> 'shop'",
    ),
    *_attacks(
        "P09",
        "an advisory lock",
        "a session's advisory lock stays",
        "SELECT pg_advisory_lock(4711)",
        look="SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        alone=True,
    ),
    *_attacks(
        "P09",
        "an advisory lock tried for",
        "a session's advisory lock stays",
        "SELECT pg_catalog.pg_try_advisory_lock(4711, 1)",
        look="SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
    *_attacks(
        "P10",
        "a channel",
        "the next tenant listens to a channel of the last",
        "LISTEN gossip",
        look="SELECT * FROM pg_listening_channels()",
        alone=True,
    ),
    *_attacks(
        "P11",
        "settings",
        "a time limit, a planner's switch or read-only is left to the next tenant",
        "SET statement_timeout = 1234567",
        "SET enable_seqscan = off",
        "SET row_security = on",
        look=SETTINGS_LEFT,
        alone=True,
    ),
    *_attacks(
        "P11",
        "read-only for the session",
        "a time limit, a planner's switch or read-only is left to the next tenant",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        look=SETTINGS_LEFT,
    ),
    *_attacks(
        "P11",
        "a setting hidden in a block of code",
        "a time limit, a planner's switch or read-only is left to the next tenant",
        "DO $$ BEGIN PERFORM set_config('statement_timeout', '1234567', false); END $$",
        look=SETTINGS_LEFT,
    ),
    *_attacks(
        "P11",
        "a setting hidden in a function",
        "a time limit, a planner's switch or read-only is left to the next tenant",
        "SELECT shop.quiet()",
        look=SETTINGS_LEFT,
        alone=True,
    ),
]
