"""What failures lead to: nginx's max_fails, ejection with a cap, the budget of tries again."""

from vestibule.fault import REPEATABLE, SAFE, UPSTREAM_BUSY, UPSTREAM_LOST, UPSTREAM_REFUSED, Fault
from vestibule.proxy.rules import Rules
from vestibule.proxy.standing import Board, Standing


def standings(count: int) -> list[Standing]:
    board = Board()
    return [board.find(str(at)) for at in range(count)]


def passive(most: int = 3, window_ms: int = 10_000) -> Rules:
    rules = Rules()
    rules.max_fails, rules.window_ms = most, window_ms
    return rules


def outliers(**settings: int) -> Rules:
    rules = Rules()
    rules.ejects = True
    for name, value in settings.items():
        setattr(rules, name, value)
    return rules


def fail(rules: Rules, some: list[Standing], *times: int, at: int = 0) -> None:
    for now in times:
        rules.failed(some[at], some, now, True, True)


def test_so_many_failures_within_the_window_put_a_server_out_for_as_long() -> None:
    rules, some = passive(), standings(2)
    fail(rules, some, 100_000, 101_000)
    assert not some[0].is_out(101_000)
    fail(rules, some, 109_000)
    assert some[0].is_out(118_999) and not some[0].is_out(119_000) and not some[1].is_out(109_000)


def test_failures_further_apart_do_not_add_up() -> None:
    rules, some = passive(), standings(2)
    fail(rules, some, 100_000, 105_000, 111_000, 112_000)
    assert not some[0].is_out(112_000)


def test_an_answer_in_between_forgives_nothing_before_so_many_are_reached() -> None:
    rules, some = passive(), standings(2)
    fail(rules, some, 100_000, 101_000)
    rules.answered(some[0], some, 102_000, False)
    fail(rules, some, 103_000)
    assert some[0].is_out(103_001)


def test_the_first_request_after_being_out_decides() -> None:
    rules, some = passive(), standings(2)
    fail(rules, some, 100_000, 100_001, 100_002)
    fail(rules, some, 110_500)
    assert some[0].is_out(110_501), "one failure is enough then"
    rules.answered(some[0], some, 121_000, False)
    fail(rules, some, 121_001, 121_002)
    assert not some[0].is_out(121_003), "an answer forgives"


def test_a_server_may_have_figures_of_its_own() -> None:
    rules, some = passive(1), standings(3)
    some[0].max_fails, some[1].fail_window_ms, some[2].max_fails = 2, 500, 0
    for at in range(3):
        fail(rules, some, 100_000, at=at)
    assert [each.is_out(100_001) for each in some] == [False, True, False]
    assert not some[1].is_out(100_500)
    fail(rules, some, 100_002)
    assert some[0].is_out(110_001)
    assert [rules.looks_at_answers(False, each) for each in some] == [True, True, False]
    assert not rules.looks_at_answers(True, some[0])


def test_a_server_alone_is_never_put_out() -> None:
    rules, some = passive(1), standings(1)
    fail(rules, some, 1, 2, 3)
    assert not some[0].is_out(4)


def test_what_is_a_failure_of_the_server() -> None:
    rules = Rules()
    assert rules.counts(Fault(UPSTREAM_REFUSED))
    assert not rules.counts(Fault(UPSTREAM_LOST)), "it may close a connection it kept"
    assert rules.counts(Fault(UPSTREAM_LOST, "", REPEATABLE))
    assert not rules.counts(Fault(UPSTREAM_LOST, "", SAFE)), "HTTP/2: it refused, or goes away in good order"
    assert not rules.counts(Fault(UPSTREAM_BUSY)), "that is our own limit"


def test_failures_in_a_row_eject_and_longer_each_time() -> None:
    rules, some = outliers(consecutive=3, eject_ms=1_000), standings(4)
    fail(rules, some, 1, 2)
    rules.answered(some[0], some, 3, False)
    fail(rules, some, 4, 5)
    assert not some[0].is_out(5)
    fail(rules, some, 6)
    assert some[0].is_out(1_005) and not some[0].is_out(1_006)
    fail(rules, some, 1_010, 1_011, 1_012)
    assert some[0].is_out(3_011) and not some[0].is_out(3_012)
    rules.answered(some[0], some, 10_000, False)
    fail(rules, some, 10_001, 10_002, 10_003)
    assert some[0].is_out(11_002) and not some[0].is_out(11_003), "well for long: as the first time"


def test_what_fails_while_it_is_ejected_is_not_ejected_for_longer() -> None:
    rules, some = outliers(consecutive=2, eject_ms=1_000), standings(4)
    fail(rules, some, 1, 2)
    fail(rules, some, 3, 4, 5)
    assert some[0].is_out(1_001) and not some[0].is_out(1_002) and some[0].ejections == 1


def test_a_share_of_failures_ejects_once_enough_was_seen() -> None:
    rules, some = outliers(consecutive=0, percent=50, requests=10), standings(3)
    for now in range(5):
        rules.answered(some[0], some, now, False)
        if now < 4:
            fail(rules, some, now)
    assert not some[0].is_out(4)
    fail(rules, some, 5)
    assert some[0].is_out(6)


def test_no_more_than_a_share_is_ejected() -> None:
    rules, some = outliers(consecutive=1, max_percent=50), standings(4)
    for at in range(4):
        fail(rules, some, 1, at=at)
    assert [each.is_out(2) for each in some] == [True, True, False, False]
    rules, some = outliers(consecutive=1, max_percent=10), standings(4)
    for at in range(4):
        fail(rules, some, 1, at=at)
    assert [each.is_out(2) for each in some] == [True, False, False, False], "one always may be"
    some = standings(1)
    fail(rules, some, 1)
    assert not some[0].is_out(2), "not the only one"


def test_the_budget_ends() -> None:
    rules = Rules()
    assert [rules.spend() for _ in range(11)] == [True] * 10 + [False]
    rules.saved = 199
    assert [rules.spend(), rules.spend()] == [True, False] and rules.saved == 99


def test_who_cannot_be_reached_is_told_with_the_status_that_is_wanted() -> None:
    rules = Rules()
    refused = Fault(UPSTREAM_REFUSED)
    rules.told(refused)
    assert refused.kind is UPSTREAM_REFUSED
    rules.unreachable_status = 503
    lost = Fault(UPSTREAM_LOST)
    rules.told(lost)
    rules.told(refused)
    assert lost.kind is UPSTREAM_LOST
    assert (refused.kind.name, refused.status, UPSTREAM_REFUSED.status) == ("upstream.refused", 503, 502)
