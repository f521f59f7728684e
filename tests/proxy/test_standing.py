"""How servers stand: what the control process says, and the list of all."""

import pytest

from vestibule.proxy.standing import DRAIN, Board


def test_a_change_raises_the_version() -> None:
    board = Board()
    one = board.find("u a:1")
    assert board.find("u a:1") is one and one.up and board.version == 0
    board.told("u a:1", False, "", -1, 5)
    assert not one.up and board.version == 1
    one.put_out(50)
    one.eject(60)
    assert board.version == 3 and one.is_out(59) and not one.is_out(60)


def test_who_comes_up_begins_anew() -> None:
    board = Board()
    board.told("k", False, "", -1, 5)
    one = board.find("k")
    one.fails = 3
    one.put_out(10_000)
    board.told("k", True, "drain", 7, 400)
    assert (one.up, one.mode, one.weight, one.fails, one.back_at_ms) == (True, DRAIN, 7, 0, 400) and not one.is_out(500)


def test_only_those_named_are_kept() -> None:
    board = Board()
    kept = board.find("a 192.0.2.1:80")
    board.find("ab 192.0.2.1:80")
    board.keep(["a", "c"])
    assert board.items() == [kept]


def test_a_longer_answer_counts_at_once_and_shorter_ones_little_by_little() -> None:
    one = Board().find("k")
    assert one.expected(1_000) == 0.0, "nothing is known"
    one.learn(10, 1_000)
    one.learn(400, 1_000)
    assert one.expected(1_000) == 400.0
    one.learn(0, 1_000)
    assert one.expected(1_000) == pytest.approx(380.0), "many in one moment count, too"
    for _ in range(200):
        one.learn(20, 1_000)
    assert one.expected(1_000) == pytest.approx(20.0, abs=0.1)


def test_an_old_answer_time_loses_its_say() -> None:
    one = Board().find("k")
    one.learn(400, 1_000)
    assert one.expected(11_000) == pytest.approx(400 / 2.71828, abs=0.01)
    one.learn(100, 11_000)
    assert one.expected(11_000) == pytest.approx(117.4, abs=0.1), "by then a third of it was left, and of that a third counts"


def test_a_first_answer_in_no_time_is_one() -> None:
    one = Board().find("k")
    one.learn(0, 1_000)
    assert one.expected(1_000) == 0.0


def test_a_server_that_stays_up_or_goes_down_keeps_its_failures() -> None:
    one = Board().find("k")
    one.fails = 3
    for up in (True, False):
        one.told(up, 0, -1, 400, -1)
    assert one.fails == 3 and one.back_at_ms == -1
