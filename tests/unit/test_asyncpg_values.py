"""asyncpg: what is leaned on, what a text asks for, and messages of the protocol, decided without a database."""

import logging

import asyncpg
import pytest
from asyncpg.protocol import Protocol

from tenantry.session.asyncpg import TenantConnection, hooks
from tenantry.session.asyncpg.choice import choose
from tenantry.session.asyncpg.connection import GuardedConnection
from tenantry.session.asyncpg.documented import DocumentedConnection
from tenantry.session.asyncpg.messages import EXECUTE, bind, parse
from tenantry.session.asyncpg.texts import Asks, cleaning, ending, understand
from tenantry.session.leftovers import NOTHING, Left


def test_the_installed_asyncpg_is_one_that_the_guard_fits():
    # If this fails, read what changed in asyncpg's protocol and connection, and let `guard` and `hooks` follow.
    assert hooks.misfits() == []
    assert issubclass(TenantConnection, GuardedConnection)


class Changed(Protocol):
    async def query(self, query, options):  # type: ignore[override] - what is refused
        raise NotImplementedError


class New(Protocol):
    async def pipeline(self, statements):
        raise NotImplementedError


class Reconnecting(asyncpg.Connection):
    def __init__(self, protocol):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("Protocol", Changed, "Protocol.query takes"),
        ("Protocol", New, "Protocol.pipeline is new"),
        ("Protocol", object, "Protocol.query is gone"),
        ("Connection", Reconnecting, r"Connection\(\) takes"),
    ],
)
def test_an_asyncpg_that_the_guard_does_not_fit_is_used_by_its_documented_api(name, changed, says, monkeypatch, caplog):
    monkeypatch.setattr(hooks, name, changed)

    with caplog.at_level(logging.WARNING), pytest.raises(AssertionError):
        assert hooks.misfits() == []
    chosen = choose()

    assert chosen is DocumentedConnection
    assert any(says.replace("\\", "") in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("SELECT 1", Asks.WORK),
        ("", Asks.WORK),
        ("select 'COMMIT'; select \"begin\" from t -- commit", Asks.WORK),
        ("SELECT CASE WHEN true THEN 1 END", Asks.WORK),
        ("SAVEPOINT a", Asks.WORK),
        ("ROLLBACK TO SAVEPOINT a;", Asks.WORK),
        ("rollback work to a", Asks.WORK),
        ("RELEASE a", Asks.WORK),
        ("begin", Asks.BEGIN),
        ("/* a */ START TRANSACTION ISOLATION LEVEL SERIALIZABLE;", Asks.BEGIN),
        ("COMMIT;", Asks.COMMIT),
        ("end and no chain", Asks.COMMIT),
        ("ABORT", Asks.ROLLBACK),
        ("ROLLBACK WORK", Asks.ROLLBACK),
        ("COMMIT AND CHAIN", Asks.MIXED),
        ("rollback and chain", Asks.MIXED),
        ("BEGIN; SELECT 1", Asks.MIXED),
        ("SELECT 1; COMMIT", Asks.MIXED),
        ("PREPARE TRANSACTION 'a'", Asks.PREPARE),
        ("PREPARE a AS SELECT 1", Asks.WORK),
        ("COMMIT PREPARED 'a'", Asks.FINISH_PREPARED),
        ("rollback prepared 'a'", Asks.FINISH_PREPARED),
    ],
)
def test_a_text_is_known_for_what_it_asks(text, asks):
    assert understand(text).asks is asks


def test_what_was_left_is_removed_before_a_commit_after_a_rollback_and_after_what_is_uncertain():
    left = Left.LOCKS | Left.LISTEN
    locks, listen = "SELECT pg_catalog.pg_advisory_unlock_all()", "UNLISTEN *"

    commit = ending("COMMIT -- done", left, commits=True)
    rollback = ending("ROLLBACK;", left, commits=False)
    uncertain = ending("COMMIT", left, commits=True, uncertain=True)

    assert commit.splitlines()[-1] == "COMMIT -- done"
    assert listen in commit
    assert locks in commit
    assert rollback.splitlines() == ["ROLLBACK;", locks]
    assert uncertain.splitlines()[0] == "COMMIT;"
    assert listen in uncertain
    assert (ending("COMMIT;", NOTHING, commits=True), cleaning(NOTHING)) == ("COMMIT", "")


def test_messages_hold_their_length_and_their_values():
    assert parse("s", "SELECT 1") == b"P\0\0\0\x11s\0SELECT 1\0\0\0"
    assert bind("s", ["é", ""]) == b"B\0\0\0\x17\0s\0\0\0\0\2\0\0\0\2\xc3\xa9\0\0\0\0\0\0"
    assert EXECUTE == b"E\0\0\0\x09\0\0\0\0\0"
