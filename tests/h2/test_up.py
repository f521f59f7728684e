"""HTTP/2 to upstreams: what a server that was written by others gets and sends, and what happens when it leaves."""

from collections.abc import Callable, Iterator

import pytest

from tests.cast import Spoken
from vestibule.contract import Timeouts
from vestibule.http.h2_frames import CANCEL, DATA, END_STREAM, HEADERS, INTERNAL_ERROR, REFUSED_STREAM, RST_STREAM, WINDOW_UPDATE

from .far import Far, Fars
from .house import GET, POST, WEBSOCKET, House, Wire, frame, number, setting

BODY = b"hello, world"


@pytest.fixture
def build() -> Iterator[Callable[..., Fars]]:
    """Make houses whose upstream speaks HTTP/2."""
    made: list[Fars] = []

    def start(streams: int = 100, window: int = 65_535, tunnels: bool = False, **timeouts: int) -> Fars:
        made.append(Fars(House(Timeouts(**timeouts), answers=False, h2=True), streams, window, tunnels))
        return made[-1]

    yield start
    for fars in made:
        fars.house.close()
        fars.close()
        assert fars.house.tally.exchanges == 0


@pytest.fixture
def fars(build: Callable[..., Fars]) -> Fars:
    return build()


def got(fars: Fars, wire: Wire, stream: int = 1) -> tuple[dict[str, str], bytes, dict[str, str]]:
    """Return head, body and trailers of an answer that ends well."""
    heads: list[dict[str, str]] = []
    body = b""
    while True:
        fars.turn()
        wire._read()
        for row in list(wire.frames):
            if row[2] != stream:
                continue
            wire.frames.remove(row)
            assert row[0] != RST_STREAM, "reset"
            if row[0] == HEADERS:
                heads.append(dict(wire.decoder.decode(row[3])))
            elif row[0] == DATA:
                body += row[3]
            if row[0] in (HEADERS, DATA) and row[1] & END_STREAM:
                trailers = heads[-1] if ":status" not in heads[-1] else {}
                return next(head for head in heads if head.get(":status", "1")[0] != "1"), body, trailers
        fars.until(lambda: True, "a turn")


