"""Asking for a name and a password."""

import base64

import pytest

from vestibule.contract import PASS, ErrorPlan, Plan
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.sources.fixed import Respond
from vestibule.plan.steps.auth_basic import BasicAuth

from .fakes import FakeUpstream, answer_of, idle, request


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


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
