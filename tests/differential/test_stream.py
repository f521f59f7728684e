"""nginx and vestibule run one file of `stream`, and clients and servers see the same.

Facts: which datagrams belong together shows at the server: each session has a port of its own there.
"""

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.datagrams import Server
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule

from .originals import SEARCH, Running

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path=SEARCH) is None or not MODULE.exists(), reason="nginx and its module for streams are not installed"
)
WAIT_S = 10
SILENCE_S = 0.3
IDLE_S = 1

STREAM = """\
stream {{
    upstream pair {{ server 127.0.0.1:{silent} max_fails=1 fail_timeout=60s; server 127.0.0.1:{echo} max_fails=1 fail_timeout=60s; }}
    server {{ listen 127.0.0.1:{plain} udp; proxy_pass 127.0.0.1:{echo}; proxy_timeout {idle}s; }}
    server {{ listen 127.0.0.1:{one} udp; proxy_pass 127.0.0.1:{echo}; proxy_responses 1; }}
    server {{ listen 127.0.0.1:{two} udp; proxy_pass 127.0.0.1:{twice}; proxy_responses 2; }}
    server {{ listen 127.0.0.1:{none} udp; proxy_pass 127.0.0.1:{echo}; proxy_responses 0; }}
    server {{ listen 127.0.0.1:{bundle} udp; proxy_pass 127.0.0.1:{echo}; proxy_responses 1; proxy_requests 2; }}
    server {{ listen 127.0.0.1:{denied} udp; proxy_pass 127.0.0.1:{echo}; deny all; }}
    server {{ listen {wild} udp; proxy_pass 127.0.0.1:{echo}; }}
    server {{ listen 127.0.0.1:{failing} udp; proxy_pass pair; proxy_responses 1; proxy_timeout {idle}s; }}
    server {{ listen 127.0.0.1:{ready}; proxy_pass 127.0.0.1:{echo}; }}
}}
"""
DOORS = ("plain", "one", "two", "none", "bundle", "denied", "wild", "failing", "ready")


@pytest.fixture
def servers() -> Iterator[Callable[[int], Server]]:
    """Yield what starts a server that answers so many times."""
    made: list[Server] = []

    def start(answers: int) -> Server:
        made.append(Server(lambda data: [b"%d:%b" % (number, data) for number in range(answers)]))
        return made[-1]

    yield start
    for each in made:
        each.close()


def heard(port: int, count: int, answers: int = 1, host: str = "127.0.0.1", wait_s: float = WAIT_S) -> list[bytes]:
    """Ask so many times from one port, and return all answers; nothing stands for silence."""
    got: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        sock.settimeout(wait_s)
        for number in range(count):
            sock.send(b"%d" % number)
            for _ in range(answers):
                try:
                    got.append(sock.recv(100))
                except OSError:
                    got.append(b"")
    return got


def shape(peers: list[int]) -> list[int]:
    """Return which of the sessions before each datagram belongs to, by the order they began."""
    first: list[int] = []
    for peer in peers:
        if peer not in first:
            first.append(peer)
    return [first.index(peer) for peer in peers]


def observed(ports: dict[str, int], echo: Server, silent: Server, twice: Server) -> dict[str, object]:
    """Return what clients and servers see."""
    told: dict[str, object] = {}

    def look(name: str, answers: object, server: Server = echo) -> None:
        told[name] = (answers, shape([port for _, port in server.peers]))
        server.peers.clear()

    look("plain", heard(ports["plain"], 3))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", ports["plain"]))
        sock.settimeout(IDLE_S * 2.5)
        for wait in (False, True):
            if wait:
                with pytest.raises(TimeoutError):
                    sock.recv(10)
            sock.send(b"x")
            sock.recv(10)
    look("after silence", [])
    look("one", heard(ports["one"], 3))
    look("two", heard(ports["two"], 3, 2), twice)
    look("none", heard(ports["none"], 3, wait_s=SILENCE_S))
    look("bundle", heard(ports["bundle"], 5))
    look("denied", heard(ports["denied"], 2, wait_s=SILENCE_S))
    for host in ("127.0.0.1", "127.0.0.2"):
        look(f"wild {host}", heard(ports["wild"], 2, host=host))
    # The first server fails by its silence and is left out.
    look("failing", [heard(ports["failing"], 1, wait_s=IDLE_S * 2.5) for _ in range(4)])
    look("silent", [], silent)
    return told


