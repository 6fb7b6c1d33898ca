"""Where a request names its tenant, and what is known of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.web import Claims, FromHost, FromPath, Request
from tenantry.web.errors import GateSettingError
from tenantry.web.request import from_asgi, from_wsgi

ADA = Claims("ada")
SUFFIX = FromHost("app.example", "eu.app.example")


def host(*values: str) -> Request:
    return Request("GET", "/", headers=tuple(("host", value) for value in values))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("acme.app.example", "acme"),
        ("ACME.App.Example", "acme"),
        ("acme.app.example:8443", "acme"),
        ("acme.app.example.", "acme"),
        ("acme.app.example.:80", "acme"),
        ("acme.app.example:", "acme"),
        ("xn--bcher-kva.app.example", "xn--bcher-kva"),
        ("acme.eu.app.example", "acme"),
        ("a.app.example", "a"),
        (f"{'a' * 63}.app.example", "a" * 63),
        # the suffixes themselves, and what is reserved
        ("app.example", None),
        ("eu.app.example", None),
        ("www.app.example", None),
        # not below the suffix
        ("acmeapp.example", None),
        ("acme.app.example.evil.test", None),
        ("evil.test", None),
        ("acme.xapp.example", None),
        ("acme.app.example:80.evil.test", None),
        ("acme.app.example@evil.test", None),
        ("evil.test#.app.example", None),
        ("evil.test/.app.example", None),
        # not one label
        ("a.b.app.example", None),
        (".app.example", None),
        ("..app.example", None),
        ("acme..app.example", None),
        ("acme.app.example..", None),
        ("-acme.app.example", None),
        ("acme-.app.example", None),
        ("ac_me.app.example", None),
        (f"{'a' * 64}.app.example", None),
        # not a host
        ("", None),
        ("[::1]:80", None),
        ("127.0.0.1", None),
        ("acme.app.example:http", None),
        ("acme.app.example:123456", None),
        ("acme.app.example ", None),
        ("acme.app.example\n", None),
        ("acme.app.example,bolt.app.example", None),
        ("b\u00fccher.app.example", None),
        ("\u212aite.app.example", None),
        ("acme\u3002app.example", None),
    ],
)
def test_a_host_names_the_one_label_before_a_suffix(value, name):
    named = SUFFIX(host(value), ADA)

    assert (named.name if named else None) == name


def test_a_second_host_header_and_a_missing_one_name_nobody():
    assert SUFFIX(host("acme.app.example", "bolt.app.example"), ADA) is None
    assert SUFFIX(host(), ADA) is None


@pytest.mark.parametrize("header", ["x-forwarded-host", "x-tenant", "x-tenant-id", "forwarded", "x-original-host"])
def test_no_other_header_has_a_say(header):
    request = Request("GET", "/", headers=(("host", "acme.app.example"), (header, "bolt.app.example")))

    assert SUFFIX(request, ADA) == FromHost("app.example")(host("acme.app.example"), ADA)


@given(st.text(alphabet="aA1-._:%@/\\ \u212a\u3002\u00df", max_size=12))
def test_whatever_stands_before_the_suffix_only_a_label_is_a_name(head):
    named = FromHost("app.example")(host(f"{head}.app.example"), ADA)

    if named is not None:
        assert named.name == head.lower()
        assert named.name.replace("-", "").isalnum()
        assert named.name.isascii()


@pytest.mark.parametrize(
    "suffix", ["", ".app.example", "app.example.", "app.example:80", "App.example", "b\u00fc.example"]
)
def test_a_suffix_that_no_host_could_end_with_is_refused_at_start(suffix):
    with pytest.raises(GateSettingError, match="suffix"):
        FromHost(suffix)


def path(value: str) -> Request:
    return Request("GET", value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("/t/acme", "acme"),
        ("/t/acme/", "acme"),
        ("/t/acme/tickets/1", "acme"),
        ("/t/Acme/", "Acme"),
        ("/t/b\u00fccher/x", "b\u00fccher"),
        ("/t", None),
        ("/t/", None),
        ("/t//x", None),
        ("/tx/acme", None),
        ("/T/acme", None),
        ("//t/acme", None),
        ("/x/t/acme", None),
        ("/t/./x", None),
        ("/t/../x", None),
        ("/t/a\x00b/x", None),
        ("/t/a\nb", None),
        ("/t/a\ufffdb", None),
        (f"/t/{'a' * 256}", None),
        ("", None),
    ],
)
def test_a_path_names_the_segment_after_its_prefix(value, name):
    named = FromPath("/t")(path(value), ADA)

    assert (named and named.name) == name
    if named:
        assert value.startswith(named.mount)
        assert named.mount == f"/t/{name}"


def test_without_a_prefix_the_first_segment_is_the_name():
    named = FromPath("")(path("/acme/tickets"), ADA)

    assert named is not None
    assert (named.name, named.mount) == ("acme", "/acme")


@pytest.mark.parametrize("prefix", ["t", "/", "/t/", "//t"])
def test_a_prefix_that_no_path_could_begin_with_is_refused_at_start(prefix):
    with pytest.raises(GateSettingError, match="prefix"):
        FromPath(prefix)


def test_a_cookie_that_stands_twice_is_nobodys():
    def cookies(*values: str) -> Request:
        return Request("GET", "/", headers=tuple(("cookie", value) for value in values))

    assert cookies('a=1; session="x.y=="; b=2').cookie("session") == "x.y=="
    assert cookies("a=1", "session=x").cookie("session") == "x"
    assert cookies("session=x; session=y").cookie("session") is None
    assert cookies("session=x", "session=x").cookie("session") is None
    assert cookies("xsession=x; session").cookie("session") is None


def test_asgi_and_wsgi_tell_the_same_of_a_request():
    asgi = {
        "type": "http",
        "method": "POST",
        "path": "/outer/t/b\u00fc",
        "root_path": "/outer",
        "headers": [(b"Host", b"acme.app.example"), (b"content-type", b"text/plain")],
    }
    wsgi = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/t/b\u00fc".encode().decode("latin-1"),
        "SCRIPT_NAME": "/outer",
        "HTTP_HOST": "acme.app.example",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "",
    }

    one, other = from_asgi(asgi), from_wsgi(wsgi)

    assert (
        (one.method, one.path, one.mount) == (other.method, other.path, other.mount) == ("POST", "/t/b\u00fc", "/outer")
    )
    assert sorted(one.headers) == sorted(other.headers)
    assert "acme" not in repr(Request("GET", "/", raw={"HTTP_COOKIE": "acme"}))


def test_a_mount_that_only_looks_like_a_prefix_is_none():
    scope = {"type": "http", "path": "/outerspace/x", "root_path": "/outer", "headers": []}

    assert from_asgi(scope).path == "/outerspace/x"
