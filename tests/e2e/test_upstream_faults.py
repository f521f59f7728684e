"""What a broken or malicious upstream sends never harms the client, nor the next one.

Facts: peers have confused whose answer is whose; RFC 9112 6.3, 9.2, 11.2.
"""

import fcntl
import termios
import threading
import time

import pytest

from .client import Client, Malformed, Truncated
from .upstream import Turn, Upstream

OK = b"HTTP/1.1 200 OK\r\n"

BAD_HEADS = {
    "no HTTP at all": b"hello there\r\n\r\n",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x50\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length +2": OK + b"Content-Length: +2\r\n\r\nok",
    "length 0x2": OK + b"Content-Length: 0x2\r\n\r\nok",
    "length 2_0": OK + b"Content-Length: 2_0\r\n\r\nok",
    "an empty length": OK + b"Content-Length:\r\n\r\nok",
    "an unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a folded field": OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "a blank before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "NUL in a value": OK + b"A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
    "CR in a value": OK + b"Location: /a\rSet-Cookie: x=y\r\nContent-Length: 2\r\n\r\nok",
    "bare LF": OK + b"Location: /a\nSet-Cookie: x=y\r\nContent-Length: 2\r\n\r\nok",
    "no colon": OK + b"nonsense\r\nContent-Length: 2\r\n\r\nok",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok",
    "a head of 100 KB": OK + b"A: " + b"b" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "10,000 fields": OK + b"A: b\r\n" * 10_000 + b"Content-Length: 2\r\n\r\nok",
    "101 nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}


def say(data: bytes, upstream: Upstream) -> None:
    """Let the upstream answer these bytes and wait until the proxy has had enough."""

    def script(turn: Turn) -> None:
        turn.send(data)
        turn.is_left()
        turn.close()

    upstream.script = script


def assert_next_is_clean(client: Client, upstream: Upstream) -> None:
    """The next request must get its own answer, and on another connection, unless a stream can be broken alone."""
    upstream.script = lambda turn: turn.answer(b"clean")
    assert client.get("/next").body == b"clean"
    first, *_, last = upstream.requests
    assert last.target == b"/next"
    assert upstream.version == "h2" or last.connection != first.connection


@pytest.mark.upstream_h1("these are broken lines of HTTP/1; tests/h2 has the frames")
@pytest.mark.parametrize("name", BAD_HEADS)
def test_bad_head_is_502(name: str, client: Client, upstream: Upstream) -> None:
    say(BAD_HEADS[name], upstream)
    response = client.get("/bad")
    assert response.status == 502
    assert b"x=y" not in response.head.raw
    assert_next_is_clean(client, upstream)


BAD_CHUNKS = {
    "size 0x5": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size +5": b"+5\r\nhello\r\n0\r\n\r\n",
    "size empty": b"\r\nhello\r\n0\r\n\r\n",
    "size too large": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size ended by LF": b"5\nhello\r\n0\r\n\r\n",
    "data too long": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "data ended by LF": b"5\r\nhello\n0\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
}


@pytest.mark.upstream_h1("HTTP/2 has no chunks")
@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_bad_chunk_is_never_a_whole_answer(name: str, client: Client, upstream: Upstream) -> None:
    say(OK + b"Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name], upstream)
    try:
        status = client.get("/bad").status
    except (Truncated, Malformed):
        status = 502
    assert status == 502
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("HTTP/2 has no bytes behind an answer")
@pytest.mark.parametrize("surplus", [b"surplus", OK + b"Content-Length: 6\r\n\r\npoison"], ids=["junk", "an answer"])
def test_surplus_after_an_answer_is_for_nobody(surplus: bytes, client: Client, upstream: Upstream) -> None:
    """RFC 9112 9.2."""
    upstream.drop_idle()
    say(OK + b"Content-Length: 2\r\n\r\nok" + surplus, upstream)
    assert client.get("/first").body == b"ok"
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("frames on a stream nobody opened end the connection (RFC 9113 5.1)")
@pytest.mark.parametrize("poison", [b"x", OK + b"Content-Length: 6\r\n\r\npoison"], ids=["junk", "an answer"])
def test_answer_nobody_asked_for_is_for_nobody(poison: bytes, client: Client, upstream: Upstream) -> None:
    """It comes while the connection is idle in the pool (RFC 9112 9.2)."""
    upstream.drop_idle()
    answered, is_there = threading.Event(), threading.Event()

    def script(turn: Turn) -> None:
        turn.answer()
        assert answered.wait(20)
        turn.send(poison)
        while any(fcntl.ioctl(turn.sock, termios.TIOCOUTQ, bytes(4))):
            time.sleep(0.001)  # until it is acknowledged
        is_there.set()
        turn.is_left()

    upstream.script = script
    assert client.get("/first").body == b"ok"
    answered.set()
    assert is_there.wait(20)
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("HTTP/2 has no bytes behind an answer")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_body_where_none_may_be_is_for_nobody(method: str, status: bytes, client: Client, upstream: Upstream) -> None:
    """RFC 9112 6.3 (1)."""
    upstream.drop_idle()
    say(b"HTTP/1.1 " + status + b"\r\n\r\n" + OK + b"Content-Length: 6\r\n\r\npoison", upstream)
    assert client.request(method, "/first").status == int(status[:3])
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("HTTP/2 has no bytes behind an answer")
def test_body_of_an_answer_to_head_is_for_nobody(client: Client, upstream: Upstream) -> None:
    upstream.drop_idle()
    say(OK + b"Content-Length: 2\r\n\r\nok", upstream)
    assert client.request("HEAD", "/first").status == 200
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("HTTP/2 has no 101 (RFC 9113 8.6)")
def test_101_to_another_protocol_is_502(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.8: a server may only switch to what was asked for."""
    say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", upstream)
    assert client.ask_for_tunnel("/bad").read_response().status == 502
    assert_next_is_clean(client, upstream)


@pytest.mark.upstream_h1("HTTP/2 has no 101 (RFC 9113 8.6)")
def test_101_without_a_protocol_is_502(client: Client, upstream: Upstream) -> None:
    say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", upstream)
    assert client.ask_for_tunnel("/bad").read_response().status == 502
    assert_next_is_clean(client, upstream)


def test_endless_interim_responses_are_502(client: Client, upstream: Upstream) -> None:
    say(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, upstream)
    exchange = client.open("GET", "/bad")
    assert exchange.read_response().status == 502
    assert_next_is_clean(client, upstream)


def test_late_and_double_100_are_harmless(client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        turn.read_body()
        turn.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
        turn.answer()

    upstream.script = script
    with client.connect() as wire:
        for _ in range(2):
            assert client.request("POST", "/", [("Expect", "100-continue")], b"hello", wire).body == b"ok"


def test_head_in_small_pieces_is_read(client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        for byte in OK + b"Content-Length: 2\r\n\r\nok":
            turn.send(bytes([byte]))

    upstream.script = script
    assert client.get("/").body == b"ok"


@pytest.mark.upstream_h1("HTTP/2 has no reason phrase")
@pytest.mark.parametrize("reason", [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n"])
def test_reason_may_be_empty(reason: bytes, client: Client, upstream: Upstream) -> None:
    """RFC 9112 4: the blank must be there; servers forget it, and nothing is ambiguous."""
    upstream.script = lambda turn: turn.send(reason + b"Content-Length: 2\r\n\r\nok")
    response = client.get("/")
    assert (response.status, response.body) == (200, b"ok")
