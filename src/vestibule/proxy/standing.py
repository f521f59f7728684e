"""How a server stands: what checks, commands and its own failures say of it. Outlives reloads.

Facts: the control process checks servers and takes commands, and tells every worker the same. Failures of requests are
seen by the worker that met them, so what follows from them holds in that worker alone.

Rules
  A change that alters who may serve raises `Board.version`; whoever keeps a list of servers compares it.
  Times are those of the reactor. Shares of answer times are floats, since they decay.

Not here: what counts as a failure and for how long it counts (`rules.py`), who is chosen (`balance.py`).
"""

from math import exp
from typing import Final

# What a command said of a server.
AS_CONFIGURED: Final = 0
READY: Final = 1
DRAIN: Final = 2  # only clients that belong to it
MAINTENANCE: Final = 3  # nobody

MODES: Final = ("", "ready", "drain", "maintenance")

# How fast an old answer time loses its say (peak EWMA): after 10 s a third of it is left.
_DECAY_MS: Final = 10_000.0


class Standing:
    """What is known of one server of one upstream."""

    def __init__(self, board: "Board", key: str) -> None:
        self.key = key
        self._board = board
        # Told by the control process.
        self.up = True
        self.mode = AS_CONFIGURED
        self.weight = -1
        self.most = -1  # connections at a time: 0 is any number, -1 as configured
        # Of the configuration, where this server has its own; -1 is as the others'.
        self.max_fails = -1
        self.fail_window_ms = -1
        # Seen here.
        self.fails = 0
        self.failed_at_ms = 0
        self.out_until_ms = 0
        self.back_at_ms = -1  # since when it is back after being out; -1 is never out
        self.in_a_row = 0
        self.seen = 0
        self.bad = 0
        self.window_at_ms = 0
        self.ejections = 0
        self.ejected_until_ms = 0
        self._answer_ms = 0.0
        self._answer_at_ms = 0

    def is_out(self, now_ms: int) -> bool:
        """Tell whether failures keep it out now."""
        return self.out_until_ms > now_ms or self.ejected_until_ms > now_ms

    def put_out(self, until_ms: int) -> None:
        """Leave it out until then."""
        self.out_until_ms = until_ms
        self.back_at_ms = until_ms
        self._board.version += 1

    def eject(self, until_ms: int) -> None:
        """Leave it out as an outlier."""
        self.ejections += 1
        self.ejected_until_ms = until_ms
        self.back_at_ms = until_ms
        self._board.version += 1

    def told(self, up: bool, mode: int, weight: int, now_ms: int, most: int) -> None:
        """Take what the control process says."""
        if up and not self.up:
            self.back_at_ms = now_ms
            self.out_until_ms = 0
            self.fails = 0
        self.up = up
        self.mode = mode
        self.weight = weight
        self.most = most
        self._board.version += 1

    def learn(self, took_ms: int, now_ms: int) -> None:
        """Take an answer time: a longer one counts at once, a shorter one little by little."""
        took = float(took_ms)
        before = self.expected(now_ms)
        if took >= before:
            self._answer_ms = took
        else:
            keep = exp(-(now_ms - self._answer_at_ms) / _DECAY_MS) if self._answer_at_ms else 0.0
            # Many answers in one moment must count too, each a little.
            keep = min(keep, 0.95)
            self._answer_ms = before * keep + took * (1.0 - keep)
        self._answer_at_ms = now_ms

    def expected(self, now_ms: int) -> float:
        """Return the answer time to expect: that of late, less the longer ago it was."""
        if not self._answer_at_ms:
            return 0.0
        return self._answer_ms * exp(-(now_ms - self._answer_at_ms) / _DECAY_MS)


class Board:
    """The standings of all servers of this worker."""

    def __init__(self) -> None:
        self.version = 0
        self._by_key: dict[str, Standing] = {}

    def find(self, key: str) -> Standing:
        """Return the standing of a server; a new server stands well."""
        standing = self._by_key.get(key)
        if standing is None:
            standing = Standing(self, key)
            self._by_key[key] = standing
        return standing

    def told(self, key: str, up: bool, mode: str, weight: int, now_ms: int, most: int = -1) -> None:
        """Take what the control process says of a server."""
        self.find(key).told(up, MODES.index(mode), weight, now_ms, most)

    def keep(self, upstreams: list[str]) -> None:
        """Forget the servers of all other upstreams."""
        starts = tuple([f"{name} " for name in upstreams])
        for key in [each for each in self._by_key if not each.startswith(starts)]:
            del self._by_key[key]

    def items(self) -> list[Standing]:
        """Return all."""
        return list(self._by_key.values())
