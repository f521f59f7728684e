"""HAProxy and vestibule run one file of `mode tcp` with TLS, and one with agents, and are asked the same."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.certs import Authority
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule
from vestibule.control.health import Health
from vestibule.control.logs import ErrorLog
from vestibule.control.resolver import Resolver
from vestibule.dialects import haproxy

from .originals import SEARCH, Running

pytestmark = pytest.mark.skipif(shutil.which("haproxy", path=SEARCH) is None, reason="haproxy is not installed")
WAIT_S = 10
# An agent is asked each 100 ms; what it says is known by then.
HEARD_S = 0.5


class Answers:
    """A server of TCP. `talk` has each connection, which is closed afterwards."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(WAIT_S)
                self._talk(sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(WAIT_S)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], Answers]]:
    made: list[Answers] = []

    def start(talk: Callable[[socket.socket], None]) -> Answers:
        made.append(Answers(talk))
        return made[-1]

    yield start
    for each in made:
        each.close()


def beside(folder: Path, text: str, ports: list[int]) -> Running:
    """Start HAProxy with a file."""
    folder.mkdir()
    (folder / "haproxy.cfg").write_text(text)
    return Running(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], folder, ports, dict(os.environ) | {"PATH": SEARCH})


BEGIN = """\
global
{stats}
defaults
    mode tcp
    timeout client 10s
    timeout connect 5s
    timeout server 10s
"""

# ---------------------------------------------------------------- TLS that ends here

TLS = (
    BEGIN
    + """\
frontend some
    bind 127.0.0.1:{first} ssl crt {folder}/mail.pem crt {folder}/other.pem alpn imap,pop3
    default_backend plain
frontend strict
    bind 127.0.0.1:{second} ssl crt {folder}/mail.pem strict-sni
    default_backend secure
backend plain
    server a 127.0.0.1:{plain}
backend secure
    server b 127.0.0.1:{secure} ssl ca-file {folder}/root.pem sni str(back.test) verifyhost back.test
"""
)

ASKED = [(name, alpn) for name in ("mail.test", "other.test", "nobody.test", None) for alpn in ((), ("imap",), ("x", "pop3"), ("h2",))]


def asked(port: int, name: str | None, alpn: tuple[str, ...]) -> object:
    """Return what a client hears, under which certificate and protocol; or that it hears nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock, context.wrap_socket(sock, server_hostname=name) as secure:
            secure.sendall(b"hello")
            certificate = secure.getpeercert(binary_form=True)
            return secure.recv(100), secure.selected_alpn_protocol(), certificate
    except OSError:
        return "refused"


def test_tls_ends_alike(tmp_path: Path, serve: Callable[..., Answers]) -> None:
    authority = Authority()
    for name in ("mail", "other", "back"):
        authority.bundle(tmp_path / f"{name}.pem", f"{name}.test")
    authority.write_root(tmp_path / "root.pem")
    behind = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    behind.load_cert_chain(tmp_path / "back.pem")

    def secure(sock: socket.socket) -> None:
        with behind.wrap_socket(sock, server_side=True) as inside:
            inside.sendall(b"back:" + inside.recv(100))

    def plain(sock: socket.socket) -> None:
        sock.sendall(b"plain:" + sock.recv(100))

    ours = free_ports(4)
    places = {"folder": tmp_path, "plain": serve(plain).port, "secure": serve(secure).port, "stats": ""}
    original = beside(tmp_path / "original", TLS.format(first=ours[0], second=ours[1], **places), ours[:2])
    proxy = Vestibule(tmp_path, TLS.format(first=ours[2], second=ours[3], **places), ours[2:], name="haproxy.cfg")
    heard: list[list[object]] = []
    try:
        for first, second in (ours[:2], ours[2:]):
            heard.append([asked(port, name, alpn) for port in (first, second) for name, alpn in ASKED])
    finally:
        proxy.stop()
        original.stop()
    different = {
        (port, case): (theirs, mine)
        for (port, case), theirs, mine in zip([(port, case) for port in "12" for case in ASKED], *heard, strict=True)
        if theirs != mine
    }
    # Who offers nothing that is spoken is refused (RFC 7301 3.2); HAProxy goes on without a protocol.
    assert {case for _, case in different} <= {case for case in ASKED if case[1] == ("h2",)}
    assert {port for port, _ in different} <= {"1"}
    assert any(each[0] == b"back:hello" for each in heard[1] if isinstance(each, tuple))


# ---------------------------------------------------------------- who speaks first, and how

FIRST = (
    BEGIN
    + """\
