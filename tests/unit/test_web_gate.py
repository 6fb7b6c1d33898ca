"""Who is let in to which tenant, decided without a server."""

import asyncio
import threading
from typing import Any
from uuid import UUID

import pytest

from tenantry.core.tenant import Tenant
from tenantry.web import (
    NOT_FOUND,
    SUSPENDED,
    UNAUTHENTICATED,
    Answer,
    Claims,
    FromPath,
    FromSession,
    Gate,
    Request,
    Standing,
)
from tenantry.web.asgi import _answer_to
from tenantry.web.cache import Cache
from tenantry.web.errors import GateAnswerError, GateSettingError
from tenantry.web.gate import Ask, Enter, NoScope, Refuse, Verdict, ask, judge

ADA = Claims("ada")


def path(value: str) -> Request:
    return Request("GET", value)


ACME, BOLT = UUID(int=1), UUID(int=2)
REGISTER = {
    "acme": Standing(ACME, member=True),
    "bolt": Standing(BOLT, member=False),
    "idle": Standing(ACME, member=True, state="suspended"),
    "gone": Standing(ACME, member=True, state="deleted"),
    "odd": Standing(ACME, member=True, state="unknown"),
    "others-idle": Standing(BOLT, member=False, state="suspended"),
    str(ACME): Standing(ACME, member=True),
}


class App:
    """What an app gives its gate, and what it was asked."""

    def __init__(self, claims: Claims | None = ADA) -> None:
        self.claims = claims
        self.asked: list[tuple[str, str]] = []

    def authenticate(self, request: Request) -> Claims | None:
        return self.claims

    def lookup(self, user: str, name: str) -> Standing | None:
        self.asked.append((user, name))
        return REGISTER.get(name)

    def gate(self, **settings) -> Gate:
        settings.setdefault("tenant_from", FromPath())
        return Gate(authenticate=self.authenticate, lookup=self.lookup, **settings)


def answer_of(verdict: Verdict) -> Answer:
    assert isinstance(verdict, Refuse)
    return verdict.answer


def test_a_member_enters():
    verdict = ask(App().gate(), path("/t/acme/tickets"))

    assert isinstance(verdict, Enter)
    assert (verdict.context.tenant, verdict.context.user) == (Tenant(ACME), "ada")


@pytest.mark.parametrize("name", ["nobody", "bolt", "idle", "gone", "odd", "others-idle"])
def test_whoever_may_not_enter_is_answered_alike_after_the_same_questions(name):
    app = App()

    verdict = ask(app.gate(), path(f"/t/{name}/"))

    assert isinstance(verdict, Refuse)
    assert verdict.answer == NOT_FOUND
    assert app.asked == [("ada", name)]


def test_a_member_alone_is_told_of_a_suspension_where_the_gate_says_so():
    gate = App().gate(suspended=SUSPENDED)

    answers = {name: answer_of(ask(gate, path(f"/t/{name}/"))) for name in ("idle", "others-idle", "gone", "nobody")}

    assert answers == {"idle": SUSPENDED, "others-idle": NOT_FOUND, "gone": NOT_FOUND, "nobody": NOT_FOUND}


@pytest.mark.parametrize("name", ["acme", "bolt", "nobody"])
def test_nothing_is_looked_up_for_who_is_not_signed_in(name):
    app = App(claims=None)

    verdict = ask(app.gate(), path(f"/t/{name}/"))

    assert isinstance(verdict, Refuse)
    assert verdict.answer == UNAUTHENTICATED
    assert app.asked == []


def test_a_session_that_is_bound_to_a_tenant_opens_no_other():
    bound = App(Claims("ada", tenant=str(BOLT)))

    assert isinstance(ask(bound.gate(), path("/t/acme/")), Refuse)
    assert isinstance(ask(App(Claims("ada", tenant=str(ACME))).gate(), path("/t/acme/")), Enter)


def test_a_session_names_its_tenant_and_membership_is_still_looked_up():
    app = App(Claims("ada", tenant=ACME))

    assert isinstance(ask(app.gate(tenant_from=FromSession()), path("/tickets")), Enter)
    assert app.asked == [("ada", str(ACME))]
    assert isinstance(ask(App().gate(tenant_from=FromSession()), path("/tickets")), Refuse)
    assert isinstance(ask(App(Claims("ada", tenant=BOLT)).gate(tenant_from=FromSession()), path("/tickets")), Refuse)


