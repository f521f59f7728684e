"""What is asked of OpenSSL itself, and what is said where it cannot be asked."""

import contextlib
import socket
import ssl
import sys
import types

import pytest

from tests.conformance.pair import papers
from tests.net.test_tls import both_ends
from vestibule.net import openssl
from vestibule.net.tls import client_context, server_context


def test_openssl_is_reachable_here() -> None:
    """Were it not, everything below would be about something else."""
    assert openssl.is_reachable()


def test_groups_depth_and_keys_are_taken() -> None:
    made = server_context(*papers())
    openssl.set_groups(made, "X25519:prime256v1")
    openssl.set_depth(made, 2)
    openssl.ask_any(made)
    assert made.verify_mode is ssl.CERT_OPTIONAL
    assert openssl.set_ticket_key(made, bytes(openssl.TICKET_KEY_BYTES))
    with pytest.raises(ValueError, match="X25519:none"):
        openssl.set_groups(made, "X25519:none")
    with pytest.raises(ValueError, match="80 bytes"):
        openssl.set_ticket_key(made, b"short")


def test_authorities_are_named_to_clients() -> None:
    made = server_context(*papers())
    openssl.name_authority(made, ssl.PEM_cert_to_DER_cert(papers()[0].decode()))
    openssl.name_authority(made, b"no certificate")
    server_context(*papers())  # and no error of that is left for the next call


def test_what_cannot_be_reached_says_so() -> None:
    assert "this build of Python" in str(openssl.Unreachable("groups"))
    assert openssl.words_of(-1) == "not verified"
    assert openssl.words_of(0) == ""
    assert openssl.words_of(10) == "certificate has expired"


@pytest.mark.parametrize(
    ("offered", "found"),
    [(b"\x02h2\x08http/1.1", 0), (b"\x08http/1.1", 1), (b"\x06spdy/3", -1), (b"", -1), (b"\xffh2", -1), (b"\x00\x02h2", 0)],
)
def test_protocols_are_found_in_a_clients_list(offered: bytes, found: int) -> None:
    assert openssl.find_protocol([b"h2", b"http/1.1"], offered) == found


