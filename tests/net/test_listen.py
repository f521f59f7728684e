"""Accepting: bursts, a door that is full, and stopping."""

import socket

import pytest

from vestibule.net.listen import Acceptor, Listener
from vestibule.net.reactor import Reactor

pytestmark = pytest.mark.interpreted_only  # an acceptor is a trait, and those cannot be derived from


class Hall(Acceptor):
    def __init__(self) -> None:
        self.guests: list[socket.socket] = []
        self.most = 1000

    def on_accepted(self, sock: socket.socket) -> None:
        assert not sock.getblocking()
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
