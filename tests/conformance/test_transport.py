"""Plain and TLS transports keep the contract of `Transport`."""

import socket
import ssl
from collections.abc import Callable

import pytest

from vestibule.net import openssl
from vestibule.net.reactor import WRITE, Reactor
from vestibule.net.tls import AskedObject, client_context, server_context
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Bypass, PlainTransport

from . import transport as suite
from .pair import FarTls, Pair, Record, clogged, in_kernel, papers, plain, server_side, tcp_pair, tls, tls_bulk

pytestmark = pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from

MAKERS = [plain, tls, tls_bulk]


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_transport(maker: Callable[[], Pair], check: Callable[[Pair], None]) -> None:
    pair = maker()
    check(pair)
    pair.close()


@pytest.mark.parametrize("check", suite.CLOGGED_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_clogged_transport(maker: Callable[[bool], Pair], check: Callable[[Pair], None]) -> None:
    pair = clogged(maker(True))
    check(pair)
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_survives(maker: Callable[[], Pair]) -> None:
    suite.check_nothing_survives(maker)


class Odd:
    """A socket some of whose calls fail."""

    def __init__(self, sock: socket.socket, **fails: OSError) -> None:
        self._sock = sock
        self._fails = fails

    def __getattr__(self, name: str) -> object:
        if name in self._fails:
            return self._fail(self._fails[name])
        return getattr(self._sock, name)

    @staticmethod
    def _fail(error: OSError) -> Callable[..., None]:
        def call(*_given: object) -> None:
            raise error

        return call


def break_calls(pair: Pair, **fails: OSError) -> None:
    pair.transport.sock = Odd(pair.transport.sock, **fails)  # type: ignore[assignment]


@pytest.mark.parametrize("maker", MAKERS)
def test_calls_after_the_end_do_nothing(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.transport.abort()
    assert not pair.transport.can_relay() and not pair.transport.is_quiet()
    pair.transport.close()
    pair.transport.reset()
    pair.transport.pause()
    pair.transport.resume()
    pair.transport.flush()
    pair.transport.on_deadline()
    pair.transport.on_bug()
    assert pair.owner.events == []
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_bug_loses_the_connection(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.transport.on_bug()
    assert pair.owner.events == ["lost"]
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_readiness_without_bytes_is_nothing(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.transport.on_readable()
    assert pair.owner.events == []
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_an_end_that_nobody_waits_for_closes(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.far.sock.shutdown(socket.SHUT_WR)
    pair.transport.owner = None
    pair.transport.on_readable()
    assert pair.transport.closed and pair.owner.events == []
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_bytes_that_nobody_waits_for_are_dropped(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.far.send(b"hello")
    pair.transport.owner = None
    pair.transport.on_readable()
    assert not pair.transport.closed and pair.owner.got == b""
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_ending_twice_is_ending_once(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.transport.end()
    pair.transport.end()
    assert not pair.transport.can_relay()
    pair.until(lambda: pair.far.ended)
    pair.transport.flush()
    assert pair.owner.events == []
    pair.close()


@pytest.mark.parametrize("maker", [plain, tls])
def test_what_the_kernel_refuses_loses_the_connection_once(maker: Callable[[], Pair]) -> None:
    pair = maker()
    break_calls(pair, recv_into=OSError(5, "Input/output error"), setsockopt=OSError(9, "Bad file descriptor"), recv=OSError(5, "x"))
    assert not pair.transport.is_quiet()
    pair.transport.on_readable()
    assert pair.owner.events == ["lost"]
    pair.close()
    pair = maker()
    break_calls(pair, setsockopt=OSError(9, "Bad file descriptor"))
    pair.transport.reset()
    assert pair.transport.closed and pair.owner.events == []
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("ending", ["end", "close"])
def test_a_goodbye_that_cannot_be_said_is_no_failure(maker: Callable[[], Pair], ending: str) -> None:
    pair = maker()
    broken = OSError(32, "Broken pipe")
    break_calls(pair, send=broken, shutdown=broken)
    getattr(pair.transport, ending)()
    pair.turn(2)
    assert pair.owner.events == [] and pair.transport.closed is (ending == "close")
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_sending_that_fails_while_nobody_listens_closes(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.write(b"hello")
    pair.transport.close()
    assert not pair.transport.closed
    break_calls(pair, send=OSError(32, "Broken pipe"))
    pair.turn()
    assert pair.transport.closed and pair.owner.events == []
    pair.close()


PIECES = [b"x" * 20_000, b"y" * 20_000, b"z" * 20_000]


@pytest.mark.parametrize("pieces", [PIECES, PIECES[:1]])
def test_what_the_kernel_does_not_take_waits_whole(pieces: list[bytes]) -> None:
    pair = plain()
    sock = pair.transport.sock
    break_calls(pair, send=BlockingIOError(), sendmsg=BlockingIOError())
    for piece in pieces:
        pair.write(piece)
    pair.transport.flush()
    assert pair.transport.queued() == 20_000 * len(pieces) and pair.transport.bytes_out == 0
    pair.transport.sock = sock
    pair.until(lambda: pair.far.got == b"".join(pieces))
    assert pair.transport.queued() == 0
    pair.close()


def test_pieces_that_cannot_be_sent_lose_the_connection() -> None:
    pair = plain()
    break_calls(pair, sendmsg=OSError(32, "Broken pipe"))
    for piece in PIECES:
        pair.write(piece)
    pair.turn()
    assert pair.owner.events == ["lost"] and pair.transport.closed
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_patient_transport_hears_of_a_reset_when_it_reads_again(maker: Callable[[], Pair]) -> None:
    pair = maker()
    pair.transport.patient = True
    pair.transport.pause()
    pair.turn()
    pair.far.reset()
    pair.turn(5)
    assert pair.owner.events == [] and pair.transport.known == -1, "not reported for ever"
    pair.transport.resume()
    pair.until(lambda: pair.owner.events == ["lost"])
    pair.close()


class Both(Bypass):
    def __init__(self) -> None:
        self.ready: list[str] = []

    def on_source_ready(self) -> None:
        self.ready.append("source")

    def on_sink_ready(self) -> None:
        self.ready.append("sink")


def test_a_bypass_has_the_readiness_of_both_directions() -> None:
    pair = plain()
    bypass = Both()
    pair.transport.source_bypass = pair.transport.sink_bypass = bypass
    assert not pair.transport.is_sink_blocked()
    pair.transport.on_readable()
    pair.transport.on_writable()
    assert bypass.ready == ["source", "sink"]
    pair.reactor.want(pair.transport, WRITE)
    assert pair.transport.is_sink_blocked()
    assert not pair.write(bytes(70_000))
    pair.transport.on_writable()
    assert bypass.ready == ["source", "sink", "sink"] and pair.owner.events == ["drained"], "what was queued went first"
    pair.close()


# TLS alone.


def counted_reads(pair: Pair) -> list[int]:
    """Return a list that grows by one for each read that is not OpenSSL's own."""
    sock = pair.transport.sock
    reads: list[int] = []

    class Counted:
        def __getattr__(self, name: str) -> object:
            if name.startswith("recv"):
                reads.append(1)
            return getattr(sock, name)

    pair.transport.sock = Counted()  # type: ignore[assignment]
    return reads


LONG = bytes(range(256)) * 8192  # 2 MiB


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("piece", [1_000, 16_384, 50_000, 2_000_000])
def test_openssl_reads_long_bodies_by_itself(version: ssl.TLSVersion, piece: int) -> None:
    near, far = tcp_pair(False)
    reactor, owner, context = Reactor(), Record(), client_context(verify=False)
    context.minimum_version = context.maximum_version = version
    transport = TlsTransport(reactor, near, owner, server_side(), True, None)
    transport.start()
    pair = Pair(reactor, transport, owner, FarTls(far, context))
    pair.until(lambda: "secured" in owner.events)
    pair.transport.pause()
    pair.turn(3)
    reads = counted_reads(pair)
    for at in range(0, len(LONG), piece):
        pair.far.send(LONG[at : at + piece])
    pair.turn(3)
    pair.transport.resume()
    pair.until(lambda: len(owner.got) >= len(LONG))
    assert owner.got == LONG and set(owner.events) == {"secured", "data"}
    assert transport._source is not None and len(reads) < 9, "of 17 and more"
    for word in (b"hello", b"again"):
        owner.got.clear()
        pair.far.send(word)
        pair.until(lambda word=word: owner.got == word)  # type: ignore[misc]
    pair.far.finish()
    pair.until(lambda: owner.events[-1] == "end")
    pair.close()


def test_what_openssl_holds_is_handed_on_without_a_word_of_the_kernel() -> None:
    """It has read all there was, and its owner takes one piece at a time."""
    pair = tls_bulk()
    pair.transport.pause()
    pair.turn(2)
    pair.far.send(LONG[:400_000])
    pair.turn(3)
    while len(pair.owner.got) < 400_000:
        pieces = pair.owner.count("data")
        pair.owner.on_first = pair.transport.pause
        pair.transport.resume()
        pair.until(lambda pieces=pieces: pair.owner.count("data") > pieces)  # type: ignore[misc]
        pair.turn(5)
        assert pair.owner.count("data") == pieces + 1, "who paused is given no more"
        assert not pair.transport.is_quiet() or len(pair.owner.got) == 400_000
    assert pair.owner.got == LONG[:400_000] and pair.owner.count("data") == 4
    assert pair.transport.is_quiet()
    pair.owner.got.clear()
    for at in range(0, 140_000, 1_000):
        pair.far.send(LONG[at : at + 1_000])
    pair.turn(3)
    pair.owner.on_first = pair.transport.pause
    pair.transport.resume()
    pair.until(lambda: len(pair.owner.got) > 0)
    pair.turn(3)
    assert len(pair.owner.got) == 131_072 and not pair.transport.is_quiet(), "there is more"
    pair.transport.resume()
    pair.until(lambda: pair.owner.got == LONG[:140_000])
    pair.close()


def test_who_closed_is_not_called_for_what_openssl_holds() -> None:
    pair = tls_bulk()
    pair.transport.pause()
    pair.turn(2)
    pair.far.send(LONG)
    pair.turn(3)
    pair.owner.on_first = pair.transport.abort
    pair.transport.resume()
    pair.until(lambda: pair.transport.closed)
    pair.turn(3)
    assert pair.owner.events == ["data"]
    pair.close()


def test_records_before_one_that_is_none_are_handed_on() -> None:
    for maker in (tls, tls_bulk):
        pair = maker()
        pair.transport.pause()
        pair.turn(2)
        pair.far.send(b"good")
        pair.far.sock.send(b"\x17\x03\x03\x00\x14" + bytes(20))
        pair.turn(2)
        pair.transport.resume()
        pair.until(lambda pair=pair: "lost" in pair.owner.events)  # type: ignore[misc]
        assert pair.owner.events == ["data", "lost"] and pair.owner.got == b"good"
        pair.close()


@pytest.mark.parametrize("size", [1_000, 20_000, 200_000, 1_000_000])
def test_what_the_kernel_does_not_take_of_openssl_waits_whole(size: int) -> None:
    """Pieces are given to OpenSSL again until it has sent them, with others behind them by then."""
    pair = tls_bulk(True)
    known = pair.transport.bytes_out  # all of which was read
    clogged(pair)
    before = pair.transport.bytes_out
    tail = b""
    for number in range(5):
        piece = bytes([number]) * size
        tail += piece
        pair.write(piece)
        pair.turn(2)
    assert pair.transport.bytes_out - known <= sum(in_kernel(pair)), "not a byte is counted that did not go"
    pair.transport.close()
    pair.far.reads = True
    pair.until(lambda: pair.far.ended)
    assert pair.far.got.endswith(tail) and pair.far.got.count(0) >= 30_000
    assert bytes(pair.far.got[: -len(tail)]).count(0) == len(pair.far.got) - len(tail)
    assert pair.transport.closed and pair.transport.bytes_out > before
    pair.close()


def test_where_openssl_cannot_be_reached_we_read_and_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_LIBRARY", None)
    near, far = tcp_pair(False)
    reactor, owner = Reactor(), Record()
    transport = TlsTransport(reactor, near, owner, server_context(*papers()), True, None)
    transport.start()
    pair = Pair(reactor, transport, owner, FarTls(far))
    pair.until(lambda: "secured" in owner.events)
    transport.pause()
    pair.turn(2)
    pair.far.send(LONG)
    pair.turn(3)
    transport.resume()
    pair.until(lambda: owner.got == LONG)
    for piece in (LONG, LONG[:50_000], b"end"):
        pair.far.got.clear()
        pair.write(piece)
        pair.until(lambda piece=piece: pair.far.got == piece)  # type: ignore[misc]
    assert transport._source is None and transport._sink is None
    pair.close()


@pytest.mark.parametrize("size", [10, 500_000])
def test_what_openssl_cannot_send_loses_the_connection_after_what_came(size: int) -> None:
    pair = tls_bulk()
    pair.transport.pause()
    pair.turn(2)
    pair.far.send(b"last words")
    pair.transport.sock.shutdown(socket.SHUT_WR)
    pair.write(bytes(size))
    pair.turn(2)
    assert pair.owner.events[-1] == "lost" and pair.owner.got == b"last words"
    pair.close()


def two_ends(verify: bool = False) -> tuple[Reactor, TlsTransport, Record, TlsTransport, Record]:
    """Return a client and a server, both ours."""
    near, far = tcp_pair(False)
    far.setblocking(False)
    reactor = Reactor()
    owners = Record(), Record()
    client = TlsTransport(reactor, near, owners[0], client_context(verify=verify), False, "localhost")
    server = TlsTransport(reactor, far, owners[1], server_side(), True, None)
    return reactor, client, owners[0], server, owners[1]


def turns(reactor: Reactor, *transports: TlsTransport) -> None:
    for _ in range(20):
        reactor.turn(1)
    for transport in transports:
        transport.abort()
    reactor.turn(0)
    reactor.close()


def test_what_was_written_before_the_handshake_follows_it() -> None:
    reactor, client, ours, server, theirs = two_ends()
    client.start()
    server.start()
    client.write(b"hello")
    server.write(b"welcome")
    turns(reactor, client, server)
    assert (ours.got, theirs.got) == (b"welcome", b"hello")
    assert ours.events[0] == theirs.events[0] == "secured"


def test_a_server_that_is_not_believed_is_told_so() -> None:
    reactor, client, ours, server, theirs = two_ends(verify=True)
    client.start()
    server.start()
    turns(reactor, client, server)
    assert ours.events == theirs.events == ["lost"]


def test_an_alert_that_cannot_be_sent_is_no_failure() -> None:
    reactor, client, ours, server, theirs = two_ends(verify=True)
    client.start()
    server.start()
    reactor.turn(1)
    client.sock = Odd(client.sock, send=OSError(32, "Broken pipe"))  # type: ignore[assignment]
    turns(reactor, client, server)
    assert ours.events == ["lost"] and theirs.events == ["lost"]


def test_nobody_waits_for_the_handshake() -> None:
    reactor, client, ours, server, theirs = two_ends()
    client.owner = server.owner = None
    client.start()
    server.start()
    turns(reactor, client, server)
    assert client.secured and server.secured and ours.events == theirs.events == []


def test_an_owner_that_aborts_when_it_is_secured() -> None:
    reactor, client, ours, server, theirs = two_ends()

    class Leaves(Record):
        def on_secured(self) -> None:
            super().on_secured()
            server.abort()

    server.owner = leaves = Leaves()
    client.start()
    server.start()
    client.write(b"hello")
    turns(reactor, client, server)
    assert leaves.events == ["secured"]
    assert ours.events[-1] in ("end", "lost") and theirs.events == []


@pytest.mark.parametrize("watches", [False, True])
def test_tls_on_a_socket_that_was_read_from(watches: bool) -> None:
    near, far = tcp_pair(False)
    reactor, owner, first = Reactor(), Record(), Record()
    before = PlainTransport(reactor, near, first)
    before.start()
    other = FarTls(far)
    other.work()
    for _ in range(20):
        reactor.turn(1)
        other.work()
    early = bytes(first.got)
    assert early
    after = TlsTransport(reactor, near, owner, server_side(), True, None)
    after.watches_hello = watches
    after.take_over(before, early)
    pair = Pair(reactor, after, owner, other)
    pair.until(lambda: other.ready and "secured" in owner.events)
    other.send(b"hello")
    pair.until(lambda: owner.got == b"hello")
    assert after.bytes_in > len(early) and before.closed and first.events == ["data"]
    pair.close()


def test_a_take_over_without_bytes() -> None:
    near, far = tcp_pair(False)
    reactor, owner = Reactor(), Record()
    before = PlainTransport(reactor, near, Record())
    before.start()
    reactor.turn(0)
    after = TlsTransport(reactor, near, owner, server_side(), True, None)
    after.take_over(before, b"")
    other = FarTls(far)
    pair = Pair(reactor, after, owner, other)
    pair.until(lambda: other.ready and "secured" in owner.events)
    pair.close()


@pytest.mark.parametrize("offer", ["acme-tls/1", "http/1.1"])
def test_a_validation_is_known_by_its_hello(offer: str) -> None:
    reactor, client, _ours, server, _theirs = two_ends()
    context = client_context(verify=False, offers=(offer,))
    client = TlsTransport(reactor, client.sock, Record(), context, False, "localhost")
    server.watches_hello = True
    client.start()
    server.start()
    turns(reactor, client, server)
    assert isinstance(server.tls, AskedObject) and server.tls.validates is (offer == "acme-tls/1")


def test_a_hello_is_watched_for_a_bounded_time() -> None:
    reactor, client, _ours, server, _theirs = two_ends()
    client.start()
    server.start()
    server.watches_hello = True
    for _ in range(3):
        server._look_for_validation(b"x" * 8_000)
    assert not server.watches_hello
    turns(reactor, client, server)


def test_the_end_of_both_sides() -> None:
    """Who has said goodbye already hears the other's in another way."""
    pair = tls()
    pair.transport.end()
    pair.until(lambda: pair.far.ended)
    pair.far.finish()
    pair.until(lambda: "end" in pair.owner.events)
    pair.turn(3)
    assert pair.owner.events == ["end"]
    pair.close()


def test_writing_after_the_goodbye_loses_the_connection() -> None:
    pair = tls()
    pair.transport.end()
    pair.turn(2)
    pair.write(b"too late")
    pair.turn(2)
    assert pair.owner.events == ["lost"]
    pair.close()


def test_records_that_are_none() -> None:
    pair = tls()
    pair.far.sock.send(b"\x17\x03\x03\x00\x10" + bytes(16))
    pair.until(lambda: pair.owner.events == ["lost"])
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_debt_to_nobody_is_forgotten(maker: Callable[[], Pair]) -> None:
    pair = maker()
    assert not pair.write(bytes(70_000))
    pair.transport.owner = None
    pair.until(lambda: pair.transport.queued() == 0)
    pair.turn(2)
    assert pair.owner.events == []
    pair.close()


def test_an_end_in_good_order_that_nobody_hears() -> None:
    pair = tls()
    pair.transport.owner = None
    pair.far.finish()
    pair.turn(5)
    assert pair.owner.events == []
    pair.close()


def test_an_end_behind_bytes_whose_owner_leaves() -> None:
    pair = tls()
    pair.owner.on_first = pair.transport.abort
    assert isinstance(pair.far, FarTls)
    pair.far.tls.write(b"last")
    pair.far.finish()
    pair.until(lambda: pair.transport.closed)
    pair.turn(3)
    assert pair.owner.events == ["data"]
    pair.close()


class Speechless:
    """A TLS object that cannot say goodbye."""

    def unwrap(self) -> None:
        raise ValueError


def test_a_goodbye_that_openssl_has_no_words_for() -> None:
    pair = tls()
    assert isinstance(pair.transport, TlsTransport)
    pair.transport.tls = Speechless()  # type: ignore[assignment]
    pair.transport.close()
    pair.turn()
    assert pair.transport.closed and pair.owner.events == []
    pair.close()
