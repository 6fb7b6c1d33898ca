"""The signed context, decided without a database: the key, the token, and where neither may be seen."""

import copy
import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry import Tenant
from tenantry.core.errors import SettingError
from tenantry.session.context import Context
from tenantry.session.protection import Protection
from tenantry.session.signing import ContextKey, token_of
from tenantry.session.statements import are_public, set_locally, set_locally_with_literals, settings_of

KEY = ContextKey("neondb/shop", bytes(range(32)))
ACME = Context(Tenant("acme"), "ann")


def test_a_token_is_the_mac_of_the_audience_and_what_it_says():
    token = token_of(ACME, KEY, now=1_000_000)

    body = f"1{KEY.id}0001000050t000004acmeann"
    assert token[64:] == body
    assert token[:64] == hmac.new(KEY.secret, b"neondb/shop\n" + body.encode(), hashlib.sha256).hexdigest()


@given(st.integers(0, 9 * 10**9), st.integers(2, 10**4))
def test_a_token_has_between_half_its_lifetime_and_all_of_it_left(now, lifetime):
    key = ContextKey("d/s", bytes(32), lifetime)

    expiry = int(token_of(ACME, key, now=now)[81:91])

    assert lifetime // 2 < expiry - now <= lifetime


def test_the_same_token_serves_until_it_is_renewed():
    tokens = [token_of(ACME, KEY, now=1_000_000 + second) for second in range(100)]

    assert len(set(tokens)) == 4


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_no_two_contexts_say_the_same(one, other):
    first, second = (token_of(Context(Tenant(f"t{tenant}"), user), KEY, now=0) for tenant, user in (one, other))

    assert (first == second) is (one == other)


def test_the_blocks_are_those_of_hmac():
    inner, outer = KEY.pads

    assert hashlib.sha256(outer + hashlib.sha256(inner + b"text").digest()).digest() == hmac.digest(
        KEY.secret, b"text", "sha256"
    )


def test_a_key_survives_the_environment_and_nothing_else_shows_it():
    assert ContextKey.from_value(f" {KEY.reveal()}\n") == KEY
    shown = KEY.reveal().rpartition(":")[2]
    assert shown not in repr(KEY)
    assert str(KEY.secret) not in repr(Protection(key=KEY))
    for copying in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not pickled"):
            copying(KEY)


@pytest.mark.parametrize(
    "value",
    ["", "s3cret", "1:a/b:s3cret", "1::" + "A" * 43 + "=", "2:a/b:" + "A" * 43 + "=", "1:a/b:" + "A" * 40, "1:a/b:é"],
)
def test_what_is_no_key_is_refused_without_being_shown(value):
    with pytest.raises(SettingError, match="TENANTRY_CONTEXT_KEY is not a context key") as refused:
        ContextKey.from_value(value)

    assert value.rpartition(":")[2][:6] not in str(refused.value) or not value
    assert refused.value.__cause__ is None


def test_a_lifetime_that_leaves_no_time_to_renew_is_refused():
    with pytest.raises(SettingError, match="is 1: give 2 or more"):
        ContextKey("d/s", bytes(32), 1)
    with pytest.raises(SettingError, match="holds 3 bytes"):
        ContextKey("d/s", b"abc")


def test_with_a_key_the_token_goes_with_the_tenant_as_a_parameter_only():
    settings = settings_of(ACME, Protection(key=KEY))

    query, params = set_locally(settings)
    assert "app.tenant_token" in query
    assert params[:2] == ("acme", "ann")
    assert params[2].endswith("t000004acmeann")
    assert not are_public(settings)
    with pytest.raises(AssertionError, match="never in the text"):
        set_locally_with_literals(settings)
    assert are_public(settings_of(ACME, Protection()))
