"""Time-outs that a request is given hold in every plan that it enters."""

import pytest

from vestibule.contract import Around, Keeping, Plan, Timeouts
from vestibule.exchange import Exchange
from vestibule.plan.steps.times import KeepAlive, SetTimeouts

from .fakes import FakeStream, FakeUpstream, idle, request


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


def test_how_long_a_connection_is_kept_is_told_to_the_client_side() -> None:
    kept: list[Keeping] = []

    class Down(FakeStream):
        def keep(self, keeping: Keeping) -> None:
            kept.append(keeping)

    keeping = Keeping(idle_ms=5)
    ex = idle()
    KeepAlive(keeping).run(ex)
    ex.down = Around(Down())
    KeepAlive(keeping).run(ex)
    assert kept == [keeping]


@pytest.mark.parametrize(
    ("keeping", "requests", "age_ms", "ends"),
    [
        (Keeping(), 1_000, 1_000, False),
        (Keeping(idle_ms=0), 1, 1, True),
        (Keeping(requests=2), 1, 1, False),
        (Keeping(requests=2), 2, 1, True),
        (Keeping(age_ms=100), 1, 99, False),
        (Keeping(age_ms=100), 1, 100, True),
    ],
)
def test_the_last_answer_of_a_connection(keeping: Keeping, requests: int, age_ms: int, ends: bool) -> None:
    assert keeping.ends(requests, age_ms) is ends
