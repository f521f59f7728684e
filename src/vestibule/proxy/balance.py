"""Choosing one server out of those that may serve.

Facts
  Two random choices, the less busy taken, come close to the least busy of all and do not herd (Mitzenmacher, 2001).
  Rendezvous hashing gives each server a score for a key; the best has it. When a server leaves, only its own keys move, each
  to the second in its own order, and a server's part is exactly its weight's. With a few dozen servers that is as fast as a ring.
  A bound on the load sends a key on to the next in its order while its server has more than its share (Mirrokni, 2016).
  Jenkins' and CRC's hashes of near keys differ in few bits, so every score is stirred twice.

Rules
  A choice is made among `share`s as they are now; slow start and commands change those, not the methods.
  Load is what this worker has in flight. Hashes are the same in every worker and after every start.

Not here: who may serve (`upstream.py`), how servers stand (`standing.py`).
"""

import math
import random
import socket
import zlib
from typing import Final

from mypy_extensions import mypyc_attr, trait

from vestibule.contract import Chosen
from vestibule.exchange import Exchange
from vestibule.http.head import ResponseHead
from vestibule.proxy.pool import Pool
from vestibule.proxy.standing import Board, Standing

_WORD: Final = 0xFFFFFFFF


class Server(Chosen):
    """One server of an upstream: its pool, its share of the requests, how it stands."""

    def __init__(
        self, pool: Pool, weight: int = 1, backup: bool = False, standing: Standing | None = None, priority: int = 0, disabled: bool = False
    ) -> None:
        super().__init__()
        self.address = pool.name.encode()
        self.pool = pool
        self.weight = weight
        self.backup = backup
        self.priority = priority
        self.disabled = disabled
        self.standing = standing or Standing(Board(), pool.name)
        self.owner: Owner | None = None
        self.share = weight
        self.current = 0  # smooth weighted round robin's running credit
        self.bit = 0  # its place in `Exchange.tried`
        self.mark = b""  # what marks a client as this server's, where that was chosen
        self.host = b""  # its own Host, where requests are sent by that
        self.seed = zlib.crc32(pool.name.encode())

    def on_answer(self, ex: Exchange, head: ResponseHead) -> bool:
        return self.owner is not None and self.owner.on_answer(self, ex, head)


@trait
class Owner:
    """The upstream that a server belongs to."""

    def on_answer(self, server: Server, ex: Exchange, head: ResponseHead) -> bool:
        """Look at an answer; return whether another server is asked instead."""
        raise NotImplementedError


class Balancer:
    """A way of choosing. The base is smooth weighted round robin: each gets credit by its share, the richest serves and pays."""

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        """Return one of `servers`, of which there is one at least."""
        total = 0
        best = servers[0]
        for server in servers:
            total += server.share
            server.current += server.share
            if server.current > best.current:
                best = server
        best.current -= total
        return best


class LeastConnections(Balancer):
    """The fewest requests in flight for the share; in turn among equals."""

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        best: list[Server] = []
        least = 0
        share = 1
        for server in servers:
            # One more than now: an idle heavy server is better than an idle light one only if both get this request.
            load = server.pool.load()
            if not best or load * share < least * server.share:
                best = [server]
                least = load
                share = server.share
            elif load * share == least * server.share:
                best.append(server)
        return super().choose(best, ex)


class PeakEwma(Balancer):
    """The shortest expected wait: answer time of late, times what is in flight, by share; in turn among equals."""

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        best: list[Server] = []
        least = 0.0
        for server in servers:
            pool = server.pool
            # A millisecond more: times are whole ones, and a fast server's would be nothing.
            cost = (server.standing.expected(pool.reactor.now_ms) + 1.0) * (pool.load() + 1) / server.share
            if not best or cost < least:
                best = [server]
                least = cost
            elif cost == least:
                best.append(server)
        return super().choose(best, ex)


