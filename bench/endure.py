"""A reload each second under load, which nobody may notice: requests, WebSockets, and an upload as long as all of it.

Facts: counts are exact; a request that got anything but its answer is a failure. With `--upgrade`, another process takes over every so
many seconds; who has a connection then is told at its next answer that it was the last.

Run as `python -m bench.endure [--seconds 60]`; --source names a folder with the package, otherwise the installed one is
measured. Exits 1 when something failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from bench.household import Origin, start_vestibule
from bench.peer import free_port

_PIECE = bytes(range(256)) * 1024  # 256 KiB


class Proxy:
    """A running vestibule with two workers."""

    def __init__(self, source: str, origin: Origin) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vestibule-endure-"))
        self.port = free_port()
        config = (
            f'[process]\nworkers = 2\nstate_dir = "{self.directory}/state"\nadmin_socket = "{self.directory}/admin.sock"\n'
            f'[sites."*"]\nto = "http://127.0.0.1:{origin.port}"\nlisten = "127.0.0.1:{self.port}"\naccess_log = {{ target = "off" }}\n'
        )
        self.process = start_vestibule(self.directory, config, [self.port], source)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def command(self, name: str) -> dict[str, object]:
        """Have the program that serves do something."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(self.directory / "admin.sock"))
            sock.sendall(json.dumps({"command": name}).encode() + b"\n")
            with sock.makefile("rb") as answer:
                found: dict[str, object] = json.loads(answer.readline())
        return found

    def stop(self) -> None:
        self.command("stop")
        self.process.wait(40)


def read_answer(connection: socket.socket) -> tuple[bytes, bool]:
    """Return the body of a response with Content-Length, and whether it is the last. Raises OSError or ValueError when it is cut."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            raise ConnectionError("cut in the head")
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode())
    size = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")))
    while len(body) < size:
        got = connection.recv(65536)
        if not got:
            raise ConnectionError("cut in the body")
        body += got
    return body, b"\r\nconnection: close" in head.lower()


def reload_under_load(proxy: Proxy, seconds: float, upgrade_s: float) -> bool:
    """Reload each second under 200 requests a second, 50 WebSockets and one slow upload; upgrade now and then."""
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    threads = [threading.Thread(target=_ask, args=(proxy, until, counts, keep)) for keep in (True, True, True, False)]
    threads.append(threading.Thread(target=_slow_upload, args=(proxy, until, counts)))
    threads += [threading.Thread(target=_talk, args=(proxy, until, counts)) for _ in range(50)]
    for thread in threads:
        thread.start()
    upgrade_at = time.monotonic() + (upgrade_s or seconds)
    while time.monotonic() < until - 1:
        if time.monotonic() >= upgrade_at:
            upgrade_at += upgrade_s
            answer = proxy.command("upgrade")
            counts["upgrades" if answer["ok"] else f"failed upgrade ({answer['reasons']})"] += 1
        answer = proxy.command("reload")
        counts["reloads" if answer["ok"] else f"failed reload ({answer['reasons']})"] += 1
        time.sleep(1)
    for thread in threads:
        thread.join(seconds + 30)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return not any(name.startswith("failed") for name in counts) and counts["websockets whole"] == 50 and counts["uploads whole"] == 1


def _ask(proxy: Proxy, until: float, counts: Counter[str], keep: bool) -> None:
    """Fifty requests a second, on one connection or on one each."""
    connection: socket.socket | None = None
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            if connection is None:
                connection = proxy.connect()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"" if keep else b"Connection: close\r\n") + b"\r\n")
            _, last = read_answer(connection)
            counts["requests"] += 1
            if last or not keep:
                connection.close()
                connection = None
        except (OSError, ValueError) as error:
            counts[f"failed request ({error})"] += 1
            connection = None
        time.sleep(max(0.0, 0.02 - (time.monotonic() - began)))


def _talk(proxy: Proxy, until: float, counts: Counter[str]) -> None:
    """A WebSocket that says something now and then and hears it back."""
    connection = proxy.connect()
    connection.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n")
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096)
        count = 0
        while time.monotonic() < until:
            word = b"frame %06d" % count
            connection.sendall(word)
            heard = b""
            while len(heard) < len(word):
                got = connection.recv(4096)
                if not got:
                    raise ConnectionError("closed")
                heard += got
            if heard != word:
                raise ConnectionError("heard something else")
            count += 1
            time.sleep(0.25)
        counts["websockets whole"] += 1
    except OSError as error:
        counts[f"failed websocket ({error})"] += 1


def _slow_upload(proxy: Proxy, until: float, counts: Counter[str]) -> None:
    """An upload that lasts as long as all the reloads."""
    pieces = max(2, int((until - time.monotonic()) / 0.1))
    piece = _PIECE[:65536]
    connection = proxy.connect()
    digest = hashlib.sha256()
    try:
        connection.sendall(b"PUT /hash HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (pieces * len(piece)))
        for _ in range(pieces):
            connection.sendall(piece)
            digest.update(piece)
            time.sleep(0.1)
        if read_answer(connection)[0] != digest.hexdigest().encode():
            raise ValueError("another digest")
        counts["uploads whole"] += 1
    except (OSError, ValueError) as error:
        counts[f"failed upload ({error})"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--upgrade", type=float, default=0.0, help="seconds between upgrades; 0 is none")
    parser.add_argument("--source", default="")
    options = parser.parse_args()
    proxy = Proxy(options.source, Origin())
    try:
        good = reload_under_load(proxy, options.seconds, options.upgrade)
    finally:
        proxy.stop()
    print("held" if good else "GAVE WAY")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
