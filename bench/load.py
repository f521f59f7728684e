"""The load: wrk for requests, h2load for handshakes, a fixed rate and HTTP/2, our own clients for bodies and idle connections.

Facts. OpenSSL reads its defaults from the file OPENSSL_CONF names; so one file makes every client offer the same TLS 1.3 suite and
group, and every contender does the same cryptography (Go and OpenSSL would else choose differently).

Rules. Load that meets an error yields no figure: it raises, and the figure is reported as missing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.peer import BenchError, Pins, find_program, pinned
from bench.stats import percentile

_HERE = Path(__file__).resolve().parent
_COUNTED = re.compile(r"COUNTED requests=(\d+) bytes=(\d+) microseconds=(\d+) errors=(\d+)")
#: The suite browsers name first, and the group they all offer.
SUITE: Final = "TLS_AES_128_GCM_SHA256"
GROUP: Final = "X25519"

#: What a browser sends along on every request of a gallery.
BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control: no-cache",
    "Cookie: immich_access_token=1hTtYbTmPqXhHk5wVqWm3m9Lk3VxkqBz0yGd8Qm1Zc; immich_auth_type=password; immich_is_authenticated=true",
    "Pragma: no-cache",
    "Referer: https://photos.example.org/photos",
    'Sec-Ch-Ua: "Chromium";v="126", "Not.A/Brand";v="24"',
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: same-origin",
)


#: h2load sets its own list whatever OpenSSL's defaults say.
_H2LOAD_TLS = (f"--tls13-ciphers={SUITE}", f"--groups={GROUP}")
#: 8 MiB for a stream and 16 MiB for a connection, near what Chromium and Firefox announce; h2load's own would be a gigabyte.
_BROWSER_WINDOWS = ("-w23", "-W24")


@dataclass(frozen=True)
class Load:
    """Where load runs and how: its processor and the directory with the OpenSSL settings and scratch files."""

    directory: Path
    pins: Pins

    def prepare(self) -> None:
        """Write the OpenSSL settings and the file uploads are taken from."""
        (self.directory / "openssl.cnf").write_text(
            "openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\n"
            f"MinProtocol = TLSv1.3\nCiphersuites = {SUITE}\nGroups = {GROUP}\n"
        )
        with (self.directory / "upload.bin").open("wb") as out:
            for _ in range(64):
                out.write(os.urandom(1 << 20))

    def environment(self) -> dict[str, str]:
        """Return the environment of every load process."""
        return {**os.environ, "OPENSSL_CONF": str(self.directory / "openssl.cnf"), "PYTHONPATH": str(_HERE.parent)}

    def run(self, command: list[str], seconds: float) -> str:
        """Run a load program to its end and return what it printed."""
        name = Path(command[0]).name
        try:
            done = subprocess.run(
                pinned(command, self.pins.load),
                env=self.environment(),
                cwd=self.directory,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{name} did not end within {seconds:g} s") from error
        except OSError as error:
            raise BenchError(f"{name} cannot be started: {error}") from error
        if done.returncode != 0:
            raise BenchError(f"{name} failed with status {done.returncode}: {(done.stderr + done.stdout)[-500:].strip()}")
        return done.stdout


def url(port: int, tls: bool, path: str) -> str:
    """Return the address of a path on a contender's listener."""
    return f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"


@dataclass(frozen=True)
class Counted:
    """What a request load did."""

    requests: int
    seconds: float


