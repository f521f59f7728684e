"""Holds HTTP/2 connections open, idle or with requests that nobody answers.

Facts
  A fresh HPACK table has a field that was sent with incremental indexing at 62, the one before it at 63 and so on
  (RFC 7541 2.3.3). All 4,096 bytes of the table may be used at once, and a browser's fields fit.

Rules. It speaks as little HTTP/2 as this takes, sends well-formed frames to proxies it trusts, and ends at the first surprise. TLS
certificates are not verified.

Run as `python -m bench.client_h2 PORT CONNECTIONS STREAMS`: each connection asks for /idle once, reads the answer, and then leaves
STREAMS requests for /wait open. When all stand one line of JSON says so; they are held until standard input ends.

Not here: HTTP/2 load (h2load does that).
"""

from __future__ import annotations

import json
import socket
import sys

from bench.client import SOURCES, connect, tls_settings
from bench.load import BROWSER_HEADERS

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_HEADER_TABLE_SIZE, _MAX_CONCURRENT_STREAMS = 1, 3
_GET, _HTTPS, _STATUS_200 = b"\x82", b"\x87", 0x88
TABLE_BYTES = 4096


class Surprise(Exception):
    """The other side did what this client does not expect."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame (RFC 9113 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def integer(value: int, bits: int, pattern: int = 0) -> bytes:
    """Return an integer behind a prefix of `bits` bits, the bits above them from `pattern` (RFC 7541 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    out = bytearray((pattern | most,))
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """Return a string literal without Huffman coding (RFC 7541 5.2)."""
    return integer(len(value), 7) + value.encode()


class Requests:
    """The field blocks of one connection: the first fills the table, the others refer to it."""

    def __init__(self, authority: str) -> None:
        fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in BROWSER_HEADERS)]
        # 0x41: :authority by its static name (1), with incremental indexing; 0x40: a new name.
        self._first = b"\x41" + text(authority) + b"".join(b"\x40" + text(name) + text(value) for name, value in fields)
        self._later = b"".join(integer(62 + age, 7, 0x80) for age in range(len(fields), -1, -1))
        self._filled = False

    def block(self, path: str) -> bytes:
        """Return the field block of a GET."""
        fields = self._later if self._filled else self._first
        self._filled = True
        # 0x04: :path by its static name, left out of the table.
        return _GET + _HTTPS + b"\x04" + text(path) + fields


class Connection:
    """One HTTP/2 connection over a connected socket."""

    def __init__(self, link: socket.socket, authority: str) -> None:
        self._link = link
        self._requests = Requests(authority)
        self._pending = b""
        self._next = 1
        #: Streams the other side allows at a time; without its word there is no limit.
        self.most_streams = 1 << 31
        link.sendall(_PREFACE + frame(_SETTINGS, 0, 0, b""))

    def ask(self, path: str) -> int:
        """Send a GET; return its stream."""
        stream = self._next
        self._next += 2
        self._link.sendall(frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, self._requests.block(path)))
        return stream

    def read_answer(self, stream: int) -> bytes:
        """Return the body of an answer 200; any other end raises Surprise. No other stream may be answered meanwhile."""
        body = b""
        while True:
            kind, flags, number, payload = self._read_frame()
            if kind == _SETTINGS and not flags & _ACK:
                self._settle(payload)
            elif kind == _PING and not flags & _ACK:
                self._link.sendall(frame(_PING, _ACK, 0, payload))
            elif kind in {_GOAWAY, _RST_STREAM}:
                raise Surprise(f"frame {kind} on stream {number}: {payload.hex()}")
            elif kind in {_HEADERS, _DATA} and number == stream:
                if kind == _HEADERS and not is_200(payload):
                    raise Surprise(f"stream {number} was not answered 200: {payload[:100].hex()}")
                if kind == _DATA:
                    body += payload
                if flags & _END_STREAM:
                    return body

    def _settle(self, payload: bytes) -> None:
        for start in range(0, len(payload), 6):
            name = int.from_bytes(payload[start : start + 2])
            value = int.from_bytes(payload[start + 2 : start + 6])
            if name == _MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            elif name == _HEADER_TABLE_SIZE and value < TABLE_BYTES:
                raise Surprise(f"a header table of {value} bytes only")
        self._link.sendall(frame(_SETTINGS, _ACK, 0, b""))

    def _read_frame(self) -> tuple[int, int, int, bytes]:
        head = self._read(9)
        return head[3], head[4], int.from_bytes(head[5:9]) & 0x7FFF_FFFF, self._read(int.from_bytes(head[:3]))

    def _read(self, count: int) -> bytes:
        while len(self._pending) < count:
            more = self._link.recv(65536)
            if not more:
                raise Surprise(f"the connection ended: {self._pending[:200]!r}")
            self._pending += more
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


def is_200(block: bytes) -> bool:
    """Say whether a field block starts with :status 200, table size updates (RFC 7541 6.3) left aside."""
    at = 0
    while block[at] & 0xE0 == 0x20:
        more = block[at] == 0x3F
        at += 1
        while more:
            more = block[at] >= 0x80
            at += 1
    return block[at] == _STATUS_200


def main() -> None:
    """Open, tell, hold."""
    port, count, each = (int(argument) for argument in sys.argv[1:4])
    settings = tls_settings("h2")
    held: list[socket.socket] = []
    try:
        for index in range(count):
            link = connect(port, settings, SOURCES[index % len(SOURCES)])
            held.append(link)
            connection = Connection(link, f"localhost:{port}")
            connection.read_answer(connection.ask("/idle"))
            if connection.most_streams < each:
                raise Surprise(f"only {connection.most_streams} streams are allowed")
            for _ in range(each):
                connection.ask("/wait")
    except (Surprise, OSError) as error:
        sys.exit(f"connection {len(held)}: {error}")
    print(json.dumps({"open": len(held)}), flush=True)
    sys.stdin.read()
    for link in held:
        link.close()


if __name__ == "__main__":
    main()
