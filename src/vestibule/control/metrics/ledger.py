"""Sums over workers that never go backwards.

Facts: a worker counts from nothing, and takes its counts with it when it ends. Readers take a sum that went down for a restart, and
show a spike.

Rules
* What a worker counted until it was last heard of is kept when it is gone; what it had in hand is not.
* A worker that was asked to end says a last word, so only one that is killed takes some seconds with it.

Not here: when workers are asked (`collect.py`), what sums mean (`picture.py`).
"""

from __future__ import annotations

from typing import Any

Sums = dict[str, Any]
"""Numbers by name, nested."""


def add(sums: Sums, more: Sums) -> None:
    """Add numbers to sums of the same shape; what is new comes in."""
    for name, value in more.items():
        if isinstance(value, dict):
            add(sums.setdefault(name, {}), value)
        else:
            sums[name] = sums.get(name, 0) + value


class Ledger:
    """What all workers have counted, those that are gone included. A worker is known by its process id."""

    def __init__(self) -> None:
        self._gone: Sums = {}
        self._counters: dict[int, Sums] = {}
        self._gauges: dict[int, Sums] = {}

    def take(self, pid: int, counters: Sums, gauges: Sums) -> None:
        """Note what a worker says, in the place of what it said before."""
        self._counters[pid] = counters
        self._gauges[pid] = gauges

    def lose(self, pid: int) -> None:
        """A worker is gone."""
        self._gauges.pop(pid, None)
        add(self._gone, self._counters.pop(pid, {}))

    def counters(self) -> Sums:
        """Return the sums of what only grows."""
        sums: Sums = {}
        add(sums, self._gone)
        for each in self._counters.values():
            add(sums, each)
        return sums

    def gauges(self) -> Sums:
        """Return the sums of what there is now."""
        sums: Sums = {}
        for each in self._gauges.values():
            add(sums, each)
        return sums
