"""The line in which slow passwords are judged. Requests that wait in it: `test_auth_basic.py`."""

import threading

import pytest

from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Judge, Waiter
from vestibule.plan.password import Users

pytestmark = pytest.mark.interpreted_only


class Slow(Users):
    """Judges once it may; `right` is accepted, and `broken` breaks whoever judges."""

    def __init__(self) -> None:
        super().__init__([b"a"], [b"$2b$04$x"])
        self.may = threading.Event()
        self.at: list[bytes] = []
        self.threads: set[int] = set()

    def judge(self, text: bytes) -> bool:
        self.at.append(text)
        self.threads.add(threading.get_ident())
        assert self.may.wait(10)
        if text == b"broken":
            raise SystemExit("a library's own kind of error")
        return text == b"right"


class One(Waiter):
    def __init__(self) -> None:
        self.verdicts: list[bool] = []

    def on_verdict(self, accepted: bool) -> None:
        self.verdicts.append(accepted)


def turn_until(reactor: Reactor, *ones: One) -> None:
    for _ in range(100):
        reactor.turn(100)
        if all(one.verdicts for one in ones):
            return
    raise AssertionError("no verdict")


def test_the_reactor_goes_on_meanwhile(reactor: Reactor, judge: Judge) -> None:
    users, one, other = Slow(), One(), One()
    assert judge.ask(reactor, users, b"right", one) is judge.ask(reactor, users, b"right", other)
    for _ in range(5):
        reactor.turn(0)
    assert not one.verdicts and users.known(b"right") is None
    users.may.set()
    turn_until(reactor, one, other)
    assert one.verdicts == other.verdicts == [True]
    assert users.at == [b"right"] and threading.get_ident() not in users.threads
    assert users.known(b"right") is True


def test_no_verdict_is_no_and_the_next_is_judged(reactor: Reactor, judge: Judge) -> None:
    users, one, other = Slow(), One(), One()
    users.may.set()
    judge.ask(reactor, users, b"broken", one)
    judge.ask(reactor, users, b"right", other)
    turn_until(reactor, one, other)
    assert (one.verdicts, other.verdicts) == ([False], [True])


def test_what_nobody_waits_for_is_not_judged(reactor: Reactor, judge: Judge) -> None:
    users, first, gone, last = Slow(), One(), One(), One()
    judge.ask(reactor, users, b"first", first)
    case = judge.ask(reactor, users, b"gone", gone)
    assert case is not None
    case.leave(gone)
    judge.ask(reactor, users, b"right", last)
    users.may.set()
    turn_until(reactor, first, last)
    assert users.at == [b"first", b"right"] and not gone.verdicts
    assert users.known(b"gone") is None


def test_who_comes_after_the_thread_saw_nobody_is_judged(reactor: Reactor, judge: Judge) -> None:
    users, first, gone, late = Slow(), One(), One(), One()
    users.may.set()
    judge.ask(reactor, users, b"first", first)
    case = judge.ask(reactor, users, b"right", gone)
    assert case is not None
    case.leave(gone)
    for _ in range(1000):  # the thread is through with both, and the reactor has not heard of it
        if len(judge._done) == 2:
            break
        threading.Event().wait(0.01)
    assert judge.ask(reactor, users, b"right", late) is case
    turn_until(reactor, first, late)
    assert late.verdicts == [True] and users.at == [b"first", b"right"]


def test_the_line_is_bounded(reactor: Reactor, judge: Judge) -> None:
    users, ones = Slow(), [One() for _ in range(64)]
    assert all(judge.ask(reactor, users, b"%d" % at, ones[at]) for at in range(64))
    assert judge.ask(reactor, users, b"one more", One()) is None
    users.may.set()
    turn_until(reactor, *ones)
    assert judge.ask(reactor, users, b"one more", One()) is not None
