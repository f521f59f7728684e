"""An end of an HTTP/2 connection made of the `h2` package (RFC 9113), which is strict about what comes: a client's or a server's.

Facts: a thread for each connection moves bytes, so that the credit of one stream, a PING or SETTINGS
do not wait for a test to read. Windows open again only when a test reads a body; so a test that does
not read holds the other side back, as an end does that has stalled.
Rules: the thread alone touches the socket; everything else is under `changed`.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .message import TIMEOUT_S, Malformed

GOAWAY = 7
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTION_WINDOW = 15 << 20


class Frames(ABC):
    """The connection. Who derives from it takes its events."""

    def __init__(self, sock: socket.socket, *, is_client: bool) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.changed = threading.Condition()
        self.goaways: list[int] = []
        self.failure: Exception | None = None
        self.is_open = True
        self.has_settings = False
        self._out = bytearray()
        self._in = b""
        self._preface_left = 0 if is_client else len(PREFACE)
        self._end = ""
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=is_client, header_encoding=None, validate_outbound_headers=False)
        )
        self.begin()
        self._out += self.h2.data_to_send()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Say the first words. The window is that of browsers, so that a stream nobody reads yet does not hold up the others."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW)

    @abstractmethod
    def take(self, event: h2.events.Event) -> None:
        """Take an event of the codec, under `changed`."""

    def wait_for(self, condition: Callable[[], object], within_s: float = TIMEOUT_S) -> bool:
        """Wait until `condition` holds; False if it does not within the time. Raises what the connection failed of."""
        with self.changed:
            met = self.changed.wait_for(lambda: condition() or self.failure, within_s)
            if self.failure is not None:
                raise self.failure
            return bool(met)

    def push(self) -> None:
        """Have the thread send what the codec has to say. Call it under `changed`."""
        self._out += self.h2.data_to_send()
        with contextlib.suppress(OSError):
            self._woken.send(b"x")

    def leave(self, end: str) -> None:
        """End the connection: `close` after what is queued, or `reset`."""
        with self.changed:
            self._end = self._end or end
            with contextlib.suppress(OSError):
                self._woken.send(b"x")
        self._thread.join(TIMEOUT_S)

    def wait_for_end(self) -> None:
        """Wait until the connection is over. Raises what it failed of."""
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def window(self, stream_id: int) -> int:
        """Return how much may be sent on a stream now."""
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            return min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
        return 0

    def credit(self, count: int, stream_id: int) -> None:
        """Open the windows by so many bytes, that of a stream that is over excepted."""
        if count and self.is_open:
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self.h2.acknowledge_received_data(count, stream_id)

    # ---- the thread

    def _run(self) -> None:
        try:
            while self._move():
                pass
        except h2.exceptions.ProtocolError as error:
            self.failure = Malformed(repr(error))
        except OSError:
            pass  # the connection is lost, as the streams will see
        finally:
            if self._end == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.sock.close()
            with self.changed:
                self.is_open = False
                self._wake.close()
                self._woken.close()
                self.changed.notify_all()

    def _move(self) -> bool:
        """Wait for something to do and do it; False when it is over."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self.sock, select.POLLIN | (select.POLLOUT if self._out else 0))
        poll.poll(1000 * TIMEOUT_S)
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        with self.changed:
            if self._end != "reset":
                self._send()
            if self._end:
                return False
        return self._receive()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._out:
                del self._out[: self.sock.send(self._out)]

    def _receive(self) -> bool:
        while True:
            try:
                data = self.sock.recv(262_144)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            with self.changed:
                for event in self.h2.receive_data(self._without_goaway(data)):
                    self.has_settings = self.has_settings or isinstance(event, h2.events.RemoteSettingsChanged)
                    self.take(event)
                self.push()
                self.changed.notify_all()

    def _without_goaway(self, data: bytes) -> bytes:
        """Take GOAWAY out of what has come: the codec goes on no further after one, but the streams do (RFC 9113 6.8)."""
        kept = bytearray(data[: self._preface_left])
        self._in += data[self._preface_left :]
        self._preface_left -= len(kept)
        at = 0
        while len(self._in) >= at + 9:
            end = at + 9 + int.from_bytes(self._in[at : at + 3], "big")
            if len(self._in) < end:
                break
            if self._in[at + 3] == GOAWAY:
                self.goaways.append(struct.unpack(">L", self._in[at + 13 : at + 17])[0])
            else:
                kept += self._in[at:end]
            at = end
        self._in = self._in[at:]
        return bytes(kept)
