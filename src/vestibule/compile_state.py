"""One generation of what a worker serves, and what of a worker outlives generations.

Rules: a `Root` is made beside the one that serves and touches nothing of it before `activate`.

Not here: how a root is filled (`compile.py`), when it serves (`worker.py`).
"""

import os
from typing import Final

from vestibule.counts import CountBook
from vestibule.net.demand import Demand
from vestibule.net.reactor import Reactor
from vestibule.net.syslog import HostBook
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls import OpenChallenges
from vestibule.plan.judge import Judge
from vestibule.plan.log_sink import Flusher, LogSink
from vestibule.plan.sources.challenge import OpenTokens
from vestibule.plan.sources.figures import PageBook
from vestibule.plan.state import State, StateTable
from vestibule.plan.steps.count import Counters
from vestibule.proxy.balance import Server
from vestibule.proxy.door import Door, response_table
from vestibule.proxy.family import Kin
from vestibule.proxy.lookups import Lookups
from vestibule.proxy.pool import AddressBook, Pool
from vestibule.proxy.raw import Porches
from vestibule.proxy.standing import Board, Standing
from vestibule.proxy.upstream import Upstream

# How long lines of a log wait for company.
_FLUSH_MS: Final = 100


class PoolState(State):
    """The connections to one server."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def close(self) -> None:
        self.pool.close()


class KinState(State):
    """The connections to the servers that a name stands for."""

    def __init__(self, kin: Kin) -> None:
        self.kin = kin

    def close(self) -> None:
        self.kin.keep(set())


class TurnState(State):
    """Whose turn it is among the servers of an upstream."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers

    def pass_on(self, servers: list[Server]) -> None:
        """Have these servers go on where those before them are, if they are as many with the same weights."""
        before = self.servers
        self.servers = servers
        if [each.weight for each in before] == [each.weight for each in servers]:
            for at in range(len(servers)):
                servers[at].current = before[at].current

    def close(self) -> None:
        self.servers = []


class LogFlusher(Flusher, Timed):
    """Has the logs of a worker written a little after their first line. It knows those that wait and no others: a worker may have
    thousands of pools and logs, and this comes ten times a second."""

    def __init__(self) -> None:
        self._waiting: dict[LogSink, bool] = {}
        self._deadline = Deadline(self)
        self._reactor: Reactor | None = None

    def start(self, reactor: Reactor) -> None:
        """Keep time by this reactor. What is written before waits for `flush`."""
        self._reactor = reactor

    def flush_soon(self, sink: LogSink) -> None:
        reactor = self._reactor
        if not self._waiting and reactor is not None:
            reactor.timers.arm(self._deadline, reactor.now_ms + _FLUSH_MS)
        self._waiting[sink] = True

    def flush(self) -> None:
        """Write what waits, as far as it goes; for the rest, come again."""
        waiting = self._waiting
        self._waiting = {}
        for sink in waiting:
            sink.flush()
            if sink.waiting > 0:
                self.flush_soon(sink)

    def on_deadline(self) -> None:
        self.flush()


