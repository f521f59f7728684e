"""The origins nginx is no good for: `bulk` swallows uploads and pours out downloads, `idle` holds thousands of sockets.

Its CPU time is not counted, but it must be quick enough to keep a contender busy, so the bulk origin lets the kernel do the work:
`sendfile` out of a file in memory, and MSG_TRUNC, with which Linux drops received TCP bytes without copying them (tcp(7)).

Rules. It trusts its clients: this is a bench tool for well-formed requests from 127.0.0.1 and nothing else.

Run as `python -m bench.origin KIND PORT DIRECTORY`; KIND is bulk or idle.
"""

from __future__ import annotations

import base64
import hashlib
import os
import selectors
import socket
import sys
import threading
from pathlib import Path

#: Large enough not to live in any processor cache.
_FILE_BYTES = 256 << 20
_WINDOW = 1 << 20
_ANSWER_201 = b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
_ANSWER_200 = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n"
_ANSWER_101 = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def main() -> None:
    """Serve until ended."""
    kind, port, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    if kind == "bulk":
        serve_bulk(listener, directory)
    elif kind == "idle":
        serve_idle(listener)
    else:
        sys.exit(f"unknown kind of origin: {kind}")


def serve_bulk(listener: socket.socket, directory: Path) -> None:
    """One thread per connection: POST is counted and dropped, GET /N answers N bytes."""
    path = directory / "bulk.bin"
    if not path.exists():
        with path.open("wb") as out:
            for _ in range(_FILE_BYTES // _WINDOW):
                out.write(os.urandom(_WINDOW))
    source = os.open(path, os.O_RDONLY)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_one, args=(connection, source), daemon=True).start()


def _serve_one(connection: socket.socket, source: int) -> None:
    """Answer requests on one connection until it ends."""
    pending = b""
    try:
        while True:
            while b"\r\n\r\n" not in pending:
                more = connection.recv(65536)
                if not more:
                    return
                pending += more
            head, _, pending = pending.partition(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
            if method == b"POST":
                count = _swallow(connection, _length(head), len(pending))
                pending = b""
                body = b"%d" % count
                connection.sendall(_ANSWER_201 % (len(body), body))
            else:
                _pour(connection, source, int(target.rsplit(b"/", 1)[1]))
    except ConnectionError:
        return
    finally:
        connection.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError("an upload without Content-Length")


def _swallow(connection: socket.socket, length: int, already: int) -> int:
    """Drop `length` body bytes, `already` of which have been read; return how many there were."""
    scratch = bytearray(_WINDOW)
    seen = already
    while seen < length:
        got = connection.recv_into(scratch, min(_WINDOW, length - seen), socket.MSG_TRUNC)
        if not got:
            raise ConnectionError("the upload was cut")
        seen += got
    return seen


def _pour(connection: socket.socket, source: int, length: int) -> None:
    """Send a 200 with `length` bytes of the file, over and over."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % length)
    sent = 0
    while sent < length:
        offset = sent % _FILE_BYTES
        sent += os.sendfile(connection.fileno(), source, offset, min(_FILE_BYTES - offset, length - sent))


def serve_idle(listener: socket.socket) -> None:
    """A loop over every connection: a small answer to a request, a 101 to an Upgrade, an echo afterwards.

    `GET /wait` is never answered; `GET /waiting` tells how many such requests stand.
    """
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    upgraded: set[int] = set()
    waiting: set[int] = set()
    while True:
        for key, _ in selector.select():
            if key.data is None:
                _accept_all(listener, selector)
            else:
                _answer(key.data, selector, upgraded, waiting)


def _accept_all(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        # The few bytes of an answer always fit a fresh socket, so blocking writes never block.
        selector.register(connection, selectors.EVENT_READ, connection)


def _answer(connection: socket.socket, selector: selectors.BaseSelector, upgraded: set[int], waiting: set[int]) -> None:
    number = connection.fileno()
    try:
        data = connection.recv(65536)
    except ConnectionError:
        data = b""
    if not data:
        selector.unregister(connection)
        upgraded.discard(number)
        waiting.discard(number)
        connection.close()
        return
    if number in upgraded:
        connection.sendall(data)
        return
    target = data.split(b" ", 2)[1]
    if target == b"/wait":
        waiting.add(number)
        return
    if target == b"/waiting":
        told = b"%d" % len(waiting)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
        return
    key = b""
    for line in data.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    if key:
        upgraded.add(number)
        digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
        connection.sendall(_ANSWER_101 % base64.b64encode(digest))
    else:
        connection.sendall(_ANSWER_200)


if __name__ == "__main__":
    main()
