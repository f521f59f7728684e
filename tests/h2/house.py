"""A proxy in this process: one reactor, an upstream on a socket that the test plays, clients that speak raw frames.

Facts: everything runs in one thread. Whoever waits for something turns the reactor until it is there,
so nothing depends on timing and every wait is bounded.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable

import hpack

from vestibule.contract import Client, Plan, Timeouts
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame_header,
)
from vestibule.net.reactor import Reactor
from vestibule.net.transport import PlainTransport, Transport
from vestibule.proxy.door import Door, Porch, Tally, response_table
from vestibule.proxy.down_h2 import H2DownConnection
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.relays import BodyRelays
from vestibule.proxy.upstream import Server, Upstream

WAIT_S = 5.0
BODY = b"hello, world"

Pairs = list[tuple[bytes, bytes]]
Frame = tuple[int, int, int, bytes]

GET: Pairs = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.example")]
POST: Pairs = [(b":method", b"POST"), *GET[1:]]
WEBSOCKET: Pairs = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"sec-websocket-version", b"13")]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_header(len(payload), kind, flags, stream) + payload


def number(value: int) -> bytes:
    return struct.pack(">L", value)


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HL", key, value)


def code_of(row: Frame) -> int:
    """Return the error code of RST_STREAM or GOAWAY."""
    at = 4 if row[0] == GOAWAY else 0
    return int(struct.unpack(">L", row[3][at : at + 4])[0])


class House:
    """The proxy, its upstream and the time."""

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        limits: HeadLimits | None = None,
        answers: bool = True,
        requests_most: int = -1,
        h2: bool = False,
    ) -> None:
        self.reactor = Reactor()
        self.answers = answers  # the upstream answers by itself once it has a whole request
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.calls: list[Call] = []
        target = Target("127.0.0.1", self.listener.getsockname()[1], "", None, "", h2=h2)
        self.pool = Pool(self.reactor, target, AddressBook(), PoolLimits(), HeadLimits(), response_table())
        self.plan = Plan("test", Upstream("origin", [Server(self.pool)]), timeouts=timeouts)
        self.tally = Tally()
        self.relays = BodyRelays()
        door = Door("test", self.plan, limits or HeadLimits(), timeouts or Timeouts(), None, True, requests_most)
        self.porch = Porch(self.reactor, door, self.relays, self.tally)
        self.wires: list[Wire] = []
        self.front: socket.socket | None = None
        self.port = 0

    def connect(self, greet: bool = True, settings: bytes = b"") -> "Wire":
        """Return a client with a fresh connection."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        connection, transport = self._take_in(ours)
        wire = Wire(self, theirs, connection, transport)
        self.wires.append(wire)
        if greet:
            wire.send(PREFACE + frame(SETTINGS, 0, 0, settings))
            wire.wait_for(SETTINGS, flags=ACK)
            wire.wait_for(WINDOW_UPDATE, 0)
            wire.send(frame(SETTINGS, ACK, 0))
        return wire

    def listen(self) -> None:
        """Take clients that are programs of their own, on `port`."""
        self.front = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.front.setblocking(False)
        self.port = self.front.getsockname()[1]

    def _take_in(self, sock: socket.socket) -> tuple[H2DownConnection, PlainTransport]:
        sock.setblocking(False)
        transport = PlainTransport(self.reactor, sock, None)
        connection = H2DownConnection(self.porch, transport, Client(b"127.0.0.1", 1, b"127.0.0.1", 2, b"http"))
        transport.owner = connection
        transport.start()
        return connection, transport

    def turn(self, wait_ms: int = 2) -> None:
        """Let the proxy and its upstream do what there is to do."""
        if self.front is not None:
            with contextlib.suppress(BlockingIOError):
                self._take_in(self.front.accept()[0])
        self.reactor.turn(wait_ms)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                self.calls.append(Call(self, sock))
        for call in self.calls:
            call.read()
            if self.answers:
                while call.take_whole():
                    call.answer()

    def until(self, condition: Callable[[], object], what: str = "", seconds: float = WAIT_S) -> None:
        """Turn until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            self.turn()

    def settle(self, turns: int = 20) -> None:
        """Turn a few times, to see that nothing happens."""
        for _ in range(turns):
            self.turn(1)

    def call(self, at: int = 0) -> "Call":
        """Return the `at`-th connection to the upstream, with the head of a request on it."""
        self.until(lambda: len(self.calls) > at and b"\r\n\r\n" in self.calls[at].got, "a request at the upstream")
        return self.calls[at]

    def close(self) -> None:
        for wire in self.wires:
            wire.sock.close()
        for call in self.calls:
            call.sock.close()
        self.listener.close()
        if self.front is not None:
            self.front.close()
        for _ in range(3):
            self.reactor.turn(1)
        for pollable in self.reactor.pollables():
            if isinstance(pollable, Transport):
                pollable.abort()
            else:
                self.reactor.doom(pollable)  # a connection that was being made
        self.reactor.settle()
        self.relays.close()
        self.reactor.close()


class Call:
    """One connection to the upstream, as the upstream sees it."""

    def __init__(self, house: House, sock: socket.socket) -> None:
        self.house = house
        self.sock = sock
        self.got = b""
        self.requests: list[bytes] = []
        self.closed = False
        self.reading = True

    def read(self) -> None:
        """Take what has come, unless told not to read."""
        try:
            while self.reading and not self.closed:
                data = self.sock.recv(262_144)
                if not data:
                    self.closed = True
                self.got += data
        except BlockingIOError:
            return
        except OSError:
            self.closed = True

    def take_whole(self) -> bool:
        """Move one whole request from what has come to `requests`; return whether there was one."""
        head, mark, rest = self.got.partition(b"\r\n\r\n")
        if not mark:
            return False
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            end = rest.find(b"0\r\n\r\n")
            if end < 0:
                return False
            size = end + 5
        else:
            size = int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0") if b"content-length: " in lower else 0
            if len(rest) < size:
                return False
        self.requests.append(head + mark + rest[:size])
        self.got = rest[size:]
        return True

    def answer(self, body: bytes = BODY, status: bytes = b"200 OK", extra: bytes = b"") -> None:
        self.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body))

    def send(self, data: bytes) -> None:
        """Send all of it; the proxy is turned while it does not fit."""
        end = time.monotonic() + WAIT_S
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                assert time.monotonic() < end
                self.house.reactor.turn(2)

    def push(self, data: bytes) -> int:
        """Send what fits and return how much that was."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self.closed = True
        self.sock.close()
        self.house.calls.remove(self)


