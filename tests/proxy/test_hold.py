"""Requests that wait while nobody can be reached: one tries, the others follow, each in its time."""

from collections.abc import Iterator

import pytest

from tests.conformance.stream import Spy
from tests.proxy.yard import Yard
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_DENIED, UPSTREAM_REFUSED, Fault
from vestibule.proxy.hold import Hold, Resumer

pytestmark = pytest.mark.interpreted_only  # who lets them try is a trait, and those cannot be derived from

REFUSED = Fault(UPSTREAM_REFUSED)


class House(Resumer):
    """Requests held, with time that the test lets pass."""

    def __init__(self) -> None:
        self.yard = Yard()
        self.hold = Hold(self.yard.reactor, self)
        self.tried: list[Exchange] = []

    def resume(self, ex: Exchange) -> None:
        self.tried.append(ex)

    def put(self, count: int, until_ms: int = 60_000) -> list[Exchange]:
        """Hold so many requests."""
        exchanges = []
        for _ in range(count):
            ex = self.yard.exchange()
            ex.hold_until_ms = self.yard.reactor.now_ms + until_ms
            self.hold.put(ex, REFUSED)
            exchanges.append(ex)
        return exchanges

    def wait(self, ms: int = 300) -> list[Exchange]:
        """Let time pass; return who tried."""
        self.tried.clear()
        self.yard.reactor.ahead_ms += ms
        self.yard.reactor.turn(0)
        self.yard.reactor.turn(0)
        return list(self.tried)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.yard.close()


def test_one_tries_at_a_time_and_comes_back_to_its_place(house: House) -> None:
    first, second = house.put(2)
    for _ in range(3):
        assert house.wait() == [first]
        house.hold.put(first, REFUSED)
    house.hold.cancel(first)
    assert house.wait() == [second]


@pytest.mark.parametrize("over", [False, True])
def test_the_others_follow_once_one_is_served(house: House, over: bool) -> None:
    first, second, third = house.put(3)
    assert house.wait() == [first]
    if over:
        first.answer(200, [], b"")
    else:
        first.up = Spy()
    assert house.wait() == [second, third]
    assert house.wait() == []


def test_one_that_tries_and_fails_does_not_let_the_others_follow(house: House) -> None:
    first, second, third = house.put(3)
    assert house.wait() == [first]
    first.hang_up(Fault(PROXY_DENIED))
    assert house.wait() == [second], "the next alone"
    assert house.wait() == [third]


def test_a_client_that_leaves_while_it_tries_or_waits_makes_room(house: House) -> None:
    first, second, third = house.put(3)
    assert house.wait() == [first]
    house.hold.cancel(first)
    house.hold.cancel(second)
    assert house.wait() == [third]
    first.up = Spy()
    assert house.wait() == []


def test_waiting_ends_with_the_fault_it_began_with(house: House) -> None:
    (early,) = house.put(1, 100)
    (late,) = house.put(1)
    assert house.wait() == [late]
    assert early.over and early.fault is REFUSED and not late.over
