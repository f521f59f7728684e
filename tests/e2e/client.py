"""A client that says exactly what it is told and reads strictly what comes back.

Facts: `Client.request` is what most tests need and says nothing that only one HTTP version has;
`Exchange` is the same in steps. `Wire` is the HTTP/1 connection beneath, for tests about bytes.
Rules: every wait is bounded. A body that does not end as announced is never taken for whole: it
raises `Truncated`.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

TIMEOUT_S = 10.0
Field = tuple[bytes, bytes]


class Truncated(Exception):
    """The connection ended before the message did; `got` is the body so far."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"cut after {len(got)} bytes")
        self.got = got


class Malformed(Exception):
    """What came back is not HTTP as the RFCs have it."""


@dataclass
class Head:
    """The start line and the fields of one message, as they were on the wire."""

    status: int
    reason: bytes
    fields: list[Field]
    raw: bytes

    def find(self, name: str) -> bytes | None:
        """Return the only value of a field, or None. Raises if there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} is there {len(values)} times: {self.raw!r}")
        return values[0] if values else None

    def all(self, name: str) -> list[bytes]:
        """Return every value of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]


@dataclass
class Response:
    """A whole response."""

    head: Head
    body: bytes
    interims: list[Head] = field(default_factory=list)
    trailers: list[Field] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The final status."""
        return self.head.status

    def find(self, name: str) -> bytes | None:
        """Return the only value of a header field, or None."""
        return self.head.find(name)


_wires: list["Wire"] = []


def close_all() -> None:
    """Close every connection that was opened since the last call, so that a test may leave them open."""
    while _wires:
        _wires.pop().close()


class Wire:
    """One connection, plain or TLS: bytes out, messages in."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock
        self.buffer = b""
        _wires.append(self)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def read_body(self, head: Head, method: str) -> tuple[bytes, list[Field]]:
        """Return the body and the trailers that belong to `head` (RFC 9112 6.3)."""
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return b"", []
        coding, length = head.find("Transfer-Encoding"), head.find("Content-Length")
        if coding is not None:
            if coding != b"chunked" or length is not None:
                raise Malformed(f"ambiguous framing: {head.raw!r}")
            return self._read_chunks()
        if length is not None:
            return self.read(int(length)), []
        return self.read_rest(), []

    def read_response(self, method: str = "GET") -> Response:
        """Return the next final response with the interim heads before it."""
        interims = []
        while (head := self.read_head()).status < 200 and head.status != 101:
            interims.append(head)
        body, trailers = self.read_body(head, method)
        return Response(head, body, interims, trailers)

    def _read_chunks(self) -> tuple[bytes, list[Field]]:
        body = b""
        while data := self.read_chunk(body):
            body += data
        trailers = []
        while line := self.read_line():
            name, _, value = line.partition(b":")
            trailers.append((name, value.strip(b" \t")))
        return body, trailers


class Exchange:
    """One request in steps. `body=None` means that the length is not known beforehand."""

    def __init__(self, wire: Wire, method: str) -> None:
        self.wire = wire
        self.method = method
        self.is_chunked = False

    def send_body(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        self.wire.send(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def end_body(self, trailers: Iterable[Field] = ()) -> None:
        """Say that the body is whole."""
        if self.is_chunked:
            self.wire.send(b"0\r\n" + render(trailers) + b"\r\n")

    def read_head(self) -> Head:
        """Return the next head, interim or final."""
        return self.wire.read_head()

    def read_response(self) -> Response:
        """Return the final response."""
        return self.wire.read_response(self.method)

    def abort(self) -> None:
        """Give up at once."""
        self.wire.reset()


class Client:
    """Makes requests to one address. Each `open` is a new connection unless given one."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        tls: ssl.SSLContext | None = None,
        name: str = "photos.test",
    ) -> None:
        self.address = address
        self.tls = tls
        self.name = name

    def connect(self) -> Wire:
        """Open a connection; with TLS, its handshake is done."""
        if isinstance(self.address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(TIMEOUT_S)
            sock.connect(self.address)
        else:
            sock = socket.create_connection(self.address, TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_hostname=self.name)
        return Wire(sock)

    def open(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        length: int | None = 0,
        wire: Wire | None = None,
    ) -> Exchange:
        """Send a request head. `length` is that of the body; None sends it in chunks."""
        exchange = Exchange(wire or self.connect(), method)
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if not any(name.lower() == b"host" for name, _ in fields):
            fields.insert(0, (b"Host", self.name.encode()))
        if length is None:
            exchange.is_chunked = True
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif length or method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % length))
        line = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
        exchange.wire.send(line + render(fields) + b"\r\n")
        return exchange

    def request(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        wire: Wire | None = None,
    ) -> Response:
        """Make a whole request and return its response. Without `wire`, on a connection of its own."""
        exchange = self.open(method, path, headers, len(body), wire)
        try:
            if body:
                exchange.send_body(body)
            return exchange.read_response()
        finally:
            if wire is None:
                exchange.wire.close()

    def get(self, path: str, *headers: tuple[str, str]) -> Response:
        """Make a GET request."""
        return self.request("GET", path, headers)

    def raw(self, data: bytes) -> Wire:
        """Send bytes as they are on a new connection."""
        wire = self.connect()
        wire.send(data)
        return wire


def render(fields: Iterable[Field]) -> bytes:
    """Return fields as lines."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields)
