"""Servers that a name stands for: one for each address, or each SRV record, as the control process last told.

Facts: an SRV record names a host, a port, a weight and a priority (RFC 2782). The control process resolves its hosts too and tells
`address port weight priority` for each.

Rules: a server that stays keeps its pool and its standing; one that goes finishes what it does.

Not here: looking names up (`control/resolver.py`).
"""

from typing import Final

from mypy_extensions import trait

from vestibule.counts import ServerCounts
from vestibule.proxy.balance import Server
from vestibule.proxy.pool import AddressBook, Pool
from vestibule.proxy.standing import Board

# Under these prefixes the book holds all addresses of a name, and what its SRV records say.
ALL_PREFIX: Final = "all:"
SRV_PREFIX: Final = "srv:"


@trait
class PoolMaker:
    """Makes the pool of an address."""

    def make(self, host: str, port: int) -> Pool:
        """Return a new pool."""
        raise NotImplementedError


class Kin:
    """The pools of one name. Outlives reloads."""

    def __init__(self, maker: PoolMaker, book: AddressBook) -> None:
        self.book = book
        self._maker = maker
        self._pools: dict[tuple[str, int], Pool] = {}

    def pool(self, host: str, port: int) -> Pool:
        """Return the pool of an address, a new one the first time."""
        pool = self._pools.get((host, port))
        if pool is None:
            pool = self._maker.make(host, port)
            self._pools[(host, port)] = pool
        return pool

    def keep(self, places: set[tuple[str, int]]) -> None:
        """Close the pools of all other addresses."""
        for place in [each for each in self._pools if each not in places]:
            self._pools.pop(place).close()

    def count(self) -> int:
        """Return how many pools there are."""
        return len(self._pools)

    def all(self) -> list[Pool]:
        """Return the pools there are."""
        return list(self._pools.values())


class Family:
    """The servers of one name in one upstream."""

    def __init__(
        self, kin: Kin, board: Board, upstream: str, name: str, port: int, is_srv: bool, weight: int, backup: bool, priority: int, off: bool
    ) -> None:
        self._kin = kin
        self._board = board
        self._upstream = upstream
        self._name = name
        self._port = port
        self._is_srv = is_srv
        self._weight = weight
        self._backup = backup
        self._priority = priority
        self._off = off
        self.max_fails = -1
        self.fail_window_ms = -1
        self.counts: ServerCounts | None = None  # of all of them
        self._known: dict[tuple[str, int, int, int], Server] = {}

    def version(self) -> int:
        """Return a number that changes whenever a name has other addresses."""
        return self._kin.book.version

    def servers(self) -> list[Server]:
        """Return the servers of now."""
        known: dict[tuple[str, int, int, int], Server] = {}
        for text in self._kin.book.find((SRV_PREFIX if self._is_srv else ALL_PREFIX) + self._name):
            host, port, weight, priority = self._read(text)
            place = (host, port, weight, priority)
            server = self._known.get(place)
            if server is None:
                pool = self._kin.pool(host, port)
                standing = self._board.find(f"{self._upstream} {pool.name}")
                standing.max_fails = self.max_fails
                standing.fail_window_ms = self.fail_window_ms
                server = Server(pool, weight, self._backup, standing, priority, self._off)
                server.counts = self.counts
            known[place] = server
        self._known = known
        self._kin.keep({(place[0], place[1]) for place in known})
        return list(known.values())

    def _read(self, text: str) -> tuple[str, int, int, int]:
        if not self._is_srv:
            return text, self._port, self._weight, self._priority
        host, port, weight, priority = text.split(" ")
        # A weight of 0 is for records that are hardly ever to be chosen; with us they get the least.
        return host, int(port), max(1, int(weight)), int(priority) + self._priority
