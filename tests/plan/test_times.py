"""Time-outs that a request is given hold in every plan that it enters."""

from vestibule.contract import Plan, Timeouts
from vestibule.exchange import Exchange
from vestibule.plan.steps.times import SetTimeouts

from .fakes import FakeUpstream, idle, request


def told(ex: Exchange) -> tuple[int, int, int, int]:
    times = ex.timeouts
    return times.connect_ms, times.response_head_ms, times.body_idle_ms, times.tunnel_idle_ms


def test_what_was_set_goes_along_and_the_rest_is_of_the_plan() -> None:
    steps = [SetTimeouts(700, -1), SetTimeouts(-1, 900)]
    ex, _ = request(Plan("first", FakeUpstream(), steps, timeouts=Timeouts(1, 2, 300, 400, 5, 600)))
    assert told(ex) == (1, 700, 700, 900)
    ex.enter(Plan("next", FakeUpstream(), timeouts=Timeouts(2, 2, 3_000, 4_000, 5, 6_000)))
    assert told(ex) == (2, 700, 3_000, 900)
    ex.enter(Plan("last", FakeUpstream()))
    assert told(ex) == (2, 700, 3_000, 900)


def test_a_later_one_counts() -> None:
    ex = idle()
    for step in (SetTimeouts(100, 200), SetTimeouts(300, -1)):
        step.run(ex)
    assert told(ex)[1::2] == (300, 200)


def test_a_plan_without_has_its_own() -> None:
    ex, _ = request(Plan("first", FakeUpstream(), timeouts=Timeouts(1)))
    ex.enter(Plan("next", FakeUpstream(), timeouts=Timeouts(2)))
    assert ex.timeouts.connect_ms == 2
