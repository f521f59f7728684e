"""An HTTP/1 client that says exactly what it is told and reads strictly what comes back.

Facts: `Wire` is the connection, for tests about bytes; `LineExchange` is one request on it (RFC 9112).
"""

import socket
import ssl
from collections.abc import Callable, Iterable

from .message import TIMEOUT_S, Connection, Exchange, Field, Head, Malformed, Response, Truncated, Tunnel, remember, render


class Wire(Connection, Tunnel):
    """One connection, plain or TLS: bytes out, messages in. After 101 it is the tunnel itself."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock
        self.buffer = b""
        remember(self)

    def __enter__(self) -> "Wire":
        return self

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.sock.sendall(data)

    def finish(self) -> None:
        """Say that no more will be sent, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close without ceremony."""
        self.sock.close()

    def reset(self) -> None:
        """Close with RST, as a phone does that lost its network."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def fill(self) -> bool:
        """Read once; False at the end of the stream. A reset counts as an end."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return False
        self.buffer += data
        return bool(data)

    def is_closed(self, within_s: float = TIMEOUT_S) -> bool:
        """Say whether the peer closes without sending anything more, waiting up to `within_s`."""
        self.sock.settimeout(within_s)
        try:
            return not self.buffer and not self.fill()
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(TIMEOUT_S)

    def is_silent(self, for_s: float) -> bool:
        """Say whether nothing at all happens for `for_s`."""
        self.sock.settimeout(for_s)
        try:
            self.fill()
            return False
        except TimeoutError:
            return not self.buffer
        finally:
            self.sock.settimeout(TIMEOUT_S)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises Truncated."""
        while len(self.buffer) < size:
            if not self.fill():
                raise Truncated(self.buffer)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_line(self) -> bytes:
        """Return one line without its CRLF. Raises Truncated."""
        while b"\r\n" not in self.buffer:
            if not self.fill():
                raise Truncated(self.buffer)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def read_rest(self) -> bytes:
        """Return everything up to the end of the stream."""
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def read_head(self) -> Head:
        """Return the next response head, interim or final (RFC 9112 4)."""
        lines = [self.read_line()]
        fields = []
        while line := self.read_line():
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip() or b"\n" in line:
                raise Malformed(f"a field of the answer is {line!r}")
            fields.append((name, value.strip(b" \t")))
            lines.append(line)
        version, _, rest = lines[0].partition(b" ")
        status, _, reason = rest.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(status) != 3 or not status.isdigit():
            raise Malformed(f"the status line is {lines[0]!r}")
        return Head(int(status), reason, fields, b"\r\n".join(lines))

    def read_chunk(self, sofar: bytes = b"") -> bytes:
        """Return the data of the next chunk, empty for the last one (RFC 9112 7.1)."""
        try:
            size = int(self.read_line().partition(b";")[0], 16)
            data = self.read(size)
            if size and self.read_line():
                raise Malformed("a chunk does not end with CRLF")
        except Truncated as cut:
            raise Truncated(sofar + cut.got) from cut
        return data

    def read_response(self, method: str = "GET") -> Response:
        """Return the next final response with the interim heads before it."""
        return LineExchange(self, method).read_response()


class LineExchange(Exchange):
    """One request on an HTTP/1 connection."""

    wire: Wire

    def __init__(self, wire: Wire, method: str, is_chunked: bool = False) -> None:
        super().__init__(wire, method)
        self.is_chunked = is_chunked
        self._trailers: list[Field] = []
        self._left = 0
        self._read: Callable[[], bytes] = self._read_nothing

    def send_body(self, data: bytes) -> None:
        self.wire.send(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def end_body(self, trailers: Iterable[Field] = ()) -> None:
        if self.is_chunked:
            self.wire.send(b"0\r\n" + render(trailers) + b"\r\n")

    def read_head(self) -> Head:
        head = self.wire.read_head()
        self._read = self._reader_of(head)
        return head

    def read_piece(self) -> bytes:
        return self._read()

    def read_trailers(self) -> list[Field]:
        return self._trailers

    def abort(self) -> None:
        self.wire.reset()

    def is_dropped(self, within_s: float = TIMEOUT_S) -> bool:
        return self.wire.is_closed(within_s)

    def _reader_of(self, head: Head) -> Callable[[], bytes]:
        """Return what reads the body that belongs to a head (RFC 9112 6.3)."""
        if self.method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return self._read_nothing
        coding, length = head.find("Transfer-Encoding"), head.find("Content-Length")
        if coding is not None:
            if coding != b"chunked" or length is not None:
                raise Malformed(f"ambiguous framing: {head.raw!r}")
            return self._read_chunk
        if length is not None:
            self._left = int(length)
            return self._read_counted
        return self._read_until_close

    @staticmethod
    def _read_nothing() -> bytes:
        return b""

    def _read_chunk(self) -> bytes:
        """Return the data of the next chunk, empty after the last one and its trailers (RFC 9112 7.1)."""
        wire = self.wire
        size = int(wire.read_line().partition(b";")[0], 16)
        if size:
            data = wire.read(size)
            if wire.read_line():
                raise Malformed("a chunk does not end with CRLF")
            return data
        while line := wire.read_line():
            name, _, value = line.partition(b":")
            self._trailers.append((name, value.strip(b" \t")))
        return b""

    def _read_counted(self) -> bytes:
        wire = self.wire
        if self._left and not wire.buffer and not wire.fill():
            raise Truncated(b"")
        piece, wire.buffer = wire.buffer[: self._left], wire.buffer[self._left :]
        self._left -= len(piece)
        return piece

    def _read_until_close(self) -> bytes:
        return self.wire.read_rest()
