"""How many requests may come, in a time and at a time.

Facts
  The generic cell rate algorithm keeps one moment for each key: when the key's account would be even. A request moves it on by
  its share of the period; one that finds it too far ahead came too early. No timer runs and nothing is counted down.

Rules
  Keys are kept for as long as they matter; past the most that are kept, the one that came longest ago is forgotten.
  A request with an empty key is not limited.
  Counted in each worker.

Not here: bytes in a time (`bandwidth.py`), how a request waits (`waiting.py`).
"""

import time
from typing import Final

from vestibule.contract import ANSWERED, PASS, WAIT, Ending, Step
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_LIMITED, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import Node
from vestibule.plan.state import State
from vestibule.plan.steps.deny import with_status
from vestibule.plan.steps.keep import keep
from vestibule.plan.steps.waiting import Wait

# A key is anything a client may send; of a longer one the beginning counts.
_KEY_MOST: Final = 256

PASSED: Final = b"PASSED"
DELAYED: Final = b"DELAYED"
REJECTED: Final = b"REJECTED"


class Accounts(State):
    """The moments, in microseconds, at which the accounts of keys are even. In the order in which they were last touched."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._even_us: dict[bytes, int] = {}

    def close(self) -> None:
        self._even_us.clear()

    def ahead_us(self, key: bytes, now_us: int) -> int:
        """Return how far ahead of now the account of a key is."""
        return max(0, self._even_us.get(key, 0) - now_us)

    def note(self, key: bytes, even_us: int) -> None:
        """Set the moment of a key."""
        table = self._even_us
        table.pop(key, None)
        table[key] = even_us
        if len(table) > self._most:
            del table[next(iter(table))]

    def __len__(self) -> int:
        return len(self._even_us)


class Counts(State):
    """How many exchanges of each key are under way."""

    def __init__(self) -> None:
        self.now: dict[bytes, int] = {}

    def close(self) -> None:
        pass  # exchanges in flight give back what they took


class Outcome:
    """What becomes of requests at a limit, kept under a name if there is one. A limit that is a trial lets all of them pass.

    Where one is held up, the name of the zone and by how many requests it came too early are kept beside that.
    """

    def __init__(self, name: bytes, trial: bool, zone: bytes = b"") -> None:
        self._name = name
        self._trial = trial
        self._zone = zone

    def note(self, ex: Exchange, outcome: bytes, excess: int = 0) -> bool:
        """Keep what becomes of a request; return whether it passes in any case. Of several limits the one that held it up tells.

        `excess` is in thousandths of a request.
        """
        if self._name:
            known = ex.kept.get(self._name) if ex.kept is not None else None
            if not known or outcome != PASSED:
                keep(ex, self._name, outcome + b"_DRY_RUN" if self._trial and outcome != PASSED else outcome, False)
                if outcome != PASSED:
                    keep(ex, self._name + b" zone", self._zone, False)
                    keep(ex, self._name + b" excess", b"%d.%03d" % (excess // 1000, excess % 1000), False)
        return self._trial


_NO_OUTCOME: Final = Outcome(b"", False)


class RateLimit(Step):
    """Lets so many requests of a key pass in a period, and `burst` more, of which those beyond `at_once` wait for their turn.

    `at_once` -1 lets all of the burst go on at once. `outcome` keeps what becomes of requests.
    """

    def __init__(
        self,
        reactor: Reactor,
        key: Node,
        accounts: Accounts,
        requests: int,
        period_ms: int,
        burst: int,
        at_once: int,
        status: int,
        outcome: Outcome | None = None,
    ) -> None:
        self._reactor = reactor
        self._key = key
        self._accounts = accounts
        self._share_us = max(1, period_ms * 1000 // requests)
        self._burst_us = burst * self._share_us
        self._at_once_us = self._burst_us if at_once < 0 else at_once * self._share_us
        self._kind = with_status(PROXY_LIMITED, status)
        self._outcome = outcome or _NO_OUTCOME

    def run(self, ex: Exchange) -> int:
        key = self._key.text(ex)[:_KEY_MOST]
        if not key:
            return PASS
        now_us = time.monotonic_ns() // 1000
        ahead = self._accounts.ahead_us(key, now_us)
        if ahead > self._burst_us:
            if self._outcome.note(ex, REJECTED, ahead * 1000 // self._share_us):
                return PASS
            ex.fail(Fault(self._kind))
            return ANSWERED
        self._accounts.note(key, now_us + ahead + self._share_us)
        if ahead <= self._at_once_us:
            self._outcome.note(ex, PASSED)
            return PASS
        if self._outcome.note(ex, DELAYED, ahead * 1000 // self._share_us):
            return PASS
        Wait(ex, self._reactor, (ahead - self._at_once_us + 999) // 1000)
        return WAIT


class ConcurrencyLimit(Step):
    """Lets so many exchanges of a key be under way at a time."""

    def __init__(self, key: Node, counts: Counts, most: int, status: int, outcome: Outcome | None = None) -> None:
        self._key = key
        self._counts = counts
        self._most = most
        self._kind = with_status(PROXY_LIMITED, status)
        self._outcome = outcome or _NO_OUTCOME

    def run(self, ex: Exchange) -> int:
        key = self._key.text(ex)[:_KEY_MOST]
        if not key:
            return PASS
        held = self._counts.now.get(key, 0)
        if held >= self._most:
            if self._outcome.note(ex, REJECTED):
                return PASS
            ex.fail(Fault(self._kind))
            return ANSWERED
        self._outcome.note(ex, PASSED)
        self._counts.now[key] = held + 1
        ex.at_end(Held(self._counts, key))
        return PASS


class Held(Ending):
    """One place that an exchange has taken."""

    def __init__(self, counts: Counts, key: bytes) -> None:
        self._counts = counts
        self._key = key

    def on_end(self, ex: Exchange) -> None:
        left = self._counts.now.get(self._key, 0) - 1
        if left > 0:
            self._counts.now[self._key] = left
        else:
            self._counts.now.pop(self._key, None)
