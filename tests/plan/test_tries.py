"""What is told of all servers that were asked for one exchange."""

import pytest

from vestibule.contract import Attempt, Chosen
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_REFUSED, Fault
from vestibule.plan.tries import ADDRESSES, CONNECT, HEAD, STATUSES, TOOK, Tried

from .fakes import idle

ALL = (ADDRESSES, STATUSES, CONNECT, HEAD, TOOK)


def asked(address: bytes = b"192.0.2.1:80") -> Exchange:
    ex = idle("/")
    ex.began_ms = ex.try_ms = 1_000
    ex.chosen = Chosen()
    ex.chosen.address = address
    return ex


def told(ex: Exchange) -> list[bytes | None]:
    return [Tried(what).find(ex) for what in ALL]


def test_where_nobody_was_asked_nothing_is_told() -> None:
    ex = idle("/")
    assert told(ex) == [None] * 5
    ex.note_attempt(502, 0, False)
    assert ex.attempts is None
    assert told(asked(b"")) == [None] * 5


def test_one_that_answers() -> None:
    ex = asked()
    assert told(ex) == [b"192.0.2.1:80", b"-", b"-", b"-", b"-"], "nothing is known yet"
    ex.connect_ms, ex.head_ms, ex.up_status = 4, 1_250, 404
    ex.ended_ms, ex.over = 3_500, True
    assert told(ex) == [b"192.0.2.1:80", b"404", b"0.004", b"1.250", b"2.500"]
    ex.connect_ms = -1
    assert Tried(CONNECT).find(ex) == b"0.000", "on a kept connection"
    ex.ended_ms = 0
    assert Tried(TOOK).find(ex) != b"-", "the clock says when it ended"


@pytest.mark.parametrize(("fault", "status"), [(UPSTREAM_REFUSED, b"502"), (CLIENT_GONE, b"-")])
def test_one_that_does_not(fault: object, status: bytes) -> None:
    ex = asked()
    ex.fault = Fault(fault)  # type: ignore[arg-type]
    assert told(ex)[:3] == [b"192.0.2.1:80", status, b"-"]


def test_others_before() -> None:
    ex = asked()
    ex.note_attempt(502, 1_010, False)
    assert ex.chosen is not None
    ex.chosen.address = b"192.0.2.2:80"
    ex.try_ms, ex.connect_ms, ex.head_ms, ex.up_status = 1_010, 2, 30, 503
    ex.note_attempt(503, 1_030, True)
    assert (ex.connect_ms, ex.head_ms, ex.up_status) == (-1, -1, -1)
    ex.chosen = None
    assert told(ex) == [b"192.0.2.1:80, 192.0.2.2:80", b"502, 503", b"-, 0.002", b"-, 0.020", b"0.010, 0.020"]
    ex.chosen = Chosen()
    ex.chosen.address = b"192.0.2.3:80"
    assert told(ex)[:2] == [b"192.0.2.1:80, 192.0.2.2:80 : 192.0.2.3:80", b"502, 503 : -"]


def test_an_attempt_keeps_what_it_is_told() -> None:
    each = Attempt(b"a", 200, 1, 2, 3, True)
    assert (each.address, each.status, each.connect_ms, each.head_ms, each.took_ms, each.last) == (b"a", 200, 1, 2, 3, True)
