"""Tells the error log of faults that the operator should know of.

Facts: an upstream that is down fails every request. The access log has a line for each; here a few a
second say the same.

Not here: faults of clients, which stand in the access log only.
"""

from typing import Final

from mypy_extensions import trait

from vestibule.contract import LogLine
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT, PROXY_DENIED, PROXY_NO_ROUTE, PROXY_NO_SITE, PROXY_TUNNEL_IDLE, UPSTREAM
from vestibule.plan.sent import came_method

# Reports of one kind from one site within one second.
_MOST: Final = 5

_QUIET: Final = frozenset((PROXY_DENIED.name, PROXY_NO_ROUTE.name, PROXY_NO_SITE.name, PROXY_TUNNEL_IDLE.name))


@trait
class Reporter:
    """Where lines for the error log go."""

    def report(self, level: str, kind: str, text: str, details: dict[str, str]) -> None:
        """Say one thing: `level` as the error log knows it, `kind` groups lines."""
        raise NotImplementedError


class _Count:
    """Reports of one kind in the second that began at `since_ms`."""

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.told = 0
        self.held = 0


class FaultLog(LogLine):
    """Reports faults of the upstream side and of the proxy, for each site up to a rate."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._counts: dict[tuple[str, str], _Count] = {}

    def write(self, ex: Exchange) -> None:
        fault = ex.fault
        if fault is None or fault.kind.side == CLIENT or fault.kind.name in _QUIET:
            return
        kind = fault.kind.name
        site = ex.plan.site
        count = self._counts.get((site, kind))
        if count is None:
            count = _Count(ex.began_ms)
            self._counts[(site, kind)] = count
        details = {"site": site, "method": came_method(ex.request).decode("ascii", "replace")}
        if ex.upstream_name:
            details["upstream_address"] = ex.upstream_name
        if ex.began_ms - count.since_ms >= 1000:
            if count.held:
                details["held_back"] = str(count.held)
            count.since_ms = ex.began_ms
            count.told = 0
            count.held = 0
        if count.told >= _MOST:
            count.held += 1
            return
        count.told += 1
        text = f"{fault.kind.text} {fault.detail}" if fault.detail else fault.kind.text
        self._reporter.report("warning" if fault.kind.side == UPSTREAM else "error", kind, text, details)