def test_request_and_answer(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1, [*GET, (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers")])
    far = fars.request()
    assert sorted(far.heads[1]) == [
        (b":authority", b"a.example"),
        (b":method", b"GET"),
        (b":path", b"/"),
        (b":scheme", b"http"),
        (b"accept", b"*/*"),
        (b"cookie", b"a=1; b=2"),
        (b"te", b"trailers"),
    ]
    assert 1 in far.ended
    far.answer(1)
    assert got(fars, wire) == ({":status": "200", "content-length": "12"}, BODY, {})


def test_many_share_one_connection(fars: Fars) -> None:
    wire = fars.house.connect()
    for stream in range(1, 101, 2):
        wire.request(stream, [*GET[:2], (b":path", b"/%d" % stream), GET[3]])
    far = fars.request(50)
    for stream in sorted(far.heads, reverse=True):
        far.answer(stream, dict(far.heads[stream])[b":path"])
    for stream in range(1, 101, 2):
        assert got(fars, wire, stream)[1] == b"/%d" % stream
    assert len(fars.fars) == 1
    assert fars.house.pool.load() == 0


def test_servers_limit_is_obeyed(build: Callable[..., Fars]) -> None:
    """RFC 9113 5.1.2: another connection is made when one is full, and none has more than it allows."""
    fars = build(streams=2)
    wire = fars.house.connect()
    wire.request(1)
    fars.request().answer(1)
    assert got(fars, wire)[1] == BODY
    for stream in range(3, 13, 2):
        wire.request(stream)
    fars.until(lambda: sum(len(far.heads) for far in fars.fars) == 6, "all requests")
    for far in fars.fars:
        assert far.most_at_once <= 2
        for stream in far.heads:
            if (far, stream) != (fars.fars[0], 1):
                far.answer(stream)
    for stream in range(3, 13, 2):
        assert got(fars, wire, stream)[1] == BODY
    assert len(fars.fars) == 3


def test_our_limit_makes_requests_wait(fars: Fars) -> None:
    fars.house.pool.limits.connections_most = 1
    fars.house.pool.limit(-1)
    wire = fars.house.connect()
    wire.request(1)
    wire.request(3)
    far = fars.request()
    fars.settle()
    assert len(far.heads) == 1
    far.answer(1)
    assert got(fars, wire)[1] == BODY
    fars.request(2).answer(3)
    assert got(fars, wire, 3)[1] == BODY


def test_unary_call_with_trailers(fars: Fars) -> None:
    """As gRPC has it: trailers say how it went."""
    wire = fars.house.connect()
    wire.request(1, [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers")], end=False)
    wire.send(frame(DATA, END_STREAM, 1, b"\0\0\0\0\x03abc"))
    far = fars.request()
    fars.until(lambda: 1 in far.ended, "the message")
    assert bytes(far.bodies[1]) == b"\0\0\0\0\x03abc"
    assert dict(far.heads[1])[b"te"] == b"trailers"
    assert b"transfer-encoding" not in dict(far.heads[1])
    far.head(1, (b"content-type", b"application/grpc"))
    far.body(1, b"\0\0\0\0\x02ok", False)
    far.h2.send_headers(1, [(b"grpc-status", b"0")], end_stream=True)
    assert got(fars, wire) == ({":status": "200", "content-type": "application/grpc"}, b"\0\0\0\0\x02ok", {"grpc-status": "0"})


def test_both_stream_at_once(fars: Fars) -> None:
    """Each message is answered before the next is sent."""
    wire = fars.house.connect()
    wire.request(1, POST, end=False)
    far = fars.request()
    far.head(1)
    for at in range(5):
        piece = b"%d" % at
        wire.send(frame(DATA, 0, 1, piece))
        fars.until(lambda piece=piece: far.bodies[1].endswith(piece), "the message")  # type: ignore[misc]
        far.body(1, piece, False)
        fars.until(lambda: wire._read() or any(row[0] == DATA for row in wire.frames), "its answer")
        assert b"".join(row[3] for row in wire.frames if row[0] == DATA) == piece
        wire.frames.clear()
    wire.send(frame(DATA, END_STREAM, 1, b""))
    fars.until(lambda: 1 in far.ended, "the end")
    far.body(1, b"", True)
    fars.until(lambda: fars.house.tally.exchanges == 0, "the end of the exchange")


def test_request_trailers(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1, POST, end=False)
    wire.send(frame(DATA, 0, 1, b"abc") + wire.headers(1, [(b"x-sum", b"7")]))
    far = fars.request()
    fars.until(lambda: 1 in far.ended, "the end")
    assert far.trailers[1] == [(b"x-sum", b"7")]
    far.answer(1)
    assert got(fars, wire)[1] == BODY


def test_interim_answers(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1)
    far = fars.request()
    far.h2.send_headers(1, [(b":status", b"103"), (b"link", b"</a>")])
    fars.until(lambda: wire._read() or any(row[0] == HEADERS for row in wire.frames), "the hint")
    assert dict(wire.decoder.decode(wire.frames.pop()[3])) == {":status": "103", "link": "</a>"}
    far.answer(1)
    assert got(fars, wire)[1] == BODY


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"304")])
def test_answers_without_a_body(fars: Fars, method: bytes, status: bytes) -> None:
    wire = fars.house.connect()
    wire.request(1, [(b":method", method), *GET[1:]])
    fars.request().head(1, (b"content-length", b"500"), status=status, end=True)
    assert got(fars, wire) == ({":status": status.decode(), "content-length": "500"}, b"", {})


def test_large_bodies_both_ways(fars: Fars) -> None:
    wire = fars.house.connect(settings=setting(4, 10_000_000))
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(10_000_000)))
    sent = bytes(range(256)) * 3_000
    wire.request(1, [*POST, (b"content-length", b"%d" % len(sent))], end=False)
    far = fars.request()
    for at in range(0, len(sent), 16_000):
        wire.send(frame(DATA, END_STREAM if at + 16_000 >= len(sent) else 0, 1, sent[at : at + 16_000]))
        fars.turn()
    fars.until(lambda: 1 in far.ended, "the upload")
    assert far.bodies[1] == sent
    far.answer(1, sent * 4)
    assert got(fars, wire)[1] == sent * 4


