"""A transport under test and the far end of its socket, plain or TLS.

Rules: the far end never blocks; `Pair.until` lets both ends work a bounded number of times.
"""

import datetime
import fcntl
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vestibule.net.reactor import Reactor
from vestibule.net.tls import client_context, server_context
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Owner, PlainTransport, Transport

ROUNDS = 2000
SETTLED_S = 20.0
STILL_ROUNDS = 10
SMALL = 65_536  # less makes the kernel count in timers


@cache
def papers() -> tuple[bytes, bytes]:
    """Return a certificate for `localhost` and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), text


@cache
def server_side() -> ssl.SSLContext:
    return server_context(*papers())


@cache
def client_side() -> ssl.SSLContext:
    return client_context(verify=False)


class Record(Owner):
    """An owner that writes down what it is told, and fails if it is told from inside a call of its own."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.got = bytearray()
        self.calling = False
        self.on_first: Callable[[], None] | None = None

    def _note(self, event: str) -> None:
        assert not self.calling, f"{event} from inside a call to the transport"
        self.events.append(event)

    def on_data(self, data: bytes) -> None:
        assert data, "empty data"
        self._note("data")
        self.got += data
        if self.on_first is not None:
            first = self.on_first
            self.on_first = None
            first()

    def on_end(self) -> None:
        self._note("end")

    def on_lost(self, detail: str) -> None:
        assert detail
        self._note("lost")

    def on_drained(self) -> None:
        self._note("drained")

    def on_secured(self) -> None:
        self._note("secured")

    def on_stopping(self) -> None:
        self._note("stopping")

    def count(self, event: str) -> int:
        return self.events.count(event)


class Far:
    """The other end: plain bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.got = bytearray()
        self.unsent = bytearray()
        self.ended = False  # in good order
        self.broken = False
        self.reads = True

    def work(self) -> None:
        if self.sock.fileno() < 0:
            return
        while self.unsent:
            try:
                sent = self.sock.send(self.unsent[:200_000])
            except BlockingIOError:
                break
            except OSError:
                self.broken = True
                break
            del self.unsent[:sent]
        while self.reads and not self.ended and not self.broken:
            try:
                data = self.sock.recv(200_000)
            except BlockingIOError:
                break
            except OSError:
                self.broken = True
                break
            self.take(data)

    def take(self, data: bytes) -> None:
        self.got += data
        self.ended = not data

    def send(self, data: bytes) -> None:
        self.unsent += data
        self.work()

    def finish(self) -> None:
        """Say in good order that nothing more comes."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class FarTls(Far):
    """The other end of a TLS connection, as a client."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None = None, name: str = "localhost") -> None:
        super().__init__(sock)
        self.inward = ssl.MemoryBIO()
        self.outward = ssl.MemoryBIO()
        self.tls = (context or client_side()).wrap_bio(self.inward, self.outward, server_hostname=name)
        self.ready = False
        self.early = bytearray()
        self.shake()

    def shake(self) -> None:
        try:
            self.tls.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.broken = True  # refused
        self.unsent += self.outward.read()

    def take(self, data: bytes) -> None:
        if data:
            self.inward.write(data)
        else:
            self.inward.write_eof()
        if not self.ready:
            self.shake()
            self.send(bytes(self.early))
        while self.ready:
            try:
                part = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError:
                self.broken = True  # the socket ended without a word
                break
            if not part:
                self.ended = True
                break
            self.got += part
        self.unsent += self.outward.read()

    def send(self, data: bytes) -> None:
        if not self.ready:
            self.early += data
            return
        if data:
            self.tls.write(data)
        self.unsent += self.outward.read()
        self.work()

    def finish(self) -> None:
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # the answer is not waited for
        self.unsent += self.outward.read()
        self.work()
        self.sock.shutdown(socket.SHUT_WR)


class Pair:
    """Both ends and what lets them work."""

    def __init__(self, reactor: Reactor, transport: Transport, owner: Record, far: Far) -> None:
        self.reactor = reactor
        self.transport = transport
        self.owner = owner
        self.far = far

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(0)
            self.far.work()

    def until(self, happened: Callable[[], bool]) -> None:
        for _ in range(ROUNDS):
            if happened():
                return
            self.reactor.turn(1)
            self.far.work()
        raise AssertionError(f"did not happen: {self.owner.events[-5:]}, far got {len(self.far.got)}, ended {self.far.ended}")

    def write(self, data: bytes) -> bool:
        """Write, and see that nobody is called meanwhile."""
        self.owner.calling = True
        more = self.transport.write(data)
        self.owner.calling = False
        return more

    def wait(self, seconds: float) -> None:
        self.turn(3)
        self.reactor.ahead_ms += int(seconds * 1000) + 101
        self.turn(3)

    def close(self) -> None:
        self.transport.abort()
        self.far.close()
        self.turn(2)
        self.reactor.close()


def tcp_pair(small: bool) -> tuple[socket.socket, socket.socket]:
    """Return two connected TCP sockets; small ones hold little, so that they clog early."""
    with socket.socket() as door:
        if small:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        door.bind(("127.0.0.1", 0))
        door.listen()
        far = socket.socket()
        far.connect(door.getsockname())
        near, _ = door.accept()
    if small:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    near.setblocking(False)
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def plain(small: bool = False) -> Pair:
    """Make a plain transport and its far end."""
    near, far = tcp_pair(small)
    reactor = Reactor()
    owner = Record()
    transport = PlainTransport(reactor, near, owner)
    transport.start()
    return Pair(reactor, transport, owner, Far(far))


def tls(small: bool = False) -> Pair:
    """Make a TLS transport on the server's side and its far end, the handshake done."""
    near, far = tcp_pair(small)
    reactor = Reactor()
    owner = Record()
    transport = TlsTransport(reactor, near, owner, server_side(), True, None)
    transport.start()
    other = FarTls(far)
    pair = Pair(reactor, transport, owner, other)
    pair.until(lambda: other.ready and "secured" in owner.events)
    pair.turn(2)
    owner.events.clear()
    return pair


