"""The clients no ready tool offers: bulk transfers by the kernel's shortcuts, and thousands of idle connections.

Each runs as a process of its own, so that its CPU time stays out of every account. It prints one line of JSON when done.

    python -m bench.client upload|download PORT BYTES plain|tls FILE
    python -m bench.client idle PORT COUNT plain|tls request|websocket

`idle` prints when all connections stand and then holds them until its input ends.

Rules. TLS certificates are not verified: this is about work, and the certificate was made a minute ago.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time

_WINDOW = 1 << 20
#: A source address offers some 28,000 ports towards one listener; a few addresses keep repeated runs clear of TIME_WAIT.
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
_SECONDS = 120.0


def main() -> None:
    """Do what the command line says."""
    kind, port, amount, security = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    tls = tls_settings("http/1.1") if security == "tls" else None
    start = time.monotonic()
    if kind == "upload":
        moved = upload(port, amount, tls, sys.argv[5])
    elif kind == "download":
        moved = download(port, amount, tls)
    elif kind == "idle":
        hold(port, amount, tls, sys.argv[5] == "websocket")
        return
    else:
        sys.exit(f"unknown kind of client: {kind}")
    print(json.dumps({"bytes": moved, "seconds": time.monotonic() - start}), flush=True)


def upload(port: int, length: int, tls: ssl.SSLContext | None, path: str) -> int:
    """POST `length` bytes taken from a file over and over; return how many the origin says it got."""
    head = f"POST /upload HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    connection = connect(port, tls)
    # A time-out would make the socket non-blocking underneath; whoever started this process bounds it.
    connection.settimeout(None)
    connection.sendall(head.encode())
    with open(path, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        sent = 0
        if isinstance(connection, ssl.SSLSocket):
            block = memoryview(source.read(_WINDOW))
            while sent < length:
                count = min(_WINDOW, length - sent)
                connection.sendall(block[:count])
                sent += count
        else:
            while sent < length:
                offset = sent % size
                sent += os.sendfile(connection.fileno(), source.fileno(), offset, min(size - offset, length - sent))
    status, body = read_answer(connection)
    if status != 201:
        sys.exit(f"the upload was answered {status}: {body[:200]!r}")
    return int(body)


def download(port: int, length: int, tls: ssl.SSLContext | None) -> int:
    """GET `length` bytes and drop them; return how many came."""
    connection = connect(port, tls)
    connection.settimeout(None)
    connection.sendall(f"GET /{length} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\n\r\n".encode())
    status, expected, pending = read_head(connection)
    if status != 200 or expected != length:
        sys.exit(f"the download was answered {status} with {expected} bytes, not {length}")
    seen = len(pending)
    scratch = bytearray(_WINDOW)
    while seen < length:
        if isinstance(connection, ssl.SSLSocket):
            got = connection.recv_into(scratch, min(_WINDOW, length - seen))
        else:
            got = connection.recv_into(scratch, min(_WINDOW, length - seen), socket.MSG_TRUNC)
        if not got:
            sys.exit(f"the download was cut after {seen} of {length} bytes")
        seen += got
    return seen


def hold(port: int, count: int, tls: ssl.SSLContext | None, websocket: bool) -> None:
    """Open `count` connections, use each once, say so, and keep them until standard input ends."""
    request = f"GET /idle HTTP/1.1\r\nHost: localhost:{port}\r\n"
    if websocket:
        request += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    request += "\r\n"
    expected = 101 if websocket else 200
    held: list[socket.socket] = []
    for index in range(count):
        connection = connect(port, tls, SOURCES[index % len(SOURCES)])
        connection.sendall(request.encode())
        status = read_answer(connection)[0]
        if status != expected:
            sys.exit(f"connection {index} was answered {status}, not {expected}")
        held.append(connection)
    print(json.dumps({"open": len(held)}), flush=True)
    sys.stdin.read()
    for connection in held:
        connection.close()


def connect(port: int, tls: ssl.SSLContext | None, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection from a loopback address, with TLS if asked."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS, source_address=(source, 0))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(raw, server_hostname="localhost") if tls else raw


def read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Read an answer's head; return status, Content-Length (0 without) and the bytes behind the head."""
    pending = b""
    while b"\r\n\r\n" not in pending:
        more = connection.recv(65536)
        if not more:
            sys.exit(f"the connection ended before an answer: {pending[:200]!r}")
        pending += more
    head, _, pending = pending.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = 0
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(lines[0].split(b" ")[1]), length, pending


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read a whole answer framed by Content-Length; return status and body. A body framed otherwise is left unread."""
    status, length, body = read_head(connection)
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            sys.exit("the answer's body was cut")
        body += more
    return status, body


def tls_settings(protocol: str) -> ssl.SSLContext:
    """Return settings that offer one protocol by ALPN and verify nothing."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.verify_mode = ssl.CERT_NONE
    settings.minimum_version = ssl.TLSVersion.TLSv1_3
    settings.set_alpn_protocols([protocol])
    return settings


if __name__ == "__main__":
    main()
