"""Deadlines: never early, at most a tick late, moved without work."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.net.reactor import Reactor
from vestibule.net.timers import TICK_MS, Deadline, Timed, Wheel

pytestmark = pytest.mark.interpreted_only  # the owner of a deadline is a trait, and those cannot be derived from


class Bell(Timed):
    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.deadline = Deadline(self)
        self.rung: list[int] = []
        self.now = 0
        self.again = 0

    def on_deadline(self) -> None:
        self.rung.append(self.now)
        if self.again:
            self.wheel.arm(self.deadline, self.now + self.again)


def run(wheel: Wheel, bells: list[Bell], now: int) -> None:
    for bell in bells:
        bell.now = now
    wheel.run(now)


@given(st.lists(st.tuples(st.integers(1, 5_000), st.sampled_from(["arm", "clear", "pass"])), max_size=40))
def test_a_deadline_fires_once_in_its_tick_or_not_at_all(steps: list[tuple[int, str]]) -> None:
    wheel = Wheel()
    bell = Bell(wheel)
    now = 1_000_000
    due = 0
    for value, what in steps:
        if what == "arm":
            due = now + value
            wheel.arm(bell.deadline, due)
        elif what == "clear":
            due = 0
            bell.deadline.clear()
        else:
            until = now + value
            while now < until:
                now = min(now + 37, until)
                before = len(bell.rung)
                run(wheel, [bell], now)
                if len(bell.rung) > before:
                    assert due and due <= now < due + TICK_MS + 37
                    due = 0
            assert not due or now < due + TICK_MS + 37, "late"
    assert bell.deadline.at_ms == due


def test_putting_off_costs_no_entry() -> None:
    wheel = Wheel()
    bell = Bell(wheel)
    wheel.arm(bell.deadline, 1_000)
    first = wheel.next_ms()
    for later in range(2_000, 60_000, 10):
        wheel.arm(bell.deadline, later)
    assert wheel.next_ms() == first
    run(wheel, [bell], first)
    assert bell.rung == [] and wheel.next_ms() == 59_990 // TICK_MS * TICK_MS + TICK_MS


def test_an_earlier_moment_takes_the_place_of_a_later() -> None:
    wheel = Wheel()
    bell = Bell(wheel)
    wheel.arm(bell.deadline, 10_000)
    wheel.arm(bell.deadline, 1_000)
    run(wheel, [bell], 1_100)
    assert bell.rung == [1_100]
    run(wheel, [bell], 20_000)
    assert bell.rung == [1_100] and wheel.next_ms() == 0


def test_many_in_one_tick_and_one_that_arms_itself_again() -> None:
    wheel = Wheel()
    bells = [Bell(wheel) for _ in range(20)]
    for bell in bells:
        wheel.arm(bell.deadline, 500)
    bells[0].again = 100
    run(wheel, bells, 600)
    run(wheel, bells, 800)
    assert [len(bell.rung) for bell in bells] == [2] + [1] * 19


def test_a_dropped_deadline_holds_nobody() -> None:
    gc.collect()
    gc.disable()
    try:
        wheel = Wheel()
        bell = Bell(wheel)
        wheel.arm(bell.deadline, 500)
        bell.deadline.drop()
        del bell
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Bell)]
        wheel.run(1_000)
    finally:
        gc.enable()


def test_what_is_dropped_does_not_pile_up() -> None:
    """Sessions that end long before their deadline would otherwise be held until it comes, however many a second there are."""
    wheel = Wheel()
    kept = [Bell(wheel) for _ in range(3_000)]
    for number, bell in enumerate(kept):
        wheel.arm(bell.deadline, 50_000 + number)
    most = 0
    for number in range(40_000):
        bell = Bell(wheel)
        wheel.arm(bell.deadline, 600_000 + number)
        bell.deadline.drop() if number % 2 else bell.deadline.clear()
        most = max(most, len(wheel))
    assert most <= 2 * len(kept) + 4_096
    run(wheel, kept, 60_000)
    assert all(bell.rung == [60_000] for bell in kept)
    wheel.run(700_000)
    assert len(wheel) == 0 == wheel.next_ms()


def test_what_a_sweep_let_go_may_be_armed_again() -> None:
    wheel = Wheel()
    bell = Bell(wheel)
    wheel.arm(bell.deadline, 5_000)
    bell.deadline.clear()
    for _ in range(5_000):
        wheel.arm(Bell(wheel).deadline, 600_000)
    wheel.arm(bell.deadline, 9_000)
    run(wheel, [bell], 10_000)
    assert bell.rung == [10_000]


def test_the_reactor_sleeps_until_the_next_tick_and_no_longer_than_a_second() -> None:
    reactor = Reactor()
    assert reactor.wait_ms() == 1000
    bell = Bell(reactor.timers)
    reactor.timers.arm(bell.deadline, reactor.now_ms + 300)
    assert 250 <= reactor.wait_ms() <= 401
    reactor.ahead_ms += 500
    assert reactor.wait_ms() == 0
    reactor.turn(0)
    assert len(bell.rung) == 1
    reactor.close()


def test_a_deadline_armed_after_it_was_dropped_rings_for_nobody() -> None:
    wheel = Wheel()
    bell = Bell(wheel)
    bell.deadline.drop()
    wheel.arm(bell.deadline, 1_000)
    run(wheel, [bell], 2_000)
    assert bell.rung == [] and wheel.next_ms() == 0


def test_an_owner_that_fails_takes_no_other_deadline_along() -> None:
    class Faulty(Timed):
        def on_deadline(self) -> None:
            raise ValueError("a bug")

    wheel = Wheel()
    bells = [Bell(wheel), Bell(wheel)]
    faulty = Deadline(Faulty())
    wheel.arm(bells[0].deadline, 1_000)
    wheel.arm(faulty, 1_000)
    wheel.arm(bells[1].deadline, 1_000)
    with pytest.raises(ValueError, match="a bug"):
        run(wheel, bells, 2_000)
    assert [len(bell.rung) for bell in bells] == [1, 0] and len(wheel) == 1
    run(wheel, bells, 2_000)
    assert [len(bell.rung) for bell in bells] == [1, 1] and len(wheel) == 0


class Broken(Bell):
    def on_deadline(self) -> None:
        super().on_deadline()
        raise RuntimeError


def test_behind_an_owner_that_fails_those_of_its_tick_keep_their_moment() -> None:
    wheel = Wheel()
    broken, moved, other = Broken(wheel), Bell(wheel), Bell(wheel)
    for bell in (broken, moved, other):
        wheel.arm(bell.deadline, 1_000)
    wheel.arm(moved.deadline, 500)  # an earlier promise: what is in the old tick counts no more
    run(wheel, [broken, moved, other], 700)
    assert moved.rung == [700]
    with pytest.raises(RuntimeError):
        run(wheel, [broken, moved, other], 1_100)
    assert (broken.rung, other.rung) == ([1_100], [])
    run(wheel, [broken, moved, other], 1_200)
    assert (broken.rung, moved.rung, other.rung) == ([1_100], [700], [1_200])


def test_a_sweep_lets_go_of_promises_that_were_replaced() -> None:
    wheel = Wheel()
    bells = [Bell(wheel) for _ in range(6_000)]
    for bell in bells:
        wheel.arm(bell.deadline, 100_000)
    for bell in bells:
        wheel.arm(bell.deadline, 50_000)
    for bell in bells[:5_000]:
        bell.deadline.clear()
        wheel.arm(bell.deadline, 40_000)
    run(wheel, bells, 60_000)
    assert all(len(bell.rung) == 1 for bell in bells)
