"""How servers stand: what the control process says, and the list of all."""

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
