"""Counts by keys: sliding periods, bounds, and what is given back."""

from __future__ import annotations

import pytest

from vestibule.contract import Plan
from vestibule.fault import UPSTREAM_TRUNCATED, Fault
from vestibule.plan.expr import Const
from vestibule.plan.steps.count import ADD, BYTES_IN, BYTES_OUT, FIND, LOOK, SET, Count, CountAnswered, Counters, Tally
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


def test_looking_touches_nothing_and_a_number_can_be_set() -> None:
    counters = Counters(0, 10, 1000)
    assert counters.look(b"a", 0) == -1
    assert len(counters) == 0
    assert counters.set(b"a", 7, 0) == 7
    assert [counters.look(b"a", at) for at in (0, 1000, 1001)] == [7, 7, -1], "looking does not make it last"
    rates = Counters(1000, 10, 0)
    rates.add(b"a", 4, 0)
    assert [rates.look(b"a", at) for at in (0, 1500, 9000)] == [4, 2, 0]


@pytest.mark.parametrize(
    ("how", "first", "then"),
    [(LOOK, b"0", b"3"), (FIND, b"0", b"1"), (SET, b"5", b"5"), (ADD, b"5", b"8")],
    ids=["look", "find", "set", "add"],
)
def test_a_key_is_looked_up_found_or_set(how: int, first: bytes, then: bytes) -> None:
    for count, expected in ((0, first), (3, then)):
        counters = Counters(0, 10, 0)
        if count:
            counters.add(b"alice", count, 0)
        ex = idle("/", "X-User: alice")
        Count(Tally(counters, Header(b"x-user"), b"n", 5, False, how)).run(ex)
        assert Kept(b"n").text(ex) == expected


@pytest.mark.parametrize(("of", "expected"), [(BYTES_IN, 0), (BYTES_OUT, 5)])
def test_bytes_are_counted_when_the_exchange_is_over(of: int, expected: int) -> None:
    counters = Counters(0, 10, 0)
    plan = Plan("p", FakeUpstream(), [Count(Tally(counters, Const(b"all"), b"n", 1, False, ADD, of))])
    ex, _ = request(plan)
    assert Kept(b"n").text(ex) == b"0"
    respond(ex, 200, body=b"hello")
    assert counters.add(b"all", 0, 0) == expected


def test_what_is_counted_is_told_and_forgotten_by_key() -> None:
    counters = Counters(0, 10, 1_000)
    counters.add(b"a", 2, 0)
    counters.add(b"\xffb", 1, 600)
    assert counters.told(900) == {"a": [2, 100], "\ufffdb": [1, 700]}
    assert counters.told(1_200) == {"\ufffdb": [1, 400]}, "`a` is forgotten"
    counters.forget(b"a")
    counters.forget(b"nobody")
    assert len(counters) == 1
    counters.forget(b"*")
    assert len(counters) == 0 and counters.told(1_200) == {}
    lasting = Counters(0, 10, 0)
    lasting.add(b"a", 3, 0)
    assert lasting.told(99_999) == {"a": [3, 0]}
