"""The rules of one upstream: what is tried again, what counts as a failure, what failures lead to.

Facts
  nginx's `max_fails` and `fail_timeout`: so many failures within that time, and the server is out for as long again.
  The first request after that decides: it answers, and failures are forgotten, or one failure is enough.

Rules
  A connection that the server closed while it was kept is no failure.
  No more than a share of the servers is ejected at a time; one may always be, unless it is the only one.

Not here: the counters (`standing.py`).
"""

from typing import Final

from vestibule.fault import IF_REUSED, SAFE, UPSTREAM_BUSY, UPSTREAM_DOWN, UPSTREAM_LOST, UPSTREAM_UNRESOLVED, Fault, FaultKind
from vestibule.proxy.standing import Standing

# Causes of another try, besides connections that could not be made and kept ones that were closed.
ON_CONNECT: Final = 1
ON_LOST: Final = 2
ON_TIMEOUT: Final = 4
ON_INVALID: Final = 8

# A server that is ejected again and again stays out longer, up to this many times as long.
_EJECTIONS_MOST: Final = 10

# Tries again that need no budget, so that an upstream with few requests has some: what the budget holds at most.
# `saved` counts in hundredths, as the budget is in percent.
_WHOLE: Final = 100
SAVED_MOST: Final = 10 * _WHOLE


class Rules:
    """What holds for all servers of an upstream."""

    def __init__(self) -> None:
        self.on = ON_CONNECT
        self.retry_statuses: frozenset[int] = frozenset()
        self.budget = 0
        self.within_ms = 0
        self.saved = SAVED_MOST
        self.unreachable_status = 0

        self.max_fails = 0
        self.window_ms = 10_000
        self.fail_statuses: frozenset[int] = frozenset()
        self.latency_ms = 0

        self.ejects = False
        self.consecutive = 0
        self.percent = 0
        self.requests = 20
        self.outlier_window_ms = 10_000
        self.eject_ms = 30_000
        self.max_percent = 34

        self.learns = False  # answer times are wanted

    def looks_at_answers(self, alone: bool, standing: Standing) -> bool:
        """Tell whether an answer of a server can change anything; `alone` says that there is no other."""
        counts = self.max_fails > 0 if standing.max_fails < 0 else standing.max_fails > 0
        return bool(self.retry_statuses) or (not alone and (self.learns or self.ejects or counts))

    # ---- budget

    def spend(self) -> bool:
        """Take one more try from the budget, to which every request adds its share. Return whether there was one."""
        if self.saved < _WHOLE:
            return False
        self.saved -= _WHOLE
        return True

    # ---- failures

    def told(self, fault: Fault) -> None:
        """Have the client told of a connection that did not come about as the upstream wants it."""
        kind = fault.kind
        status = self.unreachable_status
        if status and kind.retry == SAFE and kind.status != status:
            fault.kind = FaultKind(kind.name, kind.side, status, kind.retry, kind.text, kind.mend)

    def counts(self, fault: Fault) -> bool:
        """Tell whether a fault is the server's failure."""
        kind = fault.kind
        if kind is UPSTREAM_LOST and fault.retry == SAFE:
            return False  # it goes away in good order, or has its hands full
        return fault.retry != IF_REUSED and kind is not UPSTREAM_BUSY and kind is not UPSTREAM_DOWN and kind is not UPSTREAM_UNRESOLVED

    def failed(self, standing: Standing, others: list[Standing], now_ms: int, passive: bool, outlier: bool) -> None:
        """Count a failure. `others` are the standings of the whole upstream."""
        most = self.max_fails if standing.max_fails < 0 else standing.max_fails
        if passive and most and len(others) > 1:
            window = self.window_ms if standing.fail_window_ms < 0 else standing.fail_window_ms
            if standing.fails < most and now_ms - standing.failed_at_ms > window:
                standing.fails = 0
            if standing.fails == 0:
                standing.failed_at_ms = now_ms
            standing.fails += 1
            if standing.fails >= most:
                standing.put_out(now_ms + window)
        if outlier and self.ejects:
            self._look(standing, others, now_ms, True)

    def answered(self, standing: Standing, others: list[Standing], now_ms: int, outlier: bool) -> None:
        """Count an answer that is no failure to the passive rules; `outlier` says that it was counted as one already."""
        most = self.max_fails if standing.max_fails < 0 else standing.max_fails
        if standing.fails >= most and standing.out_until_ms <= now_ms:
            standing.fails = 0
        if self.ejects and not outlier:
            self._look(standing, others, now_ms, False)

    def _look(self, standing: Standing, others: list[Standing], now_ms: int, bad: bool) -> None:
        """Count for ejection, and eject."""
        if now_ms - standing.window_at_ms > self.outlier_window_ms:
            standing.window_at_ms = now_ms
            standing.seen = 0
            standing.bad = 0
        standing.seen += 1
        if not bad:
            standing.in_a_row = 0
            if standing.ejections and now_ms - standing.ejected_until_ms > self.eject_ms * standing.ejections:
                standing.ejections = 0
            return
        standing.bad += 1
        standing.in_a_row += 1
        if standing.ejected_until_ms > now_ms:
            return
        in_a_row = self.consecutive > 0 and standing.in_a_row >= self.consecutive
        too_many = self.percent > 0 and standing.seen >= self.requests and standing.bad * 100 >= self.percent * standing.seen
        if (in_a_row or too_many) and self.may_eject(others, now_ms):
            standing.in_a_row = 0
            standing.seen = 0
            standing.bad = 0
            standing.eject(now_ms + self.eject_ms * min(standing.ejections + 1, _EJECTIONS_MOST))

    def may_eject(self, others: list[Standing], now_ms: int) -> bool:
        """Tell whether one more may be out."""
        out = 1
        for each in others:
            if each.ejected_until_ms > now_ms:
                out += 1
        if len(others) < 2:
            return False
        return out == 1 or out * 100 <= self.max_percent * len(others)
