"""One generation of what a worker serves, and what of a worker outlives generations.

Rules: a `Root` is made beside the one that serves and touches nothing of it before `activate`.

Not here: how a root is filled (`compile.py`), when it serves (`worker.py`).
"""

import os
from typing import Final

from vestibule.net.demand import Demand
from vestibule.net.reactor import Reactor
from vestibule.net.syslog import HostBook
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls import OpenChallenges
from vestibule.plan.log_sink import Flusher, LogSink
from vestibule.plan.sources.challenge import OpenTokens
from vestibule.plan.state import State, StateTable
from vestibule.proxy.door import Door, response_table
from vestibule.proxy.family import Kin
from vestibule.proxy.pool import AddressBook, Pool
from vestibule.proxy.raw import Porches
from vestibule.proxy.standing import Board

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


class LogFlusher(Flusher, Timed):
    """Has the logs of a worker written a little after their first line."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._deadline = Deadline(self)
        self._reactor: Reactor | None = None
        self._armed = False

    def start(self, reactor: Reactor) -> None:
        """Keep time by this reactor."""
        self._reactor = reactor

    def flush_soon(self) -> None:
        if not self._armed and self._reactor is not None:
            self._armed = True
            self._reactor.timers.arm(self._deadline, self._reactor.now_ms + _FLUSH_MS)

    def on_deadline(self) -> None:
        self._armed = False
        if self.flush():
            self.flush_soon()

    def flush(self) -> bool:
        """Write what waits; return whether something still does."""
        waits = False
        for _, state in self._table.items():
            if isinstance(state, LogSink):
                state.flush()
                waits = waits or state.waiting > 0
        return waits


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
        self.board = Board()
        self.responses = response_table()
        self.porches = Porches()
        self.flusher = LogFlusher(self)
        self.tokens = OpenTokens()
        self.challenges = OpenChallenges()
        self.demand = Demand()

    def sweep(self, root: "Root") -> int:
        """Close what the configuration that serves now does not name; return how many."""
        self.board.keep(root.upstreams)
        return self.keep(root.named)

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
        self.certificates: Certificates | None = None
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

    def activate(self) -> None:
        """Serve: from here on logs are written to the descriptors of this generation."""
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

    def flush_logs(self) -> None:
        """Write the lines that wait."""
        for sink in self._sinks.values():
            sink.flush()

    def discard(self) -> None:
        """This generation will never serve: undo what making it did."""
        for key in self.made:
            self._registry.drop(key)
        for fd in self._logs.values():
            os.close(fd)
        self._logs = {}
