"""A gallery's day in small: does anything grow, or fail, while everything goes on at once?

Facts: the mix is that of a household. A timeline is opened over HTTP/2: a page, some 120 scripts of 0.4 to 91 KB, styles, fonts, two dozen
API calls, then thumbnails of 8 to 25 KB in waves, of which a scroll cancels most. Meanwhile phones upload, a video is sought through
by ranges, WebSockets talk, the configuration is reloaded each minute, and the upstream is restarted now and then.

Rules: every body is checked. What fails while the upstream is away, or in the `GRACE_S` after, is explained; anything else is not and fails
the run. Resident memory and descriptors of the workers are flat if the last quarter is no higher than the second, within `SLACK_SHARE` and
`SLACK_BYTES`; the first is for warming up.

Run as `python -m bench.soak [--seconds 3600]`; --source names a folder with the package, otherwise the installed one is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from bench.household import VIDEO_BYTES, Origin, content, is_listened, make_certificate, start_vestibule
from bench.peer import free_port

GRACE_S = 4.0
SLACK_SHARE = 0.05
SLACK_BYTES = 3_000_000
# A wave of thumbnails leaves up to 64 idle connections to the upstream in each worker, for a minute.
SLACK_DESCRIPTORS = 130
_WAIT_S = 60.0
_SAMPLE_S = 1.0

# One opening of the timeline: how many of which size.
_SCRIPTS = (386, 700, 1_200, 2_400, 4_700, 9_000, 20_000, 91_154)
_PARTS = [2_268] * 11 + [126_473, 2_030_859] + [205 + 90 * at for at in range(24)]
_OPENING = [10_821, *[_SCRIPTS[at % len(_SCRIPTS)] for at in range(122)], *_PARTS]
_CANCELLED = 0.7


# ---------------------------------------------------------------- the proxy


class House:
    """A running vestibule with two workers, and its upstream."""

    def __init__(self, source: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vestibule-soak-"))
        self.port, self.origin_port = free_port(), free_port()
        make_certificate(self.directory)
        self.log = self.directory / "log"
        self.origin = self._start_origin()
        config = (
            f'[process]\nworkers = 2\nstate_dir = "{self.directory}/state"\n'
            f'[sites."photos.test"]\ncert = "photos.pem"\nkey = "photos.key"\nlisten = "https://127.0.0.1:{self.port}"\n'
            f'to = "http://127.0.0.1:{self.origin_port}"\naccess_log = "{self.directory}/access.log"\n'
        )
        self.process = start_vestibule(self.directory, config, [self.port], source)
        self.away: list[tuple[float, float]] = []

    def _start_origin(self) -> subprocess.Popen[bytes]:
        made = subprocess.Popen([sys.executable, "-m", "bench.soak", "--origin", str(self.origin_port)])
        if not is_listened(self.origin_port):
            raise SystemExit("the upstream does not start")
        return made

    def restart_origin(self) -> None:
        """Have the upstream away for a second."""
        began = time.monotonic()
        self.away.append((began, began + 3600))
        self.origin.kill()
        self.origin.wait()
        time.sleep(1.0)
        self.origin = self._start_origin()
        self.away[-1] = (began, time.monotonic() + GRACE_S)

    def is_away(self) -> bool:
        """Tell whether the upstream is away, or was a moment ago."""
        now = time.monotonic()
        return any(begin <= now <= end for begin, end in self.away)

    def workers(self) -> list[int]:
        """Return the processes of the data plane."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def connect(self, alpn: str) -> ssl.SSLSocket:
        """Open a connection over TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        sock = socket.create_connection(("127.0.0.1", self.port), _WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(sock, server_hostname="photos.test")

    def stop(self) -> None:
        """End both."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.origin.kill()
        self.origin.wait()


# ---------------------------------------------------------------- clients


class Wrong(Exception):
    """An answer is not what it should be."""


@dataclass
class Day:
    """What all clients share."""

    house: House
    until: float
    counts: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until

    def rest(self, seconds: float) -> None:
        """Wait, but not past the end."""
        time.sleep(max(0.0, min(seconds, self.until - time.monotonic())))

    def play(self, what: str, part: Callable[[Day], None]) -> None:
        """Do a part again and again; tell failures that nobody can explain."""
        while not self.over:
            try:
                part(self)
                self.counts[what] += 1
            except (OSError, ValueError, Wrong, h2.exceptions.ProtocolError) as bad:
                if self.house.is_away():
                    self.counts[f"{what} cut while the upstream was away"] += 1
                else:
                    self.unexplained.append(f"{what}: {bad!r}")