def alpn(server: ssl.SSLContext, *offers: str) -> str | None:
    """Shake hands in memory and return the protocol. Raises what either side raises."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_alpn_protocols(list(offers))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(there, back, server_side=True)
    theirs = client.wrap_bio(back, there)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert theirs.selected_alpn_protocol() == ours.selected_alpn_protocol()
    return theirs.selected_alpn_protocol()


def test_the_server_chooses_the_protocol_or_refuses() -> None:
    made = server_context(*papers(), alpn=("h2", "http/1.1"))
    for _ in range(2):
        assert alpn(made, "http/1.1", "h2") == "h2"
        assert alpn(made, "http/1.1") == "http/1.1"
        with pytest.raises(ssl.SSLError, match=r"no application protocol|NO_APPLICATION_PROTOCOL"):
            alpn(made, "spdy/3")


def test_offers_that_are_remembered_are_bounded() -> None:
    made = server_context(*papers(), alpn=("http/1.1", "bounded"))
    for at in range(80):
        assert alpn(made, f"x{at}", "bounded") == "bounded"
    assert len(openssl._ALPN_CHOICES["http/1.1", "bounded"]._known) == 64


def test_suites_are_taken_or_refused() -> None:
    made = server_context(*papers())
    openssl.set_suites(made, "TLS_AES_128_GCM_SHA256")
    with pytest.raises(ValueError, match="TLS_NONE"):
        openssl.set_suites(made, "TLS_NONE")


def test_what_was_found_of_a_peer_nobody_asked() -> None:
    made = server_context(*papers())
    ours = made.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert openssl.verify_result(ours) == 0


@pytest.mark.interpreted_only
def test_without_openssl_what_matters_is_refused_and_the_rest_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = server_context(*papers())
    ours = made.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    monkeypatch.setattr(openssl, "_LIBRARY", None)
    assert not openssl.is_reachable()
    assert not openssl.set_ticket_key(made, bytes(openssl.TICKET_KEY_BYTES))
    openssl.keep_no_sessions(made)
    openssl.name_authority(made, b"")
    openssl.set_protocols(made, ("h2",))
    for refuse in (
        lambda: openssl.set_groups(made, "X25519"),
        lambda: openssl.set_suites(made, "TLS_AES_128_GCM_SHA256"),
        lambda: openssl.set_depth(made, 1),
        lambda: openssl.ask_any(made),
    ):
        with pytest.raises(openssl.Unreachable, match="hides OpenSSL"):
            refuse()
    assert openssl.verify_result(ours) == -1
    assert openssl.words_of(10) == "not verified"


@pytest.mark.interpreted_only
@pytest.mark.parametrize("hidden", [object(), types.SimpleNamespace(__file__="/nowhere/_ssl.so"), types.SimpleNamespace(__file__=None)])
def test_openssl_is_not_found_where_it_is_hidden(monkeypatch: pytest.MonkeyPatch, hidden: object) -> None:
    monkeypatch.setitem(sys.modules, "_ssl", hidden)  # type: ignore[arg-type]
    assert openssl._find_library() is None


@pytest.mark.interpreted_only
def test_an_unknown_python_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_UNKNOWN_FROM", (3, 0))
    assert openssl._find_library() is None


def test_a_handshake_goes_on_whatever_was_found() -> None:
    assert openssl._go_on(0, 0) == 1


def test_a_connection_whose_socket_openssl_has() -> None:
    """As much is read as there is; what is written is gathered until it is flushed."""
    ours, theirs = both_ends(server_context(*papers()), client_context(verify=False), "localhost", None)[::-1]
    near, far = socket.socketpair()
    near.setblocking(False)
    source = openssl.read_from(ours, near.fileno(), 100_000, bytearray(10_000))
    sink = openssl.write_to(ours, near.fileno(), 50_000)
    other = openssl.write_to(theirs, far.fileno(), 50_000)
    assert source is not None and sink is not None and other is not None
    theirs.write(b"hello")
    theirs.write(b"again")
    with pytest.raises(ssl.SSLWantReadError):
        ours.read(100)
    assert other.sent() == 0 and other.flush() and other.sent() > 5
    assert ours.read(100) == b"hello"
    with pytest.raises(BlockingIOError):
        near.recv(1)
    assert ours.read(100) == b"again", "both records came with one read"
    ours.write(b"x" * 40_000)
    assert sink.sent() == 0, "gathered"
    assert sink.flush() and sink.sent() > 40_000
    while sink.flush():
        try:
            ours.write(b"y" * 40_000)
        except ssl.SSLWantWriteError:
            assert not sink.flush(), "the socket is full, and says so"
    far.close()
    with pytest.raises(BrokenPipeError, match="write failed"):
        sink.flush()
    source.close()
    near.close()


class Reading:
    """A connection that OpenSSL reads for, and the other end, which gathers what it writes."""

    def __init__(self) -> None:
        self.theirs, self.ours = both_ends(server_context(*papers()), client_context(verify=False), "localhost", None)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.place = bytearray(100_000)
        source = openssl.read_from(self.ours, self.near.fileno(), 200_000, self.place)
        other = openssl.write_to(self.theirs, self.far.fileno(), 200_000)
        assert source is not None and other is not None
        self.source, self.other = source, other

    def close(self) -> None:
        self.source.close()
        self.near.close()
        self.far.close()


def test_many_records_come_with_one_call() -> None:
    made = Reading()
    source, other, ours, theirs, place = made.source, made.other, made.ours, made.theirs, made.place
    assert source.read(50_000) == 0 and source.is_drained(), "nothing has come"
    body = bytes(range(250)) * 240
    for at in range(0, 60_000, 10_000):
        theirs.write(body[at : at + 10_000])
    assert other.flush()
    assert source.read(25_000) == 25_000 and place[:25_000] == body[:25_000]
    assert ours.pending() == 5_000, "what is left of a record stays with the connection"
    assert ours.read(100) == body[25_000:25_100]
    assert source.read(50_000) == 34_900 and source.is_drained() and place[:34_900] == body[25_100:]
    theirs.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        theirs.unwrap()
    assert other.flush()
    assert source.read(50_000) == 4 and place[:4] == b"last" and not source.is_drained()
    assert ours.read(100) == b"", "in good order"
    made.close()


def test_why_no_more_can_be_read_is_told_by_the_connection() -> None:
    """And is not found by another one: OpenSSL's queue of errors is the thread's."""
    made = Reading()
    source, ours = made.source, made.ours
    made.theirs.write(b"fine")
    assert made.other.flush()
    made.far.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert source.read(50_000) == 4 and not source.is_drained()
    with pytest.raises(ssl.SSLError, match="decryption failed or bad record mac"):
        ours.read(100)
    assert source.read(50_000) == 0
    made.close()


@pytest.mark.interpreted_only  # a name of a module is replaced
def test_what_cannot_be_reached_reads_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = client_context(verify=False).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    assert openssl.own_certificate(made) == b"", "none was shown"
    monkeypatch.setattr(openssl, "_LIBRARY", None)
    assert openssl.read_from(made, 0, 1_000, bytearray(10)) is None and openssl.write_to(made, 1, 1_000) is None
    assert openssl.own_certificate(made) == b""
    assert openssl.verify_result(made) == -1


def test_the_certificate_that_was_shown() -> None:
    theirs, ours = both_ends(server_context(*papers()), client_context(verify=False), "localhost", None)
    assert openssl.own_certificate(ours) == ssl.PEM_cert_to_DER_cert(papers()[0].decode())
    assert openssl.own_certificate(theirs) == b""
