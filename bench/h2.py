"""The suite `h2`: what HTTP/2 towards clients costs, over TLS as browsers speak it; towards the upstream it stays HTTP/1.1.

Facts. The other suites offer HTTP/1.1 alone; here every contender offers HTTP/2 as well, and the clients ask for nothing else.

Rules. With 1, 10 and 100 streams a connection there are 16, 4 and 1 connections: what differs is how much one read or write can
carry, while connections are few enough for their handshakes not to show.

Not here: HTTP/1 (`suites.py`), the load itself (`load.py`, `client_h2.py`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import load as loads
from bench import proc
from bench.peer import Contender, Process, Running, start_python_origin
from bench.stats import Cell, Reading
from bench.suites import Bench, Suite, per

#: Streams on each connection, and how many connections.
_SHAPES = ((1, 16), (10, 4), (100, 1))
#: Whose streams do not all reach the upstream at once, and why.
_HELD_BACK = {"apache2": "it works on some six streams of a connection at a time"}
#: Open streams on each connection: as many as HAProxy and Apache allow, and fewer than the others do.
_OPEN_STREAMS = 100
_MOST_HELD = 2000


@dataclass
class StreamsCell(Cell):
    """A cell that knows the load it is about."""

    path: str = "/1k"
    size: int = 1024
    each: int = 1
    connections: int = 1
    browser: bool = False


@dataclass
class BodyCell(Cell):
    """A cell that knows which way its body goes."""

    upload: bool = False


@dataclass
class HeldCell(Cell):
    """A cell that knows how many requests stay unanswered on each connection."""

    each: int = 0


class _Part(Suite):
    """A part of the suite: it runs on contenders that offer HTTP/2."""

    name = "h2"
    most_rounds = 3

    def settings(self) -> dict[str, int | bool]:
        """Switch HTTP/2 on."""
        return {"http2": True}

    def contenders(self) -> list[Contender]:
        """Leave out who failed the check."""
        return [one for one in super().contenders() if one.name not in self.bench.without_http2]


class _Streams(_Part):
    """CPU per request at 1, 10 and 100 streams on a connection."""

    def cells(self) -> list[Cell]:
        """Three sizes with each number of streams, and once more as a gallery asks."""
        asked = [(each, connections, path, words, size, False) for each, connections in _SHAPES for path, words, size in self.bench.sizes]
        # A hundred thumbnails with a browser's fields, which are all in the table after the first.
        asked.append((*_SHAPES[-1], *self.bench.sizes[-1], True))
        out: list[Cell] = []
        for each, connections, path, words, size, browser in asked:
            name = f"{each} {'stream' if each == 1 else 'streams'} × {connections}, {words}{', browser headers' if browser else ''}"
            cell = StreamsCell(self.name, name, "µs CPU/request", limit=1.2, path=path, size=size, browser=browser)
            cell.each, cell.connections = each, connections
            out.append(cell)
        return out

    def warm(self, running: Running) -> None:
        """Half a second."""
        loads.streams(self.bench.load, loads.url(running.tls, True, "/1k"), 0.5, 4, 10, False, 1024)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide CPU time by requests."""
        assert isinstance(cell, StreamsCell)
        address = loads.url(running.tls, True, cell.path)
        # Shorter than elsewhere, since the cells are many.
        seconds = self.bench.seconds / 2
        done: list[loads.Counted] = []
        cpu = self.cpu_of(
            running,
            lambda: done.append(loads.streams(self.bench.load, address, seconds, cell.connections, cell.each, cell.browser, cell.size)),
        )
        return per(cpu, done[0].requests, 1e6, done[0].seconds)


class _Bodies(_Part):
    """CPU per gigabyte (10^9 bytes) of one body on one stream."""

    def cells(self) -> list[Cell]:
        """Upload and download."""
        out: list[Cell] = []
        for upload in (True, False):
            cell = BodyCell(self.name, "upload" if upload else "download", "CPU s/GB", upload=upload)
            cell.limit = 1.0
            out.append(cell)
        return out

    def start_origin(self) -> tuple[Process, int]:
        """The origin that swallows and pours."""
        return start_python_origin("bulk", self.bench.directory, self.bench.pins)

    def warm(self, running: Running) -> None:
        """A tenth of the length each way."""
        for upload in (True, False):
            loads.transfer_http2(self.bench.load, running.tls, upload, self.bench.bulk_bytes // 10)

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide CPU time by bytes."""
        assert isinstance(cell, BodyCell)
        length = self.bench.bulk_bytes
        took: list[float] = []
        cpu = self.cpu_of(
            running,
            lambda: took.append(loads.transfer_http2(self.bench.load, running.tls, cell.upload, length)),
        )
        return per(cpu, length, 1e9, took[0])


class _Held(_Part):
    """Resident bytes per idle connection, and per open stream whose upstream does not answer yet; each from a fresh contender."""

    most_rounds = 1

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._upstream = 0

    def cells(self) -> list[Cell]:
        """One cell for each."""
        return [
            HeldCell(self.name, "idle connection", "bytes/connection"),
            HeldCell(self.name, f"open stream, {_OPEN_STREAMS} × {self.count() // _OPEN_STREAMS}", "bytes/stream", each=_OPEN_STREAMS),
        ]

    def run(self) -> None:
        """Fill the cells, every figure from a contender of its own."""
        bench = self.bench
        cells = self.cells()
        bench.cells += cells
        origin, self._upstream = start_python_origin("idle", bench.directory, bench.pins)
        try:
            for index in range(self.rounds()):
                for cell in cells:
                    bench.say(f"{self.name} round {index + 1}/{self.rounds()}: {cell.name}")
                    for contender in self.contenders():
                        cell.add(contender.name, self._fresh(cell, contender))
        finally:
            origin.stop()

    def count(self) -> int:
        """Return how many connections or streams are held, a multiple of the streams on one connection."""
        return max(_OPEN_STREAMS, min(self.bench.idle_count, _MOST_HELD) // _OPEN_STREAMS * _OPEN_STREAMS)

    def _fresh(self, cell: Cell, contender: Contender) -> Reading | None:
        assert isinstance(cell, HeldCell)
        if cell.each and contender.name in _HELD_BACK:
            self.bench.missing.append(f"{self.name}, {cell.name}, {contender.name}: {_HELD_BACK[contender.name]}")
            return None
        running = self.bench.start(contender, self._upstream, http2=True)
        try:
            return self.figure(cell, running)
        finally:
            running.process.stop()

    def measure(self, cell: Cell, running: Running) -> Reading:
        """Divide the growth of resident memory by what is held."""
        assert isinstance(cell, HeldCell)
        load, count = self.bench.load, self.count()
        connections = count // cell.each if cell.each else count
        # A first crowd that comes and goes: code, caches and the least pool sizes are then in memory. It is small before
        # streams are measured, for what a connection leaves free would hold many streams.
        with loads.idle_http2(load, running.tls, 2 if cell.each else 20, 0):
            pass
        time.sleep(0.3)
        before = proc.resident(running.pid)
        with loads.idle_http2(load, running.tls, connections, cell.each):
            if cell.each:
                loads.await_waiting(self._upstream, count)
                time.sleep(0.5)
            else:
                time.sleep(self.bench.settle_seconds)
            return Reading((proc.resident(running.pid) - before) / count)


#: In the order they run.
PARTS: tuple[type[Suite], ...] = (_Streams, _Bodies, _Held)


class H2(Suite):
    """All of the above under one name."""

    name = "h2"

    def run(self) -> None:
        """Run one part after the other, so that each has its origin."""
        for part in PARTS:
            part(self.bench).run()
