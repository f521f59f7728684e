"""Sums that never go backwards."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vestibule.control.metrics.ledger import Ledger, add


def test_sums_take_what_is_new() -> None:
    sums: dict[str, Any] = {"a": 1, "b": {"c": 2}}
    add(sums, {"a": 2, "b": {"d": 5}, "e": {"f": 1}})
    assert sums == {"a": 3, "b": {"c": 2, "d": 5}, "e": {"f": 1}}


def test_a_worker_that_is_gone_leaves_its_counts_and_nothing_else() -> None:
    ledger = Ledger()
    ledger.take(1, {"n": 3, "s": {"a": 1}}, {"open": 2})
    ledger.take(2, {"n": 4}, {"open": 5})
    assert (ledger.counters(), ledger.gauges()) == ({"n": 7, "s": {"a": 1}}, {"open": 7})
    ledger.lose(1)
    ledger.lose(9)  # never heard of
    assert (ledger.counters(), ledger.gauges()) == ({"n": 7, "s": {"a": 1}}, {"open": 5})
    ledger.take(1, {"n": 1}, {"open": 1})  # another process with the same number
    assert (ledger.counters()["n"], ledger.gauges()) == (8, {"open": 6})
    assert ledger.counters() == ledger.counters()  # asking changes nothing


@given(st.lists(st.tuples(st.sampled_from(["count", "look", "die"]), st.integers(1, 3), st.integers(0, 9))))
def test_whatever_happens_no_sum_goes_down(events: list[tuple[str, int, int]]) -> None:
    ledger, counts, last = Ledger(), dict.fromkeys((1, 2, 3), 0), 0
    for what, pid, more in events:
        if what == "count":
            counts[pid] += more
            ledger.take(pid, {"n": counts[pid]}, {})
        elif what == "die":
            counts[pid] = 0
            ledger.lose(pid)
        now = ledger.counters().get("n", 0)
        assert now >= last
        last = now
