"""Sockets of datagrams: whole ones both ways, from the right address, and what becomes of those that cannot be sent."""

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vestibule.net.connect import Endpoint
from vestibule.net.datagram import BoundSocket, Connected, ConnectedSocket, Receiver, _answer_info, connect_datagrams, info_host
from vestibule.net.reactor import Reactor

pytestmark = pytest.mark.interpreted_only  # owners and receivers are traits, and those cannot be derived from
WAIT_S = 5


class Peer(Connected):
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.lost: list[tuple[int, str]] = []
        self.dropped = 0
        self.then: Callable[[], None] | None = None

    def on_datagram(self, data: bytes) -> None:
        self.got.append(data)
        if self.then is not None:
            self.then()

    def on_lost(self, code: int, detail: str) -> None:
        self.lost.append((code, detail))

    def on_dropped(self) -> None:
        self.dropped += 1


class Inbox(Receiver):
    def __init__(self) -> None:
        self.got: list[tuple[bytes, tuple[Any, ...], bytes]] = []
        self.dropped = 0

    def on_datagram_from(self, data: bytes, address: tuple[Any, ...], info: bytes) -> None:
        self.got.append((data, address, info))

    def on_dropped(self) -> None:
        self.dropped += 1


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    for pollable in made.pollables():
        made.doom(pollable)
    made.settle()
    made.close()


def turns(reactor: Reactor, until: Callable[[], bool]) -> None:
    for _ in range(500):
        if until():
            return
        reactor.turn(10)
    raise AssertionError("it did not come about")


