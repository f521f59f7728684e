"""The rigs of the HTTP/2 streams: a client's, and one to an upstream. The far end counts windows as its kind does."""

from vestibule.contract import DOWN, UP
from vestibule.fault import CLIENT_GONE, UPSTREAM_TRUNCATED, Fault
from vestibule.http.fields import fields_of
from vestibule.http.h2_frames import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame_header,
    window_frame,
)
from vestibule.http.head import ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import Tally

from .pair import Far
from .rigs_h1 import SpySource, dial, listen
from .stream import Rig, Spy


class H2Rig(Rig):
    """What both sides share: frames of one stream at the far end."""

    far: Far
    reactor: Reactor

    def __init__(self, greeted: bool) -> None:
        self._heard = bytearray()
        self._buffer = bytearray()
        self._greeted = greeted  # the preface came, or none does
        self._asked = False  # a head came
        self._ended = False
        self._reset = False
        self._window = 65_535  # of the stream; the connection's is larger
        self._waiting = bytearray()
        self._says_end = False

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(1)
            self.far.work()
            self._read()
            self._go_on()

    def _read(self) -> None:
        self._buffer += self.far.got
        self.far.got.clear()
        if not self._greeted:
            if len(self._buffer) < len(PREFACE):
                return
            assert self._buffer.startswith(PREFACE)
            del self._buffer[: len(PREFACE)]
            self._greeted = True
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big")
            payload = bytes(self._buffer[9 : 9 + length])
            del self._buffer[: 9 + length]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                if payload[at + 1] == 4:
                    self._window = int.from_bytes(payload[at + 2 : at + 6], "big")
        elif kind == HEADERS:
            self._asked = True
        elif kind == DATA:
            self._heard += payload
            if payload:
                self.far.send(window_frame(0, len(payload)) + window_frame(1, len(payload)))
            self._ended = self._ended or flags & END_STREAM != 0
        elif kind == RST_STREAM:
            self._reset = True
        elif kind == WINDOW_UPDATE and stream == 1:
            self._window += int.from_bytes(payload, "big")

    def _go_on(self) -> None:
        """Send what the window allows."""
        while self._waiting and self._window > 0 and not self._reset:
            size = min(len(self._waiting), self._window, 16_384)
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._window -= size
            ends = self._says_end and not self._waiting
            self.far.send(frame_header(size, DATA, END_STREAM if ends else 0, 1) + piece)

    def heard(self) -> bytes:
        return bytes(self._heard)

    def state(self) -> str:
        if self._ended:
            return "whole"
        return "cut" if self._reset or self.far.ended or self.far.broken else "open"

    def say(self, data: bytes, end: bool) -> None:
        self._waiting += data
        self._says_end = end
        self._go_on()

    def stall(self, stalled: bool) -> None:
        self.far.reads = not stalled

    def leave(self) -> None:
        self.far.reset()


class H2UpRig(H2Rig):
    """The connection to an upstream is under test; the spy is the client."""

    def __init__(self) -> None:
        super().__init__(greeted=False)
        self.side = UP
        self.spy = Spy()
        self.reactor = Reactor()
        self.ex, self.pool, self.far = dial(self.reactor, self.spy, h2=True)
        self.far.send(frame_header(0, SETTINGS, 0, 0) + frame_header(0, SETTINGS, ACK, 0))
        self.until(lambda: self.ex.up is not None and self._asked)
        assert self.ex.up is not None
        self.stream = self.ex.up
        self.far.send(frame_header(1, HEADERS, 4, 1) + b"\x88")
        self.until(lambda: "head" in self.spy.calls)

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_request_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(DOWN, Fault(CLIENT_GONE))

    def close(self) -> None:
        self.far.close()
        for _ in range(3):
            self.reactor.turn(1)
        assert self.pool.connections == 0
        self.reactor.close()


class H2DownRig(H2Rig):
    """The client's connection is under test; the spy is its upstream."""

    most = 1_048_576 + 131_072  # the window, which is larger towards clients, and a read

    def __init__(self) -> None:
        super().__init__(greeted=True)
        self.side = DOWN
        self.spy = Spy()
        self.reactor = Reactor()
        self.source = SpySource(self.spy)
        self.tally = Tally()
        self.listener, self.far = listen(self.reactor, self.source, self.tally, False)
        asks = b"\x83\x86\x84\x41\x01a"  # POST, http, / and the authority `a`
        self.far.send(PREFACE + frame_header(0, SETTINGS, 0, 0) + frame_header(len(asks), HEADERS, 4, 1) + asks)
        self.until(lambda: self.source.ex is not None)
        self.far.send(frame_header(0, SETTINGS, ACK, 0))
        assert self.source.ex is not None
        self.ex = self.source.ex
        assert self.ex.down is not None
        self.stream = self.ex.down
        self.ex.on_response(ResponseHead(200, b"OK", fields_of([])), False)
        self.until(lambda: self._asked)

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_response_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(UP, Fault(UPSTREAM_TRUNCATED))

    def close(self) -> None:
        self.far.close()
        self.listener.stop()
        for _ in range(3):
            self.reactor.turn(1)
        assert self.tally.connections == 0 and self.tally.exchanges == 0
        self.reactor.close()
        self.source.ex = None


def up_h2() -> Rig:
    return H2UpRig()


def down_h2() -> Rig:
    return H2DownRig()