def test_datagrams_pass_alike(tmp_path: Path, servers: Callable[[int], Server]) -> None:
    echo, silent, twice = servers(1), servers(0), servers(2)
    theirs, ours = [dict(zip(DOORS, free_ports(len(DOORS)), strict=True)) for _ in range(2)]
    places = {"echo": echo.port, "silent": silent.port, "twice": twice.port, "idle": IDLE_S}
    folder = tmp_path / "original"
    folder.mkdir()
    head = f"load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(head + STREAM.format(**places, **theirs))
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    original = Running(command, folder, [theirs["ready"]], dict(os.environ) | {"PATH": SEARCH})
    try:
        wanted = observed(theirs, echo, silent, twice)
    finally:
        original.stop()
    for each in (echo, silent, twice):
        each.peers.clear()
    head = f"worker_processes 1;\nerror_log {tmp_path}/ours.log;\nevents {{}}\n"
    proxy = Vestibule(tmp_path, head + STREAM.format(**places, **ours), [ours["ready"]], name="nginx.conf")
    try:
        assert observed(ours, echo, silent, twice) == wanted
    finally:
        proxy.stop()
    assert wanted["bundle"] == ([b"0:%d" % number for number in range(5)], [0, 0, 1, 1, 2])


# ---------------------------------------------------------------- TCP: who ends

HALVES = """\
stream {{
    server {{ listen 127.0.0.1:{usual}; proxy_pass 127.0.0.1:{to}; }}
    server {{ listen 127.0.0.1:{halves}; proxy_pass 127.0.0.1:{to}; proxy_half_close on; }}
    server {{ listen 127.0.0.1:{ready}; return ok; }}
}}
"""
LONG = bytes(range(256)) * 4_000


def read_rest(sock: socket.socket) -> bytes:
    """Return all until the other side ends; what is cut fails."""
    pieces = []
    while data := sock.recv(65_536):
        pieces.append(data)
    return b"".join(pieces)


def met(listener: socket.socket, port: int, ends: str, sent: bytes) -> tuple[bytes, bytes]:
    """Return what is heard in a connection in which one side sends something and ends: by the other side, and by this one then."""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client:
        server, _ = listener.accept()
        server.settimeout(WAIT_S)
        with server:
            one, other = (client, server) if ends == "client" else (server, client)
            sender = threading.Thread(target=lambda: (one.sendall(sent), one.shutdown(socket.SHUT_WR)))
            sender.start()
            heard = read_rest(other)
            sender.join(WAIT_S)
            with contextlib.suppress(OSError):  # nobody there any more
                other.sendall(b"still here")
                other.shutdown(socket.SHUT_WR)
            return heard, read_rest(one)


def test_ends_are_alike(tmp_path: Path) -> None:
    theirs, ours = [dict(zip(("usual", "halves", "ready"), free_ports(3), strict=True)) for _ in range(2)]
    asked = [(door, ends, sent) for door in ("usual", "halves") for ends in ("client", "server") for sent in (b"x", LONG)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        to = listener.getsockname()[1]
        folder = tmp_path / "original"
        folder.mkdir()
        head = f"load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        (folder / "nginx.conf").write_text(head + HALVES.format(to=to, **theirs))
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        original = Running(command, folder, [theirs["ready"]], dict(os.environ) | {"PATH": SEARCH})
        try:
            wanted = [met(listener, theirs[door], ends, sent) for door, ends, sent in asked]
        finally:
            original.stop()
        head = f"worker_processes 1;\nerror_log {tmp_path}/ours.log;\nevents {{}}\n"
        proxy = Vestibule(tmp_path, head + HALVES.format(to=to, **ours), [ours["ready"]], name="nginx.conf")
        try:
            assert [met(listener, ours[door], ends, sent) for door, ends, sent in asked] == wanted
        finally:
            proxy.stop()
    assert [rest for _, rest in wanted] == [b""] * 4 + [b"still here"] * 4
    assert [heard for heard, _ in wanted] == [sent for *_, sent in asked]