class Timeline:
    """A browser's connection of HTTP/2."""

    def __init__(self, house: House) -> None:
        self.sock = house.connect("h2")
        self.codec = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.codec.initiate_connection()
        self.codec.increment_flow_control_window(15 << 20)
        self.wanted: dict[int, int] = {}
        self.got: dict[int, bytearray] = {}
        self.cancelled: set[int] = set()
        self.push()

    def push(self) -> None:
        """Send what the codec has."""
        self.sock.sendall(self.codec.data_to_send())

    def ask(self, size: int) -> int:
        """Ask for so many bytes."""
        while len(self.wanted) >= 90:
            self.listen()
        stream = self.codec.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "https"), (":path", f"/{size}"), (":authority", "photos.test"), ("accept", "*/*")]
        self.codec.send_headers(stream, fields, end_stream=True)
        self.wanted[stream], self.got[stream] = size, bytearray()
        return stream

    def cancel(self, stream: int) -> None:
        """Want it no more."""
        if self.wanted.pop(stream, None) is not None:
            self.codec.reset_stream(stream, 8)
            self.cancelled.add(stream)
            self.got.pop(stream)

    def listen(self) -> None:
        """Take what comes. Raises `Wrong`."""
        self.push()
        data = self.sock.recv(262_144)
        if not data:
            raise Wrong("the connection was closed")
        for event in self.codec.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.codec.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.got:
                    self.got[event.stream_id] += event.data
            elif isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
                if status != b"200" and event.stream_id in self.wanted:
                    raise Wrong(f"status {status.decode()}")
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.wanted:
                size = self.wanted.pop(event.stream_id)
                if self.got.pop(event.stream_id) != content(0, size):
                    raise Wrong("another body")
            elif isinstance(event, h2.events.StreamReset) and event.stream_id in self.wanted:
                raise Wrong(f"reset with {event.error_code}")
            elif isinstance(event, h2.events.ConnectionTerminated):
                raise Wrong(f"GOAWAY with {event.error_code}")
        self.push()

    def finish(self) -> None:
        """Read everything that is wanted."""
        while self.wanted:
            self.listen()


def open_timeline(day: Day) -> None:
    """Open the timeline, then scroll: most thumbnails are cancelled before they are there."""
    browser = Timeline(day.house)
    try:
        for size in _OPENING:
            browser.ask(size)
        browser.finish()
        for _ in range(random.randint(2, 6)):
            asked = [browser.ask(random.randint(8_000, 25_000)) for _ in range(60)]
            browser.push()
            day.rest(0.05)
            for stream in asked:
                if random.random() < _CANCELLED:
                    browser.cancel(stream)
                    day.counts["thumbnails cancelled"] += 1
            browser.finish()
            day.counts["thumbnails"] += 60
            day.rest(0.5)
    finally:
        browser.sock.close()
    day.rest(1.0)


