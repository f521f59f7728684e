"""Exchanges over HTTP/2: what reaches the upstream, what comes back, and what happens when somebody leaves."""

import base64
import gc
import hashlib
import time
from collections.abc import Callable, Iterator

import pytest

from vestibule.contract import Timeouts
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2_frames import (
    ACK,
    CANCEL,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

from .house import BODY, GET, POST, WEBSOCKET, House, Wire, code_of, frame, number, setting


@pytest.fixture
def quiet() -> Iterator[House]:
    """A proxy whose upstream is played by the test."""
    made = House(answers=False)
    yield made
    made.close()
    assert made.tally.exchanges == 0
    assert made.tally.tunnels == 0


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    """Make houses with settings of their own."""
    made: list[House] = []

    def start(answers: bool = False, limits: HeadLimits | None = None, requests_most: int = -1, **timeouts: int) -> House:
        made.append(House(Timeouts(**timeouts), limits, answers, requests_most))
        return made[-1]

    yield start
    for house in made:
        house.close()


def test_request_and_answer(wire: Wire) -> None:
    wire.request(1, [*GET, (b"accept", b"*/*"), (b"te", b"trailers")])
    head, body = wire.answer(1)
    assert head == {":status": "200", "content-length": "12"}
    assert body == BODY
    assert wire.house.calls[0].requests == [b"GET / HTTP/1.1\r\nHost: a.example\r\naccept: */*\r\n\r\n"]


def test_many_at_once(wire: Wire) -> None:
    ids = range(1, 200, 2)
    wire.send(b"".join(wire.headers(i, [*GET[:2], (b":path", b"/%d" % i), GET[3]]) for i in ids))
    ended = set()
    while len(ended) < len(ids):
        row = wire.next_frame()
        assert row is not None
        assert row[0] in (HEADERS, DATA)
        if row[1] & END_STREAM:
            ended.add(row[2])
    assert sum(len(call.requests) for call in wire.house.calls) == len(ids)


def test_body_streams_before_it_is_whole(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, POST, end=False)
    wire.send(frame(DATA, 0, 1, b"first"))
    call = quiet.call()
    quiet.until(lambda: call.got.endswith(b"5\r\nfirst\r\n"), "the first piece")
    wire.send(frame(DATA, END_STREAM, 1, b"last"))
    quiet.until(call.take_whole, "the end")
    assert call.requests[0].endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")
    call.answer()
    assert wire.answer(1)[1] == BODY


def test_known_length_is_passed_on(wire: Wire) -> None:
    wire.request(1, [*POST, (b"content-length", b"6")], end=False)
    wire.send(frame(DATA, 0, 1, b"abc") + frame(DATA, END_STREAM, 1, b"def"))
    assert wire.answer(1)[1] == BODY
    assert wire.house.calls[0].requests[0].endswith(b"\r\ncontent-length: 6\r\n\r\nabcdef")


def test_large_bodies_both_ways(house: House) -> None:
    wire = house.connect(settings=setting(4, 300_000))
    sent = bytes(range(256)) * 8_000
    wire.request(1, [*POST, (b"content-length", b"%d" % len(sent))], end=False)
    window = 1_048_576
    for at in range(0, len(sent), 16_000):
        piece = sent[at : at + 16_000]
        while window < len(piece):
            window += int.from_bytes(wire.wait_for(WINDOW_UPDATE, 1)[3], "big")
        wire.send(frame(DATA, END_STREAM if at + 16_000 >= len(sent) else 0, 1, piece))
        window -= len(piece)
    assert wire.answer(1)[1] == BODY
    assert house.calls[0].requests[0].endswith(sent)
    house.answers = False
    wire.request(3)
    house.until(house.calls[0].take_whole, "the second request")
    house.calls[0].answer(sent)
    assert wire.answer(3)[1] == sent


def test_interim_answers_and_trailers(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1)
    call = quiet.call()
    call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    call.send(b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
    heads = []
    body = b""
    while True:
        row = wire.next_frame()
        assert row is not None
        if row[0] == HEADERS:
            heads.append((wire.decoder.decode(row[3]), row[1] & END_STREAM))
        elif row[0] == DATA:
            body += row[3]
        if row[1] & END_STREAM and row[0] in (HEADERS, DATA):
            break
    assert heads == [([(":status", "103"), ("link", "</a>")], 0), ([(":status", "200"), ("trailer", "X-Sum")], 0), ([("x-sum", "7")], 1)]
    assert body == b"abc"


def test_request_trailers(wire: Wire) -> None:
    wire.request(1, POST, end=False)
    wire.send(frame(DATA, 0, 1, b"abc") + wire.headers(1, [(b"x-sum", b"7")]))
    call = wire.house.call()
    wire.house.until(lambda: call.got.endswith(b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "trailers at the upstream")
    wire.house.answers = False
    call.answer()
    assert wire.answer(1)[0][":status"] == "200"


def test_expect_continue(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, [*POST, (b"expect", b"100-continue"), (b"content-length", b"3")], end=False)
    call = quiet.call()
    assert b"expect: 100-continue\r\n" in call.got
    call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.decoder.decode(wire.wait_for(HEADERS, 1)[3]) == [(":status", "100")]
    wire.send(frame(DATA, END_STREAM, 1, b"abc"))
    quiet.until(call.take_whole, "the body")
    call.answer()
    assert wire.answer(1)[1] == BODY


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body_are_one_frame(quiet: House, method: bytes, raw: bytes) -> None:
    wire = quiet.connect()
    wire.request(1, [(b":method", method), *GET[1:]])
    quiet.call().send(raw)
    assert wire.wait_for(HEADERS, 1)[1] & END_STREAM


def test_hop_by_hop_fields_of_the_upstream_stay_behind(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1)
    quiet.call().answer(extra=b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\n")
    assert wire.answer(1)[0] == {":status": "200", "content-length": "12", "x-end": "2"}


# ---- leaving


def test_client_cancels(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1)
    wire.request(3)
    call = quiet.call()
    other = quiet.call(1)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    quiet.until(lambda: call.closed, "the upstream side is ended")
    assert not other.closed
    other.answer()
    assert wire.answer(3)[1] == BODY


def test_client_goes_away(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1)
    wire.request(3, POST, end=False)
    calls = [quiet.call(0), quiet.call(1)]
    wire.close()
    quiet.until(lambda: all(call.closed for call in calls), "both upstream sides are ended")
    assert quiet.tally.connections == 0


def test_truncated_answer_is_a_reset(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1)
    call = quiet.call()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc")
    wire.wait_for(HEADERS, 1)
    call.close()
    assert wire.loses(1, INTERNAL_ERROR)


def test_upstream_gone_before_its_answer_is_a_page(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, POST)
    quiet.call().close()
    head, body = wire.answer(1)
    assert head[":status"] == "502"
    assert body


def test_early_answer_ends_the_upload(quiet: House) -> None:
    """RFC 9113 8.1: the whole answer, then RST_STREAM(NO_ERROR); the stream's late DATA does no harm."""
    wire = quiet.connect()
    wire.request(1, POST, end=False)
    call = quiet.call()
    call.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
    assert wire.decoder.decode(wire.wait_for(HEADERS, 1)[3])[0] == (":status", "413")
    assert wire.wait_for(DATA, 1)[1] & END_STREAM
    wire.send(frame(DATA, 0, 1, b"x" * 10_000))
    assert wire.loses(1, NO_ERROR)
    wire.send(frame(DATA, END_STREAM, 1, b"x" * 10_000))
    assert wire.is_alive()


def test_early_answer_of_an_upstream_that_reads_on(quiet: House) -> None:
    """As Node does: the answer is complete, the rest of the upload still goes to it, the connection is kept."""
    wire = quiet.connect()
    wire.request(1, [*POST, (b"content-length", b"6")], end=False)
    call = quiet.call()
    call.answer()
    assert wire.answer(1)[1] == BODY
    wire.send(frame(DATA, 0, 1, b"abc") + frame(DATA, END_STREAM, 1, b"def"))
    quiet.until(call.take_whole, "the whole upload")
    assert call.requests[0].endswith(b"abcdef")
    quiet.settle()
    assert not wire.has(RST_STREAM, 1), "both directions had ended (RFC 9113 5.1)"
    wire.request(3)
    quiet.until(call.take_whole, "the next request on the same connection")
    call.answer()
    assert wire.answer(3)[1] == BODY
    assert len(quiet.calls) == 1


# ---- back pressure


def test_upload_waits_for_the_upstream(quiet: House) -> None:
    """A stalled upstream: the client gets no more than one window on its stream, and others go on."""
    wire = quiet.connect()
    wire.request(1, [*POST, (b"content-length", b"50000000")], end=False)
    call = quiet.call()
    call.reading = False
    piece = frame(DATA, 0, 1, b"x" * 16_384)
    sent = 0
    window = 1_048_576
    idle = 0
    while idle < 30:
        if window >= 16_384:
            wire.send(piece)
            window -= 16_384
            sent += 16_384
            idle = 0
        quiet.turn(1)
        wire._read()
        for row in wire.frames:
            if row[0] == WINDOW_UPDATE and row[2] == 1:
                window += int.from_bytes(row[3], "big")
        wire.frames.clear()
        idle += 1
    stalled = sent
    assert stalled < 12_000_000  # what sockets hold, plus one window
    wire.request(3)
    quiet.call(1).answer()
    assert wire.answer(3)[1] == BODY
    call.reading = True
    quiet.until(lambda: len(call.got) > stalled, "the upload goes on")
    quiet.settle()
    wire._read()
    assert any(row[0] == WINDOW_UPDATE and row[2] == 1 for row in wire.frames)


def test_download_waits_for_the_client(quiet: House) -> None:
    """A client that gives no credit: the upstream is held back, and memory with it."""
    wire = quiet.connect(settings=setting(4, 0))
    wire.request(1)
    call = quiet.call()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    pushed = 0
    idle = 0
    while idle < 30:
        count = call.push(b"x" * 65_536)
        pushed += count
        idle = 0 if count else idle + 1
        quiet.turn(1)
    assert pushed < 12_000_000  # what the sockets hold
    slot = wire.connection.codec.streams[1]
    assert 65_536 <= slot.queued <= 65_536 + 131_072
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(10_000)))
    got = 0
    while got < 10_000:
        got += len(wire.wait_for(DATA, 1)[3])
    assert got == 10_000


def test_client_that_does_not_read(quiet: House) -> None:
    """The window is open, the socket is full: frames wait in the streams, not in the transport."""
    wire = quiet.connect(settings=setting(4, 100_000_000))
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(100_000_000)))
    wire.reading = False
    wire.request(1)
    call = quiet.call()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    idle = 0
    while idle < 30:
        idle = 0 if call.push(b"x" * 65_536) else idle + 1
        quiet.turn(1)
    assert wire.transport.queued() < 2 * 65_536 + 20_000
    assert wire.connection.codec.streams[1].queued <= 65_536 + 131_072


