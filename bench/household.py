"""What the benches that judge stand on: an upstream that checks and is checked, and a vestibule in front of it.

Facts: an answer of N bytes is the beginning of one endless body, so that whoever reads it knows what it must be; what is uploaded is
answered with its digest.

Rules: everything is written below a folder of its own, and ended by process id.

Not here: load, and what is judged (`endure.py`, `siege.py`, `soak.py`).
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

LARGE_BYTES = 1_000_000
VIDEO_BYTES = 1 << 28
_PIECE = hashlib.sha512(b"vestibule").digest() * 1024  # 64 KiB
_ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_CHUNKS_END = b"0\r\n\r\n"
_START_LOOKS = 400


def content(at: int, size: int) -> bytes:
    """Return a part of the endless body that everything is taken from."""
    first = at % len(_PIECE)
    count = (first + size) // len(_PIECE) + 1
    return (_PIECE * count)[first : first + size]


class Origin:
    """An upstream: `GET /N` answers N bytes, `/large` a megabyte, `/video` a range, a body its digest, an upgrade an echo, others `ok`."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more; the threads end with their connections."""
        self._listener.close()

    def serve(self) -> None:
        """Go on until the process ends."""
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(sock,), daemon=True).start()


def _serve(sock: socket.socket) -> None:
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data: bytes | None = b""
        try:
            while data is not None:
                data = _one(sock, data)
        except (OSError, ValueError):
            pass  # the proxy gave up, as it does when its client did


def _one(sock: socket.socket, data: bytes) -> bytes | None:
    """Take a request and answer it; return what came behind it, None at the end."""
    while b"\r\n\r\n" not in data:
        got = sock.recv(65_536)
        if not got:
            return None
        data += got
    head, _, data = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"upgrade" in fields:
        sock.sendall(_ACCEPT)
        while got := sock.recv(65_536):
            sock.sendall(got)
        return None
    if fields.get(b"transfer-encoding") == b"chunked":
        while not data.endswith(_CHUNKS_END):
            data = (data + _more(sock))[-len(_CHUNKS_END) :]
        data, body = b"", b"ok"
    elif b"content-length" in fields:
        data, body = _digest(sock, data, int(fields[b"content-length"]))
    else:
        body = _body(head.split(b" ", 2)[1], fields)
    more = b""
    if b"range" in fields:
        more = b"Content-Range: bytes %s/%d\r\n" % (fields[b"range"].removeprefix(b"bytes="), VIDEO_BYTES)
    status = b"206 Partial Content" if more else b"200 OK"
    sock.sendall(b"HTTP/1.1 %s\r\nContent-Type: image/webp\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), more, body))
    return data


def _digest(sock: socket.socket, data: bytes, left: int) -> tuple[bytes, bytes]:
    """Read a body; return what came behind it, and its digest."""
    digest = hashlib.sha256()
    while left > 0:
        data = data or _more(sock)
        piece, data = data[:left], data[left:]
        digest.update(piece)
        left -= len(piece)
    return data, digest.hexdigest().encode()


def _more(sock: socket.socket) -> bytes:
    got = sock.recv(1 << 18)
    if not got:
        raise ValueError("cut")
    return got


def _body(path: bytes, fields: dict[bytes, bytes]) -> bytes:
    if path == b"/video":
        first, _, last = fields[b"range"].removeprefix(b"bytes=").partition(b"-")
        return content(int(first), int(last) - int(first) + 1)
    if path == b"/large":
        return content(0, LARGE_BYTES)
    if path[1:].isdigit():
        time.sleep(0.002)  # as from a disk
        return content(0, int(path[1:]))
    return b"ok"


def make_certificate(folder: Path) -> None:
    """Write `photos.pem` and `photos.key`, for photos.test."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=photos.test -addext"
    command = ["openssl", *words.split(), "subjectAltName=DNS:photos.test", "-keyout", "photos.key", "-out", "photos.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def start_vestibule(folder: Path, config: str, ports: list[int], source: str, processor: int | None = None) -> subprocess.Popen[bytes]:
    """Start the program that `source`, a folder, has, or the installed one; its log is `folder/log`. Exits where it does not start."""
    file, log = folder / "vestibule.toml", folder / "log"
    file.write_text(config)
    command = [sys.executable, "-P", "-m", "vestibule", "run", "--quiet", str(file)]
    if processor is not None:
        command = ["taskset", "-c", str(processor), *command]
    made = subprocess.Popen(command, env=os.environ | ({"PYTHONPATH": source} if source else {}), stderr=log.open("wb"))
    for port in ports:
        if not is_listened(port):
            made.terminate()
            raise SystemExit(log.read_text(errors="replace"))
    return made


def is_listened(port: int) -> bool:
    """Wait until somebody listens; False if nobody does in time."""
    for _ in range(_START_LOOKS):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False
