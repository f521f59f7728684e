"""The source that answers from upstream servers: choose, acquire, retry, hold.

Facts: what a kept connection does when the server has closed it, and what may be repeated: RFC 9110 9.2.2, RFC 9112 9.3.1.

Rules
  1. A request is sent again only when that cannot do anything twice: nothing of it was sent, or it is idempotent and had no
     body. What met a kept connection that the server had closed always is; other causes are asked for.
  2. The second try goes to another server, or to a new connection where there is only one. Meeting a kept connection that the
     server had closed is no attempt, the first time.
  3. Servers of the first rank that has one fit share the requests: rank is first whether they are backups, then priority.
     Where failures alone keep all of them out, they serve all the same: a guess is better than an error. With `overflows` the
     next rank serves as well while every server of those before it has all the connections it may have.
  4. A server in maintenance, or that checks say is down, never gets a request; one that drains, only those that belong to it.

Not here: connections (`pool.py`), ways of choosing (`balance.py`), when a server is out (`rules.py`), checks (the control process).
"""

from typing import Final

from vestibule.contract import UP, Source
from vestibule.exchange import Exchange
from vestibule.fault import (
    IF_REUSED,
    NEVER,
    REPEATABLE,
    SAFE,
    UPSTREAM_BUSY,
    UPSTREAM_DOWN,
    UPSTREAM_LOST,
    UPSTREAM_TIMEOUT_HEAD,
    UPSTREAM_TLS,
    Fault,
)
from vestibule.http.head import ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.proxy.balance import Balancer, Owner, Server
from vestibule.proxy.family import Family
from vestibule.proxy.hold import Hold, Resumer
from vestibule.proxy.pool import IDEMPOTENT
from vestibule.proxy.rules import ON_CONNECT, ON_INVALID, ON_LOST, ON_TIMEOUT, SAVED_MOST, Rules
from vestibule.proxy.standing import DRAIN, MAINTENANCE, READY, Board, Standing
from vestibule.proxy.sticky import Marks

__all__ = ["Server", "Upstream"]

# A share while a server warms up is counted in hundredths of its weight.
_FINE: Final = 100

# How often shares are counted anew while a server warms up.
_WARM_MS: Final = 1_000

_NEVER_MS: Final = 1 << 60


