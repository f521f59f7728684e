"""An upstream that speaks HTTP/2, made of the `h2` package, played by the test behind a house.

Facts: the house turns everything in one thread; a `Far` is the upstream side of one connection.
"""

import contextlib
import socket
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from vestibule.proxy.rules import ON_LOST
from vestibule.proxy.upstream import Upstream

from .house import WAIT_S, House

Pairs = list[tuple[bytes, bytes]]


class Far:
    """One connection to the upstream."""

    def __init__(self, sock: socket.socket, streams: int = 100, window: int = 65_535, tunnels: bool = False) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        codes = h2.settings.SettingCodes
        values = {codes.INITIAL_WINDOW_SIZE: window, codes.MAX_CONCURRENT_STREAMS: streams}
        if tunnels:
            values[codes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self.h2.initiate_connection()
        self.heads: dict[int, Pairs] = {}
        self.bodies: dict[int, bytearray] = {}
        self.trailers: dict[int, Pairs] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.most_at_once = 0
        self.closed = False
        self.reads = True
        self.credits = True
        self.pings = 0
        self._queue = b""
        self._waiting: dict[int, tuple[bytes, bool]] = {}
        self._answered: set[int] = set()

    def work(self) -> None:
        """Read what came, write what fits."""
        with contextlib.suppress(BlockingIOError):
            while self.reads and not self.closed:
                data = self.sock.recv(262_144)
                if not data:
                    self.closed = True
                    break
                for event in self.h2.receive_data(data):
                    self._take(event)
        for stream, (data, end) in list(self._waiting.items()):
            self._send(stream, data, end)
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.heads[event.stream_id] = list(event.headers)
            self.bodies[event.stream_id] = bytearray()
            self.most_at_once = max(self.most_at_once, len(self.heads) - len(self._answered))
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            if self.credits and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.closed = True

    def flush(self) -> None:
        """Write what fits."""
        self._queue += self.h2.data_to_send()
        if self._queue:
            try:
                self._queue = self._queue[self.sock.send(self._queue) :]
            except BlockingIOError:
                return
            except OSError:
                self.closed = True

    def head(self, stream: int, *more: tuple[bytes, bytes], status: bytes = b"200", end: bool = False) -> None:
        """Send a head."""
        self.h2.send_headers(stream, [(b":status", status), *more], end_stream=end)
        if end:
            self._answered.add(stream)

    def body(self, stream: int, data: bytes, end: bool) -> None:
        """Send body bytes, as the windows allow."""
        before = self._waiting.pop(stream, (b"", False))[0]
        self._send(stream, before + data, end)

    def _send(self, stream: int, data: bytes, end: bool) -> None:
        self._waiting.pop(stream, None)
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            while data:
                size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
                if size <= 0:
                    self._waiting[stream] = (data, end)
                    return
                piece, data = data[:size], data[size:]
                self.h2.send_data(stream, piece, end_stream=end and not data)
                if end and not data:
                    self._answered.add(stream)
                    return
            if end:
                self.h2.send_data(stream, b"", end_stream=True)
                self._answered.add(stream)

    def answer(self, stream: int, data: bytes = b"hello, world") -> None:
        """Send a whole answer."""
        self.head(stream, (b"content-length", b"%d" % len(data)))
        self.body(stream, data, True)

    def reset(self, stream: int, code: int) -> None:
        """Break a stream off."""
        self.h2.reset_stream(stream, code)


class Fars:
    """The connections to the upstream of a house that speaks HTTP/2."""

    def __init__(self, house: House, streams: int = 100, window: int = 65_535, tunnels: bool = False) -> None:
        source = house.plan.source
        assert isinstance(source, Upstream)
        source.rules.on |= ON_LOST
        self.house = house
        self.fars: list[Far] = []
        self._streams = streams
        self._window = window
        self._tunnels = tunnels
        self.silent = False  # connections are taken, and nothing is said or read
        self._listener = house.listener
        # The house takes connections as HTTP/1; it gets a door of its own where nobody knocks.
        house.listener = socket.create_server(("127.0.0.1", 0))
        house.listener.setblocking(False)

    def turn(self) -> None:
        self.house.turn(1)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.fars.append(Far(self._listener.accept()[0], self._streams, self._window, self._tunnels))
        for far in self.fars if not self.silent else ():
            far.work()

    def until(self, happened, what: str) -> None:  # type: ignore[no-untyped-def]
        """Turn until it has happened."""
        end = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < end, f"not within {WAIT_S} s: {what}"
            self.turn()

    def settle(self, turns: int = 15) -> None:
        """Turn a few times, to see that nothing happens."""
        for _ in range(turns):
            self.turn()

    def request(self, count: int = 1, at: int = 0) -> Far:
        """Return the `at`-th connection once it has so many requests."""
        self.until(lambda: len(self.fars) > at and len(self.fars[at].heads) >= count, f"{count} requests at connection {at}")
        return self.fars[at]

    def close(self) -> None:
        for far in self.fars:
            far.sock.close()
        self._listener.close()
