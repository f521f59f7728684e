"""Passwords that conditions ask for, judged before them."""

import time

import bcrypt
import pytest

from vestibule.contract import Plan
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Judge
from vestibule.plan.password import Users
from vestibule.plan.steps.judge_first import JudgeFirst

from .fakes import FakeUpstream, answer_of, request
from .test_auth_basic import basic

# As quick as bcrypt can be.
BCRYPT = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4))


def turn_until(reactor: Reactor, *ups: FakeUpstream) -> None:
    end = time.monotonic() + 10
    while not all(up.exchange for up in ups):
        assert time.monotonic() < end
        reactor.turn(100)


@pytest.mark.parametrize("password", ["open sesame", "wrong"])
def test_a_request_waits_until_all_users_have_seen_its_credentials_and_the_next_does_not(
    reactor: Reactor, judge: Judge, password: str
) -> None:
    users, others = Users([b"a"], [BCRYPT]), Users([b"b"], [BCRYPT])
    step = JudgeFirst([users, others], reactor, judge)
    up, again = FakeUpstream(), FakeUpstream()
    ex, _ = request(Plan("p", up, [step]), "/", basic("a", password))
    assert ex.waiting and up.exchange is None
    turn_until(reactor, up)
    text = basic("a", password).partition("Basic ")[2].encode()
    assert users.known(text) is (password == "open sesame") and others.known(text) is False
    request(Plan("p", again, [step]), "/", basic("a", password))
    assert again.exchange is not None


@pytest.mark.parametrize("lines", [(), ("Authorization: Bearer x",), (basic("a", "b"), basic("a", "c"))])
def test_who_shows_no_credentials_does_not_wait(reactor: Reactor, judge: Judge, lines: tuple[str, ...]) -> None:
    up = FakeUpstream()
    request(Plan("p", up, [JudgeFirst([Users([b"a"], [BCRYPT])], reactor, judge)]), "/", *lines)
    assert up.exchange is not None


def test_who_leaves_waits_no_more_and_a_full_line_is_told(reactor: Reactor, judge: Judge) -> None:
    step = JudgeFirst([Users([b"a"], [BCRYPT])], reactor, judge)
    gone, nobody = request(Plan("p", FakeUpstream(), [step]), "/", basic("a", "x"))
    gone.hang_up(Fault(CLIENT_GONE))
    ups = [FakeUpstream() for _ in range(70)]
    downs = [request(Plan("p", ups[at], [step]), "/", basic("a", str(at)))[1] for at in range(70)]
    told = [answer_of(down).status for down in downs if down.heads]
    assert told and set(told) == {503} and not nobody.heads
    turn_until(reactor, *[ups[at] for at in range(70) if not downs[at].heads])