class RandomTwo(Balancer):
    """Two different servers drawn by share; the one with less in flight for its share."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        first = self._draw(servers)
        if len(servers) == 1:
            return first
        second = self._draw([server for server in servers if server is not first])
        return second if second.pool.load() * first.share < first.pool.load() * second.share else first

    def _draw(self, servers: list[Server]) -> Server:
        total = 0
        for server in servers:
            total += server.share
        left = int(self._random.random() * total)
        at = 0
        while left >= servers[at].share:
            left -= servers[at].share
            at += 1
        return servers[at]


class First(Balancer):
    """The first in order that has a connection free."""

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        for server in servers:
            if not server.pool.is_full():
                return server
        return super().choose(servers, ex)


@mypyc_attr(allow_interpreted_subclasses=True)
class KeyText:
    """What is hashed, found in an exchange. An expression of the configuration is put in by `compile`."""

    def text(self, ex: Exchange) -> bytes:
        """Return the key of this request."""
        raise NotImplementedError


class SourceKey(KeyText):
    """The client's address, or its first bits."""

    def __init__(self, bits4: int, bits6: int) -> None:
        self._bits4 = bits4
        self._bits6 = bits6

    def text(self, ex: Exchange) -> bytes:
        address = ex.client_address
        six = b":" in address
        if self._bits6 == 128 if six else self._bits4 == 32:
            return address
        try:
            packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address.decode())
        except (OSError, ValueError):
            return address
        bits = self._bits6 if six else self._bits4
        whole = bits // 8
        rest = bits % 8
        return packed[:whole] + bytes([packed[whole] & (0xFF00 >> rest) & 0xFF]) if rest else packed[:whole]


class Hash(Balancer):
    """The same server for the same key; in turn where there is none. `bound` is the most load in percent of the fair share, 0 for
    any."""

    def __init__(self, key: KeyText, bound: int = 0) -> None:
        self._key = key
        self._bound = bound

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        text = self._key.text(ex)
        if not text:
            return super().choose(servers, ex)
        key = zlib.crc32(text)
        left = servers
        if self._bound:
            left = self._unloaded(servers)
        best = left[0]
        most = -math.inf
        for server in left:
            score = _score(key, server.seed, server.share)
            if score > most:
                most = score
                best = server
        return best

    def _unloaded(self, servers: list[Server]) -> list[Server]:
        """Return the servers that have room for one more within their bound."""
        load = 1
        shares = 0
        for server in servers:
            load += server.pool.load()
            shares += server.share
        left: list[Server] = []
        for server in servers:
            # Rounded up, so that a server may always have one.
            most = -(-load * server.share * self._bound // (shares * 100))
            if server.pool.load() < most:
                left.append(server)
        return left or servers


class TableHash(Balancer):
    """A table of the servers, each as often as its weight, and a sum of the key that says which. Whoever knows the sum knows the
    server, and all keys move when one comes or goes; in turn where there is no key."""

    def __init__(self, key: KeyText, way: str) -> None:
        self._key = key
        self._way = way
        self._shares: list[int] = []
        self._table: list[int] = []

    def choose(self, servers: list[Server], ex: Exchange) -> Server:
        text = self._key.text(ex)
        if not text:
            return super().choose(servers, ex)
        shares = [server.share for server in servers]
        if shares != self._shares:
            self._shares = shares
            self._table = spread(shares)
        if not self._table:
            return super().choose(servers, ex)
        return servers[self._table[_sum(text, self._way) % len(self._table)]]


def spread(shares: list[int]) -> list[int]:
    """Lay out places in a table by their shares, as HAProxy does: the first one first."""
    divisor = 0
    for share in shares:
        divisor = math.gcd(divisor, share)
    if divisor == 0:
        return []
    total = sum(shares) // divisor
    credits = [0] * len(shares)
    table: list[int] = []
    for _ in range(total):
        best = -1
        most = 0
        for at in range(len(shares)):
            credits[at] += shares[at] // divisor
            have = (credits[at] + total) // total
            if shares[at] > 0 and (best < 0 or have > most):
                best = at
                most = have
        credits[best] -= total
        table.append(best)
    return table


def _sum(text: bytes, way: str) -> int:
    """Return a sum of a text, modulo 2**32."""
    if way == "crc32":
        return zlib.crc32(text)
    found = 5381 if way == "djb2" else 0
    for byte in text:
        found = (found * 33 + byte if way == "djb2" else found * 65599 + byte) & _WORD
    return found


def _stirred(x: int) -> int:
    """Let every bit of a word change every other."""
    # Products stay below 2**61, which compiled code holds in a register.
    x = ((x >> 16) ^ x) * 0x119DE1F3 & _WORD
    x = ((x >> 15) ^ x) * 0x119DE1F3 & _WORD
    return (x >> 16) ^ x


def _score(key: int, seed: int, share: int) -> float:
    """Return how much a key wants a server: of an exponential race, so that shares are exact."""
    drawn = _stirred(_stirred(key ^ 0x5BD1E995) ^ seed)
    return share / -math.log((drawn + 1) / 4_294_967_298.0)
