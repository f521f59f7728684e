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

# What is done with a key.
ADD: Final = 0
SET: Final = 1
LOOK: Final = 2
FIND: Final = 3

# What is counted.
REQUESTS: Final = 0
BYTES_IN: Final = 1
BYTES_OUT: Final = 2

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
        return self._reckon(counter, count, now_ms)

    def set(self, key: bytes, total: int, now_ms: int) -> int:
        """Make a number of what was counted of a key, for as long as it is remembered."""
        self.add(key, 0, now_ms)
        self._table[key].total = total
        return total

    def look(self, key: bytes, now_ms: int) -> int:
        """Return how many there are of a key, -1 where it is not remembered. Nothing is touched."""
        counter = self._table.get(key)
        if counter is None or (self._expire_ms and now_ms - counter.touched_ms > self._expire_ms):
            return -1
        return self._reckon(counter, 0, now_ms)

    def forget(self, key: bytes) -> None:
        """Forget a key, or with `*` all."""
        if key == b"*":
            self._table.clear()
        else:
            self._table.pop(key, None)

    def told(self, now_ms: int) -> dict[str, list[int]]:
        """Return how many there are of each key, and in how many milliseconds it is forgotten."""
        found: dict[str, list[int]] = {}
        for key, counter in self._table.items():
            left = self._expire_ms - (now_ms - counter.touched_ms)
            if left >= 0 or not self._expire_ms:
                found[key.decode("utf-8", "replace")] = [self._reckon(counter, 0, now_ms), max(0, left)]
        return found

    def _reckon(self, counter: Counter, count: int, now_ms: int) -> int:
        """Count in the period that is now; return how many are in one period up to now."""
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


class CountedBytes(Ending):
    """What an exchange is counted by once it is over: the bytes of a body."""

    def __init__(self, counters: Counters, key: bytes, of: int) -> None:
        self._counters = counters
        self._key = key
        self._of = of

    def on_end(self, ex: Exchange) -> None:
        count = ex.request_bytes if self._of == BYTES_IN else ex.response_bytes
        self._counters.add(self._key, count, time.monotonic_ns() // 1_000_000)


class Tally:
    """Counts for an exchange and keeps the result under a name."""

    def __init__(
        self, counters: Counters, key: Node, name: bytes, count: int, while_open: bool, how: int = ADD, of: int = REQUESTS
    ) -> None:
        self._counters = counters
        self._how = how
        self._of = of
        self._key = key
        self._name = name
        self._count = count
        self._while_open = while_open

    def take(self, ex: Exchange) -> None:
        """Count."""
        key = self._key.text(ex)[:_KEY_MOST]
        if not key:
            return
        now_ms = time.monotonic_ns() // 1_000_000
        if self._how == LOOK:
            number = max(0, self._counters.look(key, now_ms))
        elif self._how == FIND:
            number = 1 if self._counters.look(key, now_ms) >= 0 else 0
        elif self._how == SET:
            number = self._counters.set(key, self._count, now_ms)
        elif self._of == REQUESTS:
            number = self._counters.add(key, self._count, now_ms)
        else:
            number = self._counters.add(key, 0, now_ms)
            ex.at_end(CountedBytes(self._counters, key, self._of))
        keep(ex, self._name, b"%d" % number, False)
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
