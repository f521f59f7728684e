"""What one worker counts for metrics: plain integers, under names of the configuration alone.

Facts: a scrape sees sums, and the reader takes differences, so nothing here ever goes down or is reset. Names that clients send would
make as many time series as clients like; faults have the names of the table in `fault.py`.

Rules
  Counting is adding to an integer. Nothing here is made per request.
  What is counted under a name stays, whatever configuration serves: one that comes back goes on where it was.

Not here: who adds (`plan/meter.py`, `proxy/upstream.py`), sums over workers and what is shown of them (`control/metrics/`).
"""

from typing import Final

# The upper ends of the ranges of times, in ms; one more range has all that is longer. Up to a second as Prometheus has them, and
# then as far as an upload goes.
BOUNDS_MS: Final = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000]

# What is counted of requests that reached no site.
NOWHERE: Final = "-"

_CLASSES: Final = 6


class Counts:
    """What became of the exchanges of a site, or of the connections of a listener that passes them on."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.classes: list[int] = [0] * _CLASSES  # by the first digit of the status; 0 is none
        self.bytes_in = 0
        self.bytes_out = 0
        self.total_ms = 0
        self.ranges: list[int] = [0] * (len(BOUNDS_MS) + 1)
        self.faults: dict[str, int] = {}

    def end(self, status: int, bytes_in: int, bytes_out: int, took_ms: int) -> None:
        """Take one that is over."""
        self.ended += 1
        self.classes[_class_of(status)] += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.total_ms += took_ms
        bounds = BOUNDS_MS
        at = 0
        while at < len(bounds) and took_ms > bounds[at]:
            at += 1
        self.ranges[at] += 1

    def fault(self, name: str) -> None:
        """Take what went wrong with one."""
        self.faults[name] = self.faults.get(name, 0) + 1

    def told(self) -> dict[str, object]:
        """Return all as the link carries it."""
        return {
            "ended": self.ended,
            "classes": _by_class(self.classes),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "total_ms": self.total_ms,
            "ranges": {str(at): self.ranges[at] for at in range(len(self.ranges))},
            "faults": dict(self.faults),
        }


class ServerCounts:
    """What became of the requests that one server of an upstream was given; both by their names in the configuration."""

    def __init__(self, upstream: str, server: str) -> None:
        self.upstream = upstream
        self.server = server
        self.attempts = 0
        self.failures = 0
        self.retries = 0
        self.classes: list[int] = [0] * _CLASSES
        self.bytes_in = 0
        self.bytes_out = 0
        self.heads = 0
        self.head_ms = 0

    def answered(self, status: int) -> None:
        """The head of an answer came, and no other server is asked. What has no class counts among those without a status."""
        self.attempts += 1
        self.classes[_class_of(status)] += 1

    def failed(self) -> None:
        """No answer came."""
        self.attempts += 1
        self.failures += 1

    def repeated(self) -> None:
        """No answer came, or none that is wanted, and the request is sent once more."""
        self.attempts += 1
        self.failures += 1
        self.retries += 1

    def told(self) -> dict[str, object]:
        """Return all as the link carries it."""
        return {
            "attempts": self.attempts,
            "failures": self.failures,
            "retries": self.retries,
            "classes": _by_class(self.classes),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "heads": self.heads,
            "head_ms": self.head_ms,
        }


def _class_of(status: int) -> int:
    """Return the first digit of a status; HTTP/1 may say any of three digits (RFC 9110 15)."""
    return status // 100 if status < 600 else 0


def _by_class(classes: list[int]) -> dict[str, int]:
    return {str(at): classes[at] for at in range(len(classes))}


class CountBook:
    """All that one worker counts. Outlives reloads."""

    def __init__(self) -> None:
        self._sites: dict[str, Counts] = {}
        self._listeners: dict[str, Counts] = {}
        self._servers: dict[tuple[str, str], ServerCounts] = {}

    def site(self, name: str) -> Counts:
        """Return the counts of a site."""
        return self._sites.setdefault(name, Counts())

    def listener(self, name: str) -> Counts:
        """Return the counts of a listener that passes connections on."""
        return self._listeners.setdefault(name, Counts())

    def server(self, upstream: str, server: str) -> ServerCounts:
        """Return the counts of a server of an upstream, as the configuration names both."""
        return self._servers.setdefault((upstream, server), ServerCounts(upstream, server))

    def told(self) -> dict[str, object]:
        """Return what only grows."""
        servers: dict[str, dict[str, object]] = {}
        for (upstream, server), counts in self._servers.items():
            servers.setdefault(upstream, {})[server] = counts.told()
        return {
            "sites": {name: counts.told() for name, counts in self._sites.items()},
            "listeners": {name: counts.told() for name, counts in self._listeners.items()},
            "servers": servers,
        }

    def active(self) -> dict[str, object]:
        """Return how many exchanges of each site are open now."""
        return {name: {"active": max(0, counts.begun - counts.ended)} for name, counts in self._sites.items() if name != NOWHERE}
