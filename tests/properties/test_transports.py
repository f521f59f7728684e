"""Transports under any order of writing, reading, pausing and stalling: nothing lost, every debt paid once."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.pair import Pair, plain, tls

pytestmark = pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from

PATTERN = bytes(i * 7 % 251 for i in range(251)) * 4_000
BOUND = 2 * 131_072
SIZES = st.one_of(st.integers(1, 20), st.integers(16_000, 17_000), st.integers(1, 200_000))
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "send"]), SIZES),
        st.tuples(st.sampled_from(["pause", "resume", "stall", "read"]), st.just(0)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
    ),
    max_size=30,
)


class Course:
    """One example: what was written and sent so far, and how often False was said."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.written = 0
        self.sent = 0
        self.debts = 0

    def happen(self, what: str, size: int) -> None:
        pair = self.pair
        if what == "write":
            before = pair.owner.count("drained")
            more = pair.write(PATTERN[self.written % 251 :][:size])
            self.written += size
            if not more and self.debts == before:
                self.debts += 1  # a new debt; while one is open, saying it again is the same
        elif what == "send":
            pair.far.send(PATTERN[self.sent % 251 :][:size])
            self.sent += size
        elif what in ("pause", "resume"):
            had = len(pair.owner.got)
            (pair.transport.pause if what == "pause" else pair.transport.resume)()
            assert len(pair.owner.got) == had, "nothing is delivered from inside"
        elif what in ("stall", "read"):
            pair.far.reads = what == "read"
        else:
            had = len(pair.owner.got)
            paused = pair.transport.is_paused() and not pair.transport.known & 1
            pair.turn(size)
            assert not paused or len(pair.owner.got) - had <= BOUND
        assert pair.owner.count("drained") <= self.debts

    def clear_up(self) -> None:
        pair = self.pair
        pair.transport.resume()
        pair.far.reads = True
        pair.until(lambda: len(pair.far.got) == self.written and len(pair.owner.got) == self.sent)
        pair.turn(2)
        assert pair.far.got == pattern(self.written)
        assert pair.owner.got == pattern(self.sent)
        assert pair.owner.count("drained") == self.debts


def pattern(size: int) -> bytes:
    """Return what the pieces make together: each begins where the one before it ended."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@pytest.mark.parametrize("maker", [plain, tls])
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS)
def test_any_course(maker: Callable[[], Pair], events: list[tuple[str, int]]) -> None:
    course = Course(maker())
    try:
        for what, size in events:
            course.happen(what, size)
        course.clear_up()
        assert set(course.pair.owner.events) <= {"data", "drained"}
    finally:
        course.pair.close()
