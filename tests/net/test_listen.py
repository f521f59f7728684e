"""Accepting: bursts, a door that is full, and stopping."""

import errno
import os
import socket
from pathlib import Path

import pytest

from vestibule.net.listen import Acceptor, Listener
from vestibule.net.reactor import Reactor

pytestmark = pytest.mark.interpreted_only  # an acceptor is a trait, and those cannot be derived from


End = tuple[str, int] | None


class Hall(Acceptor):
    def __init__(self) -> None:
        self.guests: list[socket.socket] = []
        self.ends: list[tuple[End, End]] = []
        self.most = 1000

    def on_accepted(self, sock: socket.socket, peer: End, local: End) -> None:
        assert not sock.getblocking()
        self.ends.append((peer, local))
        self.guests.append(sock)

    def is_full(self) -> bool:
        return len(self.guests) >= self.most


def begin() -> tuple[Reactor, Hall, Listener, list[socket.socket]]:
    reactor, hall = Reactor(), Hall()
    door = socket.create_server(("127.0.0.1", 0), backlog=100)
    door.setblocking(False)
    listener = Listener(reactor, door, hall)
    listener.start()
    reactor.turn(0)
    return reactor, hall, listener, []


def knock(listener: Listener, clients: list[socket.socket], count: int) -> None:
    clients.extend(socket.create_connection(listener.sock.getsockname()) for _ in range(count))


def leave(reactor: Reactor, hall: Hall, listener: Listener, clients: list[socket.socket]) -> None:
    listener.stop()
    reactor.turn(0)
    for sock in (*clients, *hall.guests):
        sock.close()
    reactor.close()


def test_a_burst_is_taken_sixteen_at_a_time() -> None:
    reactor, hall, listener, clients = begin()
    knock(listener, clients, 20)
    reactor.turn(10)
    assert len(hall.guests) == 16
    reactor.turn(10)
    assert len(hall.guests) == 20
    leave(reactor, hall, listener, clients)


def test_a_full_door_looks_away_and_comes_back() -> None:
    reactor, hall, listener, clients = begin()
    hall.most = 2
    knock(listener, clients, 3)
    reactor.turn(10)
    assert len(hall.guests) == 2
    reactor.turn(0)
    assert listener.known == 0, "no event is waited for, so none comes for ever"
    hall.most = 3
    reactor.ahead_ms += 351
    for _ in range(3):
        reactor.turn(10)
    assert len(hall.guests) == 3
    leave(reactor, hall, listener, clients)


def test_after_stop_nobody_is_accepted_and_the_socket_is_closed() -> None:
    reactor, hall, listener, clients = begin()
    knock(listener, clients, 1)
    listener.stop()
    listener.stop()
    reactor.turn(0)
    assert hall.guests == [] and listener.sock.fileno() == -1
    reactor.ahead_ms += 1000
    reactor.turn(0)
    leave(reactor, hall, listener, clients)


class Door:
    """A listening socket whose `_accept` fails as it is told, and then has nobody."""

    family, type, proto = socket.AF_UNIX, socket.SOCK_STREAM, 0

    def __init__(self, *fails: OSError) -> None:
        self.fails = list(fails)
        self.out, self.into = os.pipe()

    def fileno(self) -> int:
        return self.out

    def _accept(self) -> tuple[int, object]:
        raise self.fails.pop(0) if self.fails else BlockingIOError

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_the_door_looks_away_for_a_while(code: int) -> None:
    reactor, door = Reactor(), Door(OSError(code, "none left"))
    listener = Listener(reactor, door, Hall())  # type: ignore[arg-type]
    listener.start()
    listener.on_readable()
    assert listener.interest == 0
    reactor.ahead_ms += 400
    reactor.turn(0)
    reactor.turn(0)
    assert listener.interest != 0
    listener.stop()
    listener.on_deadline()
    listener.on_writable()
    assert listener.interest == 0
    reactor.turn(0)
    reactor.close()


def test_a_client_that_is_gone_does_not_keep_the_others_waiting() -> None:
    reactor, door = Reactor(), Door(OSError(errno.ECONNABORTED, "gone"), OSError(errno.EPROTO, "gone"))
    listener = Listener(reactor, door, Hall())  # type: ignore[arg-type]
    listener.start()
    listener.on_readable()
    assert door.fails == [] and listener.interest != 0
    listener.stop()
    reactor.turn(0)
    reactor.close()


@pytest.mark.parametrize(
    ("host", "client", "known"), [("127.0.0.1", "127.0.0.1", True), ("0.0.0.0", "127.0.0.1", False), ("::1", "::1", True)]
)
def test_both_ends_are_told_as_far_as_the_kernel_said_them(host: str, client: str, known: bool) -> None:
    reactor, hall = Reactor(), Hall()
    door = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    door.setblocking(False)
    listener = Listener(reactor, door, hall)
    listener.start()
    reactor.turn(0)
    with socket.create_connection((client, door.getsockname()[1])) as guest:
        reactor.turn(1000)
        assert hall.ends == [(guest.getsockname()[:2], guest.getpeername()[:2] if known else None)]
        taken = hall.guests[0]
        assert (taken.family, taken.type, taken.proto) == (door.family, door.type, door.proto)
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        taken.close()
    listener.stop()
    reactor.turn(0)
    reactor.close()


def test_ends_of_unix_sockets_have_no_name(tmp_path: Path) -> None:
    reactor, hall = Reactor(), Hall()
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "door"))
    door.listen()
    door.setblocking(False)
    listener = Listener(reactor, door, hall)
    listener.start()
    reactor.turn(0)
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(str(tmp_path / "door"))
        reactor.turn(1000)
        assert hall.ends == [(None, None)]
        hall.guests[0].close()
    listener.stop()
    reactor.turn(0)
    reactor.close()