def test_flood_of_requests_without_reading(house: House) -> None:
    """Answers without bodies need no window: the proxy stops reading a client that does not take them."""
    house.answers = False
    wire = house.connect()
    wire.reading = False
    raw = [*GET[:2], (b":path", b"/"), (b":authority", b"a.example"), (b"expect", b"nonsense")]
    at = 1
    end = time.monotonic() + 20
    while not wire.transport.is_paused():
        assert time.monotonic() < end
        data = b"".join(wire.headers(i, raw) for i in range(at, at + 64, 2))
        at += 64
        try:
            wire.sock.send(data)
        except BlockingIOError:
            break
        house.turn(0)
    house.settle(3)
    assert wire.transport.queued() < 600_000


# ---- WebSockets (RFC 8441)


def switch(call) -> bytes:  # type: ignore[no-untyped-def]
    """Take the upgrade as the upstream does, and return its request head."""
    head = bytes(call.got)
    key = next(line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    assert len(base64.b64decode(key)) == 16
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    call.got = b""
    call.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n" % accept
    )
    return head


def test_websocket(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, WEBSOCKET, end=False)
    call = quiet.call()
    head = switch(call)
    assert head.startswith(b"GET / HTTP/1.1\r\nHost: a.example\r\nsec-websocket-version: 13\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
    row = wire.wait_for(HEADERS, 1)
    assert not row[1] & END_STREAM
    assert wire.decoder.decode(row[3]) == [(":status", "200"), ("sec-websocket-protocol", "chat")]
    assert quiet.tally.tunnels == 1
    wire.send(frame(DATA, 0, 1, b"ping"))
    quiet.until(lambda: call.got == b"ping", "bytes at the upstream")
    call.send(b"pong")
    assert wire.wait_for(DATA, 1)[3] == b"pong"
    wire.send(frame(DATA, END_STREAM, 1, b"bye"))
    quiet.until(lambda: call.got == b"pingbye" and call.closed, "the end at the upstream")
    call.send(b"later")
    assert wire.wait_for(DATA, 1)[3] == b"later"
    call.close()
    assert wire.wait_for(DATA, 1)[1] & END_STREAM
    quiet.until(lambda: quiet.tally.exchanges == 0, "the exchange is over")


def test_websocket_bytes_before_the_answer_wait(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, WEBSOCKET, end=False)
    wire.send(frame(DATA, 0, 1, b"early ") + frame(DATA, 0, 1, b"bird"))
    call = quiet.call()
    quiet.settle()
    assert b"early" not in call.got
    switch(call)
    quiet.until(lambda: call.got == b"early bird", "the early bytes, in order")


def test_websocket_refused(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, WEBSOCKET, end=False)
    quiet.call().answer(b"no", b"403 Forbidden")
    row = wire.wait_for(HEADERS, 1)
    assert wire.decoder.decode(row[3])[0] == (":status", "403")
    assert wire.wait_for(DATA, 1)[1] & END_STREAM
    assert wire.loses(1, NO_ERROR)


def test_websocket_reset_by_the_client(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, WEBSOCKET, end=False)
    call = quiet.call()
    switch(call)
    wire.wait_for(HEADERS, 1)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    quiet.until(lambda: call.closed, "the upstream side is ended")


def test_websocket_carries_much(quiet: House) -> None:
    wire = quiet.connect()
    wire.request(1, WEBSOCKET, end=False)
    call = quiet.call()
    switch(call)
    wire.wait_for(HEADERS, 1)
    data = bytes(range(256)) * 100
    for _ in range(20):
        wire.send(frame(DATA, 0, 1, data[:16_000]) + frame(DATA, 0, 1, data[16_000:]))
    quiet.until(lambda: len(call.got) == 20 * len(data), "all of it")
    assert call.got == data * 20


# ---- refusals, limits, time


def test_head_too_large_is_431_and_the_connection_goes_on(wire: Wire) -> None:
    wire.request(1, [*GET, *[(b"cookie", b"a=1")] * 101])
    assert wire.answer(1)[0][":status"] == "431"
    wire.request(3, [*GET, (b"x", b"y" * 16_300)])
    assert wire.answer(3)[0][":status"] == "431"
    wire.request(5)
    assert wire.answer(5)[1] == BODY
    assert len(wire.house.calls) == 1


def test_refused_head_gets_no_body(wire: Wire) -> None:
    wire.request(1, [(b":method", b"HEAD"), *GET[1:], *[(b"cookie", b"a=1")] * 101])
    row = wire.wait_for(HEADERS, 1)
    assert row[1] & END_STREAM
    assert dict(wire.decoder.decode(row[3]))[":status"] == "431"


def test_other_refusals(wire: Wire) -> None:
    wire.request(1, [(b":method", b"TRACE"), *GET[1:]])
    assert wire.answer(1)[0][":status"] == "405"
    wire.request(3, [*GET, (b"expect", b"a miracle")])
    assert wire.answer(3)[0][":status"] == "417"
    wire.request(5, [*GET[:2], (b":path", b"/" + b"x" * 8_200), GET[3]])
    assert wire.answer(5)[0][":status"] == "414"
    assert wire.house.calls == []


def test_limits_of_the_door(build: Callable[..., House]) -> None:
    small = build(True, limits=HeadLimits(head=500, target=50, fields=10))
    wire = small.connect()
    wire.request(1, [*GET, (b"x", b"y" * 300)])
    assert wire.answer(1)[0][":status"] == "431"
    wire.request(3)
    assert wire.answer(3)[0][":status"] == "200"


def test_requests_per_connection(build: Callable[..., House]) -> None:
    house = build(True, requests_most=2)
    wire = house.connect()
    wire.request(1)
    wire.answer(1)
    wire.request(3)
    rows = []
    while (row := wire.next_frame()) is not None:
        rows.append(row)
        if row[0] == PING:
            wire.send(frame(PING, ACK, 0, row[3]))
    assert [row[0] for row in rows if row[0] == GOAWAY] == [GOAWAY, GOAWAY]
    assert any(row[0] == DATA and row[2] == 3 and row[1] & END_STREAM for row in rows)
    assert wire.closed


def test_stop_lets_streams_end(quiet: House) -> None:
    wire = quiet.connect()
    idle = quiet.connect()
    wire.request(1)
    call = quiet.call()
    for one in (wire, idle):
        one.connection.on_stopping()
    assert code_of(wire.wait_for(GOAWAY)) == NO_ERROR
    wire.send(frame(PING, ACK, 0, wire.wait_for(PING)[3]))
    last = wire.wait_for(GOAWAY)
    assert last[3] == number(1) + number(NO_ERROR)
    idle.send(frame(PING, ACK, 0, (idle.wait_for(GOAWAY), idle.wait_for(PING))[1][3]))
    idle.wait_for(GOAWAY)
    assert idle.next_frame() is None
    call.answer()
    assert wire.answer(1)[1] == BODY
    assert wire.next_frame() is None
    quiet.until(lambda: quiet.tally.connections == 0, "nothing left")


def test_stop_of_a_client_that_does_not_answer(quiet: House) -> None:
    wire = quiet.connect()
    wire.connection.on_stopping()
    while wire.next_frame() is not None:
        pass
    assert quiet.tally.connections == 0


def test_idle_connection_is_closed(build: Callable[..., House]) -> None:
    house = build(keep_alive_ms=150)
    wire = house.connect()
    wire.request(1)
    house.call().answer()
    wire.answer(1)
    assert wire.dies_of(NO_ERROR)
    house.until(lambda: house.tally.connections == 0)


@pytest.mark.parametrize("data", [b"", PREFACE[:10], PREFACE])
def test_silent_connection_is_closed(build: Callable[..., House], data: bytes) -> None:
    house = build(request_head_ms=150)
    wire = house.connect(greet=False)
    wire.send(data)
    assert wire.dies_of(NO_ERROR)


def test_slow_header_block(build: Callable[..., House]) -> None:
    house = build(request_head_ms=150)
    wire = house.connect()
    wire.send(frame(HEADERS, 0, 1, b"\x82"))
    assert wire.dies_of(NO_ERROR)


def test_body_that_stalls_is_408(build: Callable[..., House]) -> None:
    house = build(body_idle_ms=150, request_head_ms=100)
    wire = house.connect()
    wire.request(1, POST, end=False)
    house.call()
    head, _ = wire.answer(1)
    assert head[":status"] == "408"


def test_client_that_takes_nothing(build: Callable[..., House]) -> None:
    """A zero window for too long: the stream ends, its memory with it (the bomb of 2026 sits on exactly this)."""
    house = build(body_idle_ms=150, request_head_ms=100)
    wire = house.connect(settings=setting(4, 0))
    wire.request(1)
    house.call().answer()
    wire.wait_for(HEADERS, 1)
    assert wire.loses(1, CANCEL)


def test_settings_never_acknowledged(build: Callable[..., House]) -> None:
    house = build(request_head_ms=150)
    wire = house.connect(greet=False)
    wire.send(PREFACE + frame(SETTINGS, 0, 0))
    wire.request(1)
    house.call()
    assert wire.dies_of(4)


# ---- storms


def test_storm_of_cancelled_thumbnails(house: House) -> None:
    """200 requests, 80 % cancelled, again and again: no GOAWAY, no leak, no pile-up upstream."""
    wire = house.connect(settings=setting(4, 1_000_000))
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(0x4000_0000)))
    at = 1
    for _ in range(30):
        kept = set()
        for _ in range(2):
            ids = range(at, at + 200, 2)
            at += 200
            wire.send(b"".join(wire.headers(i, [*GET[:2], (b":path", b"/thumbnail/%d" % i), GET[3]]) for i in ids))
            gone = [i for i in ids if i % 10 != 1]
            wire.send(b"".join(frame(RST_STREAM, 0, i, number(CANCEL)) for i in gone))
            kept |= set(ids) - set(gone)
        while kept:
            row = wire.next_frame()
            assert row is not None
            assert row[0] in (HEADERS, DATA, WINDOW_UPDATE), row
            if row[1] & END_STREAM:
                kept.discard(row[2])
        house.until(lambda: house.tally.exchanges == 0, "no exchange is left")
    assert wire.is_alive()
    house.settle()
    assert len([call for call in house.calls if not call.closed]) <= 100
    assert wire.connection.streams == {}
    assert wire.connection.codec.streams == {}


