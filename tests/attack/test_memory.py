"""A connection holds no more than `docs/internals/memory.md` says, whatever both of its ends do: each worst case, driven.

Facts: resident memory of a worker is what counts. An allocator keeps some of what it got, and reading it is not exact; so each case
has connections enough to make the bound large beside that (`SLACK`).
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.floods import Target, begin, frame, literal, request

from tests.attack import bounds
from tests.attack.test_floods import resident
from tests.e2e.certs import Authority
from tests.e2e.client import Client
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule, settings
from vestibule.control.admin import ask, find_sockets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "internals" / "memory.md"
SLACK = 12_000_000
STILL_S = 1.0
MOST_S = 20.0
_HEADERS, _DATA, _CONTINUATION = 1, 0, 9
_POST = b"\x83\x87"


class Hostile:
    """An upstream by what is asked: `/pour` answers without end, `/sink` takes nothing, `/hold` reads and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        # Or the kernel would take megabytes of what nobody reads.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                got = sock.recv(65_536)
                if not got:
                    return
                data += got
            path = data.split(b" ", 2)[1]
            if path == b"/pour":
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
                while not self._over.is_set():
                    sock.sendall(b"x" * 262_144)
            elif path == b"/sink":
                self._over.wait(60)
            elif path == b"/hold":
                while sock.recv(65_536):
                    pass
            else:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@dataclass
class Rig:
    proxy: Vestibule
    target: Target
    tls: ssl.SSLContext


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    authority = Authority()
    authority.bundle(tmp_path / "photos.pem", "photos.test")
    origin = Hostile()
    plain, secure, nobody = free_ports(3)
    config = (
        f'{settings(tmp_path)}\n[sites."photos.test"]\nlisten = ["https://127.0.0.1:{secure}", "http://127.0.0.1:{plain}"]\n'
        f'cert = "photos.pem"\nredirect_http = false\nto = "http://127.0.0.1:{origin.port}"\naccess_log = "off"\n'
        f'routes = [{{ prefix = "/gone", to = "http://127.0.0.1:{nobody}" }}]\n'
    )
    proxy = Vestibule(tmp_path, config.replace('stop = "5s"', 'stop = "0s"'), [plain, secure])
    tls = authority.client()
    for client in (Client(("127.0.0.1", plain)), Client(("127.0.0.1", secure), tls, version="h2")):
        for _ in range(5):
            assert client.get("/warm").status == 200
    yield Rig(proxy, Target(plain, secure), tls)
    proxy.stop()
    origin.close()


