"""One request whose credentials are judged beside the reactor.

Rule: whoever is over, or answered by another plan meanwhile, is decided no more; who waited alone leaves the line.

Not here: the line (`plan/judge.py`), what a verdict means (`auth_basic.py`, `judge_first.py`).
"""

from vestibule.contract import ANSWERED, PASS, WAIT, Ending
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_BUSY, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Case, Judge, Waiter
from vestibule.plan.password import Users


class Claim(Ending, Waiter):
    """A request that waits for a verdict; how it goes on is said by those who derive from it."""

    def __init__(self, ex: Exchange) -> None:
        self._ex: Exchange | None = ex
        self._plan = ex.plan
        self._case: Case | None = None

    def begin(self, ex: Exchange, judge: Judge, reactor: Reactor, users: Users, text: bytes) -> int:
        """Have credentials judged; return what the step says meanwhile. 503 where too many are in line."""
        self._case = judge.ask(reactor, users, text, self)
        if self._case is None:
            ex.fail(Fault(PROXY_BUSY))
            return ANSWERED
        ex.at_end(self)
        return WAIT

    def decide(self, ex: Exchange, accepted: bool) -> int:
        """Say how the step goes on with a verdict."""
        raise NotImplementedError

    def on_verdict(self, accepted: bool) -> None:
        ex = self._ex
        self._ex = None
        self._case = None
        if ex is not None and ex.waits_in(self._plan) and self.decide(ex, accepted) == PASS:
            ex.proceed()

    def on_end(self, ex: Exchange) -> None:
        self._ex = None
        if self._case is not None:
            self._case.leave(self)
            self._case = None