class Wire:
    """A client that says exactly what it is told."""

    def __init__(self, house: House, sock: socket.socket, connection: H2DownConnection, transport: PlainTransport) -> None:
        self.house = house
        self.sock = sock
        self.connection = connection
        self.transport = transport
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.frames: list[Frame] = []  # read and not yet asked for
        self.closed = False
        self.reading = True
        self._buffer = b""

    # Saying.

    def send(self, data: bytes) -> None:
        end = time.monotonic() + WAIT_S
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                assert time.monotonic() < end, "the proxy does not read"
                self.house.turn()
            except OSError:
                return  # closed by the proxy: what it said is still to be read

    def headers(self, stream: int, pairs: Pairs, end: bool = True) -> bytes:
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, bytes(self.encoder.encode(pairs)))

    def request(self, stream: int, pairs: Pairs = GET, end: bool = True) -> None:
        self.send(self.headers(stream, pairs, end))

    # Hearing.

    def _read(self) -> None:
        try:
            while self.reading and not self.closed:
                data = self.sock.recv(262_144)
                if not data:
                    self.closed = True
                self._buffer += data
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        while len(self._buffer) >= 9:
            size = self._buffer[0] << 16 | self._buffer[1] << 8 | self._buffer[2]
            if len(self._buffer) < 9 + size:
                break
            head = self._buffer
            self.frames.append((head[3], head[4], struct.unpack(">L", head[5:9])[0], head[9 : 9 + size]))
            self._buffer = self._buffer[9 + size :]

    def has(self, kind: int, stream: int) -> bool:
        """Tell whether a frame of this type and stream has come that was not asked for yet. The house is not turned."""
        self._read()
        return any(row[0] == kind and row[2] == stream for row in self.frames)

    def next_frame(self) -> Frame | None:
        """Return the next frame, or None when the connection is closed."""
        end = time.monotonic() + WAIT_S
        while not self.frames:
            self._read()
            if self.frames:
                break
            if self.closed:
                return None
            assert time.monotonic() < end, "no frame came"
            self.house.turn()
        return self.frames.pop(0)

    def wait_for(self, kind: int, stream: int = -1, flags: int = -1) -> Frame:
        """Return the next frame of this type (and stream, and flags); others are dropped, but none that ends things."""
        while True:
            row = self.next_frame()
            assert row is not None, "closed"
            if row[0] == kind and stream in (-1, row[2]) and flags in (-1, row[1]):
                return row
            assert row[0] not in (GOAWAY, RST_STREAM), f"unexpected end: {row}"
            if row[0] == HEADERS:
                self.decoder.decode(row[3])

    def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Return the head and the body of the answer on this stream; credit is given as it comes."""
        head: dict[str, str] = {}
        body = b""
        while True:
            row = self.next_frame()
            assert row is not None, "closed"
            assert row[0] != GOAWAY, row
            if row[0] == HEADERS:
                pairs = self.decoder.decode(row[3])
                if row[2] == stream and not head and dict(pairs)[":status"][0] != "1":
                    head = dict(pairs)
            if row[0] == RST_STREAM and row[2] == stream:
                raise AssertionError(f"reset: {code_of(row)}")
            if row[0] == DATA:
                if row[3]:
                    self.send(frame(WINDOW_UPDATE, 0, 0, number(len(row[3]))))
                    if not row[1] & END_STREAM:
                        self.send(frame(WINDOW_UPDATE, 0, row[2], number(len(row[3]))))
                if row[2] == stream:
                    body += row[3]
            if row[2] == stream and row[0] in (HEADERS, DATA) and row[1] & END_STREAM:
                return head, body

    # What must be so.

    def is_alive(self) -> bool:
        """Tell whether the connection still answers."""
        self.send(frame(PING, 0, 0, b"alive???"))
        while True:
            row = self.next_frame()
            if row is None or row[0] == GOAWAY:
                return False
            if row[0] == HEADERS:
                self.decoder.decode(row[3])
            if row[0] == PING and row[1] & ACK:
                return row[3] == b"alive???"

    def dies_of(self, *codes: int) -> bool:
        """Tell whether GOAWAY with one of these codes comes, and then the end of the connection."""
        while True:
            row = self.next_frame()
            assert row is not None, "closed without a word"
            if row[0] == GOAWAY:
                assert code_of(row) in codes, row
                break
        while self.next_frame() is not None:
            pass
        return True

    def wait_for_reset(self, stream: int) -> Frame:
        """Return the reset of a stream; frames before it are dropped, but none that ends the connection."""
        while True:
            row = self.next_frame()
            assert row is not None and row[0] != GOAWAY, row
            if row[0] == RST_STREAM and row[2] == stream:
                return row

    def wait_for_goaway(self) -> Frame:
        """Return the next GOAWAY; frames before it are dropped."""
        while True:
            row = self.next_frame()
            assert row is not None, "closed without a word"
            if row[0] == GOAWAY:
                return row

    def loses(self, stream: int, *codes: int) -> bool:
        """Tell whether the stream is reset with one of these codes and the connection lives on."""
        while True:
            row = self.next_frame()
            assert row is not None, "closed"
            assert row[0] != GOAWAY, row
            if row[0] == HEADERS:
                self.decoder.decode(row[3])
            if row[0] == RST_STREAM:
                assert row[2] == stream, row
                assert code_of(row) in codes, row
                return self.is_alive()

    def close(self) -> None:
        self.closed = True
        self.sock.close()
