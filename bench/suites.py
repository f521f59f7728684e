"""The questions the bench asks about HTTP/1, one class each: which origin it needs, which cells it fills, how one figure is won.

Rules. Within a round every contender answers a cell before the next cell begins (A B C D A B C D ...), so that a slow minute of the
machine hits all alike. CPU is read right before and right after the load, while every contender is idle but the one measured.

Not here: HTTP/2 (`h2.py`), starting programs (`peer.py`), load (`load.py`), medians and targets (`stats.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from bench import load as loads
from bench import proc
from bench.load import Load
from bench.peer import (
    BenchError,
    Contender,
    Pins,
    Process,
    Running,
    Site,
    nofile_limit,
    start_contender,
    start_file_origin,
    start_python_origin,
)
from bench.stats import SUBJECT, Cell, Reading

#: Below this a file is a log line or bookkeeping, above it is a stored body.
_STRAY_BYTES = 1 << 20
#: The answers of the file origin: path, words, bytes.
SIZES = (("/12", "12 B", 12), ("/1k", "1 KB", 1024), ("/20k", "20 KB", 20480))


@dataclass
class Bench:
    """The settings of one run, shared by all suites."""

    directory: Path
    contenders: list[Contender]
    pins: Pins
    load: Load
    rounds: int
    seconds: int
    bulk_bytes: int
    handshake_count: int
    idle_count: int
    #: How long idle HTTP/2 connections are left alone: some proxies give up memory after a while.
    settle_seconds: float
    rate: int
    soak_bytes: int
    say: Callable[[str], None]
    sizes: tuple[tuple[str, str, int], ...] = SIZES
    warms: bool = True
    cells: list[Cell] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    #: Contenders that failed the check over HTTP/2.
    without_http2: set[str] = field(default_factory=set)

    def start(self, contender: Contender, upstream: int, **changes: int | bool) -> Running:
        """Start a contender in front of an upstream port."""
        site = Site(self.directory, upstream)
        if changes:
            site = replace(site, **changes)  # type: ignore[arg-type]  # because the fields differ in type, all int or bool
        pins = Pins() if site.workers > 1 else self.pins
        return start_contender(contender, site, self.directory / "tls", pins)


class Suite:
    """A group of cells measured on the same running contenders."""

    name: ClassVar[str]
    #: Most rounds worth their time; 0 means as many as the run asks for.
    most_rounds: ClassVar[int] = 0

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._origin: tuple[Process, int] | None = None

    def cells(self) -> list[Cell]:
        """Return the empty cells this suite fills, in order."""
        raise NotImplementedError

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Win one figure; BenchError says why there is none."""
        raise NotImplementedError

    def start_origin(self) -> tuple[Process, int]:
        """Start the upstream of this suite."""
        return start_file_origin(self.bench.directory, self.bench.pins)

    def settings(self) -> dict[str, int | bool]:
        """Return what differs from the default configuration."""
        return {}

    def warm(self, running: Running) -> None:
        """Bring a contender to its working temperature; not measured."""

    def run(self) -> None:
        """Fill the cells: start everything, measure round by round, stop everything."""
        bench = self.bench
        cells = self.cells()
        bench.cells += cells
        with ExitStack() as stack:
            origin, port = self.start_origin()
            stack.callback(origin.stop)
            running: list[Running] = []
            for contender in self.contenders():
                started = bench.start(contender, port, **self.settings())
                stack.callback(started.process.stop)
                running.append(started)
            for one in running if bench.warms else ():
                self._attempt(one.name, "warming", partial(self.warm, one))
            for index in range(self.rounds()):
                for cell in cells:
                    bench.say(f"{self.name} round {index + 1}/{self.rounds()}: {cell.name}")
                    for one in running:
                        cell.add(one.name, self.figure(cell, one))

    def contenders(self) -> list[Contender]:
        """Return who takes part in this suite."""
        return [one for one in self.bench.contenders if not one.suites or self.name in one.suites]

    def rounds(self) -> int:
        """Return how many rounds this suite makes."""
        return min(self.bench.rounds, self.most_rounds) if self.most_rounds else self.bench.rounds

    def figure(self, cell: Cell, running: Running) -> Reading | None:
        """Return what `measure` says, or None where it fails, which is told."""
        found: list[Reading] = []
        self._attempt(running.name, cell.name, lambda: found.append(self.measure(cell, running)))
        return found[0] if found else None

    def _attempt(self, contender: str, what: str, action: Callable[[], None]) -> None:
        """Do something that may fail for one contender without ending the run; remember why."""
        try:
            action()
        except (BenchError, proc.TreeChanged) as error:
            text = f"{self.name}, {what}, {contender}: {error}"
            if text not in self.bench.missing:
                self.bench.missing.append(text)
            self.bench.say(f"  no figure: {text}")

    def cpu_of(self, running: Running, action: Callable[[], None]) -> proc.Cpu:
        """Return the CPU time the contender used while `action` ran."""
        before = proc.sample(running.pid)
        action()
        return proc.between(before, proc.sample(running.pid))