class Greedy:
    """A connection that sends all it can of `data`, again and again where `again` says so, and reads nothing but a handshake."""

    def __init__(self, rig: Rig, data: bytes, again: bytes, secure: bool, alpn: str = "h2") -> None:
        raw = socket.create_connection(("127.0.0.1", rig.target.secure if secure else rig.target.plain), MOST_S)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.sock = raw
        if secure:
            rig.tls.set_alpn_protocols([alpn])
            self.sock = rig.tls.wrap_socket(raw, server_hostname="photos.test")
        self.sock.setblocking(False)
        self._left = memoryview(data)
        self._again = memoryview(again)

    def push(self) -> None:
        """Send what is taken now."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            for _ in range(64):
                if not self._left:
                    self._left = self._again
                    if not self._left:
                        return
                sent = self.sock.send(self._left[:65_536])
                self._left = self._left[sent:]

    def close(self) -> None:
        self.sock.close()


def head(path: str, more: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: photos.test\r\n{more}\r\n".encode()


def many(streams: int, make: Callable[[int], bytes]) -> bytes:
    return b"".join([make(1 + 2 * at) for at in range(streams)])


def get(path: bytes, more: bytes = b"") -> Callable[[int], bytes]:
    block = request("photos.test", path, more)
    return lambda stream: frame(_HEADERS, 5, stream, block)


def uploads(streams: int) -> bytes:
    """Bodies up to the window of the connection, whose requests wait for an upstream that is not there."""
    block = _POST + literal(b"", b"/gone", 4) + literal(b"", b"photos.test", 1)
    data = b"".join([frame(_DATA, 0, 1 + 2 * at, b"x" * 16_384) for _ in range(63) for at in range(streams)])
    return begin() + many(streams, lambda stream: frame(_HEADERS, 4, stream, block)) + data


@dataclass(frozen=True)
class Case:
    """A worst case: what each of `count` connections sends, and what may be held of each; `least` shows that it was driven."""

    name: str
    count: int
    data: bytes
    holds: int
    again: bytes = b""
    secure: bool = False
    alpn: str = "h2"
    least: int = 0


CASES = (
    Case("answers nobody reads", 60, head("/pour"), bounds.QUEUE + bounds.OBJECTS, least=bounds.MARK),
    Case(
        "answers nobody reads, TLS",
        60,
        head("/pour"),
        bounds.QUEUE + bounds.OBJECTS + bounds.TLS,
        secure=True,
        alpn="http/1.1",
        least=bounds.MARK,
    ),
    Case(
        "bodies nobody takes",
        60,
        head("/sink", "Content-Length: 100000000000\r\n", "POST"),
        bounds.QUEUE + bounds.OBJECTS + bounds.FROM_CLIENT,
        again=b"x" * 65_536,
        least=bounds.MARK,
    ),
    Case(
        "bodies nobody takes, TLS",
        60,
        head("/sink", "Content-Length: 100000000000\r\n", "POST"),
        bounds.QUEUE + bounds.OBJECTS + bounds.FROM_CLIENT + bounds.TLS,
        again=b"x" * 65_536,
        secure=True,
        alpn="http/1.1",
        least=bounds.MARK,
    ),
    Case("heads that are not whole", 400, head("/", "X: " + "a" * 16_000)[:-4], bounds.FROM_CLIENT, least=8_000),
    Case(
        "requests behind one that waits", 60, head("/hold"), bounds.FROM_CLIENT + bounds.OBJECTS, again=head("/next") * 1_000, least=16_384
    ),
    Case(
        "streams whose windows are shut",
        3,
        begin((4, 0)) + many(bounds.H2.streams, get(b"/pour")),
        bounds.H2.streams * (bounds.QUEUE + bounds.OBJECTS) + bounds.TLS,
        secure=True,
        least=bounds.H2.streams * bounds.MARK,
    ),
    Case(
        "bodies nobody takes on many streams",
        3,
        uploads(16),
        bounds.CONNECTION_H2 + 16 * (bounds.QUEUE + bounds.OBJECTS) + bounds.TLS,
        secure=True,
        least=8_000_000,
    ),
    Case(
        "a header block that is not whole",
        40,
        begin() + frame(_HEADERS, 1, 1, request("photos.test")) + frame(_CONTINUATION, 0, 1, b"x" * 16_000) * 15,
        bounds._BLOCK_MOST + bounds.FROM_CLIENT + bounds.TLS,
        secure=True,
        least=200_000,
    ),
    Case(
        "large heads that wait on many streams",
        5,
        begin() + many(bounds.H2.streams, get(b"/hold", literal(b"x", b"y" * 12_000))),
        bounds.H2.streams * (bounds.HEADS + bounds.OBJECTS) + bounds.TLS,
        secure=True,
        least=bounds.H2.streams * 12_000,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_connection_holds_no_more_than_its_bound(case: Case, rig: Rig) -> None:
    (worker,) = rig.proxy.workers
    before = resident(worker)
    made = [Greedy(rig, case.data, case.again, case.secure, case.alpn) for _ in range(case.count)]
    try:
        peak = _drive(made, worker)
        growth = peak - before
        assert growth <= case.count * case.holds + SLACK
        assert growth >= case.count * case.least / 2, "the case was not driven"
        assert rig.proxy.workers == [worker]
    finally:
        for each in made:
            each.close()
    assert Client(("127.0.0.1", rig.target.plain)).get("/after").status == 200


def _drive(made: list[Greedy], worker: int) -> int:
    """Send until nothing grows any more; return the most that was resident."""
    peak, still_at, end = 0, time.monotonic(), time.monotonic() + MOST_S
    while time.monotonic() < min(still_at + STILL_S, end):
        for each in made:
            each.push()
        now = resident(worker)
        if now > peak + 100_000:
            peak, still_at = now, time.monotonic()
        time.sleep(0.01)
    return peak


def test_reloads_leave_nothing(tmp_path: Path) -> None:
    """What a generation is made of is given back when the next one serves."""
    authority = Authority()
    authority.bundle(tmp_path / "photos.pem", "photos.test")
    (port,) = free_ports(1)
    sites = "".join(
        f'[sites."{name}.photos.test"]\ncert = "photos.pem"\nlisten = "https://127.0.0.1:{port}"\nto = "http://127.0.0.1:1"\n'
        'request = [{ set = "X-A", value = "{host}" }]\n'
        for name in "abcde"
    )
    proxy = Vestibule(tmp_path, f"{settings(tmp_path)}\n{sites}", [port])
    try:
        (worker,) = proxy.workers
        until = time.monotonic() + 20  # connections are taken a moment before commands are
        while not (found := find_sockets(tmp_path / "state")) and time.monotonic() < until:
            time.sleep(0.05)
        (admin,) = found
        before = 0
        for number in range(80):
            if number == 20:
                before = resident(worker)
            assert ask(admin, "reload")["ok"]
        assert proxy.workers == [worker]
        assert resident(worker) - before < 1_500_000
    finally:
        proxy.stop()


def test_the_page_has_the_figures() -> None:
    text = PAGE.read_text()
    for name, held in bounds.rows():
        shown = f"{held / 1_048_576:.1f} MiB" if held >= 10_485_760 else f"{held // 1024} KiB"
        assert f"| {name} | {shown} |" in text, (name, shown)


def test_a_bound_is_larger_than_its_parts() -> None:
    assert struct.calcsize("q") == 8
    assert bounds.H2.connection_window + bounds.H2.streams * bounds.QUEUE < bounds.PLAIN_H2
