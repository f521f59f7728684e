"""Counts by keys, for conditions on how much somebody does.

Facts
  A count of a period slides: what was counted in the period before weighs as much as of it is still within one period from now. This
  is how HAProxy reckons its rates, and it needs two numbers for each key.

Rules
  Keys are kept for as long as somebody touches them; past the most that are kept, the one that came longest ago is forgotten.
  With an empty key nothing is counted, and nothing is kept under the name.
  Counted in each worker.

Not here: limits that need no condition (`limit.py`).
"""

import time
from typing import Final

from vestibule.contract import PASS, Ending, Step
from vestibule.exchange import Exchange
from vestibule.http.fields import Fields
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.state import State
from vestibule.plan.steps.edit import Edit
from vestibule.plan.steps.keep import keep

# A key is anything a client may send; of a longer one the beginning counts.
_KEY_MOST: Final = 256


class Counter:
    """What is counted for one key."""

    def __init__(self, now_ms: int) -> None:
        self.begin_ms = now_ms
        self.touched_ms = now_ms
        self.current = 0
        self.before = 0
        self.total = 0


class Counters(State):
    """What is counted for all keys, in the order in which they were last touched. A period of 0 is all the time."""

    def __init__(self, period_ms: int, most: int, expire_ms: int) -> None:
        self._period_ms = period_ms
        self._most = most
        self._expire_ms = expire_ms
        self._table: dict[bytes, Counter] = {}

    def close(self) -> None:
        self._table.clear()

    def __len__(self) -> int:
        return len(self._table)

    def add(self, key: bytes, count: int, now_ms: int) -> int:
        """Count so many more of a key; return how many there are now."""
        table = self._table
        counter = table.pop(key, None)
        if counter is None or (self._expire_ms and now_ms - counter.touched_ms > self._expire_ms):
            counter = Counter(now_ms)
        table[key] = counter
        if len(table) > self._most:
            del table[next(iter(table))]
        counter.touched_ms = now_ms
        counter.total = max(0, counter.total + count)
        period = self._period_ms
        if not period:
            return counter.total
        gone = now_ms - counter.begin_ms
        if gone >= period:
            counter.before = counter.current if gone < 2 * period else 0
            counter.current = 0
            counter.begin_ms += gone // period * period
            gone %= period
        counter.current += count
        return counter.current + counter.before * (period - gone) // period

    def give_back(self, key: bytes) -> None:
        """Count one less."""
        counter = self._table.get(key)
        if counter is not None:
            counter.total = max(0, counter.total - 1)


class Counted(Ending):
    """What an exchange counted for as long as it lasts."""

    def __init__(self, counters: Counters, key: bytes) -> None:
        self._counters = counters
        self._key = key

    def on_end(self, ex: Exchange) -> None:
        self._counters.give_back(self._key)


class Tally:
    """Counts for an exchange and keeps the result under a name."""

    def __init__(self, counters: Counters, key: Node, name: bytes, count: int, while_open: bool) -> None:
        self._counters = counters
        self._key = key
        self._name = name
        self._count = count
        self._while_open = while_open

    def take(self, ex: Exchange) -> None:
        """Count."""
        key = self._key.text(ex)[:_KEY_MOST]
        if not key:
            return
        keep(ex, self._name, b"%d" % self._counters.add(key, self._count, time.monotonic_ns() // 1_000_000), False)
        if self._while_open:
            ex.at_end(Counted(self._counters, key))


class Count(Step):
    """Counts a request."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def run(self, ex: Exchange) -> int:
        self._tally.take(ex)
        return PASS


class CountAnswered(Edit):
    """Counts an answer, among the changes of it."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(EXCHANGE)
        self._tally = tally

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        self._tally.take(ex)
        return fields
