"""Counts by keys: sliding periods, bounds, and what is given back."""

from __future__ import annotations

import pytest

from vestibule.contract import Plan
from vestibule.fault import UPSTREAM_TRUNCATED, Fault
from vestibule.plan.expr import Const
from vestibule.plan.steps.count import Count, CountAnswered, Counters, Tally
from vestibule.plan.steps.edit import EditResponse
from vestibule.plan.variables import Header, Kept

from .fakes import FakeUpstream, idle, request, respond


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0, 999], [1, 2, 3]),
        ([0, 500, 1000], [1, 2, 3]),
        ([0, 500, 1500], [1, 2, 2]),
        ([0, 500, 1999], [1, 2, 1]),
        ([0, 500, 2000], [1, 2, 1]),
        ([0, 500, 9000], [1, 2, 1]),
    ],
)
def test_a_period_slides(times: list[int], expected: list[int]) -> None:
    counters = Counters(1000, 10, 0)
    assert [counters.add(b"a", 1, at) for at in times] == expected


def test_without_a_period_all_counts_and_looking_counts_nothing() -> None:
    counters = Counters(0, 10, 0)
    assert [counters.add(b"a", count, at) for count, at in ((1, 0), (2, 10_000), (0, 99_999))] == [1, 3, 3]
    assert counters.add(b"b", 0, 0) == 0


def test_keys_are_bounded_and_expire() -> None:
    counters = Counters(0, 2, 1000)
    for key in (b"a", b"b", b"a", b"c"):
        counters.add(key, 1, 0)
    assert len(counters) == 2
    assert [counters.add(key, 0, 1000) for key in (b"a", b"c")] == [2, 1], "`b` was touched longest ago"
    assert counters.add(b"a", 1, 2001) == 1
    counters.close()
    assert len(counters) == 0


def tally(counters: Counters, key: str = "x-user", count: int = 1, while_open: bool = False) -> Tally:
    return Tally(counters, Header(key.encode()), b"n", count, while_open)


def test_the_result_is_kept_and_an_empty_key_counts_nothing() -> None:
    counters = Counters(0, 10, 0)
    step = Count(tally(counters))
    ex = idle("/", "X-User: alice")
    step.run(ex)
    step.run(ex)
    assert Kept(b"n").text(ex) == b"2"
    nobody = idle()
    step.run(nobody)
    assert (Kept(b"n").text(nobody), len(counters)) == (b"", 1)


def test_what_is_under_way_is_given_back_once() -> None:
    counters = Counters(0, 10, 0)
    plan = Plan("p", FakeUpstream(), [Count(tally(counters, while_open=True))])
    one, _ = request(plan, "/", "X-User: alice")
    other, _ = request(plan, "/", "X-User: alice")
    assert Kept(b"n").text(other) == b"2"
    respond(one, 200)
    assert counters.add(b"alice", 0, 0) == 1
    counters.close()
    other.hang_up(Fault(UPSTREAM_TRUNCATED))
    assert counters.add(b"alice", 0, 0) == 0


def test_answers_are_counted() -> None:
    counters = Counters(0, 10, 0)
    plan = Plan("p", FakeUpstream(), response=[EditResponse([CountAnswered(Tally(counters, Const(b"all"), b"n", 3, False))])])
    ex, _ = request(plan)
    respond(ex, 404)
    assert counters.add(b"all", 0, 0) == 3
