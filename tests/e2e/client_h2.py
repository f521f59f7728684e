"""An HTTP/2 client made of the `h2` package: what comes back is taken apart by frames.py."""

import contextlib
import socket
from collections.abc import Callable, Iterable

import h2.errors
import h2.events
import h2.exceptions

from .frames import Frames
from .message import TIMEOUT_S, Connection, Exchange, Field, Head, Truncated, Tunnel, remember, render


class FrameConnection(Frames, Connection):
    """One connection; its streams are exchanges that may go on at the same time, from several threads."""

    def __init__(self, sock: socket.socket, name: str, scheme: bytes) -> None:
        self.name = name
        self.scheme = scheme
        self.streams: dict[int, FrameExchange] = {}
        super().__init__(sock, is_client=True)
        remember(self)

    def close(self) -> None:
        self.leave("close")

    def reset(self) -> None:
        self.leave("reset")

    def is_closed(self, within_s: float = TIMEOUT_S) -> bool:
        return self.wait_for(lambda: not self.is_open, within_s)

    def wait_for_settings(self) -> None:
        """Wait until the peer has said what it can. It must offer tunnels (RFC 8441 3)."""
        assert self.wait_for(lambda: self.has_settings or not self.is_open)
        assert self.h2.remote_settings.enable_connect_protocol == 1

    def take(self, event: h2.events.Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        if isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
            stream.heads.append(_head_of(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self.h2.acknowledge_received_data(padding, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            stream.is_ended = True
        elif isinstance(event, h2.events.StreamReset) and event.remote_reset:
            stream.reset_code = int(event.error_code)


class FrameExchange(Exchange):
    """One request on a stream."""

    wire: FrameConnection

    def __init__(
        self, wire: FrameConnection, method: str, path: str, fields: list[Field], *, is_whole: bool, protocol: bytes = b""
    ) -> None:
        """Send the head. `fields` are those of HTTP/1, of which the first Host becomes `:authority` (RFC 9113 8.3.1)."""
        super().__init__(wire, method)
        self.heads: list[Head] = []
        self.body = bytearray()
        self.trailers: list[Field] = []
        self.is_ended = False
        self.reset_code = -1
        self._is_given_up = False
        at = next(at for at, (name, _) in enumerate(fields) if name.lower() == b"host")
        lowered = [(name.lower(), value) for name, value in fields[:at] + fields[at + 1 :]]
        pseudo = [
            (b":method", method.encode()),
            (b":scheme", wire.scheme),
            (b":authority", fields[at][1]),
            (b":path", path.encode("latin-1")),
        ]
        if protocol:
            pseudo.append((b":protocol", protocol))
        with wire.changed:
            if not wire.is_open:
                raise ConnectionResetError("the connection is closed")
            self.id = wire.h2.get_next_available_stream_id()
            wire.streams[self.id] = self
            wire.h2.send_headers(self.id, pseudo + lowered, end_stream=is_whole)
            wire.push()

    def send_body(self, data: bytes) -> None:
        wire = self.wire
        while data:
            if not wire.wait_for(lambda: self.is_unwanted() or wire.window(self.id) > 0):
                raise TimeoutError("no window was opened")
            with wire.changed:
                if self.is_unwanted():
                    return
                piece = data[: wire.window(self.id)]
                wire.h2.send_data(self.id, piece)
                wire.push()
            data = data[len(piece) :]

    def end_body(self, trailers: Iterable[Field] = ()) -> None:
        with self.wire.changed:
            if self.is_unwanted():
                return
            lowered = [(name.lower(), value) for name, value in trailers]
            if lowered:
                self.wire.h2.send_headers(self.id, lowered, end_stream=True)
            else:
                self.wire.h2.end_stream(self.id)
            self.wire.push()

    def read_head(self) -> Head:
        if not self._wait(lambda: self.heads):
            raise Truncated(b"")
        return self.heads.pop(0)

    def read_piece(self) -> bytes:
        self._wait(lambda: self.body)
        return self._take_body()

    def read_trailers(self) -> list[Field]:
        return self.trailers

    def abort(self) -> None:
        with self.wire.changed:
            if self.wire.is_open and self.reset_code < 0:
                self._is_given_up = True
                # Closed already: there is nothing to give up.
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    self.wire.h2.reset_stream(self.id, h2.errors.ErrorCodes.CANCEL)
                self._credit()
                self.wire.push()

    def is_dropped(self, within_s: float = TIMEOUT_S) -> bool:
        return self.wire.wait_for(self.is_unwanted, within_s)

    def is_unwanted(self) -> bool:
        """Whether nothing more can be sent."""
        return self.reset_code >= 0 or self._is_given_up or not self.wire.is_open

    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.is_ended or self.is_unwanted()

    def _wait(self, there: Callable[[], object]) -> bool:
        """Wait until something is there; False if the stream is over before."""
        if not self.wire.wait_for(lambda: there() or self.is_over()):
            raise TimeoutError("nothing came")
        return bool(there())

    def _take_body(self) -> bytes:
        with self.wire.changed:
            piece = bytes(self.body)
            if not piece and not self.is_ended:
                raise Truncated(b"")
            self._credit()
            self.wire.push()
        return piece

    def _credit(self) -> None:
        """Open the windows by what has been read, that of a stream that is over excepted."""
        self.wire.credit(len(self.body), self.id)
        self.body.clear()


class FrameTunnel(Tunnel):
    """A stream that has become a tunnel (RFC 8441 5)."""

    def __init__(self, exchange: FrameExchange) -> None:
        self.exchange = exchange
        self._got = b""

    def send(self, data: bytes) -> None:
        self.exchange.send_body(data)

    def read(self, size: int) -> bytes:
        while len(self._got) < size:
            piece = self.exchange.read_piece()
            if not piece:
                raise Truncated(self._got)
            self._got += piece
        data, self._got = self._got[:size], self._got[size:]
        return data

    def read_rest(self) -> bytes:
        return self._got + self.exchange.read_body()

    def finish(self) -> None:
        self.exchange.end_body()

    def close(self) -> None:
        """End the stream if it can be, then the connection."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.exchange.end_body()
        self.exchange.close()

    def reset(self) -> None:
        self.exchange.abort()

    def is_closed(self, within_s: float = TIMEOUT_S) -> bool:
        return self.exchange.wire.wait_for(self.exchange.is_over, within_s) and not self.exchange.body

    def is_silent(self, for_s: float) -> bool:
        return not self.exchange.wire.wait_for(lambda: self.exchange.is_over() or self.exchange.body, for_s)


def _head_of(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return a head; the codec has made sure that `:status` comes first and alone (RFC 9113 8.3.2)."""
    (_, status), *rest = [(bytes(name), bytes(value)) for name, value in fields]
    return Head(int(status), b"", rest, b"HTTP/2 " + status + b"\r\n" + render(rest))