def per(cpu: proc.Cpu, count: float, scale: float, seconds: float = 0.0) -> Reading:
    """Divide CPU time by a count; with the length of the load given, tell how busy the contender was."""
    busy = cpu.total / seconds if seconds else None
    return Reading(cpu.total / count * scale, cpu.user / count * scale, cpu.system / count * scale, busy=busy)


@dataclass
class RequestCell(Cell):
    """A cell that knows the request it is about."""

    path: str = "/1k"
    tls: bool = False
    browser: bool = False


class Requests(Suite):
    """CPU per request: 32 connections kept alive, asked as fast as they answer."""

    name = "requests"
    connections = 32

    def cells(self) -> list[Cell]:
        """Three sizes, plain and TLS, bare and with a browser's headers."""
        out: list[Cell] = []
        for tls in (False, True):
            for browser in (False, True):
                for path, size, _ in self.bench.sizes:
                    name = f"{'TLS' if tls else 'plain'}, {size}, {'browser headers' if browser else 'bare'}"
                    cell = RequestCell(self.name, name, "µs CPU/request", path=path, tls=tls, browser=browser)
                    cell.limit, cell.lead = 1.1, 2.0
                    out.append(cell)
        return out

    def warm(self, running: Running) -> None:
        """A second on both listeners."""
        for tls in (False, True):
            loads.keep_alive(self.bench.load, loads.url(running.port(tls), tls, "/1k"), 1, self.connections, True)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide CPU time by requests."""
        assert isinstance(cell, RequestCell)
        address = loads.url(running.port(cell.tls), cell.tls, cell.path)
        done: list[loads.Counted] = []
        cpu = self.cpu_of(
            running,
            lambda: done.append(loads.keep_alive(self.bench.load, address, self.bench.seconds, self.connections, cell.browser)),
        )
        return per(cpu, done[0].requests, 1e6, done[0].seconds)


class Logs(Requests):
    """The same with every contender writing an access log."""

    name = "logs"

    def cells(self) -> list[Cell]:
        """One size, plain and TLS."""
        return [
            RequestCell(
                self.name,
                f"{'TLS' if tls else 'plain'}, 1 KB, browser headers, access log on",
                "µs CPU/request",
                path="/1k",
                tls=tls,
                browser=True,
            )
            for tls in (False, True)
        ]

    def settings(self) -> dict[str, int | bool]:
        """Switch the access log on."""
        return {"log": True}


@dataclass
class BulkCell(Cell):
    """A cell that knows the body it is about."""

    tls: bool = False
    upload: bool = False


class Bulk(Suite):
    """CPU per gigabyte (10^9 bytes) of one body on one connection."""

    name = "bulk"

    def cells(self) -> list[Cell]:
        """Upload and download, plain and TLS towards the client; the upstream side is plain."""
        out: list[Cell] = []
        for tls in (False, True):
            for upload in (True, False):
                name = f"{'upload' if upload else 'download'}, {'TLS' if tls else 'plain'}"
                cell = BulkCell(self.name, name, "CPU s/GB", tls=tls, upload=upload)
                cell.limit = 1.0 if tls else 0.7
                out.append(cell)
        return out

    def start_origin(self) -> tuple[Process, int]:
        """The origin that swallows and pours."""
        return start_python_origin("bulk", self.bench.directory, self.bench.pins)

    def warm(self, running: Running) -> None:
        """A tenth of the length each way."""
        for upload in (True, False):
            loads.transfer(self.bench.load, running.plain, False, upload, self.bench.bulk_bytes // 10)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide CPU time by bytes."""
        assert isinstance(cell, BulkCell)
        length = self.bench.bulk_bytes
        took: list[float] = []
        cpu = self.cpu_of(
            running,
            lambda: took.append(loads.transfer(self.bench.load, running.port(cell.tls), cell.tls, cell.upload, length)),
        )
        return per(cpu, length, 1e9, took[0])