@contextlib.contextmanager
def server(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.bind((host, 0))
        yield sock


def connected(reactor: Reactor, to: socket.socket) -> tuple[ConnectedSocket, Peer]:
    peer = Peer()
    host, port = to.getsockname()[:2]
    sock = ConnectedSocket(reactor, connect_datagrams(Endpoint(int(to.family), host, port)), peer)
    sock.start()
    return sock, peer


# ---------------------------------------------------------------- to a server


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_pass_whole_both_ways(reactor: Reactor, host: str) -> None:
    with server(host) as far:
        sock, peer = connected(reactor, far)
        sent = [b"", b"one", bytes(65_000), b""]
        for data in sent:
            sock.send(data)
        reactor.settle()
        for data in sent:
            got, address = far.recvfrom(70_000)
            assert got == data
            far.sendto(got, address)
        turns(reactor, lambda: len(peer.got) == len(sent))
        assert peer.got == sent and peer.dropped == 0
        sock.close()
        sock.close()
        reactor.settle()
        assert sock.sock.fileno() == -1


def test_a_burst_is_read_in_growing_batches(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
        sock.send(b"")
        reactor.settle()
        address = far.recvfrom(1)[1]
        for number in range(70):
            far.sendto(b"%d" % number, address)
        counts = []
        for _ in range(8):
            reactor.turn(10)
            counts.append(len(peer.got))
        assert counts == [1, 3, 7, 15, 31, 63, 70, 70]
        far.sendto(b"later", address)
        turns(reactor, lambda: len(peer.got) == 71)


def test_who_closes_in_a_batch_reads_no_more(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
        sock.send(b"")
        reactor.settle()
        address = far.recvfrom(1)[1]
        for _ in range(8):
            far.sendto(b"x", address)
        reactor.turn(10)
        peer.then = sock.close
        reactor.turn(10)
        assert len(peer.got) == 2


def test_a_server_that_is_not_there_is_told_by_reading(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
    sock.send(b"hello")
    turns(reactor, lambda: bool(peer.lost))
    assert peer.lost == [(errno.ECONNREFUSED, "Connection refused")]
    assert peer.dropped == 0


def test_a_server_that_is_not_there_is_told_by_sending(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
    sock.stop_reading()
    sock.send(b"hello")
    reactor.settle()
    for _ in range(2):
        sock.send(b"more")
    reactor.settle()
    assert peer.lost == [(errno.ECONNREFUSED, "Connection refused")]
    sock.send(b"there is room again")
    reactor.settle()
    assert peer.dropped == 0


def test_what_is_closed_tells_nothing(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
    sock.send(b"hello")
    reactor.settle()
    sock.send(b"more")
    sock.close()
    reactor.settle()
    assert peer.lost == []


def test_one_that_is_too_large_is_dropped_alone(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
        sock.send(bytes(65_530))
        sock.send(b"next")
        reactor.settle()
        assert far.recv(100) == b"next"
        assert peer.dropped == 1 and peer.lost == []


def test_a_full_socket_takes_the_rest_later_and_no_more_than_the_limit(reactor: Reactor) -> None:
    ours, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    far.setblocking(False)
    peer = Peer()
    sock = ConnectedSocket(reactor, ours, peer)
    sock.start()
    sent = [b"%d" % number + bytes(1000) for number in range(400)]
    for data in sent[:300]:
        sock.send(data)
    assert peer.dropped > 0
    kept = 300 - peer.dropped
    reactor.settle()
    got: list[bytes] = []

    def drain() -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                got.append(far.recv(2000))
        return len(got) >= kept

    sock.send(b"")  # waits behind the others
    turns(reactor, drain)
    turns(reactor, lambda: drain() and len(got) > kept)
    assert got == [*sent[:kept], b""]
    for data in sent[300:]:
        sock.send(data)
    assert peer.dropped == 300 - kept, "the room is free again"
    sock.close()
    reactor.settle()  # what the kernel does not take now is lost
    far.close()


def test_a_bug_is_the_end_of_the_session(reactor: Reactor) -> None:
    with server() as far:
        sock, peer = connected(reactor, far)
        sock.on_bug()
        assert peer.lost == [(0, "a bug of vestibule")]


def test_sent_from_an_address_of_our_own() -> None:
    with server() as far:
        there = Endpoint(int(socket.AF_INET), "127.0.0.1", far.getsockname()[1])
        there.local = "127.0.0.7"
        with connect_datagrams(there) as sock:
            assert sock.getsockname()[0] == "127.0.0.7"


def test_no_socket_is_left_where_connecting_fails() -> None:
    with pytest.raises(OSError):
        connect_datagrams(Endpoint(int(socket.AF_INET), "255.255.255.255", 9))


# ---------------------------------------------------------------- from clients


def bound(reactor: Reactor, host: str, dual: bool = False) -> tuple[BoundSocket, Inbox]:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if dual:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    inbox = Inbox()
    made = BoundSocket(reactor, sock, inbox)
    made.start()
    return made, inbox


def client(host: str, port: int) -> socket.socket:
    """Return a socket that hears of that address alone."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(WAIT_S)
    sock.connect((host, port))
    return sock


@pytest.mark.parametrize(
    ("host", "asked", "dual"),
    [
        ("127.0.0.1", ["127.0.0.1"], False),
        ("::1", ["::1"], False),
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.9.8.7"], False),
        ("::", ["::1"], False),
        ("::", ["127.0.0.1", "127.0.0.2", "::1"], True),
    ],
)
def test_answers_leave_from_the_address_that_was_asked(reactor: Reactor, host: str, asked: list[str], dual: bool) -> None:
    sock, inbox = bound(reactor, host, dual)
    assert sock.host == host and sock.port == sock.sock.getsockname()[1]
    for each in asked:
        with client(each, sock.port) as near:
            near.send(b"ask")
            turns(reactor, lambda: bool(inbox.got))
            data, address, info = inbox.got.pop()
            assert data == b"ask" and address[1] == near.getsockname()[1]
            assert bool(info) == (host in ("0.0.0.0", "::"))
            if info:
                assert info_host(info).removeprefix("::ffff:") == each
            sock.send(b"answer", address, info)
            reactor.settle()
            assert near.recv(100) == b"answer"
    assert inbox.dropped == 0


def test_what_cannot_be_sent_to_one_client_is_dropped(reactor: Reactor) -> None:
    sock, inbox = bound(reactor, "127.0.0.1")
    sock.send(b"x", ("127.0.0.1", 0), b"")
    reactor.settle()
    assert inbox.dropped == 1


def test_who_stopped_reading_still_sends(reactor: Reactor) -> None:
    sock, inbox = bound(reactor, "127.0.0.1")
    sock.stop_reading()
    reactor.settle()
    with client("127.0.0.1", sock.port) as near:
        near.send(b"x")
        reactor.turn(10)
        assert inbox.got == []
        sock.send(b"late", near.getsockname(), b"")
        reactor.settle()
        assert near.recv(100) == b"late"
    sock.close()
    sock.stop_reading()
    reactor.settle()


def test_a_socket_that_others_have_is_not_heard_of_once_it_is_closed(reactor: Reactor) -> None:
    sock, inbox = bound(reactor, "127.0.0.1")
    reactor.settle()
    with sock.sock.dup() as other, client("127.0.0.1", sock.port) as near:
        sock.close()
        reactor.settle()
        near.send(b"x")
        began = time.monotonic()
        reactor.turn(100)
        assert time.monotonic() - began > 0.09, "epoll still tells of it"
        assert other.recv(10) == b"x" and inbox.got == []


def test_the_address_to_answer_from() -> None:
    four = _answer_info(socket.IPPROTO_IP, 8, b"\x02\0\0\0" + b"\x7f\0\0\x02" + b"\x7f\0\0\x03")
    assert four == bytes(4) + b"\x7f\0\0\x02" + bytes(4)
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert _answer_info(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, six + b"\x03\0\0\0") == six + bytes(4)
    link_local = socket.inet_pton(socket.AF_INET6, "fe80::1")
    assert _answer_info(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, link_local + b"\x03\0\0\0") == link_local + b"\x03\0\0\0"
    site = socket.inet_pton(socket.AF_INET6, "fec0::1")
    assert _answer_info(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, site + b"\x03\0\0\0") == site + bytes(4)
    many = socket.inet_pton(socket.AF_INET6, "ff02::1")
    assert _answer_info(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, many + b"\x03\0\0\0") == b""
