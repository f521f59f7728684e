"""The turn: order of its parts, descriptors that are given out again, and bugs that must not spread."""

import os
import socket

import pytest

from vestibule.net.reactor import READ, WRITE, Crashes, Later, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed

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


@pytest.mark.parametrize("fails", ["later", "timer", "flush"])
def test_a_bug_in_any_part_of_a_turn_is_told(fails: str) -> None:
    reactor = Reactor()
    tell = Tell()
    reactor.crashes = tell
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    reactor.add(ear, READ)
    reactor.turn(0)

    class Bad(Later, Timed):
        def on_turn(self) -> None:
            raise ZeroDivisionError

        def on_deadline(self) -> None:
            raise ZeroDivisionError

    bad = Bad()
    deadline = Deadline(bad)
    if fails == "later":
        reactor.call_later(bad)
    elif fails == "timer":
        reactor.timers.arm(deadline, reactor.now_ms + 1)
        reactor.ahead_ms = 1000
    else:
        ear.flush = bad.on_turn  # type: ignore[method-assign]
        reactor.need_flush(ear)
    reactor.turn(0)
    assert tell.told == ["ZeroDivisionError"]
    assert log == (["a gives up", "a closed"] if fails == "flush" else [])
    ear.hang_up()
    reactor.close()


def test_what_is_muted_is_heard_again_when_its_interest_changes() -> None:
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    reactor.mute(ear)  # epoll was never told of it
    reactor.add(ear, READ)
    reactor.turn(0)
    reactor.mute(ear)
    ear.far.send(b"x")
    reactor.turn(0)
    assert log == []
    reactor.want(ear, READ)
    reactor.turn(0)
    reactor.turn(0)
    assert log[0] == "a reads"
    ear.hang_up()
    reactor.close()


def test_a_descriptor_changes_hands() -> None:
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    reactor.add(ear, READ)
    reactor.turn(0)
    other = Ear(reactor, log, "b")
    other.hang_up()
    other.sock, other.fd = ear.sock, ear.fd
    reactor.hand_over(ear, other, READ | WRITE)
    ear.far.send(b"x")
    reactor.turn(0)
    reactor.turn(0)
    assert log[:2] == ["b reads", "b flushes"] and "b writes" in log
    assert reactor.pollables() == [other]
    ear.hang_up()
    reactor.close()


def test_a_shared_socket_leaves_epoll_when_it_is_closed_here() -> None:
    """Another descriptor of the same socket keeps its registration alive, and events would come for ever."""
    reactor = Reactor()
    log: list[str] = []
    ear = Ear(reactor, log, "a")
    ear.shared = True
    twin = ear.sock.dup()
    reactor.add(ear, READ)
    reactor.turn(0)
    reactor.doom(ear)
    reactor.turn(0)
    ear.far.send(b"x")
    reactor.turn(0)
    assert log == ["a closed"]
    twin.close()
    ear.far.close()
    reactor.close()


def test_a_pollable_closes_its_descriptor() -> None:
    reactor = Reactor()
    out, into = os.pipe()
    pollable = Pollable(out)
    reactor.add(pollable, 0)
    pollable.flush()
    pollable.on_bug()
    reactor.doom(pollable)
    reactor.turn(0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(out)
    os.close(into)
    reactor.close()


def test_it_turns_until_it_is_told_to_stop() -> None:
    reactor = Reactor()

    class Stop(Later):
        def on_turn(self) -> None:
            reactor.running = False

    reactor.call_later(Stop())
    reactor.run()
    assert not reactor.running
    assert reactor.wait_ms() == 1000, "nothing is due"
    reactor.close()


def test_it_sleeps_until_the_next_deadline() -> None:
    reactor = Reactor()

    class Due(Timed):
        def on_deadline(self) -> None:
            """Not waited for here."""

    deadline = Deadline(Due())
    reactor.timers.arm(deadline, reactor.now_ms + 300)
    assert 0 < reactor.wait_ms() <= 410
    reactor.ahead_ms = 1000
    assert reactor.wait_ms() == 0
    reactor.close()