def keep_alive(load: Load, address: str, seconds: int, connections: int, browser: bool, *, threads: int = 1, hosts: int = 0) -> Counted:
    """Ask for one address over and over on a fixed number of connections, as fast as answers come.

    With `hosts`, each request is for one of so many, `s1.example` and so on, drawn at random.
    """
    # wrk takes whole seconds only.
    command = [find_program("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(_HERE / "wrk.lua")]
    if browser:
        for line in BROWSER_HEADERS:
            command += ["-H", line]
    text = load.run([*command, address, *(["--", str(hosts)] if hosts else [])], seconds + 30)
    found = _COUNTED.search(text)
    if found is None:
        raise BenchError(f"wrk printed no count: {text[-300:].strip()}")
    if int(found[4]):
        raise BenchError(f"{found[4]} of {found[1]} requests failed")
    if not int(found[1]):
        raise BenchError("no request was answered")
    return Counted(int(found[1]), int(found[3]) / 1e6)


def handshakes(load: Load, address: str, connections: int) -> int:
    """Open new TLS connections, all at once, one request each; return how many."""
    text = load.run([find_program("h2load"), "--h1", "-t1", *_H2LOAD_TLS, f"-n{connections}", f"-c{connections}", address], 60.0)
    _expect_all(text, connections)
    if "TLSv1.3" not in text or SUITE not in text:
        raise BenchError(f"not the TLS that was asked for: {text[:400]}")
    return connections


@dataclass(frozen=True)
class Latency:
    """Answer times of a fixed-rate load in microseconds, and how many requests it made."""

    requests: int
    p50: float
    p99: float
    highest: float


def fixed_rate(load: Load, address: str, rate: int, seconds: int, connections: int) -> Latency:
    """Send `rate` requests per second over `connections` connections, whatever the answers do; return the answer times.

    The first fifth is left out: connections open then. A connection asks again only after its answer, so answers slower than
    connections/rate seconds would thin the load; such a run shows as fewer requests than asked for and raises.
    """
    log = load.directory / "h2load.log"
    log.unlink(missing_ok=True)
    total = rate * seconds
    per_connection = rate / connections
    command = [find_program("h2load"), "--h1", "-t1", *_H2LOAD_TLS, f"-n{total}", f"-c{connections}", f"--rps={per_connection:g}"]
    # Connections open a millisecond apart; opened at once they would all ask in the same instant ever after.
    command += ["-r1", "--rate-period=1ms"]
    text = load.run([*command, f"--log-file={log}", address], seconds * 4 + 30)
    _expect_all(text, total)
    rows: list[tuple[int, float]] = []
    for line in log.read_text().splitlines():
        start, _, took = line.split("\t")[:3]
        rows.append((int(start), float(took)))
    rows.sort()
    spent = (rows[-1][0] - rows[0][0]) / 1e6
    if spent > seconds * 1.1 + connections / 1000:
        raise BenchError(f"the rate of {rate}/s was not reached: {len(rows)} requests took {spent:.1f} s")
    times = sorted(took for _, took in rows[len(rows) // 5 :])
    return Latency(total, percentile(times, 0.5), percentile(times, 0.99), times[-1])


def streams(load: Load, address: str, seconds: float, connections: int, each: int, browser: bool, size: int) -> Counted:
    """Ask for one address over HTTP/2, always with `each` streams open on each connection; answers have `size` bytes."""
    command = [find_program("h2load"), "-t1", *_H2LOAD_TLS, f"-D{seconds * 1000:.0f}ms", f"-c{connections}", f"-m{each}"]
    if browser:
        for line in BROWSER_HEADERS:
            command += ["-H", line]
    text = load.run([*command, address], seconds + 30)
    found = re.search(r"(\d+) done, (\d+) succeeded, 0 failed, 0 errored, 0 timeout\n.* 2xx, 0 3xx, 0 4xx, 0 5xx", text)
    # Those under way at the end are left out; all that ended must have ended well.
    if found is None or found[1] != found[2] or not int(found[1]):
        raise BenchError(f"not all requests succeeded: {text[-900:].strip()}")
    _expect_http2(text)
    if _data_bytes(text) < int(found[1]) * size:
        raise BenchError(f"{found[1]} answers of {size} bytes came to {_data_bytes(text)} bytes")
    return Counted(int(found[1]), seconds)


def transfer_http2(load: Load, port: int, upload: bool, length: int) -> float:
    """Move one body of `length` bytes over HTTP/2 with a browser's windows; return the seconds it took."""
    command = [find_program("h2load"), "-t1", *_H2LOAD_TLS, "-n1", "-c1", "-m1", *_BROWSER_WINDOWS]
    if upload:
        # A file of holes takes no memory, and reading it costs the least.
        body = load.directory / f"holes-{length}"
        with body.open("wb") as out:
            out.truncate(length)
        command += ["-d", str(body)]
    start = time.monotonic()
    text = load.run([*command, url(port, True, "/upload" if upload else f"/{length}")], 60 + length / 20e6)
    took = time.monotonic() - start
    _expect_all(text, 1)
    _expect_http2(text)
    if not upload and _data_bytes(text) != length:
        raise BenchError(f"{_data_bytes(text)} of {length} bytes arrived")
    return took


def transfer(load: Load, port: int, tls: bool, upload: bool, length: int) -> float:
    """Move one body of `length` bytes through a contender; return the seconds it took."""
    command = [sys.executable, "-m", "bench.client", "upload" if upload else "download", str(port), str(length)]
    command += ["tls" if tls else "plain", str(load.directory / "upload.bin")]
    text = load.run(command, 60 + length / 20e6)
    told = json.loads(text)
    if told["bytes"] != length:
        raise BenchError(f"{told['bytes']} of {length} bytes arrived")
    return float(told["seconds"])


@contextmanager
def idle_connections(load: Load, port: int, tls: bool, websocket: bool, count: int) -> Iterator[None]:
    """Hold `count` connections, each used once, for the length of a with block."""
    command = [sys.executable, "-m", "bench.client", "idle", str(port), str(count), "tls" if tls else "plain"]
    with _held(load, [*command, "websocket" if websocket else "request"], count):
        yield


@contextmanager
def idle_http2(load: Load, port: int, connections: int, each: int) -> Iterator[None]:
    """Hold HTTP/2 connections, each used once and then left with `each` unanswered requests, for the length of a with block."""
    with _held(load, [sys.executable, "-m", "bench.client_h2", str(port), str(connections), str(each)], connections):
        yield


def await_waiting(port: int, count: int) -> None:
    """Return when the idle origin holds `count` unanswered requests; BenchError when that takes long."""
    limit = time.monotonic() + 8.0
    while True:
        found = int(urllib.request.urlopen(url(port, False, "/waiting"), timeout=5.0).read())
        if found == count:
            return
        if time.monotonic() > limit:
            raise BenchError(f"{found} requests wait at the origin, not {count}")
        time.sleep(0.05)


@contextmanager
def _held(load: Load, command: list[str], count: int) -> Iterator[None]:
    """Run a client that says how many connections it opened and keeps them until its input ends."""
    child = subprocess.Popen(
        pinned(command, load.pins.load),
        env=load.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdin is not None and child.stderr is not None
    try:
        # The client bounds every socket operation, so this read ends; its failure shows as an empty line.
        told = child.stdout.readline()
        if not told or json.loads(told)["open"] != count:
            raise BenchError(f"the idle connections could not be opened: {child.stderr.read()[-300:].strip()}")
        yield
    finally:
        child.stdin.close()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)
        child.stdout.close()
        child.stderr.close()


def _data_bytes(text: str) -> int:
    """Return how many bytes of bodies h2load received."""
    found = re.search(r"\((\d+)\) data", text)
    return int(found[1]) if found else 0


def _expect_http2(text: str) -> None:
    if "Application protocol: h2" not in text or "TLSv1.3" not in text or SUITE not in text:
        raise BenchError(f"not the protocols that were asked for: {text[:400]}")


def _expect_all(text: str, total: int) -> None:
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text)
    good = re.search(r"status codes: (\d+) 2xx", text)
    if found is None or good is None or int(found[1]) != total or int(good[1]) != total:
        raise BenchError(f"not all of {total} requests succeeded: {found[0] if found else text[-300:].strip()}")