frontend shared
    bind 127.0.0.1:{front}
    tcp-request inspect-delay 2s
    acl shell req.payload(0,7) -m str SSH-2.0
    tcp-request content reject if {{ req.payload(1,2) -m bin 0000 }}
    tcp-request content accept if shell
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    tcp-request content accept if {{ req.len ge 12 }} {{ payload(0,0) -m sub OK }}
    tcp-request content reject
    use_backend one if shell
    use_backend two if {{ req.ssl_hello_type 1 }}
    default_backend three
backend one
    server a 127.0.0.1:{one}
backend two
    server b 127.0.0.1:{two}
backend three
    server c 127.0.0.1:{three}
"""
)

SPOKEN: list[list[bytes]] = [
    [b"SSH-2.0-client\r\n"],
    [b"SS", b"H-2.0", b"-client\r\n"],
    [b"\0\0\0 what is this"],
    [b"this is OK, it is"],
    [b"this is not so well"],
    [b"GET / HTTP", b"/1.1 OK\r\n\r\n"],
]


def spoken(port: int, pieces: list[bytes]) -> bytes:
    """Say something in pieces and return what is heard, nothing where the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            return sock.recv(100)
        except OSError:
            return b""


def test_first_bytes_choose_alike(tmp_path: Path, serve: Callable[..., Answers]) -> None:
    def named(name: bytes) -> Callable[[socket.socket], None]:
        def talk(sock: socket.socket) -> None:
            sock.recv(100)
            sock.sendall(name)

        return talk

    ours = free_ports(2)
    places = {name: serve(named(name.encode())).port for name in ("one", "two", "three")}
    original = beside(tmp_path / "original", FIRST.format(front=ours[0], stats="", **places), ours[:1])
    proxy = Vestibule(tmp_path, FIRST.format(front=ours[1], stats="", **places), ours[1:], name="haproxy.cfg")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x.test").do_handshake()
    hello = outgoing.read()
    said = [*SPOKEN, [hello], [hello[:50], hello[50:]]]
    try:
        theirs, mine = [[spoken(port, pieces) for pieces in said] for port in ours]
    finally:
        proxy.stop()
        original.stop()
    assert mine == theirs == [b"one", b"one", b"", b"three", b"", b"three", b"two", b"two"]


# ---------------------------------------------------------------- agents

AGENTS = """\
global
{stats}
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
frontend a
    bind 127.0.0.1:{front}
    default_backend b
backend b
    server x 127.0.0.1:{to} weight 40 agent-check agent-port {agent} agent-inter 100ms
    server y 127.0.0.2:{to} weight 100 agent-check agent-port {agent} agent-addr 127.0.0.1 agent-inter 100ms
"""

SAID = [
    *["up", "down # tired", "drain", "up 50%", "ready", "0%", "100%", "maint", "", "ready up", "150%", "fail", "stopped"],
    *["75%,drain\tup", "ready"],
]


def theirs(path: Path) -> dict[str, tuple[str, int]]:
    """Return what HAProxy thinks of its servers: a word and a weight."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"show stat\n")
        told = b""
        while data := sock.recv(65_536):
            told += data
    rows = [line.split(",") for line in told.decode().splitlines() if line.startswith(("b,x,", "b,y,"))]
    words = {"no": "up", "DOWN": "down", "DRAIN": "draining", "MAINT": "disabled"}
    return {row[1]: (words[row[17].split(" ")[0]], int(row[18])) for row in rows}


def test_agents_are_understood_alike(tmp_path: Path, serve: Callable[..., Answers]) -> None:
    says = [""]
    agent = serve(lambda sock: sock.sendall(says[0].encode() + b"\n"))
    front, to = free_ports(2)
    stats = f"    stats socket {tmp_path}/s.sock level admin"
    original = beside(tmp_path / "original", AGENTS.format(front=front, to=to, agent=agent.port, stats=stats), [front])
    config = haproxy.parse("haproxy.cfg", AGENTS.format(front=front, to=to, agent=agent.port, stats="")).config
    assert config is not None

    async def play() -> None:
        journal = ErrorLog(tmp_path)
        health = Health(journal, Resolver(journal, lambda _: None), lambda _: None)
        health.watch(config, tmp_path)
        for text in SAID:
            says[0] = text
            await asyncio.sleep(HEARD_S)
            end = time.monotonic() + WAIT_S
            while True:
                mine = dict(zip("xy", [(str(row["state"]), row["weight"]) for row in health.report()], strict=True))
                other = await asyncio.to_thread(theirs, tmp_path / "s.sock")
                # With no weight HAProxy still says `up`, and nobody is sent there by either.
                level = {name: ("draining" if row == ("up", 0) else row[0], row[1]) for name, row in other.items()}
                # On a busy machine one of them hears it later.
                if mine == level or time.monotonic() > end:
                    break
                await asyncio.sleep(0.05)
            assert mine == level, text
        health.stop()

    try:
        asyncio.run(play())
    finally:
        original.stop()