class Tls(Suite):
    """New TLS connections per CPU second: full handshakes, one small request each."""

    name = "tls"

    def cells(self) -> list[Cell]:
        """One cell."""
        return [Cell(self.name, "new TLS 1.3 connections, ECDSA P-256", "per CPU s", higher_is_better=True)]

    def warm(self, running: Running) -> None:
        """A few connections."""
        loads.handshakes(self.bench.load, loads.url(running.tls, True, "/12"), 50)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide connections by CPU time."""
        address = loads.url(running.tls, True, "/12")
        count = self.bench.handshake_count
        batch = min(count, 250)

        def open_all() -> None:
            for _ in range(count // batch):
                loads.handshakes(self.bench.load, address, batch)

        cpu = self.cpu_of(running, open_all)
        return Reading(count // batch * batch / cpu.total)


@dataclass
class IdleCell(Cell):
    """A cell that knows what stands idle."""

    tls: bool = False
    websocket: bool = False


class Idle(Suite):
    """Resident bytes per idle connection: a fresh contender, its memory before and with thousands of them."""

    name = "idle"
    most_rounds = 2

    def cells(self) -> list[Cell]:
        """Keep-alive connections plain and TLS, and WebSockets."""
        return [
            IdleCell(self.name, "keep-alive, plain", "bytes/connection"),
            IdleCell(self.name, "keep-alive, TLS", "bytes/connection", tls=True),
            IdleCell(self.name, "WebSocket, plain", "bytes/connection", websocket=True),
        ]

    def start_origin(self) -> tuple[Process, int]:
        """The origin that holds thousands of sockets."""
        return start_python_origin("idle", self.bench.directory, self.bench.pins)

    def run(self) -> None:
        """Like the other suites, but every figure has its own fresh contender."""
        bench = self.bench
        cells = self.cells()
        bench.cells += cells
        origin, port = self.start_origin()
        try:
            for index in range(self.rounds()):
                for cell in cells:
                    assert isinstance(cell, IdleCell)
                    bench.say(f"{self.name} round {index + 1}/{self.rounds()}: {cell.name}")
                    for contender in self.contenders():
                        cell.add(contender.name, self._fresh(cell, contender, port))
        finally:
            origin.stop()

    def count(self) -> int:
        """Return how many connections fit: a tunnel takes two descriptors of the contender."""
        return min(self.bench.idle_count, (nofile_limit() - 600) // 2)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide the growth of resident memory by connections."""
        assert isinstance(cell, IdleCell)
        port = running.port(cell.tls)
        # A first crowd that comes and goes: code, caches and the least pool sizes are then in memory.
        with loads.idle_connections(self.bench.load, port, cell.tls, False, 100):
            pass
        time.sleep(0.3)
        before = proc.resident(running.pid)
        with loads.idle_connections(self.bench.load, port, cell.tls, cell.websocket, self.count()):
            # Collectors and end-of-turn work get a moment.
            time.sleep(1.0)
            grown = proc.resident(running.pid) - before
        return Reading(grown / self.count())

    def _fresh(self, cell: IdleCell, contender: Contender, port: int) -> Reading | None:
        # Apache gives every tunnel a thread.
        threads = self.count() + 64 if cell.websocket else 128
        running = self.bench.start(contender, port, threads=threads)
        try:
            return self.figure(cell, running)
        finally:
            running.process.stop()


