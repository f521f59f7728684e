"""Dialling: every address, both families, refusals, silence, unix sockets; one outcome, never at once."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ports import free_ports
from vestibule.fault import UPSTREAM_UNRESOLVED, Fault
from vestibule.net.connect import Dial, Dialer, Endpoint, endpoints_of
from vestibule.net.reactor import Pollable, Reactor

pytestmark = pytest.mark.interpreted_only  # a dialler is a trait, and those cannot be derived from

INET = int(socket.AF_INET)


class Waits(Dialer):
    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.sock: socket.socket | None = None

    def on_dialed(self, sock: socket.socket, before: Pollable) -> None:
        self.outcomes.append("dialed")
        self.sock = sock

    def on_dial_failed(self, fault: Fault) -> None:
        self.outcomes.append(fault.kind.name)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


@pytest.fixture
def house() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def silent() -> Iterator[int]:
    """Return a port where a connection is neither accepted nor refused: its backlog is full."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        port: int = door.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        yield port
        for sock in fill:
            sock.close()


def dial(reactor: Reactor, endpoints: list[Endpoint], turns: int = 30, limit_ms: int = 5_000) -> Waits:
    waits = Waits()
    one = Dial(reactor, waits, endpoints, limit_ms)
    one.start()
    assert waits.outcomes == [], "never from inside start"
    for _ in range(turns):
        reactor.turn(1)
        if waits.outcomes:
            break
    reactor.turn(1)
    return waits


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_connected(reactor: Reactor, house: socket.socket) -> None:
    waits = dial(reactor, [Endpoint(INET, "127.0.0.1", port_of(house))])
    assert waits.outcomes == ["dialed"] and waits.sock is not None
    assert waits.sock.getpeername() == house.getsockname()
    assert not waits.sock.getblocking() and waits.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    waits.sock.close()


def test_connected_from_an_address_of_our_own(reactor: Reactor, house: socket.socket) -> None:
    here = Endpoint(INET, "127.0.0.1", port_of(house))
    here.local = "127.0.0.7"
    waits = dial(reactor, [here])
    assert waits.sock is not None and waits.sock.getsockname()[0] == "127.0.0.7"
    waits.sock.close()
    here.local = "192.0.2.1"
    assert dial(reactor, [here]).outcomes == ["upstream.unreachable"], "nobody here has it"


def test_refused(reactor: Reactor) -> None:
    assert dial(reactor, [Endpoint(INET, "127.0.0.1", free_ports(1)[0])]).outcomes == ["upstream.refused"]


def test_the_second_address_is_tried_at_once_after_a_refusal(reactor: Reactor, house: socket.socket) -> None:
    waits = dial(reactor, [Endpoint(INET, "127.0.0.1", free_ports(1)[0]), Endpoint(INET, "127.0.0.1", port_of(house))])
    assert waits.outcomes == ["dialed"] and waits.sock is not None
    waits.sock.close()


def test_the_second_address_is_tried_after_a_while_of_silence(reactor: Reactor, house: socket.socket, silent: int) -> None:
    waits = Waits()
    Dial(reactor, waits, [Endpoint(INET, "127.0.0.1", silent), Endpoint(INET, "127.0.0.1", port_of(house))], 5_000).start()
    for _ in range(3):
        reactor.turn(1)
    assert waits.outcomes == []
    reactor.ahead_ms += 351
    for _ in range(10):
        reactor.turn(1)
    assert waits.outcomes == ["dialed"] and waits.sock is not None
    waits.sock.close()
    assert len(reactor.pollables()) == 1, "the attempt that did not win is let go of"


def test_silence_ends(reactor: Reactor, silent: int) -> None:
    waits = Waits()
    Dial(reactor, waits, [Endpoint(INET, "127.0.0.1", silent)], 5_000).start()
    reactor.turn(1)
    reactor.ahead_ms += 4_800
    reactor.turn(1)
    assert waits.outcomes == []
    reactor.ahead_ms += 400
    reactor.turn(1)
    assert waits.outcomes == ["upstream.timeout_connect"]
    assert reactor.pollables() == []


def test_no_address(reactor: Reactor) -> None:
    assert dial(reactor, []).outcomes == ["upstream.unresolved"]


def test_unix_sockets(reactor: Reactor, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as house:
        house.bind(path)
        house.listen()
        waits = dial(reactor, [Endpoint(int(socket.AF_UNIX), path, 0)])
        assert waits.outcomes == ["dialed"] and waits.sock is not None
        waits.sock.close()
    assert dial(reactor, [Endpoint(int(socket.AF_UNIX), path, 0)]).outcomes == ["upstream.refused"]
    assert dial(reactor, [Endpoint(int(socket.AF_UNIX), str(tmp_path / "none"), 0)]).outcomes == ["upstream.refused"]


def test_a_cancelled_dial_says_nothing(reactor: Reactor, house: socket.socket) -> None:
    waits = Waits()
    one = Dial(reactor, waits, [Endpoint(INET, "127.0.0.1", port_of(house))], 5_000)
    one.start()
    one.cancel()
    for _ in range(3):
        reactor.turn(1)
    assert waits.outcomes == [] and reactor.pollables() == []


def test_families_take_turns() -> None:
    mixed = endpoints_of(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"], 80)
    assert [endpoint.text() for endpoint in mixed] == ["192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.2:80", "192.0.2.3:80"]
    assert endpoints_of([], 80) == []
    assert Endpoint(int(socket.AF_UNIX), "/run/x", 0).text() == "unix:/run/x"


def test_a_family_that_is_not_there(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    waits = Waits()
    one = Dial(reactor, waits, [Endpoint(INET, "127.0.0.1", 1)], 1000)
    one.start()
    monkeypatch.undo()
    reactor.turn(0)
    assert waits.outcomes == ["upstream.unreachable"]


def test_an_attempt_that_ends_after_the_dial_says_nothing(reactor: Reactor, house: socket.socket) -> None:
    waits = Waits()
    one = Dial(reactor, waits, [Endpoint(INET, "127.0.0.1", port_of(house))], 1000)
    one.start()
    attempt = one._attempts[0]
    one.cancel()
    one.on_attempt(attempt, 0)
    attempt.on_readable()
    attempt.on_writable()
    one.on_deadline()
    one._fail(Fault(UPSTREAM_UNRESOLVED))
    reactor.turn(0)
    assert waits.outcomes == []
