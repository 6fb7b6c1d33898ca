"""A signed context on a real Postgres: what opens it, what does not, and how an app comes to it and leaves it."""

import hashlib
import hmac
import time
from dataclasses import replace

import pytest
from psycopg import errors

from tenantry.core.names import TOKEN_SETTING
from tenantry.session.signing import ContextKey, sign
from tests.plugins.signed import SECRET, Signed
from tests.plugins.site import COUNTRIES, DOCUMENTS, A, B, Site

OTHER = bytes(reversed(SECRET))
SOON = int(time.time()) + 100


def test_a_token_opens_its_own_tenant_and_no_setting_does(signed: Signed):
    assert signed.tenants_seen(signed.token(A)) == [A]
    assert signed.tenants_seen(signed.token(B, user="ann")) == [B]
    assert signed.tenants_seen(None) == []
    for forged in ("SET LOCAL app.tenant_id = '{}'", "SELECT set_config('app.tenant_id', '{}', true)"):
        assert signed.tenants_seen(None, forged.format(B)) == []
        assert signed.tenants_seen(signed.token(A), forged.format(B)) == [A]


def test_only_a_good_token_opens_anything(signed: Signed):
    good = signed.token(B)
    database, schema = signed.key.audience.split("/")
    refused = {
        "nothing": "",
        "not a token": "let me in",
        "the tenant alone": B,
        "shorter than its fields": good[:98],
        "cut": good[:-1],
        "without the MAC": good[64:],
        "an empty MAC": "0" * 64 + good[64:],
        "the MAC of another tenant": signed.token(A)[:64] + good[64:],
        "the MAC in capitals": good[:64].upper() + good[64:],
        "another expiry": good.replace(good[81:91], f"{SOON:010}"),
        "a longer subject": good + "x",
        "a subject of no number": good[:92] + "abcdef" + good[98:],
        "a key of that name": replace_mac(good, OTHER, signed.key.audience),
        "an unknown key": signed.token(B, secret=OTHER),
        "another app": signed.token(B, audience=f"{database}/other"),
        "another database": signed.token(B, audience=f"other/{schema}"),
        "expired": signed.token(B, now=time.time() - 60),
        "another kind": sign(signed.key, "p", B, "", SOON),  # type: ignore[arg-type]
        "backslashes": "\\x" * 60,
        "other letters": "ü" * 200,
    }

    assert {what: signed.tenants_seen(token) for what, token in refused.items()} == {what: [] for what in refused}
    assert signed.tenants_seen(good) == [B]


def replace_mac(token: str, secret: bytes, audience: str) -> str:
    """The text of *token* under another key that claims to be the same."""
    return hmac.new(secret, f"{audience}\n{token[64:]}".encode(), hashlib.sha256).hexdigest() + token[64:]


def test_expiry_is_judged_when_the_transaction_begins(signed: Signed):
    token = signed.token(A, lifetime_seconds=2)
    expiry = int(token[81:91])
    table = f"{signed.site.app.schema}.documents"
    query = f"SELECT count(*) FROM {table}".encode()

    with signed.session() as conn:
        with conn.transaction():
            conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, token])
            assert conn.execute(query).fetchone() == (1,)
            time.sleep(max(0, expiry - time.time()) + 0.05)
            assert conn.execute(query).fetchone() == (1,), "a long transaction goes on as it began"
        with conn.transaction():
            conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, token])
            assert conn.execute(query).fetchone() == (0,), "and no other begins with its token"


def test_rows_are_filled_in_and_held_to_the_signed_tenant(signed: Signed):
    with signed.session() as conn, conn.transaction():
        conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(A)])
        made = conn.execute("INSERT INTO documents (title) VALUES ('y') RETURNING tenant_id::text").fetchone()
        assert made == (A,)
        assert conn.execute("UPDATE documents SET title = 'z'").rowcount == 2
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), conn.transaction():
            conn.execute(f"UPDATE documents SET tenant_id = '{B}'".encode())
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), conn.transaction():
            conn.execute("INSERT INTO documents (tenant_id) VALUES (%s)", [B])


@pytest.mark.parametrize(
    ("tenant_type", "tenants"),
    [("text", ("a.b'ü\\😀", "a.b")), ("bigint", ("-9223372036854775808", "12"))],
)
def test_every_type_of_tenant_is_signed(site: Site, tenant_type, tenants):
    site.app = replace(site.app, context="signed", tenant_type=tenant_type)
    site.layout = replace(site.layout, apps=(site.app,))
    site.prepare()
    site.migrate(f"CREATE TABLE documents (tenant_id {tenant_type}, title text)", COUNTRIES)
    site.secure()
    signed = Signed(site, ContextKey(f"{site.database.name}/{site.app.schema}", SECRET))
    signed.let_open(signed.key)
    for tenant in tenants:
        with signed.session() as conn, conn.transaction():
            conn.execute("SELECT set_config(%s, %s, true)", [TOKEN_SETTING, signed.token(tenant, user="ü.😀")])
            conn.execute("INSERT INTO documents (title) VALUES ('x')")

    assert [signed.tenants_seen(signed.token(tenant)) for tenant in tenants] == [[tenant] for tenant in tenants]
    assert (site.prepare(), site.secure()) == ([], [])


def test_two_keys_are_good_while_one_takes_the_place_of_the_other(signed: Signed):
    new = replace(signed.key, secret=OTHER)
    old_token, new_token = signed.token(A), signed.token(A, secret=OTHER)

    signed.let_open(signed.key, new)
    both = signed.tenants_seen(old_token), signed.tenants_seen(new_token)
    signed.let_open(new)

    assert both == ([A], [A])
    assert (signed.tenants_seen(old_token), signed.tenants_seen(new_token)) == ([], [A])


def test_a_second_run_changes_nothing(signed: Signed):
    assert signed.site.prepare() == []
    assert signed.site.secure() == []


@pytest.mark.parametrize("before", ["setting", "signed"])
def test_no_statement_of_the_change_to_a_signed_context_and_back_opens_a_table(site: Site, before):
    """Each statement commits here; in an apply all of them commit together."""
    after = {"setting": "signed", "signed": "setting"}[before]
    apps = {context: replace(site.app, context=context) for context in ("setting", "signed")}
    site.app = apps["signed"]
    site.prepare()
    site.app = apps[before]
    site.migrate(DOCUMENTS, COUNTRIES)
    site.secure()
    site.admin(f"INSERT INTO documents (tenant_id) VALUES ('{A}'), ('{B}')")
    signed = Signed(site, ContextKey(f"{site.database.name}/{site.app.schema}", SECRET))
    signed.let_open(signed.key)
    both = f"SELECT set_config('app.tenant_id', '{A}', true)"

    assert signed.tenants_seen(signed.token(A), both) == [A]
    site.app = apps[after]
    statements = [statement for change in site.review().changes for statement in change.statements]
    for statement in statements:
        site.owner.execute(statement)
        assert signed.tenants_seen(None) == []
        assert signed.tenants_seen(signed.token(A), both) in ([A], [])

    assert len(statements) >= 4
    assert signed.tenants_seen(signed.token(A), both) == [A], "an application that signs works before and after"
    assert signed.tenants_seen(None, both) == ([] if after == "signed" else [A])