@dataclass
class LatencyCell(Cell):
    """A cell that knows which part of a fixed-rate run it shows."""

    tls: bool = False
    part: str = ""


class LatencySuite(Suite):
    """Answer times and CPU per request at a fixed rate far from saturation."""

    name = "latency"
    connections = 32

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._last: dict[tuple[str, bool], dict[str, Reading]] = {}

    def cells(self) -> list[Cell]:
        """Median, 99th percentile and CPU, plain and TLS."""
        out: list[Cell] = []
        for tls in (False, True):
            side = "TLS" if tls else "plain"
            for part, unit in (("p50", "µs"), ("p99", "µs"), ("CPU", "µs CPU/request")):
                name = f"{side}, 1 KB at {self.bench.rate}/s, {part}"
                out.append(LatencyCell(self.name, name, unit, tls=tls, part=part))
        return out

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Run once for the first part of a side; the other parts come from the same run."""
        assert isinstance(cell, LatencyCell)
        key = (running.name, cell.tls)
        if cell.part == "p50":
            self._last.pop(key, None)
            self._last[key] = self._run_once(running, cell.tls)
        if key not in self._last:
            raise BenchError("the run had failed")
        return self._last[key][cell.part]

    def _run_once(self, running: Running, tls: bool) -> dict[str, Reading]:
        address = loads.url(running.port(tls), tls, "/1k")
        seconds = self.bench.seconds
        done: list[loads.Latency] = []
        cpu = self.cpu_of(
            running,
            lambda: done.append(loads.fixed_rate(self.bench.load, address, self.bench.rate, seconds, self.connections)),
        )
        times = done[0]
        return {"p50": Reading(times.p50), "p99": Reading(times.p99), "CPU": per(cpu, times.requests, 1e6)}


@dataclass
class ScalingCell(Cell):
    """A cell that knows which part of the comparison of one and two workers it shows."""

    part: str = ""


class Scaling(Suite):
    """From one worker to two. Nothing is pinned here, and on two cores the load shares them."""

    name = "scaling"
    most_rounds = 3
    connections = 64

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._pairs: dict[str, tuple[Running, Running]] = {}
        self._last: dict[str, dict[str, Reading]] = {}
        # The load of this suite may use every core.
        self._load = replace(bench.load, pins=Pins())

    def cells(self) -> list[Cell]:
        """Throughput with one and two workers, CPU per request, and how evenly two workers share."""
        parts = (
            ("one worker", "requests/s", True),
            ("two workers", "requests/s", True),
            ("CPU, one worker", "µs CPU/request", False),
            ("CPU, two workers", "µs CPU/request", False),
            ("evenness: work of both ÷ work of the busier", "of 2", True),
        )
        return [ScalingCell(self.name, part, unit, better, part=part) for part, unit, better in parts]

    def run(self) -> None:
        """Start each contender twice, with one worker and with two, and measure the pair."""
        bench = self.bench
        cells = self.cells()
        bench.cells += cells
        with ExitStack() as stack:
            origin, port = start_file_origin(bench.directory, Pins())
            stack.callback(origin.stop)
            for contender in self.contenders():
                pair: list[Running] = []
                for workers in (1, 2):
                    site = Site(bench.directory, port, workers)
                    started = start_contender(contender, site, bench.directory / "tls", Pins())
                    stack.callback(started.process.stop)
                    pair.append(started)
                self._pairs[contender.name] = (pair[0], pair[1])
            for index in range(self.rounds()):
                bench.say(f"{self.name} round {index + 1}/{self.rounds()}")
                for cell in cells:
                    for contender in self.contenders():
                        cell.add(contender.name, self.figure(cell, self._pairs[contender.name][0]))

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Run the pair for the first part; the other parts come from the same run."""
        assert isinstance(cell, ScalingCell)
        if cell.part == "one worker":
            self._last.pop(running.name, None)
            self._last[running.name] = self._run_once(running.name)
        if running.name not in self._last:
            raise BenchError("the run had failed")
        parts = self._last[running.name]
        if cell.part not in parts:
            raise BenchError("its workers cannot be told apart from outside")
        return parts[cell.part]

    def _run_once(self, name: str) -> dict[str, Reading]:
        rates: list[float] = []
        costs: list[Reading] = []
        evenness: dict[str, float] = {}
        for running in self._pairs[name]:
            address = loads.url(running.plain, False, "/1k")
            before = proc.sample(running.pid)
            counted = loads.keep_alive(self._load, address, self.bench.seconds, self.connections, True, threads=2)
            cpu = proc.between(before, proc.sample(running.pid))
            rates.append(counted.requests / counted.seconds)
            costs.append(per(cpu, counted.requests, 1e6))
            evenness = {"process": 1 / cpu.busiest_process, "thread": 1 / cpu.busiest_thread}
        parts = {
            "one worker": Reading(rates[0]),
            "two workers": Reading(rates[1]),
            "CPU, one worker": costs[0],
            "CPU, two workers": costs[1],
        }
        worker_is = self._pairs[name][0].contender.worker_is
        if worker_is:
            parts["evenness: work of both ÷ work of the busier"] = Reading(evenness[worker_is])
        return parts


