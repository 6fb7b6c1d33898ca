"""The relay passes bytes as they are, both ways and to the end, whatever speaks on either side."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tenantry.core.ids import EndpointId
from tenantry.local.clusters.ports import free_port
from tenantry.local.errors import PortTakenError
from tenantry.local.proxy.greetings import Refused, error_response
from tenantry.local.proxy.refusing import refusing_context
from tenantry.local.proxy.relay import Address, Backend, Relay

E = EndpointId("ep-1")
STARTUP = b"\0\0\0\x09\0\x03\0\0\0"
CANCEL = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"


@dataclass
class Doors:
    """Says where a server is, and counts how often it was woken."""

    at: Backend | None = None
    after_wake: Backend | Refused = ("127.0.0.1", 1)
    seconds: float = 0
    woken: int = 0

    def open(self, address: Address) -> Backend | None:
        return self.at

    def wake(self, address: Address) -> Backend | Refused:
        time.sleep(self.seconds)
        self.woken += 1
        return self.after_wake


@dataclass
class Server:
    """A server that takes one connection after the other, each served by *serve*."""

    serve: Callable[[socket.socket], object]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __post_init__(self) -> None:
        threading.Thread(target=self.run, daemon=True).start()

    @property
    def at(self) -> Backend:
        return self.listener.getsockname()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=[connection], daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            self.serve(connection)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@dataclass
class Setup:
    relay: Relay
    doors: Doors
    address: Address

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.address.port), timeout=10)


@pytest.fixture
def setup() -> Iterator[Setup]:
    doors = Doors()
    relay = Relay(doors, certificate=refusing_context)
    address = Address(free_port([]), E)
    relay.listen(address)
    yield Setup(relay, doors, address)
    relay.close()


def test_bytes_go_through_as_they_are_both_ways(setup: Setup):
    setup.doors.at = Server(echo).at
    sent = os.urandom(3_000_000)
    with setup.connect() as client:
        sender = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        sender.start()

        got = read_all(client)
        sender.join()

    assert got == sent


def test_the_end_of_one_direction_leaves_the_other_open(setup: Setup):
    setup.doors.at = Server(lambda connection: (read_all(connection), connection.sendall(b"after the end"))).at
    with setup.connect() as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)

        assert read_all(client) == b"after the end"


def test_a_server_that_ends_ends_the_client_after_its_last_bytes(setup: Setup):
    setup.doors.at = Server(lambda connection: connection.sendall(b"x" * 500_000)).at
    with setup.connect() as client:
        assert read_all(client) == b"x" * 500_000


def test_a_client_that_ends_ends_its_server(setup: Setup):
    ended = threading.Event()
    setup.doors.at = Server(lambda connection: (read_all(connection), ended.set())).at
    client = setup.connect()
    client.sendall(STARTUP)
    client.close()

    assert ended.wait(5)


def test_who_does_not_read_makes_the_other_side_wait_and_not_the_relay_grow(setup: Setup):
    sent = 0
    full = threading.Event()

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.settimeout(1)
        try:
            while sent < 200_000_000:
                sent += connection.send(b"x" * 65536)
        except TimeoutError:
            full.set()

    setup.doors.at = Server(flood).at
    with setup.connect() as client:
        client.sendall(STARTUP)

        assert full.wait(10), "the relay took 200 MB for a client that read nothing"
    assert sent < 50_000_000


def test_all_who_come_to_a_sleeper_are_held_and_it_is_woken_once(setup: Setup):
    setup.doors.after_wake = Server(echo).at
    setup.doors.seconds = 0.2
    clients = [setup.connect() for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(STARTUP + bytes([number]))

    answers = [client.recv(100) for client in clients]

    assert answers == [STARTUP + bytes([number]) for number in range(20)]
    assert setup.doors.woken == 1
    for client in clients:
        client.close()


@pytest.mark.parametrize("said", [b"", CANCEL, b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "cancel", "http"])
def test_who_wants_no_session_wakes_nobody(setup: Setup, said: bytes):
    with setup.connect() as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)

        assert read_all(client) == b""
    assert setup.doors.woken == 0


def test_a_compute_that_was_thought_awake_and_is_dead_is_woken(setup: Setup):
    setup.doors.at = ("127.0.0.1", free_port([]))
    setup.doors.after_wake = Server(echo).at
    with setup.connect() as client:
        client.sendall(STARTUP)

        assert client.recv(100) == STARTUP
    assert setup.doors.woken == 1


def test_who_cannot_be_served_reads_why(setup: Setup):
    setup.doors.after_wake = Refused("asleep for good")
    with setup.connect() as client:
        client.sendall(STARTUP)

        assert read_all(client) == error_response(Refused("asleep for good"))


def test_a_compute_that_is_gone_again_is_told_and_not_hung_on(setup: Setup):
    setup.doors.after_wake = ("127.0.0.1", free_port([]))
    with setup.connect() as client:
        client.sendall(STARTUP)

        assert b"C57P03\0" in read_all(client)


def test_a_failure_of_our_own_is_an_error_of_postgres_too(setup: Setup, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(setup.doors, "wake", lambda address: 1 / 0)
    with setup.connect() as client:
        client.sendall(STARTUP)

        assert b"CXX000\0" in read_all(client)


def test_connections_that_come_and_go_are_noted(setup: Setup):
    assert setup.relay.touched(E) is None
    setup.doors.at = Server(echo).at
    with setup.connect() as client:
        client.sendall(b"x")
        client.recv(1)
        came = setup.relay.touched(E)
    time.sleep(0.1)
    went = setup.relay.touched(E)

    assert came is not None
    assert went is not None
    assert came < went
    assert not any(setup.relay.connections.values())


def test_an_endpoint_that_is_gone_has_its_connections_cut_and_others_not(setup: Setup):
    setup.doors.at = Server(echo).at
    other = Address(free_port([setup.address.port]), EndpointId("ep-2"))
    setup.relay.listen(other)
    with setup.connect() as client, socket.create_connection(("127.0.0.1", other.port), timeout=10) as bystander:
        for each in (client, bystander):
            each.sendall(b"x")
            assert each.recv(1) == b"x"

        setup.relay.cut(E)

        assert client.recv(1) == b""
        bystander.sendall(b"y")
        assert bystander.recv(1) == b"y"


def test_a_taken_port_is_named_and_the_relay_goes_on(setup: Setup):
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]

        with pytest.raises(PortTakenError, match=str(port)):
            setup.relay.listen(Address(port, E))
    setup.relay.listen(Address(port, E))
    setup.relay.listen(Address(port, E))

    socket.create_connection(("127.0.0.1", port)).close()


def test_a_relay_that_is_closed_lets_go_of_everything(setup: Setup):
    setup.doors.at = Server(echo).at
    client = setup.connect()
    client.sendall(b"x")
    client.recv(1)

    setup.relay.close()
    setup.relay.close()

    assert client.recv(1) == b""
    client.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", setup.address.port))
