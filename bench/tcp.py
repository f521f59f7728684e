"""What it costs to pass connections on as they are: processor seconds for each GB, and connections for each processor second.

Facts
  HAProxy relays with `mode tcp` and `option splice-auto`, one thread; vestibule has one worker. nginx stands beside them where its
  stream module is installed.
  Load and origin are threads of this program; only the contender's processor time counts. Contenders take turns in each round and
  ratios are taken within a round, so that what else the machine does falls on all.

Run as `python -m bench.tcp [--rounds 5] [--mb 1000] [--connections 3000] [--source FOLDER]`. Targets: at most 1.0 × HAProxy's seconds
for each GB, at least 0.7 × its connections.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from bench import proc
from bench.peer import BenchError, find_program, free_port

_PIECE = bytes(1 << 20)
_THREADS = 4

_HAPROXY = """
global
    maxconn 4096
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option splice-auto
listen l
    bind 127.0.0.1:@PORT@
    server s 127.0.0.1:@TO@
"""

_NGINX = """
load_module modules/ngx_stream_module.so;
daemon off;
pid @DIR@/nginx.pid;
error_log @DIR@/nginx.err crit;
worker_processes 1;
events { worker_connections 4096; }
stream {
    server { listen 127.0.0.1:@PORT@; proxy_pass 127.0.0.1:@TO@; }
}
"""

_VESTIBULE = """
access_log = "off"
[process]
workers = 1
state_dir = "@DIR@/state"
admin_socket = "@DIR@/admin.sock"
[listeners.front]
address = "127.0.0.1:@PORT@"
routes = [{ to = "tcp://127.0.0.1:@TO@" }]
"""


class Origin:
    """Takes a letter: `d` and a count sends so many bytes, `u` and a count takes them and says `.`, `c` says `.`; then closes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            order = sock.recv(9, socket.MSG_WAITALL)
            if len(order) < 9:
                return
            count = struct.unpack(">Q", order[1:])[0]
            if order[:1] == b"d":
                send(sock, count)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1)
                return
            take(sock, count)
            sock.sendall(b".")

    def close(self) -> None:
        self._listener.close()


def send(sock: socket.socket, count: int) -> None:
    """Send so many bytes."""
    while count:
        count -= sock.send(memoryview(_PIECE)[: min(count, len(_PIECE))])


def take(sock: socket.socket, count: int) -> None:
    """Take so many bytes without looking at them. Raises BenchError if fewer come."""
    while count:
        got = len(sock.recv(min(count, len(_PIECE)), socket.MSG_TRUNC))
        if not got:
            raise BenchError(f"{count} bytes are missing")
        count -= got


def ask(port: int, what: bytes, count: int) -> None:
    """Have one conversation."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.settimeout(None)
        sock.sendall(what + struct.pack(">Q", count))
        if what == b"d":
            take(sock, count)
            return
        if what == b"u":
            send(sock, count)
        if sock.recv(1) != b".":
            raise BenchError("no answer")


def knock(port: int, count: int, failed: list[str]) -> None:
    """Open so many connections, one after the other."""
    try:
        for _ in range(count):
            ask(port, b"c", 0)
    except (OSError, BenchError) as bad:
        failed.append(str(bad))


def start(name: str, directory: Path, to: int, source: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a contender; return it and its port."""
    port = free_port()
    templates = {"haproxy": (_HAPROXY, "h.cfg"), "nginx": (_NGINX, "n.conf"), "vestibule": (_VESTIBULE, "v.toml")}
    template, file = templates[name]
    for key, value in {"PORT": str(port), "TO": str(to), "DIR": str(directory)}.items():
        template = template.replace(f"@{key}@", value)
    (directory / file).write_text(template)
    commands = {
        "haproxy": lambda: [find_program("haproxy"), "-db", "-f"],
        "nginx": lambda: [find_program("nginx"), "-c"],
        "vestibule": lambda: [sys.executable, "-P", "-m", "vestibule", "run", "--quiet"],
    }
    environment = {**os.environ, "PYTHONPATH": source} if source else dict(os.environ)
    log = directory / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*commands[name](), str(directory / file)], env=environment, stdout=out, stderr=out)
    for _ in range(200):
        with contextlib.suppress(OSError, BenchError):
            ask(port, b"c", 0)
            return process, port
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise BenchError(f"{name} does not relay:\n{log.read_text()}")


def measure(process: subprocess.Popen[bytes], port: int, mb: int, connections: int) -> tuple[float, float, float]:
    """Return CPU seconds for each GB down and up, and connections for each CPU second."""
    figures: list[float] = []
    for what in (b"d", b"u"):
        before = proc.sample(process.pid)
        ask(port, what, mb * 1_000_000)
        figures.append(proc.between(before, proc.sample(process.pid)).total * 1000 / mb)
    failed: list[str] = []
    before = proc.sample(process.pid)
    threads = [threading.Thread(target=knock, args=(port, connections // _THREADS, failed)) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchError(failed[0])
    return figures[0], figures[1], connections / proc.between(before, proc.sample(process.pid)).total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=3000)
    parser.add_argument("--contenders", default="haproxy,nginx,vestibule")
    parser.add_argument("--source", default="")
    options = parser.parse_args()
    origin = Origin()
    running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    results: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="vestibule-tcp-") as folder:
        try:
            for name in options.contenders.split(","):
                try:
                    running[name] = start(name, Path(folder), origin.port, options.source)
                    results[name] = []
                except BenchError as bad:
                    print(f"{name} is left out: {bad}")
            for _ in range(options.rounds):
                for name, (process, port) in running.items():
                    results[name].append(measure(process, port, options.mb, options.connections))
        finally:
            for process, _ in running.values():
                process.send_signal(signal.SIGTERM)
            for process, _ in running.values():
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
            origin.close()
    for name, rows in results.items():
        shown = [f"{median(row[at] for row in rows):.3f}" for at in range(2)] + [f"{median(row[2] for row in rows):.0f}"]
        if name != "haproxy" and "haproxy" in results:
            ratios = [median(row[at] / beside[at] for row, beside in zip(rows, results["haproxy"], strict=True)) for at in range(3)]
            shown.append("× HAProxy: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))
        print(f"{name}: CPU s/GB down, up; connections per CPU s: {'; '.join(shown)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
