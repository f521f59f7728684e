"""Deadlines: a wheel of 100 ms ticks, moved lazily.

Facts: nearly every deadline of a proxy is put off before it is due. So activity only overwrites
`Deadline.at_ms`; the wheel looks when the tick of the *earliest* promise comes, and moves the entry
if it was put off meanwhile. A request costs no wheel operation at all. What was dropped stays where it
is until its tick comes or a sweep finds it, so dropping costs nothing either.

Rules: a deadline fires at most one tick late and never early, whatever becomes of others. 0 means "none". At most half of the entries
that the wheel holds are of no use, and `_FEW` more.
"""

import heapq
from typing import Final

from mypy_extensions import trait

TICK_MS: Final = 100

# So many entries are not worth a sweep.
_FEW: Final = 4_096


@trait
class Timed:
    """Something that wants to know when its deadline has come."""

    def on_deadline(self) -> None:
        raise NotImplementedError


class Deadline:
    """One moment that its owner may move at will through `Wheel.arm`."""

    def __init__(self, owner: Timed) -> None:
        self.owner: Timed | None = owner
        self.at_ms = 0
        self.tick = 0  # where the wheel holds us; 0 where it does not

    def clear(self) -> None:
        """Forget the moment; the wheel lets go of the entry when it comes across it."""
        self.at_ms = 0

    def drop(self) -> None:
        """Forget the moment and the owner, for good."""
        self.at_ms = 0
        self.owner = None


class Wheel:
    """All deadlines of one reactor."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Deadline]] = {}
        self._ticks: list[int] = []  # heap of the keys of _slots
        self._held = 0  # entries in all slots
        self._sweep_at = _FEW

    def arm(self, deadline: Deadline, at_ms: int) -> None:
        """Set the moment. Cheap when it is later than the one the wheel already holds."""
        deadline.at_ms = at_ms
        tick = at_ms // TICK_MS + 1
        if deadline.tick == 0 or tick < deadline.tick:
            self._insert(deadline, tick)

    def __len__(self) -> int:
        """Return how many entries are held, those of no use among them."""
        return self._held

    def _insert(self, deadline: Deadline, tick: int) -> None:
        if self._held >= self._sweep_at:
            self._sweep()
        self._held += 1
        deadline.tick = tick
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [deadline]
            heapq.heappush(self._ticks, tick)
        else:
            slot.append(deadline)

    def _sweep(self) -> None:
        """Let go of what was cleared, dropped or replaced. Costs no more than the insertions since the last time."""
        for tick, slot in list(self._slots.items()):
            kept: list[Deadline] = []
            for deadline in slot:
                if deadline.tick != tick:
                    continue
                if deadline.at_ms:
                    kept.append(deadline)
                else:
                    deadline.tick = 0
            self._held -= len(slot) - len(kept)
            if kept:
                self._slots[tick] = kept
            else:
                del self._slots[tick]
        self._ticks = list(self._slots)
        heapq.heapify(self._ticks)
        self._sweep_at = 2 * self._held + _FEW

    def next_ms(self) -> int:
        """Return the moment of the earliest tick that holds anything, or 0 if there is none."""
        return self._ticks[0] * TICK_MS if self._ticks else 0

    def run(self, now_ms: int) -> None:
        """Fire what is due, move what was put off."""
        while self._ticks and self._ticks[0] * TICK_MS <= now_ms:
            tick = heapq.heappop(self._ticks)
            slot = self._slots.pop(tick)
            self._held -= len(slot)
            at = 0
            try:
                while at < len(slot):
                    deadline = slot[at]
                    at += 1
                    if deadline.tick != tick:
                        continue  # an earlier promise took its place
                    deadline.tick = 0
                    if deadline.at_ms == 0:
                        continue
                    if deadline.at_ms > now_ms:
                        self._insert(deadline, deadline.at_ms // TICK_MS + 1)
                        continue
                    deadline.at_ms = 0
                    owner = deadline.owner
                    if owner is not None:
                        owner.on_deadline()
            finally:
                # Behind an owner that failed: the others are still promised their moment.
                for rest in slot[at:]:
                    if rest.tick == tick:
                        self._insert(rest, tick)