def test_rapid_reset_is_ended(house: House) -> None:
    wire = house.connect()
    at = 1
    for _ in range(100):
        wire.send(b"".join(wire.headers(i, GET) + frame(RST_STREAM, 0, i, number(CANCEL)) for i in range(at, at + 200, 2)))
        at += 200
        if wire.transport.closed:
            break
    assert wire.dies_of(ENHANCE_YOUR_CALM)


def test_nothing_survives(house: House) -> None:
    """A thousand exchanges with the collector off leave no garbage (contract 6)."""
    wire = house.connect()
    wire.request(1)
    wire.answer(1)
    gc.collect()
    gc.disable()
    try:
        for i in range(3, 603, 2):
            wire.request(i, GET if i % 6 else POST)
            wire.answer(i)
        assert gc.collect() < 20
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["break", "lost"])
def test_broken_connection_ends_its_exchanges(quiet: House, how: str) -> None:
    wire = quiet.connect()
    wire.request(1)
    call = quiet.call()
    if how == "break":
        wire.send(frame(PING, 0, 0, b"short"))
        assert wire.dies_of(6)
    else:
        wire.sock.close()
    quiet.until(lambda: call.closed, "the upstream side is ended")
    quiet.until(lambda: quiet.tally.connections == 0, "the connection is gone")