def _exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send a request and return the body of its answer. Raises `Wrong`."""
    if data:
        sock.sendall(data)
    found = b""
    while b"\r\n\r\n" not in found:
        got = sock.recv(65_536)
        if not got:
            raise Wrong("closed before an answer")
        found += got
    head, _, body = found.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
        raise Wrong(head.split(b"\r\n", 1)[0].decode())
    size = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")))
    pieces = [body]
    left = size - len(body)
    while left > 0:
        got = sock.recv(min(left, 262_144))
        if not got:
            raise Wrong("cut")
        pieces.append(got)
        left -= len(got)
    return b"".join(pieces)


def upload(day: Day) -> None:
    """Upload a few photos and a film on one connection."""
    sock = day.house.connect("http/1.1")
    try:
        for size in (3_000_000, 4_500_000, random.randint(10_000_000, 30_000_000)):
            digest = hashlib.sha256()
            sock.sendall(b"PUT /api/assets HTTP/1.1\r\nHost: photos.test\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, 262_144):
                piece = content(at, min(262_144, size - at))
                digest.update(piece)
                sock.sendall(piece)
            if _exchange(sock, b"") != digest.hexdigest().encode():
                raise Wrong("another digest")
            day.counts["megabytes up"] += size // 1_000_000
    finally:
        sock.close()
    day.rest(2.0)


def seek(day: Day) -> None:
    """Seek through a video: ranges here and there, some left in the middle."""
    sock = day.house.connect("http/1.1")
    try:
        for _ in range(random.randint(3, 12)):
            at = random.randrange(0, VIDEO_BYTES - 2_000_000)
            end = at + random.randint(200_000, 1_500_000)
            asked = b"GET /video HTTP/1.1\r\nHost: photos.test\r\nRange: bytes=%d-%d\r\n\r\n" % (at, end)
            if random.random() < 0.2:
                sock.sendall(asked)
                sock.recv(16_384)
                day.counts["ranges left"] += 1
                return
            if _exchange(sock, asked) != content(at, end - at + 1):
                raise Wrong("another range")
            day.counts["ranges"] += 1
            day.rest(0.1)
    finally:
        sock.close()
    day.rest(1.0)


def talk(day: Day) -> None:
    """A WebSocket: words there and back, for minutes."""
    sock = day.house.connect("http/1.1")
    try:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: photos.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        data = b""
        while b"\r\n\r\n" not in data:
            got = sock.recv(4_096)
            if not got:
                raise Wrong("closed before an answer")
            data += got
        if b" 101 " not in data.split(b"\r\n", 1)[0]:
            raise Wrong(data.split(b"\r\n", 1)[0].decode())
        for number in range(random.randint(20, 200)):
            word = b"word %06d" % number
            sock.sendall(word)
            heard = b""
            while len(heard) < len(word):
                got = sock.recv(4_096)
                if not got:
                    raise Wrong("closed")
                heard += got
            if heard != word:
                raise Wrong("another word")
            day.counts["words"] += 1
            day.rest(1.0)
            if day.over:
                break
    finally:
        sock.close()


# ---------------------------------------------------------------- the run


class Samples:
    """Resident memory and descriptors of the workers, over time."""

    def __init__(self) -> None:
        self.resident: list[int] = []
        self.descriptors: list[int] = []

    def take(self, pids: list[int]) -> None:
        """Look at all workers together. One that has just ended spoils the look, and is seen by its absence."""
        try:
            resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")
            descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
        except OSError:
            return
        self.resident.append(resident)
        self.descriptors.append(descriptors)

    def judge(self) -> list[str]:
        """Return what is not flat."""
        wrong: list[str] = []
        for name, found, slack in (("resident memory", self.resident, SLACK_BYTES), ("descriptors", self.descriptors, SLACK_DESCRIPTORS)):
            quarter = len(found) // 4
            before, after = statistics.median(found[quarter : 2 * quarter]), statistics.median(found[-quarter:])
            if after > before * (1 + SLACK_SHARE) + slack:
                wrong.append(f"{name} grew from {before:.0f} to {after:.0f}")
        return wrong

    def words(self) -> str:
        """Describe both in a line."""
        quarter = len(self.resident) // 4
        quarters = [statistics.median(self.resident[at * quarter : (at + 1) * quarter]) / 1e6 for at in range(4)]
        told = ", ".join(f"{each:.1f}" for each in quarters)
        fds = [statistics.median(self.descriptors[at * quarter : (at + 1) * quarter]) for at in range(4)]
        return f"resident MB by quarter: {told}; descriptors: {', '.join(f'{each:.0f}' for each in fds)}"


def soak(house: House, seconds: float, reload_s: float, restart_s: float, crowd: int) -> bool:
    """Run the day; tell whether all was well."""
    day = Day(house, time.monotonic() + seconds)
    parts = (
        [("timelines", open_timeline)] * crowd
        + [("uploads", upload)] * crowd
        + [("videos", seek)] * crowd
        + [("WebSockets", talk)] * 10 * crowd
    )
    threads = [threading.Thread(target=day.play, args=part, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    began, samples, pids = time.monotonic(), Samples(), house.workers()
    reload_at, restart_at = began + reload_s, began + restart_s
    while not day.over:
        samples.take(house.workers())
        now = time.monotonic()
        if now >= reload_at:
            house.process.send_signal(signal.SIGHUP)
            day.counts["reloads"] += 1
            reload_at += reload_s
        # Not at the end: what is cut is to be seen to go on.
        if now >= restart_at and now + 15 < day.until:
            house.restart_origin()
            day.counts["restarts of the upstream"] += 1
            restart_at += restart_s
        day.rest(_SAMPLE_S)
    for thread in threads:
        thread.join(2 * _WAIT_S)
    wrong = samples.judge() + day.unexplained
    said = house.log.read_text(errors="replace")
    served = said.count("reload.served") - 1
    if served < day.counts["reloads"] - 1:
        wrong.append(f"{day.counts['reloads']} reloads were asked for, {served} served")
    for bad in ("proxy.bug", "control.bug", "worker.died"):
        if bad in said:
            wrong.append(f"the log has {bad}")
    if house.workers() != pids:
        wrong.append("a worker was replaced")
    if any(thread.is_alive() for thread in threads):
        wrong.append("a client hangs")
    print(f"{seconds:.0f} s: " + ", ".join(f"{name} {count}" for name, count in sorted(day.counts.items())))
    print(samples.words())
    for each in wrong[:20]:
        print(f"WRONG: {each}")
    print("held" if not wrong else f"GAVE WAY ({len(wrong)})")
    return not wrong


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--reload", type=float, default=60.0, help="seconds between reloads")
    parser.add_argument("--restart", type=float, default=300.0, help="seconds between restarts of the upstream")
    parser.add_argument("--crowd", type=int, default=2, help="clients of each kind, ten times as many WebSockets")
    parser.add_argument("--source", default="")
    parser.add_argument("--origin", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.origin:
        Origin(given.origin).serve()
        return 0
    house = House(given.source)
    try:
        held = soak(house, given.seconds, given.reload, given.restart, given.crowd)
    finally:
        house.stop()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