@pytest.mark.parametrize(
    ("value", "public"),
    [
        ("/health", True),
        ("/static/a.css", True),
        ("/static/", True),
        ("/healthy", False),
        ("/health/", False),
        ("/static", False),
        ("/t/acme/health", False),
        ("/Health", False),
    ],
)
def test_only_listed_paths_are_public(value, public):
    verdict = ask(App(claims=None).gate(public=("/health", "/static/")), path(value))

    assert isinstance(verdict, NoScope) == public


@pytest.mark.parametrize("public", ["/health", ("health",)])
def test_public_paths_that_would_match_what_nobody_meant_are_refused(public):
    with pytest.raises(GateSettingError):
        App().gate(public=public)


def test_what_a_callable_answers_wrongly_lets_nobody_in():
    async def later(*args):
        return None

    answers: list[Any] = [lambda *args: True, lambda *args: {"user": "root"}, later]
    for wrong in answers:
        gate = Gate(tenant_from=FromPath(), authenticate=wrong, lookup=App().lookup)
        with pytest.raises(GateAnswerError, match="authenticate") as caught:
            ask(gate, path("/t/acme/"))
        assert "root" not in str(caught.value)
        gate = Gate(tenant_from=FromPath(), authenticate=App().authenticate, lookup=wrong)
        with pytest.raises(GateAnswerError, match="lookup"):
            ask(gate, path("/t/acme/"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_standing_is_kept_for_its_seconds_and_no_longer():
    clock = Clock()
    cache = Cache(seconds=2, size=10, clock=clock)
    cache.put("ada", "acme", REGISTER["acme"], ticket=cache.ticket())
    cache.put("ada", "nobody", None, ticket=cache.ticket())

    assert cache.get("ada", "acme") == (REGISTER["acme"],)
    assert cache.get("ada", "nobody") == (None,)
    assert cache.get("eve", "acme") is None
    clock.now += 1.99
    assert cache.get("ada", "acme") is not None
    clock.now += 0.01
    assert cache.get("ada", "acme") is None


def test_the_cache_is_bounded_and_loses_what_was_not_asked_for():
    cache = Cache(seconds=2, size=2)
    for name in ("a", "b"):
        cache.put("ada", name, None, ticket=0)
    cache.get("ada", "a")
    cache.put("ada", "c", None, ticket=0)

    assert len(cache) == 2
    assert [cache.get("ada", name) is not None for name in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({}, set()),
        ({"user": "ada"}, {("eve", "bolt"), ("eve", "nobody")}),
        ({"tenant": Tenant(str(BOLT))}, {("ada", "acme")}),
        ({"tenant": Tenant(ACME)}, {("eve", "bolt")}),
    ],
)
def test_what_concerns_a_user_or_tenant_is_forgotten(what, left):
    cache = Cache(seconds=2, size=10)
    for user, name in (("ada", "acme"), ("eve", "bolt"), ("eve", "nobody")):
        cache.put(user, name, REGISTER.get(name), ticket=0)

    cache.forget(**what)

    kept = {(u, n) for u, n in (("ada", "acme"), ("eve", "bolt"), ("eve", "nobody")) if cache.get(u, n)}
    assert kept == left


def test_a_lookup_that_was_under_way_when_something_was_forgotten_is_not_kept():
    app = App()
    gate = app.gate(cache_seconds=60)
    steps = judge(gate, path("/t/acme/"))
    next(steps)
    steps.send(ADA)
    gate.forget(user="eve")  # while it is looked up
    with pytest.raises(StopIteration):
        steps.send(REGISTER["acme"])

    ask(gate, path("/t/acme/"))
    ask(gate, path("/t/acme/"))

    assert app.asked == [("ada", "acme")], "asked again once, and then kept"


@pytest.mark.parametrize("settings", [{"cache_seconds": 61}, {"cache_seconds": -1}, {"cache_size": 0}])
def test_a_cache_of_more_than_seconds_or_of_nothing_is_refused(settings):
    with pytest.raises(GateSettingError):
        App().gate(**settings)


def test_zero_seconds_keep_nothing():
    app = App()
    gate = app.gate(cache_seconds=0)

    ask(gate, path("/t/acme/"))
    ask(gate, path("/t/acme/"))

    assert len(app.asked) == 2


def test_a_blocking_lookup_does_not_hold_the_loop():
    async def main() -> set[int]:
        asks = [Ask("lookup", function, (), int, may_block=True) for function in (threading.get_ident, ident)]
        return {await _answer_to(one) == threading.get_ident() for one in asks}

    async def ident() -> int:
        return threading.get_ident()

    assert asyncio.run(main()) == {False, True}
