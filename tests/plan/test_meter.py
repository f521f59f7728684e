"""What a plan counts: what begins, what ends, and what its servers did."""

import pytest

from vestibule.contract import DOWN, UP, Chosen, ErrorPlan, Plan
from vestibule.counts import Counts, ServerCounts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BODY_TOO_LARGE, CLIENT_GONE, UPSTREAM_LOST, Fault
from vestibule.plan.expr import Const
from vestibule.plan.meter import BeginMeter, Meter, ServerMeter
from vestibule.plan.sources.fixed import Respond

from .fakes import FakeStream, FakeUpstream, request, respond


class Shop(FakeUpstream):
    """An upstream of one server that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Chosen()
        self.server.counts = ServerCounts("u", "s")

    def start(self, ex: Exchange) -> None:
        ex.chosen = self.server
        super().start(ex)


def metered() -> tuple[Plan, Counts, ServerCounts]:
    counts = Counts()
    shop = Shop()
    assert shop.server.counts is not None
    return Plan("p", shop, [BeginMeter(counts)], log=[ServerMeter(), Meter(counts)]), counts, shop.server.counts


def ask(plan: Plan) -> tuple[Exchange, FakeStream]:
    ex, down = request(plan)
    ex.ended_ms = ex.began_ms + 7
    return ex, down


def test_an_answer() -> None:
    plan, counts, server = metered()
    ex, _ = ask(plan)
    assert (counts.begun, counts.ended) == (1, 0)
    ex.head_ms = 4
    respond(ex, 404, "Content-Length: 5", body=b"hello")
    assert (counts.ended, counts.classes[4], counts.bytes_out, counts.total_ms, counts.ranges[1]) == (1, 1, 5, 7, 1)
    assert (server.attempts, server.failures, server.classes[4], server.bytes_in, server.heads, server.head_ms) == (1, 0, 1, 5, 1, 4)


def test_a_server_that_fails() -> None:
    plan, counts, server = metered()
    ex, _ = ask(plan)
    ex.on_fault(UP, Fault(UPSTREAM_LOST))
    assert (counts.classes[5], counts.faults) == (1, {"upstream.lost": 1})
    assert (server.attempts, server.failures, sum(server.classes)) == (1, 1, 0)


def test_a_client_that_goes_away_is_no_failure_of_the_server() -> None:
    plan, counts, server = metered()
    ex, _ = ask(plan)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    assert (counts.classes[0], counts.faults) == (1, {"client.gone": 1})
    assert (server.attempts, server.failures, sum(server.classes)) == (1, 0, 0)


def test_what_no_server_answers() -> None:
    counts = Counts()
    request(Plan("p", Respond(200, [], [], Const(b"hi")), log=[ServerMeter(), Meter(counts)]))
    assert (counts.ended, counts.bytes_out) == (1, 2)
    ex, _ = request(Plan("p", FakeUpstream(), log=[ServerMeter(), Meter(counts)]))
    ex.chosen = Chosen()  # one that nobody counts
    respond(ex, 200)
    assert counts.ended == 2


@pytest.mark.parametrize(
    ("fault", "attempts", "failures"),
    [(None, 1, 0), (UPSTREAM_LOST, 1, 1), (CLIENT_BODY_TOO_LARGE, 0, 0)],
)
def test_a_plan_in_the_place_of_an_error_does_not_hide_the_server(fault: object, attempts: int, failures: int) -> None:
    plan, counts, server = metered()
    other = Plan("e", Respond(200, [], [], Const(b"sorry")), log=[ServerMeter(), Meter(counts)])
    plan = Plan("p", plan.source, log=plan.log, errors=[ErrorPlan(other, (), 0, True)])
    ex, _ = ask(plan)
    if fault is None:
        respond(ex, 404)
    else:
        ex.on_fault(UP, Fault(fault))  # type: ignore[arg-type]  # one of those in the table above
    assert (counts.ended, counts.classes[2]) == (1, 1)
    assert (server.attempts, server.failures, server.classes[4]) == (attempts, failures, 1 if fault is None else 0)
