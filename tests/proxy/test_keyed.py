"""Which requests may have a kept connection, and what connections begin with."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.pair import client_side
from tests.proxy.town import ANSWER, Town
from vestibule.contract import DOWN, Client
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.proxy_protocol import TLV_UNIQUE_ID, V2, parse_proxy_header, proxy_header, tlv
from vestibule.proxy.keyed import PRIVATE, PROVEN, SAFE, SHARED, Announced, Keying, RequestText, is_name
from vestibule.proxy.pool import PoolLimits
from vestibule.proxy.upstream import Server, Upstream


@pytest.fixture
def town() -> Iterator[Town]:
    one = Town()
    yield one
    one.close()


def client() -> Client:
    return Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http")


def ask(town: Town, upstream: Upstream, who: Client) -> int:
    """Have a client's request answered; return which connection served it."""
    _, ex = town.ask(upstream, client=who)
    town.turn()
    heard = [at for at, sock in enumerate(town.socks) if has_data(sock)]
    assert len(heard) == 1
    town.socks[heard[0]].sendall(ANSWER)
    town.turn()
    assert ex.over and ex.fault is None
    return heard[0]


def has_data(sock: socket.socket) -> bool:
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return bool(sock.recv(10_000))
    return False


@pytest.mark.parametrize(
    ("reuse", "served"),
    [
        (SHARED, [0, 0, 0, 0, 0, 0]),
        (SAFE, [0, 0, 1, 1, 2, 2]),  # the first of each has its own, and was used last
        (PROVEN, [0, 0, 0, 0, 0, 0]),  # after two requests of one client it is good for others
        (PRIVATE, [0, 0, 1, 1, 2, 2]),
    ],
)
def test_whose_connection_a_request_may_have(town: Town, reuse: int, served: list[int]) -> None:
    pool = town.pool(keyed=Keying(0, reuse=reuse))
    upstream = Upstream("u", [Server(pool)])
    assert [ask(town, upstream, who) for who in (client(), client(), client()) for _ in range(2)] == served


def test_a_connection_that_served_once_is_not_proven(town: Town) -> None:
    pool = town.pool(keyed=Keying(0, reuse=PROVEN))
    upstream = Upstream("u", [Server(pool)])
    one, other, third = client(), client(), client()
    assert [ask(town, upstream, who) for who in (one, other, other, third)] == [0, 1, 1, 1]


def test_a_client_does_not_have_the_connection_that_it_left_to_others_where_each_has_its_own(town: Town) -> None:
    pool = town.pool(keyed=Keying(0, reuse=PRIVATE))
    upstream = Upstream("u", [Server(pool)])
    one, other = client(), client()
    assert [ask(town, upstream, who) for who in (one, other, one, other)] == [0, 1, 0, 1]


def test_who_waits_gets_a_new_connection_where_not_all_may_have_the_old(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1), keyed=Keying(0, reuse=PRIVATE))
    upstream = Upstream("u", [Server(pool)])
    _, first = town.ask(upstream, client=client())
    _, second = town.ask(upstream, client=client())
    town.turn()
    assert len(town.socks) == 1
    town.socks[0].sendall(ANSWER)
    town.turn()
    assert first.over and len(town.socks) == 2
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert second.over and second.fault is None


class Host(RequestText):
    """The Host of a request."""

    def text(self, ex: Exchange) -> bytes:
        return ex.request.fields.host


@pytest.mark.interpreted_only  # a class of the package is derived from
@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"photos.example", "photos.example"),
        (b"Photos.example:8443", "photos.example"),
        (b"photos.example.", "photos.example"),
        (b"[2001:db8::1]", "usual.example"),
        (b"a..b", "usual.example"),
        (b"x" * 64 + b".example", "usual.example"),
    ],
)
def test_the_name_is_of_the_request_or_the_usual_one(town: Town, host: bytes, name: str) -> None:
    keyed = Keying(0, None, Host())
    pool = town.pool(keyed=keyed, tls=client_side())
    _, ex = town.ask(Upstream("u", [Server(pool)]), host=host)
    assert keyed.server_name(ex, "usual.example") == name
    assert Keying(0).server_name(ex, "usual.example") == "usual.example"
    ex.on_fault(DOWN, Fault(CLIENT_GONE))


@pytest.mark.interpreted_only  # a class of the package is derived from
def test_connections_are_for_one_name(town: Town) -> None:
    keyed = Keying(0, None, Host())
    pool = town.pool(keyed=keyed)
    upstream = Upstream("u", [Server(pool)])
    for host in (b"a.example", b"a.example", b"b.example", b"a.example"):
        _, ex = town.ask(upstream, host=host)
        town.turn()
        town.socks[1 if host == b"b.example" else 0].sendall(ANSWER)
        town.turn()
        assert ex.over and ex.fault is None
    assert len(town.socks) == 2


@pytest.mark.interpreted_only  # a class of the package is derived from
@pytest.mark.parametrize("address", [b"192.0.2.1", b"unix:"])
def test_a_header_tells_what_identifies_the_request(town: Town, address: bytes) -> None:
    pool = town.pool(keyed=Keying(V2, Announced(Host(), [])))
    _, ex = town.ask(Upstream("u", [Server(pool)]), host=b"one.example", address=address)
    town.turn()
    header = parse_proxy_header(town.socks[0].recv(10_000))
    assert header is not None and header.tlvs == ({5: b"one.example"} if header.known else {})
    assert header.known is (address != b"unix:"), "what follows nothing is ignored"
    town.answer_all()
    assert ex.over


def test_an_identity_has_128_bytes_at_most() -> None:
    header = parse_proxy_header(proxy_header(V2, b"192.0.2.1", 1, b"192.0.2.2", 2, False, tlv(TLV_UNIQUE_ID, b"x" * 200)))
    assert header is not None and header.tlvs == {5: b"x" * 128}


@pytest.mark.parametrize("text", [b"", b"a b", b".a", b"a.", "é".encode(), b"a" * 254, b"a:1"])
def test_what_is_no_name(text: bytes) -> None:
    assert not is_name(text)