class LoggingHosts(HostBook):
    """The addresses of syslog servers."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book

    def first(self, name: str) -> str:
        if ":" in name or not name.strip("0123456789."):
            return name  # an address stands for itself
        found = self._book.find(name)
        return found[0] if found else ""


class Registry(StateTable):
    """What of one worker outlives a reload: pools, logs, what is known of names, and how servers stand."""

    def __init__(self) -> None:
        super().__init__()
        self.book = AddressBook()
        self.lookups = Lookups(self.book)
        self.board = Board()
        self.responses = response_table()
        self.porches = Porches()
        self.flusher = LogFlusher()
        self.tokens = OpenTokens()
        self.challenges = OpenChallenges()
        self.demand = Demand()
        self.counts = CountBook()
        self.pages = PageBook()
        self.judge = Judge()

    def sweep(self, root: "Root") -> int:
        """Close what the configuration that serves now does not name; return how many."""
        self.board.keep(root.upstreams)
        self.lookups.keep(root.hosts)
        return self.keep(root.named)

    def counted(self, table: str, forget: str, now_ms: int) -> dict[str, dict[str, list[int]]]:
        """Return what is counted in a table, by counter and key; a key of it is forgotten first, or with `*` all."""
        begin = f"count {table} "
        found: dict[str, dict[str, list[int]]] = {}
        for name, state in self.items():
            if isinstance(state, Counters) and name.startswith(begin):
                if forget:
                    state.forget(forget.encode("utf-8", "surrogateescape"))
                found[name[len(begin) :].partition(" ")[0]] = state.told(now_ms)
        return found

    def lines_lost(self) -> int:
        """Return how many lines of logs were lost."""
        lost = 0
        for _, state in self.items():
            if isinstance(state, LogSink):
                lost += state.lost
        return lost

    def figures(self) -> dict[str, dict[str, int]]:
        """Return the connections to each upstream server."""
        told: dict[str, dict[str, int]] = {}
        for _, state in self.items():
            pools: list[Pool] = []
            if isinstance(state, PoolState):
                pools = [state.pool]
            elif isinstance(state, KinState):
                pools = state.kin.all()
            for pool in pools:
                figures = told.setdefault(pool.name, {"connections": 0, "idle": 0})
                figures["connections"] += pool.connections
                figures["idle"] += pool.idle()
        return told


class Certificates:
    """The certificates of a generation, which may be renewed while it serves."""

    def renew(self, pairs: dict[str, tuple[str, str]]) -> list[str]:
        """Serve these (chain and key, PEM) by name, each as far as it is named here; return what went wrong."""
        raise NotImplementedError


class Root:
    """One generation: the doors by the name of their listener, and what they stand on.

    Whoever compiled it calls `activate` when it begins to serve, or `discard`.
    """

    def __init__(self, registry: Registry, logs: dict[str, int]) -> None:
        self.doors: dict[str, Door] = {}
        self.named: set[str] = set()
        self.upstreams: list[str] = []
        self.made: list[str] = []
        self.hosts: set[str] = set()  # names of servers, which are watched
        self.certificates: Certificates | None = None
        self.counts = False  # whether requests are counted, because somebody wants to know
        self._sources: list[Upstream] = []
        self._fails: list[tuple[Standing, int, int]] = []
        self._registry = registry
        self._logs = logs
        self._sinks: dict[str, LogSink] = {}

    def keep(self, name: str, state: State) -> None:
        """Have a state be of this generation under a name: one that the registry has already, or one just made."""
        self.named.add(name)
        if self._registry.find(name) is not state:
            self._registry.put(name, state)
            self.made.append(name)

    def take_sink(self, target: str, sink: LogSink) -> None:
        """Note that this generation writes to the log of this target."""
        self._sinks[target] = sink

    def take_source(self, source: Upstream) -> None:
        """Note that this generation asks these servers."""
        self._sources.append(source)

    def take_standing(self, standing: Standing, max_fails: int, window_ms: int) -> None:
        """Note how many failures within which time leave a server out while this generation serves; -1 is as the others'."""
        self._fails.append((standing, max_fails, window_ms))

    def servers_now(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return what each server that is counted has in hand, as the configuration names it."""
        told: dict[str, dict[str, dict[str, int]]] = {}
        seen: set[int] = set()  # several sources may share connections
        for source in self._sources:
            for server in source.servers:
                counts = server.counts
                if counts is None or id(server.pool) in seen:
                    continue
                pool = server.pool
                seen.add(id(pool))
                fresh = {"connections": 0, "idle": 0, "active": 0, "waiting": 0}
                now = told.setdefault(counts.upstream, {}).setdefault(counts.server, fresh)
                now["connections"] += pool.connections
                now["idle"] += pool.idle()
                now["active"] += max(0, pool.load() - pool.waiting())
                now["waiting"] += pool.waiting()
        return told

    def activate(self) -> None:
        """Serve: from here on logs are written to the descriptors of this generation, and its figures count."""
        for standing, max_fails, window_ms in self._fails:
            standing.max_fails = max_fails
            standing.fail_window_ms = window_ms
        for source in self._sources:
            source.look_again()
        for target in self._sinks:
            if target in ("stdout", "stderr"):
                self._sinks[target].use(1 if target == "stdout" else 2, False)
        self.reopen_logs(self._logs)
        self._logs = {}

    def reopen_logs(self, logs: dict[str, int]) -> None:
        """Write to these descriptors from now on, by path. They are ours; those before are closed."""
        for path, fd in logs.items():
            sink = self._sinks.get(path)
            if sink is None:
                os.close(fd)
            else:
                sink.use(fd, True)

    def discard(self) -> None:
        """This generation will never serve: undo what making it did."""
        for key in self.made:
            self._registry.drop(key)
        for fd in self._logs.values():
            os.close(fd)
        self._logs = {}