def is_direct(transport: Transport) -> bool:
    """Tell whether OpenSSL reads ahead and writes by itself. Nothing but CPU time shows that from outside."""
    assert isinstance(transport, TlsTransport)
    return transport._source is not None and transport._sink is not None


def tls_bulk(small: bool = False) -> Pair:
    """Make a TLS transport that had long bodies, so that OpenSSL reads and writes its socket by itself."""
    pair = tls()
    assert isinstance(pair.transport, TlsTransport)
    for size in (1_000_000, 1_000):
        body = bytes(range(250)) * (size // 250)
        pair.transport.pause()
        pair.turn()
        pair.far.send(body)
        pair.turn(3)
        pair.transport.resume()
        pair.until(lambda body=body: len(pair.owner.got) >= len(body))  # type: ignore[misc]
        assert pair.owner.got == body
        pair.owner.got.clear()
    for _ in range(2):
        pair.write(body * 400)
        pair.until(lambda: len(pair.far.got) == len(body * 400))
        assert pair.far.got == body * 400
        pair.far.got.clear()
    pair.turn(2)
    assert is_direct(pair.transport)
    if small:
        pair.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        pair.far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    assert set(pair.owner.events) == {"data", "drained"}
    pair.owner.events.clear()
    return pair


def clogged(pair: Pair) -> Pair:
    """Fill the connection until the kernel takes nothing more and the transport has said enough."""
    pair.far.reads = False
    filler = bytes(30_000)
    while pair.write(filler):
        pair.turn()
    settle(pair)
    while pair.transport.queued() < 65_536:
        pair.write(filler)
        settle(pair)
    return pair


def settle(pair: Pair) -> None:
    """Let both ends work until nothing has moved for a while: a loaded machine moves later what the kernel has taken."""
    end = time.monotonic() + SETTLED_S
    before, still = (-1, -1, -1), 0
    while still < STILL_ROUNDS:
        assert time.monotonic() < end, "bytes move for ever"
        pair.turn(3)
        pair.reactor.turn(5)
        now = (pair.transport.bytes_out, *in_kernel(pair))
        still = still + 1 if now == before else 0
        before = now


def in_kernel(pair: Pair) -> tuple[int, int]:
    """Return how many bytes the kernel has of what was written: those that the far end has not acknowledged, and those it has not read."""
    return _counted(pair.transport.sock, termios.TIOCOUTQ), _counted(pair.far.sock, termios.FIONREAD)


def _counted(sock: socket.socket, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(sock.fileno(), what, bytes(4)), sys.byteorder)
