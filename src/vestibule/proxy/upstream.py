"""The source that answers from upstream servers: choose, acquire, retry.

Rules
  1. A request is sent again only when that cannot do anything twice: nothing of it was sent, or it is
     idempotent, had no body, and met a kept connection that the server had closed (RFC 9110 9.2.2).
  2. The second try goes to another server, or to a new connection where there is only one.

Not here: connections (`pool.py`), health (the control process).
"""

from vestibule.exchange import Exchange, Source
from vestibule.fault import IF_REUSED, SAFE, Fault
from vestibule.proxy.pool import IDEMPOTENT, Pool


class Server:
    """One server of an upstream: its pool and its share of the requests."""

    def __init__(self, pool: Pool, weight: int = 1, backup: bool = False) -> None:
        self.pool = pool
        self.weight = weight
        self.backup = backup
        self.current = 0  # smooth weighted round robin's running credit
        self.bit = 0  # its place in `Exchange.tried`


class Upstream(Source):
    """Servers that answer the same requests."""

    def __init__(self, name: str, servers: list[Server], tries_most: int = 3) -> None:
        self.name = name
        self.servers = servers
        self.tries_most = tries_most
        for at in range(len(servers)):
            servers[at].bit = 1 << at
        self._main = [server for server in servers if not server.backup] or servers

    def start(self, ex: Exchange) -> None:
        ex.tries += 1
        server = self._main[0] if len(self._main) == 1 else self._choose(self._main)
        ex.tried = server.bit
        server.pool.acquire(ex, False)

    def retry(self, ex: Exchange, fault: Fault) -> bool:
        if ex.tries >= self.tries_most:
            return False
        if fault.retry == IF_REUSED:
            if ex.request.method not in IDEMPOTENT or ex.request_bytes or not ex.request_ended:
                return False
        elif fault.retry != SAFE or ex.tries >= len(self.servers):
            return False
        ex.drop_up(fault)
        ex.tries += 1
        ex.waiting = True
        server = self._choose_other(ex)
        ex.tried |= server.bit
        server.pool.acquire(ex, fault.retry == IF_REUSED)
        return True

    def _choose_other(self, ex: Exchange) -> Server:
        """Choose a server this exchange has not tried, backups last; where all were tried, any but a backup."""
        for group in (self._main, self.servers):
            left = [server for server in group if not ex.tried & server.bit]
            if left:
                return self._choose(left)
        return self._choose(self._main)

    def cancel(self, ex: Exchange) -> None:
        for server in self.servers:
            server.pool.cancel(ex)

    def _choose(self, servers: list[Server]) -> Server:
        """Smooth weighted round robin: each gets credit by weight, the richest serves and pays the total."""
        total = 0
        best = servers[0]
        for server in servers:
            total += server.weight
            server.current += server.weight
            if server.current > best.current:
                best = server
        best.current -= total
        return best
