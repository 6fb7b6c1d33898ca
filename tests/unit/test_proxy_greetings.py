"""The first bytes of a connection and the error that ends it, without a socket; and when a compute is idle."""

import ssl
import struct

import pytest

from tenantry.core.errors import SettingError
from tenantry.local.clusters.idleness import DEFAULT_SUSPEND_SECONDS, Sample, last_use, suspend_after
from tenantry.local.proxy.greetings import Farewell, Greeting, Refused, error_response, read_greeting
from tenantry.local.proxy.refusing import refusing_context
from tenantry.settings import read_settings

STARTUP = struct.pack("!II", 8 + 11, 3 << 16) + b"user\0neon\0\0"
TLS = struct.pack("!II", 8, 80877103)
GSS = struct.pack("!II", 8, 80877104)
CANCEL = struct.pack("!IIII", 16, 80877102, 1, 2)
REFUSED = Refused("no way in", hint="look around")


@pytest.mark.parametrize(
    ("data", "greeting"),
    [
        (STARTUP, Greeting.STARTUP),
        (struct.pack("!II", 9, (3 << 16) + 2) + b"\0", Greeting.STARTUP),
        (TLS, Greeting.TLS_REQUEST),
        (GSS, Greeting.GSS_REQUEST),
        (CANCEL, Greeting.CANCEL),
        (b"\x16\x03\x01\x00\x05hello", Greeting.DIRECT_TLS),
        (b"", Greeting.INCOMPLETE),
        (TLS[:5], Greeting.INCOMPLETE),
        (STARTUP[:-1], Greeting.INCOMPLETE),
        (b"GET / HTTP/1.1\r\n", Greeting.JUNK),
        (b"GE", Greeting.JUNK),
        (struct.pack("!II", 7, 3 << 16), Greeting.JUNK),
        (struct.pack("!II", 100_000, 3 << 16), Greeting.JUNK),
        (struct.pack("!II", 8, 2 << 16), Greeting.JUNK),
    ],
)
def test_the_first_bytes_say_what_a_client_wants(data: bytes, greeting: Greeting):
    assert read_greeting(data) is greeting


def test_an_error_has_postgress_form_whatever_its_text():
    answer = error_response(Refused("nul \0 and ümlaut", sqlstate="57P03", hint=""))

    kind, length = struct.unpack_from("!cI", answer)
    assert (kind, length) == (b"E", len(answer) - 1)
    assert answer[5:].split(b"\0")[:4] == [b"SFATAL", b"VFATAL", b"C57P03", "Mnul  and ümlaut".encode()]
    assert answer.endswith(b"\0\0")
    assert b"\0H" not in answer


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_client_in_clear_gets_its_error_however_its_bytes_come(size: int):
    farewell = Farewell(REFUSED, refusing_context)
    sent = GSS + STARTUP

    answers = [farewell.receive(sent[at : at + size]) for at in range(0, len(sent), size)]

    assert b"".join(answers) == b"N" + error_response(REFUSED)
    assert farewell.done


@pytest.mark.parametrize("data", [CANCEL, b"GET / HTTP/1.1\r\n\r\n"])
def test_who_is_no_client_gets_no_answer(data: bytes):
    farewell = Farewell(REFUSED, refusing_context)

    assert farewell.receive(data) == b""
    assert farewell.done


@pytest.mark.parametrize("asks", ["first", "not"])
def test_a_client_that_insists_on_tls_reads_the_error_inside_it(asks: str):
    farewell = Farewell(REFUSED, refusing_context)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    if asks == "first":
        assert farewell.receive(TLS) == b"S"
    for _ in range(5):
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(farewell.receive(outgoing.read()))
    client.write(STARTUP)

    incoming.write(farewell.receive(outgoing.read()))

    assert client.read(1000) == error_response(REFUSED)
    assert farewell.done


def test_broken_tls_ends_the_farewell():
    farewell = Farewell(REFUSED, refusing_context)
    farewell.receive(TLS)

    farewell.receive(b"this is no handshake at all")

    assert farewell.done


@pytest.mark.parametrize(
    ("wanted", "default", "seconds"), [(0, 300, 300), (60, 300, 60), (-1, 300, None), (0, -1, None), (5, -1, 5)]
)
def test_a_timeout_of_zero_is_the_default_and_minus_one_is_never(wanted: int, default: int, seconds: int | None):
    assert suspend_after(wanted, default=default) == seconds


def test_the_engines_own_timeout_is_a_setting():
    assert read_settings({}).suspend_timeout_seconds == DEFAULT_SUSPEND_SECONDS
    assert read_settings({"TENANTRY_SUSPEND_SECONDS": "-1"}).suspend_timeout_seconds == -1
    assert read_settings({"TENANTRY_SUSPEND_SECONDS": "60"}).suspend_timeout_seconds == 60
    for wrong in ("soon", "-2", "1.5", "²"):
        with pytest.raises(SettingError, match="TENANTRY_SUSPEND_SECONDS"):
            read_settings({"TENANTRY_SUSPEND_SECONDS": wrong})


@pytest.mark.parametrize(
    ("sample", "before", "used"),
    [
        (Sample(busy=True, last_change=10, sessions=1), None, 100),
        (Sample(busy=False, last_change=70, sessions=1), None, 70),
        (Sample(busy=False, last_change=30, sessions=1), None, 50),
        (Sample(busy=False, last_change=None, sessions=0), None, 50),
        (Sample(busy=False, last_change=None, sessions=5), Sample(busy=False, last_change=None, sessions=5), 50),
        (Sample(busy=False, last_change=None, sessions=6), Sample(busy=False, last_change=None, sessions=5), 100),
        (Sample(busy=False, last_change=4000, sessions=1), None, 100),
    ],
    ids=["at work", "idle session", "known later", "nobody", "nobody new", "came and went", "a clock set back"],
)
def test_the_last_use_is_what_a_session_did_or_that_there_was_one(sample: Sample, before: Sample | None, used: float):
    assert last_use(sample, before, known=50, at=100) == used
