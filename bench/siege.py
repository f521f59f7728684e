"""How long another client waits while somebody floods the proxy: p99 quiet and during each flood.

Facts: the proxy has a processor; the attacker and the upstream share another. The attacker is a process with one thread and some
`floods.SOCKETS` connections. A client that asks steadily, on kept connections and on new ones, measures; the proxy itself answers it, so
that its waits are not those for an application which is busy with what reaches it: that is for limits.

Rules: quiet and flooded are measured right after each other, several times in turn, and the medians of the p99s are compared. Within
twice the quiet value, or within `FLOOR_MS`, is the target: below that the scheduler is measured and not the proxy. How busy the flood
keeps the proxy stands beside it, which a busy machine does not change.

Run as `python -m bench.siege [--seconds 5] [--rounds 3] [--only NAME]`; --source names a folder with the package, otherwise the
installed one is measured. Exits 1 when a flood misses the target.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import proc
from bench.floods import FLOODS, LOCKED, Flood, Target, start
from bench.household import Origin, content, is_listened, make_certificate, start_vestibule
from bench.peer import free_port

FLOOR_MS = 5.0
_PAUSE_S = 0.002
_NEW_EACH = 10


class Besieged:
    """A running vestibule with one worker, and its upstream."""

    def __init__(self, source: str, processor: int | None, other: int | None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vestibule-siege-"))
        self.target = Target(free_port(), free_port())
        port = free_port()
        self.origin = start_part(["--origin", str(port)], other)
        # It stands for another machine, which would not take processor time from who is measured.
        os.setpriority(os.PRIO_PROCESS, self.origin.pid, 19)
        if not is_listened(port):
            raise SystemExit("the upstream does not start")
        make_certificate(self.directory)
        (self.directory / "files").mkdir()
        (self.directory / "files" / "large").write_bytes(content(0, 50_000_000))
        config = (
            f'access_log = "off"\n[process]\nworkers = 1\nstate_dir = "{self.directory}/state"\n'
            '[sites."photos.test"]\ncert = "photos.pem"\nkey = "photos.key"\n'
            f'listen = ["https://127.0.0.1:{self.target.secure}", "http://127.0.0.1:{self.target.plain}"]\nredirect_http = false\n'
            f'to = "http://127.0.0.1:{port}"\naccess_log = "off"\n'
            f'[[sites."photos.test".routes]]\nprefix = "/probe"\nrespond = {{ body = "ok" }}\n'
            f'[[sites."photos.test".routes]]\nprefix = "/files/"\nfiles = {{ root = "{self.directory}" }}\n{LOCKED}'
        )
        self.process = start_vestibule(self.directory, config, [self.target.plain, self.target.secure], source, processor)

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        self.origin.terminate()
        self.origin.wait(10)


def start_part(words: list[str], processor: int | None) -> subprocess.Popen[bytes]:
    """Start a part of the siege in a process of its own, on one processor if that is given."""
    command = [sys.executable, "-m", "bench.siege", *words]
    if processor is not None:
        command = ["taskset", "-c", str(processor), *command]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def waits(target: Target, seconds: float) -> list[float]:
    """Ask steadily, in turn in the clear and over TLS; return the waits in ms, a new connection now and then included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    asked = b"GET /probe HTTP/1.1\r\nHost: %s\r\n\r\n" % target.host.encode()
    kept: dict[int, socket.socket] = {}
    found: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        at = len(found)
        kind = at % 2
        if at % _NEW_EACH == kind and kind in kept:
            kept.pop(kind).close()
        began = time.perf_counter()
        if kind not in kept:
            sock = socket.create_connection(("127.0.0.1", target.secure if kind else target.plain), 30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            kept[kind] = context.wrap_socket(sock, server_hostname=target.host) if kind else sock
        kept[kind].sendall(asked)
        answer = kept[kind].recv(65_536)
        found.append((time.perf_counter() - began) * 1000)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not served: {answer[:200]!r}")
        time.sleep(_PAUSE_S)
    for sock in kept.values():
        sock.close()
    return found


def p99(found: list[float]) -> float:
    """Return the wait that one of a hundred exceeds."""
    return sorted(found)[len(found) * 99 // 100]


def attack(name: str, target: Target) -> None:
    """Flood until standard input ends."""
    running = start(next(each for each in FLOODS if each.name == name), target)
    sys.stdin.read()
    seen = running.stop()
    print(f"opened {seen.opened}, closed by the proxy {seen.closed}, rounds {seen.rounds}")


def measure(besieged: Besieged, flood: Flood, seconds: float, rounds: int, processor: int | None) -> tuple[float, float, float, str]:
    """Return the medians of the p99s, quiet and flooded, and of how busy the flood keeps the proxy, and what the attacker says."""
    busy: list[float] = []
    quiet: list[float] = []
    flooded: list[float] = []
    said = ""
    target = besieged.target
    for _ in range(rounds):
        quiet.append(p99(waits(target, seconds)))
        process = start_part(["--attack", flood.name, "--ports", f"{target.plain},{target.secure}"], processor)
        time.sleep(0.5)
        before = proc.sample(besieged.process.pid)
        flooded.append(p99(waits(target, seconds)))
        busy.append(proc.between(before, proc.sample(besieged.process.pid)).total / seconds)
        said = process.communicate(timeout=60)[0].decode().strip()
    return statistics.median(quiet), statistics.median(flooded), statistics.median(busy), said


def main() -> int:
    """Measure all floods, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.siege")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--source", default="")
    parser.add_argument("--attack", default="", help=argparse.SUPPRESS)
    parser.add_argument("--ports", default="", help=argparse.SUPPRESS)
    parser.add_argument("--origin", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.origin:
        Origin(given.origin).serve()
        return 0
    if given.attack:
        plain, secure = (int(each) for each in given.ports.split(","))
        attack(given.attack, Target(plain, secure))
        return 0
    processors = sorted(os.sched_getaffinity(0))
    pair = (processors[0], processors[1]) if len(processors) > 1 else (None, None)
    besieged = Besieged(given.source, *pair)
    missed = 0
    print("| flood | p99 quiet, ms | p99 during, ms | proxy busy | |\n| --- | ---: | ---: | ---: | --- |")
    try:
        for flood in FLOODS:
            if given.only not in flood.name:
                continue
            quiet, flooded, busy, said = measure(besieged, flood, given.seconds, given.rounds, pair[1])
            ok = flooded <= max(2 * quiet, FLOOR_MS)
            missed += not ok
            print(f"| {flood.name} | {quiet:.2f} | {flooded:.2f} | {busy:.0%} | {'' if ok else 'missed; '}{said} |", flush=True)
    finally:
        besieged.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
