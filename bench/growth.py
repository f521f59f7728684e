"""Does a request cost the same when there is much of everything: sites, connections, proxies in a row?

Facts. Sites are asked for at random, so that no cache of one host helps. Of many connections a few ask and the others are idle, which
is what a house full of open browsers looks like. Hops all run on the contender's processor, and what is counted is their CPU together.

Rules. The ratio of a cell is that of two loads of one round, right after each other.

Not here: the memory of idle connections (`suites.Idle`).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from bench import load as loads
from bench import proc
from bench.peer import BenchError, Contender, Running, Site, nofile_limit, start_contender
from bench.stats import SUBJECT, Cell, Reading
from bench.suites import Bench, Suite, per

#: What a larger number of things may add to the cost of a request, as a factor.
_FLAT = 1.1
_SITES = 10_000
_CONNECTIONS = 10_000
_HOPS = 4
#: Connections that ask, where the others are idle.
_ASKING = 10


@dataclass
class GrowthCell(Cell):
    """A cell that knows which part of a comparison of few and many it shows."""

    part: str = ""


class Growth(Suite):
    """The cost of a request with few and with many of something. The first cell of each round runs both loads."""

    few: str
    many: str

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._running: dict[str, list[Running]] = {}
        self._last: dict[str, dict[str, Reading]] = {}

    def cells(self) -> list[Cell]:
        """Both costs and how one grew out of the other."""
        unit = "µs CPU/request"
        return [
            GrowthCell(self.name, self.few, unit, part="few"),
            GrowthCell(self.name, self.many, unit, part="many"),
            GrowthCell(self.name, f"{self.many} ÷ {self.few}", "×", ceiling=_FLAT, part="growth"),
        ]

    def begin(self, contender: Contender, port: int, stack: ExitStack) -> list[Running]:
        """Start what the loads of a contender need; what is returned is kept for `costs`."""
        raise NotImplementedError

    def costs(self, running: list[Running]) -> tuple[Reading, Reading]:
        """Measure few, then many."""
        raise NotImplementedError

    def run(self) -> None:
        """Start every contender and measure round by round."""
        bench = self.bench
        cells = self.cells()
        bench.cells += cells
        with ExitStack() as stack:
            origin, port = self.start_origin()
            stack.callback(origin.stop)
            for contender in self.contenders():
                self._running[contender.name] = self.begin(contender, port, stack)
            for index in range(self.rounds()):
                bench.say(f"{self.name} round {index + 1}/{self.rounds()}")
                for cell in cells:
                    for contender in self.contenders():
                        cell.add(contender.name, self.figure(cell, self._running[contender.name][0]))

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Run both loads for the first cell; the others come from the same run."""
        assert isinstance(cell, GrowthCell)
        if cell.part == "few":
            self._last.pop(running.name, None)
            few, many = self.costs(self._running[running.name])
            self._last[running.name] = {"few": few, "many": many, "growth": Reading(many.value / few.value)}
        if running.name not in self._last:
            raise BenchError("the run had failed")
        return self._last[running.name][cell.part]

    def cost(self, running: list[Running], connections: int, hosts: int = 0) -> Reading:
        """Return the CPU per request of all of `running`, loaded through the last of them."""
        load = self.bench.load
        address = loads.url(running[-1].plain, False, "/1k")
        before = [proc.sample(one.pid) for one in running]
        counted = loads.keep_alive(load, address, self.bench.seconds, connections, True, hosts=hosts)
        spent = [proc.between(old, proc.sample(one.pid)) for old, one in zip(before, running, strict=True)]
        parts = [per(cpu, counted.requests, 1e6) for cpu in spent]
        return Reading(
            sum(part.value for part in parts), sum(part.user or 0.0 for part in parts), sum(part.system or 0.0 for part in parts)
        )


class Sites(Growth):
    """One site against ten thousand."""

    name = "sites"
    few = "1 site"
    many = f"{_SITES:,} sites"

    def contenders(self) -> list[Contender]:
        """Those whose template can name many sites."""
        return [one for one in super().contenders() if one.names_sites]

    def begin(self, contender: Contender, port: int, stack: ExitStack) -> list[Running]:
        started: list[Running] = []
        for count in (0, _SITES):
            site = Site(self.bench.directory, port, sites=count)
            one = start_contender(contender, site, self.bench.directory / "tls", self.bench.pins)
            stack.callback(one.process.stop)
            started.append(one)
        return started

    def costs(self, running: list[Running]) -> tuple[Reading, Reading]:
        return self.cost(running[:1], 32, hosts=_SITES), self.cost(running[1:], 32, hosts=_SITES)


class Connections(Growth):
    """Ten connections against ten thousand, of which ten ask."""

    name = "connections"
    few = f"{_ASKING} connections"
    many = f"{_CONNECTIONS:,} connections, {_ASKING} of them busy"

    def begin(self, contender: Contender, port: int, stack: ExitStack) -> list[Running]:
        started = self.bench.start(contender, port)
        stack.callback(started.process.stop)
        return [started]

    def costs(self, running: list[Running]) -> tuple[Reading, Reading]:
        few = self.cost(running, _ASKING)
        if nofile_limit() < _CONNECTIONS + 1000:
            raise BenchError(f"{nofile_limit()} descriptors for each process (ulimit -n) are too few for {_CONNECTIONS:,} connections")
        with loads.idle_connections(self.bench.load, running[0].plain, False, False, _CONNECTIONS - _ASKING):
            return few, self.cost(running, _ASKING)


class Hops(Growth):
    """One vestibule against four in a row; the cost of many is divided by their number."""

    name = "hops"
    few = "1 hop"
    many = f"{_HOPS} hops, for each"

    def contenders(self) -> list[Contender]:
        """The subject only."""
        return [one for one in super().contenders() if one.name == SUBJECT]

    def begin(self, contender: Contender, port: int, stack: ExitStack) -> list[Running]:
        chain: list[Running] = []
        for _ in range(_HOPS):
            one = self.bench.start(contender, port)
            stack.callback(one.process.stop)
            chain.append(one)
            port = one.plain
        return chain

    def costs(self, running: list[Running]) -> tuple[Reading, Reading]:
        one = self.cost(running[:1], 32)
        all_hops = self.cost(running, 32)
        return one, Reading(all_hops.value / _HOPS, (all_hops.user or 0.0) / _HOPS, (all_hops.system or 0.0) / _HOPS)
