"""A request that a step holds back for a while.

Rules: it holds nothing else meanwhile, and if its client leaves, the wait ends.

Not here: why, and for how long (`limit.py`, `auth_basic.py`).
"""

from vestibule.contract import Ending
from vestibule.exchange import Exchange
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed


class Wait(Ending, Timed):
    """One request that waits, and goes on after `delay_ms`."""

    def __init__(self, ex: Exchange, reactor: Reactor, delay_ms: int) -> None:
        self._ex: Exchange | None = ex
        self._plan = ex.plan
        self._deadline = Deadline(self)
        reactor.timers.arm(self._deadline, reactor.now_ms + delay_ms)
        ex.at_end(self)

    def go_on(self, ex: Exchange) -> None:
        """Do what was waited for."""
        ex.proceed()

    def on_deadline(self) -> None:
        ex = self._ex
        self._ex = None
        if ex is not None and ex.waits_in(self._plan):
            self.go_on(ex)

    def on_end(self, ex: Exchange) -> None:
        self._ex = None
        self._deadline.drop()