class Upstream(Source, Owner, Resumer):
    """Servers that answer the same requests."""

    def __init__(
        self,
        name: str,
        servers: list[Server],
        tries_most: int = 3,
        balancer: Balancer | None = None,
        rules: Rules | None = None,
        board: Board | None = None,
        marks: Marks | None = None,
        slow_start_ms: int = 0,
        families: list[Family] | None = None,
        reactor: Reactor | None = None,
        addresses: bool = False,
        overflows: bool = False,
    ) -> None:
        self.name = name
        self.addresses = addresses
        self.overflows = overflows
        self.tries_most = tries_most
        self.balancer = balancer or Balancer()
        self.rules = rules or Rules()
        self.board = board or Board()
        self.marks = marks
        self.slow_start_ms = slow_start_ms
        self.families = families or []
        self.servers: list[Server] = []
        self.standings: list[Standing] = []
        self._fixed = servers
        self._ranks: list[list[Server]] = []  # those that may serve, by rank
        self._fit: list[Server] = []  # those of the first rank
        self._only: Server | None = None  # the one to ask, where there is nothing to choose
        self._limited = False
        self._seen = -1
        self._due_ms = 0
        self._book_seen = -1
        self._reactor = reactor or servers[0].pool.reactor
        self._hold = Hold(self._reactor, self)
        self._take(servers)

    # ---- for the exchange

    def start(self, ex: Exchange) -> None:
        rules = self.rules
        if rules.saved < SAVED_MOST:
            rules.saved += rules.budget
        server = self._only
        if server is None or self.board.version != self._seen:
            server = self.choose(ex)
        if server is None:
            fault = Fault(UPSTREAM_DOWN, self.name)
            if not self._keep(ex, fault):
                ex.on_fault(UP, fault)
            return
        # As `_ask` does; most requests come by here.
        ex.tries += 1
        ex.tried = server.bit
        ex.chosen = server
        ex.try_ms = self._reactor.now_ms
        server.pool.acquire(ex, False)

    def _ask(self, ex: Exchange, server: Server, fresh: bool) -> None:
        """Have a server carry the request."""
        ex.tries += 1
        ex.tried |= server.bit
        ex.chosen = server
        ex.try_ms = self._reactor.now_ms
        server.pool.acquire(ex, fresh)

    def resume(self, ex: Exchange) -> None:
        """Let a held request try."""
        server = self.choose(ex)
        if server is None:
            self._hold.put(ex, Fault(UPSTREAM_DOWN, self.name))
            return
        ex.tried = 0
        self._ask(ex, server, False)

    def retry(self, ex: Exchange, fault: Fault) -> bool:
        if self._tries_again(ex, fault):
            return True
        self.rules.told(fault)
        return False

    def _tries_again(self, ex: Exchange, fault: Fault) -> bool:
        server = ex.chosen
        if not isinstance(server, Server):
            return False  # none was asked: a request that was held, or found nobody
        now = self._reactor.now_ms
        if self.rules.counts(fault):
            self.rules.failed(server.standing, self.standings, now, True, True)
        if not self._may_repeat(ex, fault) or self._is_late(ex, now):
            return False
        held = ex.hold_until_ms > 0
        fresh = fault.kind is UPSTREAM_LOST
        if fault.retry == IF_REUSED and ex.attempts is None:
            ex.tries = 0  # no attempt (rule 2), but once: of a shared connection, or while all are in use, the next may have served, too
        if ex.tries >= self.tries_most or held or (not fresh and ex.tries >= len(self.servers)):
            return self._keep(ex, fault)
        other = self._choose_other(ex)
        if fault.retry == REPEATABLE and not self._moves(ex, server, other, now) and not self.rules.spend():
            return False
        if other is None:
            return self._keep(ex, fault)
        if server.counts is not None:
            server.counts.repeated()
        ex.drop_up(fault)
        ex.waiting = True
        ex.note_attempt(fault.kind.status, now, False)
        self._ask(ex, other, fresh)
        return True

    def _moves(self, ex: Exchange, server: Server, other: Server | None, now_ms: int) -> bool:
        """Tell whether a request only moves from a server that is left out now to one that is well.

        That is what new requests do, too, so it costs no budget: else those that a frozen server had in hand could not all be saved.
        Where servers fail one after the other, the next one is left out as well, and the budget holds.
        """
        if other is None or other is server or ex.tries > 1 or other.standing.is_out(now_ms):
            return False
        return server.standing.is_out(now_ms) or not server.standing.up

    def _may_repeat(self, ex: Exchange, fault: Fault) -> bool:
        """Tell whether the request may be sent again after this fault (rule 1)."""
        on = self.rules.on
        if fault.retry == SAFE:
            return fault.kind is UPSTREAM_BUSY or on & ON_CONNECT != 0
        if fault.retry == NEVER or not _is_repeatable(ex):
            return False
        if fault.retry == IF_REUSED:
            return True
        if fault.kind is UPSTREAM_LOST:
            return on & ON_LOST != 0
        return on & (ON_TIMEOUT if fault.kind is UPSTREAM_TIMEOUT_HEAD else ON_INVALID) != 0

    def _is_late(self, ex: Exchange, now_ms: int) -> bool:
        """Tell whether the time for further tries is over."""
        return 0 < self.rules.within_ms <= now_ms - ex.began_ms

    def _keep(self, ex: Exchange, fault: Fault) -> bool:
        """Hold the request while no server can be reached. Return whether it is held."""
        hold_ms = ex.timeouts.hold_ms
        if hold_ms <= 0 or fault.retry != SAFE or fault.kind is UPSTREAM_BUSY or fault.kind is UPSTREAM_TLS:
            return False
        now = self._reactor.now_ms
        if ex.hold_until_ms == 0:
            ex.hold_until_ms = now + hold_ms
        elif ex.hold_until_ms <= now:
            return False
        if ex.chosen is not None and ex.chosen.counts is not None:
            ex.chosen.counts.repeated()
        ex.drop_up(fault)
        ex.waiting = True
        ex.chosen = None
        self._hold.put(ex, fault)
        return True

    def cancel(self, ex: Exchange) -> None:
        if ex.hold_until_ms:
            self._hold.cancel(ex)
        server = ex.chosen
        if isinstance(server, Server):
            server.pool.cancel(ex)

    def on_answer(self, server: Server, ex: Exchange, head: ResponseHead) -> bool:
        rules = self.rules
        now = self._reactor.now_ms
        took = now - ex.try_ms
        if rules.learns:
            server.standing.learn(took, now)
        slow = 0 < rules.latency_ms < took
        passive = slow or head.status in rules.fail_statuses
        outlier = head.status >= 500
        if passive or outlier:
            rules.failed(server.standing, self.standings, now, passive, outlier)
        if not passive:
            rules.answered(server.standing, self.standings, now, outlier)
        if head.status not in rules.retry_statuses or ex.tries >= self.tries_most or not _is_repeatable(ex) or self._is_late(ex, now):
            return False
        other = self._choose_other(ex)
        if other is None or other is server or not rules.spend():
            return False
        if server.counts is not None:
            server.counts.repeated()
        ex.drop_up(Fault(UPSTREAM_LOST, f"another server is asked after status {head.status}"))
        ex.waiting = True
        ex.note_attempt(head.status, now, False)
        self._ask(ex, other, False)
        return True

    # ---- choosing

    def choose(self, ex: Exchange) -> Server | None:
        """Return the server for this request, None if no server may serve."""
        server = self._choose(ex)
        if self.addresses and server is not None:
            ex.request.fields = ex.request.fields.with_host(server.host)
        return server

    def _choose(self, ex: Exchange) -> Server | None:
        self._look()
        if self.marks is not None:
            marked = self.marks.find(ex)
            if marked is not None and marked.owner is self:
                if self._may_stay(marked):
                    return marked
                if self.marks.strict:
                    return None
        fit = self._fit
        if self.overflows and self._limited:
            fit = self._first_free()
        if len(fit) == 1:
            return fit[0]
        if not fit:
            return None
        return self.balancer.choose(self._free(fit) if self._limited else fit, ex)

    def _free(self, servers: list[Server]) -> list[Server]:
        """Return those with a connection free; where none has, all."""
        free = [server for server in servers if not server.pool.is_full()]
        return free or servers

    def _first_free(self) -> list[Server]:
        """Return the servers of the first rank that has a connection free; where none has, those of the first."""
        for rank in self._ranks:
            for server in rank:
                if not server.pool.is_full():
                    return rank
        return self._fit

    def count_requests(self, waiting: bool) -> int:
        count = 0
        for server in self.servers:
            count += server.pool.waiting() if waiting else server.pool.load()
        return count

    def count_servers(self) -> int:
        self._look()
        now = self._reactor.now_ms
        free: list[Server] = []
        for server in self.servers:
            if _may_serve(server) and not server.standing.is_out(now):
                free.append(server)
        ranks = _ranked(free)
        if not ranks or ranks[0][0].backup:
            return len(ranks[0]) if ranks else 0
        count = 0
        for server in free:
            if not server.backup:
                count += 1
        return count

    def _may_stay(self, server: Server) -> bool:
        """Tell whether a client that belongs to a server may still go there."""
        standing = server.standing
        if not standing.up or standing.mode == MAINTENANCE or (server.disabled and standing.mode != READY):
            return False
        return not standing.is_out(self._reactor.now_ms)

    def _choose_other(self, ex: Exchange) -> Server | None:
        """Choose another server, and address the request to it."""
        server = self._find_other(ex)
        if self.addresses and server is not None:
            ex.request.fields = ex.request.fields.with_host(server.host)
        return server

    def _find_other(self, ex: Exchange) -> Server | None:
        """Return a server this exchange has not tried, by rank; where all were tried, any of the first rank."""
        if self.marks is not None and self.marks.strict and self.marks.find(ex) is not None:
            return None
        self._sort()
        for rank in self._ranks:
            left = [server for server in rank if not ex.tried & server.bit]
            if left:
                return self.balancer.choose(left, ex)
        return self.balancer.choose(self._fit, ex) if self._fit else None

    # ---- who may serve

    def _take(self, servers: list[Server]) -> None:
        """Have these servers from now on."""
        self.servers = servers
        self.standings = [server.standing for server in servers]
        for at in range(len(servers)):
            server = servers[at]
            server.bit = 1 << at
            server.owner = self
            server.watches = self.rules.looks_at_answers(len(servers) < 2, server.standing)
        if self.marks is not None:
            self.marks.take(servers)
        self._sort()

    def look_again(self) -> None:
        """Take in how its servers stand: what counts as a failure may be another thing than when it was made."""
        self._take(self.servers)

    def _look(self) -> None:
        """Take in what has changed since the last request."""
        if self.board.version != self._seen or self._reactor.now_ms >= self._due_ms:
            self._sort()
        for family in self.families:
            if family.version() != self._book_seen:
                self._gather()
                break

    def _gather(self) -> None:
        """Take the servers that names stand for now."""
        servers = list(self._fixed)
        for family in self.families:
            self._book_seen = family.version()
            servers.extend(family.servers())
        self._take(servers)

    def _sort(self) -> None:
        """Find out who may serve, by rank, and with which share."""
        now = self._reactor.now_ms
        self._seen = self.board.version
        self._due_ms = _NEVER_MS
        fit: list[Server] = []
        out: list[Server] = []
        self._limited = False
        for server in self.servers:
            standing = server.standing
            server.pool.limit(standing.most)
            if server.pool.most >= 0:
                self._limited = True
            if not _may_serve(server):
                continue
            self._weigh(server, now)
            if standing.is_out(now):
                self._due_ms = min(self._due_ms, max(standing.out_until_ms, standing.ejected_until_ms))
                out.append(server)
            else:
                fit.append(server)
        self._ranks = _ranked(fit or out)
        self._fit = self._ranks[0] if self._ranks else []
        alone = len(self._fit) == 1 and self._due_ms == _NEVER_MS and self.marks is None and not self.families and not self.addresses
        may_overflow = self.overflows and self._limited and len(self._ranks) > 1
        self._only = self._fit[0] if alone and not may_overflow else None

    def _weigh(self, server: Server, now: int) -> None:
        """Count a server's share: less than its weight while it warms up."""
        standing = server.standing
        weight = server.weight if standing.weight < 0 else standing.weight
        slow = self.slow_start_ms
        if slow <= 0:
            server.share = weight
            return
        server.share = weight * _FINE
        back = standing.back_at_ms
        if 0 <= back <= now < back + slow:
            server.share = max(1, weight * _FINE * (now - back) // slow)
            self._due_ms = min(self._due_ms, now + _WARM_MS)


def _may_serve(server: Server) -> bool:
    """Tell whether a server is up and takes new clients."""
    standing = server.standing
    if not standing.up or standing.mode >= DRAIN or standing.weight == 0:
        return False
    return not server.disabled or standing.mode == READY


def _ranked(servers: list[Server]) -> list[list[Server]]:
    """Return servers by rank, the first to serve first."""
    ranks: dict[int, list[Server]] = {}
    for server in servers:
        rank = server.priority + (1 << 40 if server.backup else 0)
        found = ranks.get(rank)
        if found is None:
            ranks[rank] = [server]
        else:
            found.append(server)
    return [ranks[rank] for rank in sorted(ranks)]


def _is_repeatable(ex: Exchange) -> bool:
    """Tell whether a request may be sent twice, and can: it is idempotent and had no body."""
    return ex.request.method in IDEMPOTENT and ex.request_ended and not ex.request_bytes and not ex.own_body
