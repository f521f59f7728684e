"""Plain and TLS transports keep the contract of `Transport`."""

import socket
import ssl
from collections.abc import Callable

import pytest

from vestibule.net.reactor import WRITE, Reactor
from vestibule.net.tls import AskedObject, client_context
from vestibule.net.transport import Bypass, PlainTransport, TlsTransport, _reason

from . import transport as suite
from .pair import FarTls, Pair, Record, clogged, plain, server_side, tcp_pair, tls

pytestmark = pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from

MAKERS = [plain, tls]


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


@pytest.mark.parametrize("maker", MAKERS)
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


def test_a_patient_transport_hears_of_a_reset_when_it_reads_again() -> None:
    pair = plain()
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
    context = client_context(verify=False, protocol=offer)
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


def _nameless() -> ssl.SSLError:
    error = ssl.SSLError(1, "odd")
    error.reason = None  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(32, "Broken pipe"), "Broken pipe"),
        (_nameless(), "odd"),
        (OSError("only words"), "only words"),
    ],
)
def test_what_broke_is_told_in_words(error: OSError, words: str) -> None:
    assert _reason(error) == words


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
