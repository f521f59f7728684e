"""The turn: order of its parts, descriptors that are given out again, and bugs that must not spread."""

import os
import socket

import pytest

from vestibule.net.reactor import READ, WRITE, Crashes, Later, Pollable, Reactor

pytestmark = pytest.mark.interpreted_only  # a Pollable of a test is an interpreted class


class Ear(Pollable):
    """Listens to one end of a socket pair."""

    def __init__(self, reactor: Reactor, log: list[str], name: str) -> None:
        self.sock, self.far = socket.socketpair()
        super().__init__(self.sock.fileno())
        self.reactor = reactor
        self.log = log
        self.name = name
        self.fails = False

    def on_readable(self) -> None:
        self.log.append(f"{self.name} reads")
        self.sock.recv(100)
        if self.fails:
            raise ZeroDivisionError
        self.reactor.need_flush(self)

    def on_writable(self) -> None:
        self.log.append(f"{self.name} writes")
        self.reactor.want(self, self.interest & ~WRITE)

    def flush(self) -> None:
        self.log.append(f"{self.name} flushes")

    def on_bug(self) -> None:
        self.log.append(f"{self.name} gives up")
        self.reactor.doom(self)

    def close_fd(self) -> None:
        self.sock.close()
        self.log.append(f"{self.name} closed")

    def hang_up(self) -> None:
        self.far.close()
        self.sock.close()


class Tell(Crashes):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_crash(self, error: Exception) -> None:
        self.told.append(type(error).__name__)


class Note(Later):
    def __init__(self, reactor: Reactor, log: list[str], times: int) -> None:
        self.reactor = reactor
        self.log = log
        self.times = times

    def on_turn(self) -> None:
        self.log.append("later")
        self.times -= 1
        if self.times:
            self.reactor.call_later(self)


def test_all_events_then_all_flushes() -> None:
    reactor = Reactor()
    log: list[str] = []
    ears = [Ear(reactor, log, name) for name in "ab"]
    for ear in ears:
        reactor.add(ear, READ)
        ear.far.send(b"x")
    reactor.turn(0)
    reactor.turn(0)
    assert sorted(log[:2]) == ["a reads", "b reads"] and sorted(log[2:]) == ["a flushes", "b flushes"]
    for ear in ears:
        ear.hang_up()
    reactor.close()


def test_interest_is_told_once_and_a_pause_taken_back_costs_nothing() -> None:
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    reactor.add(ear, READ)
    reactor.turn(0)
    assert ear.known == READ
    reactor.want(ear, 0)
    reactor.want(ear, READ)
    reactor.turn(0)
    assert ear.known == READ and not ear.listed
    reactor.want(ear, READ | WRITE)
    reactor.turn(0)
    reactor.turn(0)
    assert log == ["a writes"] and ear.known == READ
    ear.hang_up()
    reactor.close()


def test_a_descriptor_is_closed_at_the_end_of_the_turn() -> None:
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    reactor.add(ear, READ)
    reactor.turn(0)
    ear.far.send(b"x")
    fd = ear.fd
    reactor.doom(ear)
    assert os.fstat(fd)
    reactor.turn(0)
    assert log == ["a closed"], "no event for what is doomed"
    assert reactor.pollables() == []
    ear.far.close()
    reactor.close()


def test_later_calls_come_in_the_next_turn_once() -> None:
    reactor = Reactor()
    log: list[str] = []
    reactor.call_later(Note(reactor, log, 2))
    assert reactor.wait_ms() == 0
    reactor.turn(0)
    assert log == ["later"]
    reactor.turn(0)
    reactor.turn(0)
    assert log == ["later", "later"]
    reactor.close()


def test_a_bug_met_by_one_connection_does_not_end_the_others() -> None:
    reactor = Reactor()
    log: list[str] = []
    tell = Tell()
    reactor.crashes = tell
    ears = [Ear(reactor, log, name) for name in "ab"]
    for ear in ears:
        reactor.add(ear, READ)
        ear.far.send(b"x")
    ears[0].fails = True
    reactor.turn(0)
    reactor.turn(0)
    assert tell.told == ["ZeroDivisionError"]
    assert {"a gives up", "a closed", "b reads", "b flushes"} <= set(log)
    ears[1].hang_up()
    ears[0].far.close()
    reactor.close()


def test_a_bug_nobody_is_told_of_is_raised() -> None:
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    ear.fails = True
    reactor.add(ear, READ)
    reactor.turn(0)
    ear.far.send(b"x")
    with pytest.raises(ZeroDivisionError):
        reactor.turn(0)
    ear.hang_up()
    reactor.close()