def test_upload_waits_for_the_server(fars: Fars) -> None:
    """A server that gives no credit gets its window, and the client is held back; others go on."""
    wire = fars.house.connect()
    wire.request(1, [*POST, (b"content-length", b"50000000")], end=False)
    far = fars.request()
    far.credits = False
    window = 1_048_576
    idle = 0
    while idle < 30:
        idle += 1
        if window >= 16_384:
            wire.send(frame(DATA, 0, 1, b"x" * 16_384))
            window -= 16_384
            idle = 0
        fars.turn()
        wire._read()
        window += sum(int.from_bytes(row[3], "big") for row in wire.frames if row[0] == WINDOW_UPDATE and row[2] == 1)
        wire.frames.clear()
    assert len(far.bodies[1]) == 65_535
    slot = fars.house.pool._shared[0].codec.streams[1]
    assert 65_536 <= slot.queued <= 1_048_576 + 65_536  # the client's window
    wire.request(3)
    fars.request(2).answer(3)
    assert got(fars, wire, 3)[1] == BODY


def test_download_waits_for_the_client(fars: Fars) -> None:
    wire = fars.house.connect(settings=setting(4, 0))
    wire.request(1)
    far = fars.request()
    far.answer(1, bytes(8_000_000))
    fars.settle(60)
    left = len(far._waiting[1][0])
    assert left > 8_000_000 - 1_048_576 - 65_536  # no more than one window of ours was given
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(8_000_000)) + frame(WINDOW_UPDATE, 0, 0, number(8_000_000)))
    assert len(got(fars, wire)[1]) == 8_000_000


# ---- leaving


def test_client_cancels(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1)
    wire.request(3)
    far = fars.request(2)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    fars.until(lambda: far.resets, "the reset")
    assert far.resets == {1: CANCEL}
    far.answer(3)
    assert got(fars, wire, 3)[1] == BODY
    assert len(fars.fars) == 1


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_refused_is_asked_again(fars: Fars, request_: list[tuple[bytes, bytes]]) -> None:
    """RFC 9113 8.7: a stream that was refused was not looked at, so even a POST may be sent again."""
    wire = fars.house.connect()
    wire.request(1, request_)
    far = fars.request()
    far.reset(1, REFUSED_STREAM)
    far = fars.request(2)
    far.answer(3)
    assert got(fars, wire)[1] == BODY


def test_refused_with_a_body_is_not_asked_again(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1, POST, end=False)
    wire.send(frame(DATA, END_STREAM, 1, b"abc"))
    far = fars.request()
    fars.until(lambda: 1 in far.ended, "the body")
    far.reset(1, REFUSED_STREAM)
    assert got(fars, wire)[0][":status"] == "502"
    assert len(far.heads) == 1


def test_going_away_saves_what_was_not_looked_at(fars: Fars) -> None:
    """RFC 9113 6.8: streams up to the last one are finished there; those above go to another connection."""
    wire = fars.house.connect()
    wire.request(1, POST)
    wire.request(3, POST)
    far = fars.request(2)
    far.flush()
    far.sock.setblocking(True)
    far.sock.sendall(frame(7, 0, 0, number(1) + number(0)))
    far.sock.setblocking(False)
    other = fars.request(1, at=1)
    other.answer(1, b"other")
    assert got(fars, wire, 3)[1] == b"other"
    far.answer(1)
    assert got(fars, wire, 1)[1] == BODY
    fars.until(lambda: far.closed, "the old connection is closed")
    wire.request(5)
    fars.request(2, at=1)


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_broken_connection(fars: Fars, request_: list[tuple[bytes, bytes]]) -> None:
    """What may have been done is not done twice: a GET is asked again, a POST is not."""
    wire = fars.house.connect()
    wire.request(1, request_)
    far = fars.request()
    far.closed = True
    far.sock.close()
    if request_ is POST:
        assert got(fars, wire)[0][":status"] == "502"
        assert len(fars.fars) == 1
    else:
        fars.request(1, at=1).answer(1)
        assert got(fars, wire)[1] == BODY


def test_cut_answer_is_never_whole(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1)
    far = fars.request()
    far.head(1, (b"content-length", b"500"))
    far.body(1, b"abc", False)
    far.work()
    fars.until(lambda: wire._read() or any(row[0] == DATA for row in wire.frames), "the beginning")
    far.reset(1, INTERNAL_ERROR)
    fars.until(lambda: wire._read() or any(row[0] == RST_STREAM for row in wire.frames), "the reset")
    wire.request(3)
    fars.request(2).answer(3)
    assert got(fars, wire, 3)[1] == BODY


def test_early_answer_and_reset_without_error(fars: Fars) -> None:
    """RFC 9113 8.1: the server has answered and wants no more of the request."""
    wire = fars.house.connect()
    wire.request(1, POST, end=False)
    far = fars.request()
    far.head(1, (b"content-length", b"3"), status=b"413")
    far.body(1, b"no!", True)
    far.reset(1, 0)
    head, body, _ = got(fars, wire)
    assert head[":status"] == "413" and body == b"no!"
    fars.until(lambda: fars.house.tally.exchanges == 0, "the end of the exchange")
    assert not far.closed


