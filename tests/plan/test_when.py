"""Steps that hold others: which of them run, and what is left when one of them waits."""

import pytest

from tests.cast import Say, Slow, answer_head, begin, request
from vestibule.contract import ANSWERED, PASS, WAIT, Plan
from vestibule.exchange import Exchange
from vestibule.plan.expr import ConstTest
from vestibule.plan.steps.when import Only, When


def denies(ex: Exchange) -> None:
    ex.answer(403, [], b"")


@pytest.mark.parametrize("truth", [True, False])
def test_one_side_runs_in_order(truth: bool) -> None:
    first, second, other, after, source = Say(PASS), Say(PASS), Say(PASS), Say(PASS), Slow()
    _, ex = begin(Plan("p", source, request=[When(ConstTest(truth), [first, second], [other]), after]))
    ex.on_request(request(), True)
    assert (first.runs, second.runs, other.runs) == ((1, 1, 0) if truth else (0, 0, 1))
    assert after.runs == 1 and source.started


def test_without_another_side_nothing_runs() -> None:
    held, source = Say(ANSWERED), Slow()
    _, ex = begin(Plan("p", source, request=[When(ConstTest(False), [held])]))
    ex.on_request(request(), True)
    assert held.runs == 0 and source.started


def test_one_that_answers_is_the_last() -> None:
    after = Say(PASS)
    down, ex = begin(Plan("p", Slow(), request=[When(ConstTest(True), [Say(ANSWERED, denies), after]), after]))
    ex.on_request(request(), True)
    assert down.statuses == [403] and after.runs == 0


def test_what_is_left_behind_one_that_waits_runs_from_inside_out() -> None:
    order: list[str] = []

    def says(name: str, said: int = PASS) -> Say:
        return Say(said, lambda ex: order.append(name))

    inner = When(ConstTest(True), [says("waits", WAIT), says("waits again", WAIT), says("inner")])
    outer = When(ConstTest(True), [inner, says("outer")])
    source = Slow()
    down, ex = begin(Plan("p", source, request=[outer, says("after")]))
    ex.on_request(request(), True)
    assert order == ["waits"] and ex.waiting
    ex.proceed()
    assert order == ["waits", "waits again"] and ex.waiting
    ex.proceed()
    assert order == ["waits", "waits again", "inner", "outer", "after"] and source.started
    ex.on_response(answer_head(), True)
    assert down.statuses == [200]


def test_one_that_waits_as_the_last_leaves_nothing() -> None:
    after = Say(PASS)
    _, ex = begin(Plan("p", Slow(), request=[When(ConstTest(True), [Say(WAIT)]), after]))
    ex.on_request(request(), True)
    assert ex.rests is None and after.runs == 0
    ex.proceed()
    assert after.runs == 1


@pytest.mark.parametrize(("truth", "said"), [(True, PASS), (False, ANSWERED)])
def test_a_look_passes_where_its_test_is_true(truth: bool, said: int) -> None:
    _, ex = begin(Plan("p", Slow()))
    assert Only(ConstTest(truth)).run(ex) == said
