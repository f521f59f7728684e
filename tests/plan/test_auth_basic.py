"""Asking for a name and a password."""

import base64

import bcrypt
import pytest

from vestibule.contract import PASS, ErrorPlan, Plan
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Judge
from vestibule.plan.sources.fixed import Respond
from vestibule.plan.steps.auth_basic import BasicAuth

from .fakes import FakeStream, FakeUpstream, answer_of, idle, request


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


# As quick as bcrypt can be.
BCRYPT = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4))


def step() -> BasicAuth:
    return BasicAuth(b'my "photos"', [b"alice", b"bob"], [b"{PLAIN}open:sesame", b"$apr1$abcdefgh$bIhlIPvQq8.xnRItzvumR."])


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        ((), False),
        ((basic("alice", "open:sesame"),), True),
        ((basic("alice", "open:sesame").replace("Basic", "bASIC"),), True),
        ((basic("bob", "Se cret"),), True),
        ((basic("bob", "open:sesame"),), False),
        ((basic("carol", "open:sesame"),), False),
        ((basic("alice", ""),), False),
        (("Authorization: Basic YWxpY2U=",), False),
        (("Authorization: Basic !",), False),
        (("Authorization: Bearer YWxpY2U6b3BlbjpzZXNhbWU=",), False),
        ((basic("alice", "open:sesame"), basic("alice", "open:sesame")), False),
    ],
)
def test_who_may_pass(lines: tuple[str, ...], passes: bool) -> None:
    auth = step()
    for _ in range(2):  # the second time from memory
        up = FakeUpstream()
        _, down = request(Plan("p", up, [auth]), "/", *lines)
        assert (up.exchange is not None) == passes
        if passes:
            assert up.request().fields.get(b"authorization") == lines[0].partition(": ")[2].encode()
        else:
            answer = answer_of(down)
            assert answer.status == 401
            assert answer.fields.get(b"www-authenticate") == b'Basic realm="my \\"photos\\""'
            assert answer.fields.get(b"cache-control") == b"no-store"


def test_an_app_is_told_in_json() -> None:
    _, down = request(Plan("p", FakeUpstream(), [step()]), "/api/albums")
    assert answer_of(down).fields.get(b"content-type") == b"application/json"
    assert b'"statusCode": 401' in down.body
    _, down = request(Plan("p", FakeUpstream(), [step()]), "/", "Accept: text/html")
    assert answer_of(down).fields.get(b"content-type") == b"text/html; charset=utf-8"


def test_what_is_remembered_is_bounded() -> None:
    auth = BasicAuth(b"r", [b"a"], [b"{PLAIN}b"])
    good = idle("/", basic("a", "b"))
    for at in range(1_100):
        auth.run(idle("/", basic("a", str(at))))
    assert auth.run(good) == PASS


def test_where_a_plan_answers_401_it_is_told_what_to_ask_for() -> None:
    page = Plan("page", Respond(200, [], [], None))
    plan = Plan("p", FakeUpstream(), [step()], errors=[ErrorPlan(page, [401], 0, False)])
    ex, down = request(plan, "/")
    assert answer_of(down).status == 200 and ex.auth_answer is not None
    assert ex.auth_answer.get(b"www-authenticate") == b'Basic realm="my \\"photos\\""'


def test_a_refusal_may_be_held_back() -> None:
    reactor = Reactor()
    auth = BasicAuth(b"r", [b"a"], [b"{PLAIN}b"], reactor, 2_000)
    plan = Plan("p", FakeUpstream(), [auth])
    _, down = request(plan, "/", basic("a", "wrong"))
    gone, nobody = request(plan, "/", basic("a", "wrong"))
    reactor.turn(0)
    assert not down.heads
    gone.hang_up(Fault(CLIENT_GONE))
    reactor.ahead_ms += 2_100
    for _ in range(3):
        reactor.turn(0)
    assert answer_of(down).status == 401
    assert not nobody.heads, "who has left is not answered"
    up = FakeUpstream()
    request(Plan("p", up, [auth]), "/", basic("a", "b"))
    assert up.exchange is not None, "who knows the password does not wait"
    reactor.close()


def turn_until(reactor: Reactor, *downs: FakeStream) -> None:
    for _ in range(100):
        reactor.turn(100)
        if all(down.heads for down in downs):
            return
    raise AssertionError("no answer")


def test_a_slow_hash_is_judged_beside_the_reactor_and_remembered() -> None:
    reactor, judge = Reactor(), Judge()
    auth = BasicAuth(b"r", [b"a"], [BCRYPT], reactor, 0, judge)
    ups = [FakeUpstream() for _ in range(3)]
    first, _ = request(Plan("p", ups[0], [auth]), "/", basic("a", "open sesame"))
    second, _ = request(Plan("p", ups[1], [auth]), "/", basic("a", "open sesame"))
    _, down = request(Plan("p", FakeUpstream(), [auth]), "/", basic("a", "wrong"))
    gone, nobody = request(Plan("p", FakeUpstream(), [auth]), "/", basic("a", "wrong"))
    assert first.waiting and second.waiting and not down.heads and ups[0].exchange is None
    gone.hang_up(Fault(CLIENT_GONE))
    turn_until(reactor, down)
    assert ups[0].exchange is first and ups[1].exchange is second
    assert answer_of(down).status == 401 and not nobody.heads
    # From memory, at once; so is what is no credentials at all.
    request(Plan("p", ups[2], [auth]), "/", basic("a", "open sesame"))
    assert ups[2].exchange is not None
    for lines in ((basic("a", "wrong"),), (), ("Authorization: Bearer x",)):
        assert answer_of(request(Plan("p", FakeUpstream(), [auth]), "/", *lines)[1]).status == 401
    judge.stop(reactor)
    reactor.close()


def test_a_wrong_password_with_a_slow_hash_may_be_held_back() -> None:
    reactor, judge = Reactor(), Judge()
    auth = BasicAuth(b"r", [b"a"], [BCRYPT], reactor, 60_000, judge)
    other = FakeUpstream()
    _, down = request(Plan("p", FakeUpstream(), [auth]), "/", basic("a", "wrong"))
    request(Plan("p", other, [auth]), "/", basic("a", "open sesame"))  # judged behind it
    for _ in range(100):
        if other.exchange is not None:
            break
        reactor.turn(100)
    assert other.exchange is not None and not down.heads
    reactor.ahead_ms += 60_100
    turn_until(reactor, down)
    assert answer_of(down).status == 401
    judge.stop(reactor)
    reactor.close()


def test_who_comes_to_a_full_line_is_told_so() -> None:
    reactor, judge = Reactor(), Judge()
    auth = BasicAuth(b"r", [b"a"], [BCRYPT], reactor, 0, judge)
    downs = [request(Plan("p", FakeUpstream(), [auth]), "/", basic("a", str(at)))[1] for at in range(65)]
    assert answer_of(downs[64]).status == 503 and not any(down.heads for down in downs[:64])
    _, joins = request(Plan("p", FakeUpstream(), [auth]), "/", basic("a", "7"))  # is in line already
    turn_until(reactor, joins, *downs)
    assert {answer_of(down).status for down in (joins, *downs[:64])} == {401}
    judge.stop(reactor)
    reactor.close()