@pytest.mark.parametrize(
    "bad",
    [
        [(b"x", b"1")],
        [(b":status", b"20")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b"Upper", b"1")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        [(b":status", b"200"), (b"a", b"b\r\nc: d")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
    ],
)
def test_malformed_answers_are_not_passed_on(fars: Fars, bad: list[tuple[bytes, bytes]]) -> None:
    """RFC 9113 8.1.1: the stream is reset, the client gets a page, and the connection goes on."""
    wire = fars.house.connect()
    wire.request(1, POST)
    far = fars.request()
    far.flush()
    block = b"".join(b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in bad)
    far.sock.send(frame(HEADERS, 5, 1, block))
    assert got(fars, wire)[0][":status"] == "502"
    fars.until(lambda: far.resets == {1: 1}, "PROTOCOL_ERROR")
    wire.request(3)
    fars.request(2).answer(3)
    assert got(fars, wire, 3)[1] == BODY


def test_body_that_differs_from_its_length(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1)
    far = fars.request()
    far.head(1, (b"content-length", b"3"))
    far.flush()
    far.sock.send(frame(DATA, END_STREAM, 1, b"four"))
    fars.until(lambda: wire._read() or any(row[0] == RST_STREAM for row in wire.frames), "the reset")


def test_server_that_speaks_something_else(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1, POST)
    fars.until(lambda: fars.fars, "a connection")
    fars.fars[0].sock.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    assert got(fars, wire)[0][":status"] == "502"
    assert fars.house.pool.connections == 0


def test_no_answer_in_time(build: Callable[..., Fars]) -> None:
    """The client gets its page, and new requests another connection: this one may be dead."""
    fars = build(response_head_ms=300)
    wire = fars.house.connect()
    wire.request(1, POST)
    far = fars.request()
    assert got(fars, wire)[0][":status"] == "504"
    fars.until(lambda: far.closed or far.resets, "the reset")
    wire.request(3, POST)
    fars.request(1, at=1).answer(1)
    assert got(fars, wire, 3)[1] == BODY


def test_silent_server_is_asked_whether_it_lives(fars: Fars) -> None:
    wire = fars.house.connect()
    wire.request(1)
    far = fars.request()
    connection = fars.house.pool._shared[0]
    connection._heard_ms -= 11_000
    connection.on_deadline()
    fars.until(lambda: far.pings, "a PING")
    fars.until(lambda: connection._asked_ms == 0, "its answer")
    connection._heard_ms -= 11_000
    far.reads = False
    connection.on_deadline()
    connection._asked_ms -= 6_000
    connection.on_deadline()
    fars.request(1, at=1).answer(1)  # a GET is asked again
    assert got(fars, wire)[1] == BODY


def test_idle_connection_is_closed(fars: Fars) -> None:
    fars.house.pool.limits.idle_ms = 200
    wire = fars.house.connect()
    wire.request(1)
    far: Far = fars.request()
    far.answer(1)
    assert got(fars, wire)[1] == BODY
    fars.until(lambda: far.closed, "GOAWAY and the end")
    assert fars.house.pool.connections == 0


# ---- WebSockets (RFC 8441)


def test_a_websocket_is_an_extended_connect(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True)
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    far = fars.request()
    assert sorted(far.heads[1]) == [
        (b":authority", b"a.example"),
        (b":method", b"CONNECT"),
        (b":path", b"/"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b"sec-websocket-version", b"13"),
    ]
    assert 1 not in far.ended
    far.head(1, (b"sec-websocket-protocol", b"chat"))
    fars.until(lambda: wire.has(HEADERS, 1), "the answer")
    row = wire.wait_for(HEADERS, 1)
    assert not row[1] & END_STREAM
    assert wire.decoder.decode(row[3]) == [(":status", "200"), ("sec-websocket-protocol", "chat")]
    assert fars.house.tally.tunnels == 1
    wire.send(frame(DATA, 0, 1, b"ping"))
    fars.until(lambda: far.bodies[1] == b"ping", "bytes at the upstream")
    far.body(1, b"pong", False)
    fars.until(lambda: wire.has(DATA, 1), "bytes at the client")
    assert wire.wait_for(DATA, 1)[3] == b"pong"
    wire.send(frame(DATA, END_STREAM, 1, b"bye"))
    fars.until(lambda: 1 in far.ended and far.bodies[1] == b"pingbye", "the end at the upstream")
    far.body(1, b"later", True)
    fars.until(lambda: fars.house.tally.exchanges == 0, "the end")
    assert wire.wait_for(DATA, 1)[3] == b"later"
    # The connection goes on.
    wire.request(3)
    fars.request(2).answer(3)
    assert got(fars, wire, 3)[1] == BODY
    assert len(fars.fars) == 1


def test_a_websocket_waits_until_the_server_has_said_that_it_takes_them(build: Callable[..., Fars]) -> None:
    """RFC 8441 3: `:protocol` must not be sent before. Other requests need not wait."""
    fars = build(tunnels=True)
    fars.silent = True
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    fars.until(lambda: bool(fars.fars), "a connection")
    fars.settle()
    assert not [row for row in wire.frames if row[2] == 1]
    fars.silent = False
    fars.request().head(1)
    fars.until(lambda: wire.has(HEADERS, 1), "the answer")
    # One that left meanwhile is not asked for any more.
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    fars.until(lambda: fars.fars[0].resets.get(1) == CANCEL, "the reset at the upstream")


def test_a_websocket_that_is_cancelled_before_the_server_has_spoken_is_forgotten(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True)
    fars.silent = True
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    fars.until(lambda: bool(fars.fars), "a connection")
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    fars.until(lambda: fars.house.tally.exchanges == 0, "the end")
    fars.silent = False
    wire.request(3)
    far = fars.request()
    assert list(far.heads) == [1]
    far.answer(1)
    assert got(fars, wire, 3)[1] == BODY


@pytest.mark.parametrize("known", [False, True])
def test_a_server_that_takes_no_websockets_is_told_of(fars: Fars, known: bool) -> None:
    wire = fars.house.connect()
    if known:
        wire.request(1)
        fars.request().answer(1)
        assert got(fars, wire)[1] == BODY
    wire.request(5, WEBSOCKET, end=False)
    head, body, _ = got(fars, wire, 5)
    assert head[":status"] == "502"
    assert b"WebSockets" in body
    assert len(fars.fars[0].heads) == int(known)


def test_a_websocket_refused_by_the_server(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True)
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    far = fars.request()
    far.head(1, (b"content-length", b"2"), status=b"403")
    far.body(1, b"no", True)
    head, body, _ = got(fars, wire)
    assert (head[":status"], body) == ("403", b"no")
    fars.until(lambda: 1 in far.ended, "our end of the stream")
    assert fars.house.tally.tunnels == 0


def test_a_websocket_cut_by_the_server_is_cut(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True)
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    far = fars.request()
    far.head(1)
    fars.until(lambda: wire.has(HEADERS, 1), "the answer")
    far.reset(1, INTERNAL_ERROR)
    fars.until(lambda: wire.has(RST_STREAM, 1), "the reset")
    assert fars.house.tally.exchanges == 0


def test_a_websocket_carries_much_both_ways(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True)
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    far = fars.request()
    far.head(1)
    fars.until(lambda: wire.has(HEADERS, 1), "the answer")
    data = bytes(range(256)) * 60
    for _ in range(40):
        wire.send(frame(DATA, 0, 1, data))
        fars.turn()
    fars.until(lambda: len(far.bodies[1]) == 40 * len(data), "all of it")
    assert far.bodies[1] == data * 40
    far.body(1, data * 3, False)
    fars.until(lambda: wire.has(DATA, 1) and sum(len(row[3]) for row in wire.frames if row[0] == DATA) == 3 * len(data), "all of it back")


def test_a_server_that_does_not_answer_a_websocket_is_not_waited_for(build: Callable[..., Fars]) -> None:
    fars = build(tunnels=True, response_head_ms=300)
    wire = fars.house.connect()
    wire.request(1, WEBSOCKET, end=False)
    fars.request()
    fars.house.reactor.ahead_ms += 1_000
    assert got(fars, wire)[0][":status"] == "504"


def test_a_log_may_ask_what_is_spoken_with_the_server(fars: Fars) -> None:
    spoken = Spoken()
    fars.house.plan.log = [*fars.house.plan.log, spoken]
    wire = fars.house.connect()
    wire.request(1, GET)
    fars.request().answer(1)
    got(fars, wire)
    assert spoken.seen == [None], "plain HTTP/2"
