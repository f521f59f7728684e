"""Steps that wait when an error is met that another plan answers: what they waited for does nothing to that one."""

import pytest

from vestibule.contract import DOWN, PLAIN_PAGE, ErrorPlan, Plan, Relays, Step
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BODY_TOO_LARGE, Fault
from vestibule.http.head import RequestHead
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import Const
from vestibule.plan.steps.ask import AuthRequest, NoPage
from vestibule.plan.steps.body import ReadBody
from vestibule.plan.steps.limit import Accounts, RateLimit

from .fakes import FakeStream, FakeUpstream, answer_of, client, fields, request, respond


class Counting(FakeUpstream):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def start(self, ex: Exchange) -> None:
        self.started += 1
        super().start(ex)


class Left:
    """A request that waits in a step when its body is too large, which a plan answers that asks a server."""

    def __init__(self, reactor: Reactor, step: Step, *more: Step) -> None:
        self.reactor = reactor
        self.page = Counting()
        plan = Plan("site", FakeUpstream(), [step], errors=[ErrorPlan(Plan("error", self.page, list(more)), (413,), -1, False)])
        self.down = FakeStream()
        self.ex = Exchange(self.down, client(), plan, Relays(), 1000)
        self.ex.on_request(RequestHead(b"POST", b"/", b"a", fields("Host: a"), b"HTTP/1.1"), False)
        assert self.ex.waiting and self.page.started == 0
        self.ex.on_fault(DOWN, Fault(CLIENT_BODY_TOO_LARGE))

    def wait(self, ms: int) -> None:
        self.reactor.turn(0)
        self.reactor.ahead_ms += ms
        for _ in range(3):
            self.reactor.turn(0)

    def check(self) -> None:
        assert (self.page.started, self.ex.over) == (1, False), "the page is asked for once, and nobody cuts it"
        respond(self.ex, 200, body=b"page")
        assert (self.ex.over, answer_of(self.down).status, self.down.body, self.down.released) == (True, 413, b"page", 1)


def test_the_turn_of_a_request_comes_too_late(reactor: Reactor) -> None:
    step = RateLimit(reactor, Const(b"key"), Accounts(10), 1, 60_000, 5, 0, 429)
    request(Plan("p", FakeUpstream(), [step]))
    left = Left(reactor, step)
    left.wait(61_000)
    left.check()


@pytest.mark.parametrize("status", [204, 401])
def test_the_answer_to_a_question_comes_too_late(reactor: Reactor, status: int) -> None:
    judge = FakeUpstream()
    left = Left(reactor, AuthRequest(reactor, Plan("question", judge, error_page=NoPage()), b"", None, None, [], False))
    assert judge.exchange is not None
    respond(judge.exchange, status)
    left.wait(0)
    left.check()


def test_a_body_that_nobody_waits_for_any_more(reactor: Reactor) -> None:
    left = Left(reactor, ReadBody(reactor, 100, 1_000))
    left.ex.on_request_body(b"a" * 200, True)
    left.wait(2_000)
    left.check()


def test_a_body_that_goes_nowhere_is_not_waited_for(reactor: Reactor) -> None:
    left = Left(reactor, ReadBody(reactor, 100, 1_000), ReadBody(reactor, 100, 60_000))
    left.check()


def test_who_is_too_slow_is_told_what_he_was_too_slow_for(reactor: Reactor) -> None:
    down = FakeStream()
    ex = Exchange(down, client(), Plan("site", FakeUpstream(), [ReadBody(reactor, 100, 1_000)], error_page=PLAIN_PAGE), Relays(), 1000)
    ex.on_request(RequestHead(b"POST", b"/", b"a", fields("Host: a"), b"HTTP/1.1"), False)
    reactor.turn(0)
    reactor.ahead_ms += 2_000
    for _ in range(3):
        reactor.turn(0)
    assert ex.over and ex.fault is not None
    assert (answer_of(down).status, ex.fault.kind.name, ex.fault.detail) == (408, "client.timeout_body", "1000 ms (read_body)")
    assert "body_idle" not in ex.fault.kind.mend and "read_body" in ex.fault.kind.mend