class Soak(Suite):
    """One very long upload: resident memory while it runs, and files opened for writing."""

    name = "soak"
    most_rounds = 1

    def cells(self) -> list[Cell]:
        """Memory, and files written."""
        length = self.bench.soak_bytes / 1e9
        out: list[Cell] = []
        for tls in (False, True):
            side = "TLS" if tls else "plain"
            name = f"{length:g} GB upload, {side}, spread of resident memory"
            out.append(BulkCell(self.name, name, "MB", tls=tls, ceiling=20.0))
        return out

    def start_origin(self) -> tuple[Process, int]:
        """The origin that swallows."""
        return start_python_origin("bulk", self.bench.directory, self.bench.pins)

    def contenders(self) -> list[Contender]:
        """Only the project's own where they are there: the promise is about them."""
        everyone = super().contenders()
        return [contender for contender in everyone if contender.name.startswith(SUBJECT)] or everyone

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Return highest less lowest memory in MB from the first seconds of the upload on; files written fail it."""
        assert isinstance(cell, BulkCell)
        # The pools and buffers of a transfer are in memory before the watch begins.
        loads.transfer(self.bench.load, running.port(cell.tls), cell.tls, True, 200_000_000)
        watch = _Watch(running.pid)
        written = proc.written(running.pid)
        watch.start()
        try:
            loads.transfer(self.bench.load, running.port(cell.tls), cell.tls, True, self.bench.soak_bytes)
        finally:
            watch.end()
        stored = proc.written(running.pid) - written
        largest = max(watch.files.values(), default=0)
        if max(stored, largest) > _STRAY_BYTES:
            raise BenchError(f"the upload was stored: {stored} bytes written; open files {watch.files}")
        return Reading((max(watch.levels) - min(watch.levels)) / 1e6, note="no file written")


class _Watch(threading.Thread):
    """Looks at a tree five times a second: its resident memory, and its files open for writing with their largest size."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._over = threading.Event()
        self.levels = [proc.resident(root)]
        self.files: dict[str, int] = {}

    def run(self) -> None:
        """Look until told to end."""
        while not self._over.wait(0.2):
            self.levels.append(proc.resident(self._root))
            for name, size in proc.open_files(self._root).items():
                self.files[name] = max(size, self.files.get(name, 0))

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()
