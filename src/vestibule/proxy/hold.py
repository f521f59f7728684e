"""Requests that wait while no server can be reached, as when Immich restarts.

Rules
  One of them tries now and then; the others follow once it is served. A server that comes up is not met by a storm before it stands.
  Each waits no longer than its time; then the last fault is its answer.

Not here: who may wait (`upstream.py`).
"""

from collections import deque
from typing import Final

from mypy_extensions import trait

from vestibule.contract import UP
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed

# How often one of them tries. The wheel of timers turns every 100 ms.
_TRY_MS: Final = 200


@trait
class Resumer:
    """Who lets a held request try."""

    def resume(self, ex: Exchange) -> None:
        """Try a server."""
        raise NotImplementedError


class _Held:
    """One request that waits, and why."""

    def __init__(self, ex: Exchange, fault: Fault) -> None:
        self.ex = ex
        self.fault = fault


class Hold(Timed):
    """The held requests of an upstream."""

    def __init__(self, reactor: Reactor, resumer: Resumer) -> None:
        self._reactor = reactor
        self._resumer = resumer
        self._held: deque[_Held] = deque()
        self._probe: Exchange | None = None
        self._deadline = Deadline(self)

    def put(self, ex: Exchange, fault: Fault) -> None:
        """Have a request wait. One that has tried comes back to its place."""
        held = _Held(ex, fault)
        if ex is self._probe:
            self._probe = None
            self._held.appendleft(held)
        else:
            self._held.append(held)
        self._arm()

    def cancel(self, ex: Exchange) -> None:
        """Nobody waits for this request's answer any more."""
        if ex is self._probe:
            self._probe = None
        for held in self._held:
            if held.ex is ex:
                self._held.remove(held)
                return

    def _arm(self) -> None:
        self._reactor.timers.arm(self._deadline, self._reactor.now_ms + _TRY_MS)

    def on_deadline(self) -> None:
        now = self._reactor.now_ms
        late = [held for held in self._held if held.ex.hold_until_ms <= now]
        for held in late:
            self._held.remove(held)
        probe = self._probe
        go = 1
        if probe is not None and (probe.up is not None or (probe.over and probe.fault is None)):
            self._probe = None
            go = len(self._held)
        for _ in range(min(go, len(self._held))):
            held = self._held.popleft()
            if go == 1:
                self._probe = held.ex
            self._resumer.resume(held.ex)
        for held in late:
            held.ex.on_fault(UP, held.fault)
        if self._held:
            self._arm()
