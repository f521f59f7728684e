"""The HTTP/2 codec on its own: what goes in, which events and frames come out."""

import struct

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestibule.fault import CLIENT, CLIENT_BAD_METHOD, CLIENT_HEAD_TOO_LARGE, CLIENT_TARGET_TOO_LONG, UPSTREAM, ProtocolError
from vestibule.http import hpack as own
from vestibule.http.fields import EMPTY, FieldsTable, fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2, H2Options
from vestibule.http.h2_control import BODY, HEAD, LEAVING, NEED, OVER, REFUSED, RESET, TRAILERS
from vestibule.http.h2_frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    frame_header,
)
from vestibule.http.h2_request import RequestMaker
from vestibule.http.h2_schedule import HEADLESS, H2Stream, Schedule, parse_priority

Pairs = list[tuple[bytes, bytes]]
Frame = tuple[int, int, int, bytes]

GET: Pairs = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a.example")]
POST: Pairs = [(b":method", b"POST"), *GET[1:]]
OK = fields_of([(b"Content-Type", b"text/plain")])
STREAM_WINDOW = 100_000
CONNECTION_WINDOW = 400_000


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_header(len(payload), kind, flags, stream) + payload


def number(value: int) -> bytes:
    return struct.pack(">L", value)


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HL", key, value)


class Side:
    """A codec with a client in front of it."""

    def __init__(self, greet: bool = True, limits: HeadLimits | None = None, options: H2Options | None = None) -> None:
        limits = limits or HeadLimits()
        self.codec = H2(limits, FieldsTable(CLIENT, limits.fields + 2), options or H2Options(128, STREAM_WINDOW, CONNECTION_WINDOW))
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.log: list[tuple[object, ...]] = []
        if greet:
            self.feed(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
            self.frames()

    def feed(self, data: bytes) -> list[tuple[object, ...]]:
        """Feed bytes, return the events they made."""
        codec = self.codec
        codec.feed(data)
        events: list[tuple[object, ...]] = []
        while True:
            code = codec.next()
            if code == NEED:
                break
            events.append(self.describe(code))
            if code == OVER:
                break
        self.log += events
        return events

    def describe(self, code: int) -> tuple[object, ...]:
        codec = self.codec
        if code == HEAD:
            head = codec.head
            assert head is not None
            return (HEAD, codec.stream.id, head.method, head.target, head.authority, head.fields.block, codec.ended)
        if code == BODY:
            return (BODY, codec.stream.id, codec.data, codec.ended)
        if code == TRAILERS:
            return (TRAILERS, codec.stream.id, codec.trailers.block)
        if code == RESET:
            return (RESET, codec.stream.id, codec.error_code)
        if code == REFUSED:
            return (REFUSED, codec.stream.id, codec.fault)
        return (code, codec.error_code)

    def frames(self, room: int = 1 << 20) -> list[Frame]:
        """Take what the codec wants to send, as frames."""
        self.codec.pump(room)
        data = self.codec.take_output()
        found: list[Frame] = []
        while data:
            size = data[0] << 16 | data[1] << 8 | data[2]
            assert size <= 16_384
            found.append((data[3], data[4], struct.unpack(">L", data[5:9])[0], data[9 : 9 + size]))
            assert len(data) >= 9 + size
            data = data[9 + size :]
        return found

    def block(self, pairs: Pairs) -> bytes:
        return bytes(self.encoder.encode(pairs))

    def headers(self, stream: int, pairs: Pairs, end: bool = True) -> bytes:
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.block(pairs))

    def open(self, stream: int, pairs: Pairs = GET, end: bool = True) -> list[tuple[object, ...]]:
        return self.feed(self.headers(stream, pairs, end))

    def stream(self, stream_id: int):  # type: ignore[no-untyped-def]
        return self.codec.streams[stream_id]


def reset(stream: int, code: int) -> Frame:
    return (RST_STREAM, 0, stream, number(code))


def goaway_code(frames: list[Frame]) -> int:
    last = frames[-1]
    assert last[0] == GOAWAY
    return int(struct.unpack(">L", last[3][4:8])[0])


# ---- greeting


def test_greeting() -> None:
    side = Side(greet=False)
    first = side.frames()
    assert first[0][:3] == (SETTINGS, 0, 0)
    told = dict(struct.iter_unpack(">HL", first[0][3]))
    assert told == {3: 128, 4: STREAM_WINDOW, 6: 16_384, 8: 1, 9: 1}
    assert len(first) == 1
    assert side.feed(PREFACE) == []
    assert not side.codec.is_greeted()
    assert side.feed(frame(SETTINGS, 0, 0, setting(4, 7))) == []
    assert side.frames() == [(SETTINGS, ACK, 0, b""), (WINDOW_UPDATE, 0, 0, number(CONNECTION_WINDOW - 65_535))]
    assert side.codec.is_greeted()
    side.feed(frame(SETTINGS, 0, 0))
    assert side.frames() == [(SETTINGS, ACK, 0, b"")], "the window is widened once"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frame(PING, 0, 0, b"12345678"), b"PRI * HTTP/2.1"]
)
def test_bad_preface(data: bytes) -> None:
    side = Side(greet=False)
    assert side.feed(data) == [(OVER, PROTOCOL_ERROR)]
    assert goaway_code(side.frames()) == PROTOCOL_ERROR
    assert side.feed(b"more") == [(OVER, PROTOCOL_ERROR)]


# ---- requests


def test_request_becomes_a_head() -> None:
    side = Side()
    pairs = [*GET, (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"x-b", b"2"), (b"cookie", b"c=3")]
    assert side.open(1, pairs) == [
        (HEAD, 1, b"GET", b"/", b"a.example", b"Host: a.example\r\naccept: */*\r\ncookie: a=1; c=3\r\nx-b: 2\r\n", True)
    ]
    assert side.frames() == []


def test_equal_fields_are_one_object() -> None:
    """The memory of sections, of one connection and of all."""
    side = Side()
    pairs = [*GET, (b"accept", b"*/*"), (b"user-agent", b"test")]
    seen = []
    for i in range(4):
        side.open(1 + 2 * i, [*pairs[:2], (b":path", b"/%d" % i), *pairs[3:]])
        assert side.codec.head is not None
        assert side.codec.head.target == b"/%d" % i
        seen.append(side.codec.head.fields)
    assert seen[0] is seen[1] is seen[2] is seen[3]


def test_sections_are_not_mixed_up() -> None:
    """Bytes that meant one thing mean another after the table has changed."""
    side = Side()
    for i in range(200):
        pairs = [*GET, (b"x-number", b"%d" % (i // 3)), (b"x-pad", b"y" * (i % 5))]
        assert side.open(1 + 2 * i, pairs)[0][5] == b"Host: a.example\r\nx-number: %d\r\nx-pad: %s\r\n" % (i // 3, b"y" * (i % 5))
        side.codec.send_head(side.stream(1 + 2 * i), 204, OK, True)


def test_repeated_block_is_not_taken_for_another_meaning() -> None:
    """Equal bytes, but the table changed in between, and by a block that nobody remembers."""
    side = Side()
    insert = b"\x82\x87\x84\x41\x01a\x40\x01x\x01%c"
    again = b"\x82\x87\x84\x01\x01a\xbe"

    def ask(stream: int, block: bytes) -> object:
        return side.feed(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))[0][5]

    ask(1, insert % b"1")
    assert ask(3, again) == b"Host: a\r\nx: 1\r\n"
    assert ask(5, again) == b"Host: a\r\nx: 1\r\n"
    ask(7, insert % b"2")
    assert ask(9, again) == b"Host: a\r\nx: 2\r\n"
    side.feed(frame(HEADERS, END_HEADERS, 11, again))
    side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 11, b"\x40\x01x\x013"))  # trailers move the table
    assert ask(13, again) == b"Host: a\r\nx: 3\r\n"
    assert ask(15, again) == b"Host: a\r\nx: 3\r\n"


def test_heads_are_not_shared() -> None:
    """A rewrite of one request is no rewrite of the next."""
    side = Side()
    block = b"\x82\x87\x84\x01\x01a"
    for i in range(3):
        side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, block))
        head = side.codec.head
        assert head is not None
        assert head.target == b"/"
        head.target = b"/rewritten"


def test_framing_for_http_1() -> None:
    side = Side()
    assert side.open(1, POST, True)[0][5] == b"Host: a.example\r\nContent-Length: 0\r\n"
    assert side.open(3, POST, False)[0][5] == b"Host: a.example\r\nTransfer-Encoding: chunked\r\n"
    assert side.codec.head is not None
    assert side.codec.head.fields.chunked
    assert side.open(5, [*POST, (b"content-length", b"3")], False)[0][5] == b"Host: a.example\r\ncontent-length: 3\r\n"
    assert side.codec.head.fields.content_length == 3


def test_host_stands_for_authority() -> None:
    side = Side()
    assert side.open(1, [*GET[:3], (b"host", b"b.example:8443")])[0][4] == b"b.example:8443"
    assert side.open(3, [*GET, (b"host", b"A.EXAMPLE")])[0][4:6] == (b"a.example", b"Host: a.example\r\n")


MALFORMED: dict[str, Pairs] = {
    "upper case": [*GET, (b"X-A", b"1")],
    "empty name": [*GET, (b"", b"1")],
    "blank in name": [*GET, (b"x a", b"1")],
    "colon in name": [*GET, (b"host:evil", b"1")],
    "control in name": [*GET, (b"x\x01", b"1")],
    "high byte in name": [*GET, (b"x\xff", b"1")],
    "CR in value": [*GET, (b"x", b"a\rb")],
    "LF in value": [*GET, (b"x", b"a\nb")],
    "CRLF in value": [*GET, (b"x", b"a\r\nevil: 1")],
    "NUL in value": [*GET, (b"x", b"a\0b")],
    "control in value": [*GET, (b"x", b"a\x01b")],
    "blank before value": [*GET, (b"x", b" a")],
    "tab after value": [*GET, (b"x", b"a\t")],
    "only a blank": [*GET, (b"x", b" ")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"1")],
    "proxy-connection": [*GET, (b"proxy-connection", b"1")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"websocket")],
    "te": [*GET, (b"te", b"gzip")],
    "two hosts": [*GET, (b"host", b"a.example"), (b"host", b"a.example")],
    "other host": [*GET, (b"host", b"b.example")],
    "no authority": GET[:3],
    "empty authority": [*GET[:3], (b":authority", b"")],
    "user in authority": [*GET[:3], (b":authority", b"u@a.example")],
    "path in authority": [*GET[:3], (b":authority", b"a.example/x")],
    "line in authority": [*GET[:3], (b":authority", b"a.example\r\nx: y")],
    "no method": GET[1:],
    "no scheme": [GET[0], *GET[2:]],
    "no path": [*GET[:2], GET[3]],
    "method twice": [GET[0], *GET],
    "path twice": [*GET, (b":path", b"/")],
    "unknown pseudo": [*GET, (b":x", b"1")],
    "status": [*GET, (b":status", b"200")],
    "pseudo after regular": [*GET[:3], (b"x", b"1"), GET[3]],
    "blank in method": [(b":method", b"GET /x HTTP/1.1\r\nx:"), *GET[1:]],
    "empty method": [(b":method", b""), *GET[1:]],
    "long method": [(b":method", b"A" * 33), *GET[1:]],
    "empty path": [*GET[:2], (b":path", b""), GET[3]],
    "no slash": [*GET[:2], (b":path", b"x"), GET[3]],
    "absolute path": [*GET[:2], (b":path", b"http://evil/x"), GET[3]],
    "blank in path": [*GET[:2], (b":path", b"/ HTTP/1.1"), GET[3]],
    "fragment": [*GET[:2], (b":path", b"/#x"), GET[3]],
    "star with GET": [*GET[:2], (b":path", b"*"), GET[3]],
    "scheme": [GET[0], (b":scheme", b"https://evil/?"), *GET[2:]],
    "content-length and no body": [*GET, (b"content-length", b"3")],
    "two content-lengths": [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
    "signed content-length": [*GET, (b"content-length", b"+0")],
    "CONNECT with path": [(b":method", b"CONNECT"), *GET[1:]],
    "protocol without CONNECT": [*GET, (b":protocol", b"websocket")],
    "extended CONNECT without scheme": [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[2:]],
    "extended CONNECT with length": [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"content-length", b"3")],
}


@pytest.mark.parametrize("pairs", list(MALFORMED.values()), ids=list(MALFORMED))
@pytest.mark.parametrize("twice", [False, True])
def test_malformed_requests_are_reset(pairs: Pairs, twice: bool) -> None:
    """RFC 9113 8.1.1: a stream error; the connection serves on. Memory of the first must not let the second pass."""
    side = Side()
    for i in range(2 if twice else 1):
        assert side.open(1 + 2 * i, pairs) == []
        assert side.frames() == [reset(1 + 2 * i, PROTOCOL_ERROR)]
    assert side.open(9)[0][0] == HEAD


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        ([(b":method", b"TRACE"), *GET[1:]], CLIENT_BAD_METHOD),
        ([(b":method", b"CONNECT"), (b":authority", b"a.example:22")], CLIENT_BAD_METHOD),
        ([(b":method", b"CONNECT"), (b":protocol", b"connect-udp"), *GET[1:]], CLIENT_BAD_METHOD),
        ([*GET[:2], (b":path", b"/" + b"x" * 8192), GET[3]], CLIENT_TARGET_TOO_LONG),
        ([*GET, *[(b"x", b"1")] * 101], CLIENT_HEAD_TOO_LARGE),
        ([*GET, *[(b"cookie", b"a=1")] * 101], CLIENT_HEAD_TOO_LARGE),
        ([*GET, (b"x", b"y" * 16_384)], CLIENT_HEAD_TOO_LARGE),
    ],
)
def test_requests_that_get_an_answer(pairs: Pairs, fault: object) -> None:
    side = Side()
    block = side.block(pairs)
    data = frame(HEADERS, END_STREAM, 1, block[:16_000]) + frame(CONTINUATION, END_HEADERS, 1, block[16_000:])
    assert side.feed(data) == [(REFUSED, 1, fault)]
    side.codec.send_head(side.stream(1), 431, OK, True)
    assert [row[0] for row in side.frames()] == [HEADERS]
    assert side.codec.streams == {}
    assert side.open(3)[0][0] == HEAD


def test_hundred_fields_pass() -> None:
    side = Side()
    assert side.open(1, [*GET, *[(b"x", b"1")] * 100])[0][0] == HEAD


def test_extended_connect() -> None:
    """RFC 8441: to the rest of the program an Upgrade."""
    side = Side()
    pairs = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"sec-websocket-version", b"13")]
    assert side.open(1, pairs, False) == [
        (
            HEAD,
            1,
            b"GET",
            b"/",
            b"a.example",
            b"Host: a.example\r\nsec-websocket-version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
            False,
        )
    ]
    assert side.stream(1).tunnel
    assert side.codec.head is not None
    assert side.codec.head.fields.upgrade == b"websocket"
    assert side.feed(frame(DATA, 0, 1, b"abc")) == [(BODY, 1, b"abc", False)]
    assert side.feed(side.headers(1, [(b"x", b"y")])) == [(RESET, 1, PROTOCOL_ERROR)]


# ---- bodies


def test_body_in_pieces() -> None:
    side = Side()
    side.open(1, POST, False)
    data = frame(DATA, 0, 1, b"hello") + frame(DATA, END_STREAM | PADDED, 1, b"\x03, you\0\0\0")
    assert side.feed(data[:11]) == [(BODY, 1, b"he", False)]
    assert side.feed(data[11:20]) == [(BODY, 1, b"llo", False)]
    assert side.feed(data[20:]) == [(BODY, 1, b", you", True)]
    assert side.stream(1).remote_ended


def test_trailers() -> None:
    side = Side()
    side.open(1, POST, False)
    assert side.feed(frame(DATA, 0, 1, b"x") + side.headers(1, [(b"x-sum", b"1"), (b"content-length", b"9")])) == [
        (BODY, 1, b"x", False),
        (TRAILERS, 1, b"x-sum: 1\r\n"),
    ]


@pytest.mark.parametrize(
    ("pairs", "end"), [([(b"x", b"1")], False), ([(b":path", b"/")], True), ([(b"X", b"1")], True), ([(b"x", b"a\r\nb: c")], True)]
)
def test_malformed_trailers(pairs: Pairs, end: bool) -> None:
    side = Side()
    side.open(1, POST, False)
    assert side.feed(side.headers(1, pairs, end)) == [(RESET, 1, PROTOCOL_ERROR)]
    assert side.frames() == [reset(1, PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    ("length", "frames"),
    [
        (b"3", [(b"ab", True)]),
        (b"3", [(b"abcd", True)]),
        (b"3", [(b"ab", False), (b"cd", True)]),
        (b"3", [(b"ab", False), (b"", True)]),
        (b"0", [(b"a", True)]),
    ],
)
def test_content_length_against_data(length: bytes, frames: list[tuple[bytes, bool]]) -> None:
    """RFC 9113 8.1.1."""
    side = Side()
    side.open(1, [*POST, (b"content-length", length)], False)
    for data, end in frames:
        side.feed(frame(DATA, END_STREAM if end else 0, 1, data))
    assert side.log[-1] == (RESET, 1, PROTOCOL_ERROR)
    assert side.codec.streams == {}


def test_content_length_against_trailers() -> None:
    side = Side()
    side.open(1, [*POST, (b"content-length", b"3")], False)
    assert side.feed(frame(DATA, 0, 1, b"ab") + side.headers(1, [(b"x", b"1")]))[-1] == (RESET, 1, PROTOCOL_ERROR)


# ---- credit


def credits(frames: list[Frame], stream: int) -> int:
    return sum(struct.unpack(">L", row[3])[0] for row in frames if row[0] == WINDOW_UPDATE and row[2] == stream)


def test_credit_comes_back_as_data_is_taken() -> None:
    side = Side()
    side.open(1, POST, False)
    sent = 0
    returned = 0
    whole = 0
    for _ in range(100):
        side.feed(frame(DATA, 0, 1, b"x" * 10_000))
        sent += 10_000
        frames = side.frames()
        returned += credits(frames, 1)
        whole += credits(frames, 0)
        assert sent - returned <= STREAM_WINDOW // 4 + 10_000
        assert sent - whole <= CONNECTION_WINDOW // 8 + 10_000
    assert returned > 0


def test_no_credit_while_paused_then_all_of_it() -> None:
    side = Side()
    side.open(1, POST, False)
    side.codec.pause(side.stream(1))
    side.feed(frame(DATA, 0, 1, b"x" * 16_000) * 6)
    assert side.frames() == []
    side.codec.resume(side.stream(1))
    assert side.frames() == [(WINDOW_UPDATE, 0, 0, number(96_000)), (WINDOW_UPDATE, 0, 1, number(96_000))]


def test_pause_over_a_piece_withholds_its_credit() -> None:
    """Rule 3: paused while the event is looked at, before the next is asked for."""
    side = Side()
    side.open(1, POST, False)
    codec = side.codec
    codec.feed(frame(DATA, 0, 1, b"x" * 16_000) * 4)
    assert codec.next() == BODY
    codec.pause(codec.stream)
    while codec.next() == BODY:
        pass
    assert side.stream(1).withheld == 64_000
    assert side.frames() == []


def test_stream_over_its_window() -> None:
    side = Side()
    side.open(1, POST, False)
    side.codec.pause(side.stream(1))
    side.feed(frame(DATA, 0, 1, b"x" * 16_384) * 6)
    assert side.feed(frame(DATA, 0, 1, b"x" * 1_697)) == [(RESET, 1, FLOW_CONTROL_ERROR)]
    frames = side.frames()
    assert reset(1, FLOW_CONTROL_ERROR) in frames
    assert credits(frames, 0) == 6 * 16_384 + 1_697


def test_connection_over_its_window() -> None:
    side = Side()
    for i in range(5):
        side.open(1 + 2 * i, POST, False)
        side.codec.pause(side.stream(1 + 2 * i))
    for i in range(4):
        side.feed(frame(DATA, 0, 1 + 2 * i, b"x" * 16_000) * 6 + frame(DATA, 0, 1 + 2 * i, b"x" * 4_000))
    assert side.feed(frame(DATA, 0, 9, b"x")) == [(OVER, FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize("how", ["reset by the client", "aborted", "released"])
def test_credit_of_the_connection_survives_a_stream(how: str) -> None:
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    side.codec.pause(stream)
    side.feed(frame(DATA, 0, 1, b"x" * 16_000) * 6)
    if how == "reset by the client":
        side.feed(frame(RST_STREAM, 0, 1, number(CANCEL)))
    elif how == "aborted":
        side.codec.reset(stream, CANCEL)
    else:
        side.codec.release(stream)
    assert credits(side.frames(), 0) == 96_000


def test_credit_of_a_piece_whose_stream_is_let_go_over_it() -> None:
    side = Side()
    side.open(1, POST, False)
    codec = side.codec
    codec.feed(frame(DATA, 0, 1, b"x" * 16_000) * 4)
    while codec.next() == BODY:
        codec.release(codec.stream)
    assert credits(side.frames(), 0) == 64_000  # one less would be under the step, and nothing would be said


def test_credit_of_stray_data() -> None:
    """What comes for a stream that we reset counts for the connection, and comes back."""
    side = Side()
    side.open(1, POST, False)
    side.codec.reset(side.stream(1), CANCEL)
    for _ in range(40):
        side.feed(frame(DATA, 0, 1, b"x" * 16_000))
        side.codec.now_ms += 100
    assert side.log[1:] == []
    assert credits(side.frames(), 0) >= 600_000


def test_padding_is_credited_at_once() -> None:
    side = Side()
    side.open(1, POST, False)
    side.codec.pause(side.stream(1))
    for _ in range(300):
        side.feed(frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255)))
    frames = side.frames()
    assert credits(frames, 1) >= 300 * 256 - STREAM_WINDOW // 4
    assert side.stream(1).withheld == 300


def test_known_length_needs_no_credit() -> None:
    side = Side()
    side.open(1, [*POST, (b"content-length", b"90000")], False)
    side.feed(frame(DATA, 0, 1, b"x" * 15_000) * 6)
    assert credits(side.frames(), 1) == 0


# ---- sending


def test_response_with_a_body() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 103, fields_of([(b"Link", b"</a>")]), False)
    side.codec.send_head(stream, 200, OK, False)
    assert side.codec.send_data(stream, b"hello", False)
    assert side.codec.send_data(stream, b", you", True)
    frames = side.frames()
    assert [(row[0], row[1]) for row in frames] == [(HEADERS, 4), (HEADERS, 4), (DATA, END_STREAM)]  # one frame for two small pieces
    assert b"".join(row[3] for row in frames if row[0] == DATA) == b"hello, you"
    assert [name for name, _ in side.decoder.decode(frames[0][3])] == [":status", "link"]
    assert dict(side.decoder.decode(frames[1][3])) == {":status": "200", "content-type": "text/plain"}
    assert side.codec.streams == {}


def test_response_trailers() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    side.codec.send_data(stream, b"x", False)
    side.codec.send_trailers(stream, fields_of([(b"X-Sum", b"1")]))
    frames = side.frames()
    assert [(row[0], row[1]) for row in frames] == [(HEADERS, 4), (DATA, 0), (HEADERS, 5)]
    side.decoder.decode(frames[0][3])
    assert side.decoder.decode(frames[2][3]) == [("x-sum", "1")]


def test_large_head_is_continued() -> None:
    side = Side()
    side.open(1)
    side.codec.send_head(side.stream(1), 200, fields_of([(b"X", b"y" * 40_000)]), True)
    frames = side.frames()
    assert [(row[0], row[1], row[2]) for row in frames] == [(HEADERS, 1, 1), (CONTINUATION, 0, 1), (CONTINUATION, 4, 1)]
    assert len(b"".join(row[3] for row in frames)) > 40_000


def test_windows_hold_data_back() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 10)))
    side.open(1)
    stream = side.stream(1)
    side.frames()
    side.codec.send_head(stream, 200, OK, False)
    side.codec.send_data(stream, b"x" * 25, True)
    assert [len(row[3]) for row in side.frames() if row[0] == DATA] == [10]
    side.feed(frame(SETTINGS, 0, 0, setting(4, 5)))  # the window is -5 now
    assert stream.send_window == -5
    side.feed(frame(WINDOW_UPDATE, 0, 1, number(5)))
    assert [row for row in side.frames() if row[0] == DATA] == []
    side.feed(frame(WINDOW_UPDATE, 0, 1, number(3)))
    assert [len(row[3]) for row in side.frames()] == [3]
    side.feed(frame(SETTINGS, 0, 0, setting(4, 1) + setting(4, 100)))
    assert [(len(row[3]), row[1]) for row in side.frames() if row[0] == DATA] == [(12, END_STREAM)]


def test_a_long_piece_goes_out_in_full_frames_and_ends_with_the_last() -> None:
    side = Side()
    side.feed(frame(WINDOW_UPDATE, 0, 0, number(1_000_000)) + frame(SETTINGS, 0, 0, setting(4, 1_000_000)))
    side.open(1)
    side.frames()
    body = bytes(range(256)) * 512
    side.codec.send_head(side.stream(1), 200, OK, False)
    side.codec.send_data(side.stream(1), body[: 8 * 16_375], True)
    rows = [row for row in side.frames() if row[0] == DATA]
    assert [len(row[3]) for row in rows] == [16_375] * 8
    assert [row[1] for row in rows] == [0] * 7 + [END_STREAM]
    assert b"".join(row[3] for row in rows) == body[: 8 * 16_375]


def test_a_long_piece_shares_with_another() -> None:
    """Frames are made ahead only while nobody else waits."""
    side = Side()
    side.feed(frame(WINDOW_UPDATE, 0, 0, number(1_000_000)) + frame(SETTINGS, 0, 0, setting(4, 1_000_000)))
    for i in (1, 3):
        side.open(i)
        side.codec.send_head(side.stream(i), 200, OK, False)
        side.codec.send_data(side.stream(i), b"x" * 40_000, True)
    assert [row[2] for row in side.frames() if row[0] == DATA] == [1, 3, 1, 3, 1, 3]


def test_connection_window_holds_data_back() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 1_000_000)))
    for i in (1, 3):
        side.open(i)
        side.codec.send_head(side.stream(i), 200, OK, False)
        side.codec.send_data(side.stream(i), b"x" * 60_000, True)
    frames = side.frames()
    assert sum(len(row[3]) for row in frames if row[0] == DATA) == 65_535
    assert not side.codec.has_output()
    side.feed(frame(WINDOW_UPDATE, 0, 0, number(100_000)))
    assert side.codec.has_output()
    assert sum(len(row[3]) for row in side.frames()) == 120_000 - 65_535
    assert side.codec.streams == {}


def test_end_needs_no_window() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 0)))
    side.open(1)
    side.codec.send_head(side.stream(1), 200, OK, False)
    side.codec.send_data(side.stream(1), b"", True)
    assert side.frames()[-1] == (DATA, END_STREAM, 1, b"")


def test_false_is_paid_once() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 0)))
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    assert side.codec.send_data(stream, b"x" * 65_535, False)
    assert not side.codec.send_data(stream, b"x", False)
    assert not side.codec.send_data(stream, b"x", False)
    side.frames()
    assert side.codec.drained == []
    side.feed(frame(WINDOW_UPDATE, 0, 1, number(65_000)))
    side.frames()
    assert side.codec.drained == [stream]


def test_room_limits_what_is_made() -> None:
    side = Side()
    side.feed(frame(WINDOW_UPDATE, 0, 0, number(1_000_000)) + frame(SETTINGS, 0, 0, setting(4, 1_000_000)))
    side.open(1)
    side.frames()
    side.codec.send_head(side.stream(1), 200, OK, False)
    side.codec.send_data(side.stream(1), b"x" * 200_000, True)
    assert sum(len(row[3]) for row in side.frames(room=20_000) if row[0] == DATA) == 2 * 16_375
    assert sum(len(row[3]) for row in side.frames()) == 200_000 - 2 * 16_375


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=30), st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_any_pieces_and_windows_give_the_same_body(pieces: list[bytes], steps: list[int]) -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 0)))
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    for i, piece in enumerate(pieces):
        side.codec.send_data(stream, piece, i == len(pieces) - 1)
    total = sum(len(piece) for piece in pieces)
    body = b""
    for i in range(total):
        side.feed(frame(WINDOW_UPDATE, 0, 1, number(steps[i % len(steps)])))
        rows = [row for row in side.frames() if row[0] == DATA]
        body += b"".join(row[3] for row in rows)
        if rows and rows[-1][1] & END_STREAM:
            break
    assert body == b"".join(pieces)
    assert side.codec.streams == {}


# ---- whose turn it is


def order(side: Side) -> list[int]:
    """Return the stream ids of the DATA frames that go out, runs as one."""
    found: list[int] = []
    for row in side.frames():
        if row[0] == DATA and (not found or found[-1] != row[2]):
            found.append(row[2])
    return found


def loaded(priorities: list[bytes], size: int = 40_000) -> Side:
    side = Side()
    side.feed(frame(WINDOW_UPDATE, 0, 0, number(10_000_000)) + frame(SETTINGS, 0, 0, setting(4, 10_000_000)))
    for i, priority in enumerate(priorities):
        pairs = [*GET, (b"priority", priority)] if priority else GET
        side.open(1 + 2 * i, pairs)
        side.codec.send_head(side.stream(1 + 2 * i), 200, OK, False)
    for i in range(len(priorities)):
        side.codec.send_data(side.stream(1 + 2 * i), b"x" * size, True)
    return side


def test_turns_without_priorities() -> None:
    assert order(loaded([b"", b"", b""])) == [1, 3, 5, 1, 3, 5, 1, 3, 5]


def test_urgency_first_then_one_after_another() -> None:
    assert order(loaded([b"u=5", b"u=1", b"u=1", b"u=5, i", b"u=5;x=1,i"])) == [3, 5, 1, 7, 9, 7, 9, 7, 9]


def test_endless_stream_lets_others_through() -> None:
    side = loaded([b"u=3", b"u=3"], size=1_000_000)
    assert order(side)[:3] == [1, 3, 1]


@pytest.mark.parametrize("value", [b"u=9", b"u=-1", b"u", b"x=1", b"u=1.5", b"\xff", b"", b"u=10"])
def test_odd_priorities_are_the_default(value: bytes) -> None:
    side = loaded([b"u=4", value])
    assert order(side)[0] == 3


def test_priority_update() -> None:
    side = loaded([b"u=3", b"u=3"])
    side.feed(frame(PRIORITY_UPDATE, 0, 0, number(3) + b"u=0"))
    assert order(side) == [3, 1]


def test_priority_update_before_its_stream() -> None:
    side = Side()
    side.feed(frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=0, i"))
    side.open(1, [*GET, (b"priority", b"u=6")])
    assert (side.stream(1).urgency, side.stream(1).incremental) == (0, True)


# ---- the end of streams


def test_early_answer_resets_with_no_error() -> None:
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    side.codec.send_head(stream, 413, OK, False)
    side.codec.send_data(stream, b"too large", True)
    side.codec.release(stream)
    frames = side.frames()
    assert frames[-2][:2] == (DATA, END_STREAM)
    assert frames[-1] == reset(1, NO_ERROR)
    assert side.feed(frame(DATA, 0, 1, b"x" * 1000)) == []
    assert side.open(3)[0][0] == HEAD


def test_early_answer_and_the_rest_of_the_request() -> None:
    """Nobody released the stream: the request goes on to its end."""
    side = Side()
    side.open(1, POST, False)
    side.codec.send_head(side.stream(1), 200, OK, True)
    assert side.feed(frame(DATA, 0, 1, b"x")) == [(BODY, 1, b"x", False)]
    assert side.feed(frame(DATA, END_STREAM, 1, b"y")) == [(BODY, 1, b"y", True)]


def test_end_in_hand_when_the_answer_is_done() -> None:
    """The answer goes out while the last DATA frame is only half here: its owner still gets the end."""
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    data = frame(DATA, END_STREAM, 1, b"abcdef")
    assert side.feed(data[:12]) == [(BODY, 1, b"abc", False)]
    side.codec.send_head(stream, 200, OK, True)
    assert side.codec.streams == {}
    assert side.feed(data[12:]) == [(BODY, 1, b"def", True)]


def test_frames_after_our_reset_are_ignored() -> None:
    side = Side()
    side.open(1, POST, False)
    side.codec.reset(side.stream(1), CANCEL)
    side.frames()
    late = (
        frame(DATA, 0, 1, b"x")
        + side.headers(1, [(b"x", b"1")])
        + frame(WINDOW_UPDATE, 0, 1, number(1))
        + frame(RST_STREAM, 0, 1, number(8))
    )
    assert side.feed(late) == []
    assert side.frames() == []


def test_reset_in_the_middle_of_a_frame() -> None:
    """The rest of the frame is skipped, and its credit comes back to the connection."""
    side = Side()
    sent = 0
    returned = 0
    for i in range(1, 41, 2):
        side.open(i, POST, False)
        data = frame(DATA, 0, i, b"x" * 16_000)
        side.feed(data[:100])
        side.codec.reset(side.stream(i), CANCEL)
        assert side.feed(data[100:]) == []
        sent += 16_000
        returned += credits(side.frames(), 0)
    assert sent - returned < CONNECTION_WINDOW // 8
    assert side.open(41)[0][:2] == (HEAD, 41)


def test_calls_for_a_stream_that_is_gone_do_nothing() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.feed(frame(RST_STREAM, 0, 1, number(CANCEL)))
    side.codec.send_head(stream, 200, OK, False)
    assert side.codec.send_data(stream, b"x" * 100_000, True)
    side.codec.reset(stream, CANCEL)
    side.codec.release(stream)
    assert side.frames() == []
    assert not side.codec.has_output()


def test_too_many_streams() -> None:
    side = Side(options=H2Options(2, STREAM_WINDOW, CONNECTION_WINDOW))
    assert [side.open(i)[0][0] for i in (1, 3)] == [HEAD, HEAD]
    assert side.open(5) == []
    assert side.frames() == [reset(5, REFUSED_STREAM)]
    side.feed(frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert side.open(7)[0][0] == HEAD


def test_refused_blocks_still_move_the_table() -> None:
    side = Side(options=H2Options(1, STREAM_WINDOW, CONNECTION_WINDOW))
    side.open(1)
    side.open(3, [*GET, (b"x-new", b"value")])
    side.feed(frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert side.open(5, [*GET, (b"x-new", b"value")])[0][5] == b"Host: a.example\r\nx-new: value\r\n"


# ---- the end of the connection


def test_drain() -> None:
    side = Side()
    side.open(1)
    side.codec.begin_drain()
    side.codec.begin_drain()
    frames = side.frames()
    assert not side.codec.is_drained()
    assert frames == [(GOAWAY, 0, 0, number(0x7FFF_FFFF) + number(0)), (PING, 0, 0, frames[1][3])]
    assert side.open(3)[0][0] == HEAD
    side.feed(frame(PING, ACK, 0, frames[1][3]))
    assert side.frames() == [(GOAWAY, 0, 0, number(3) + number(0))]
    assert side.codec.is_drained()
    assert side.open(5) == []
    assert side.frames() == []
    side.codec.finish_drain()
    assert side.frames() == []
    side.codec.send_head(side.stream(3), 200, OK, True)
    assert side.frames()[0][2] == 3


def test_client_leaves() -> None:
    side = Side()
    assert side.feed(frame(GOAWAY, 0, 0, number(0) + number(2) + b"why")) == [(LEAVING, 2)]


def test_owner_closes() -> None:
    side = Side()
    side.open(7)
    side.codec.close(NO_ERROR, "idle")
    assert side.frames() == [(GOAWAY, 0, 0, number(7) + number(0) + b"idle")]
    assert side.codec.next() == OVER


def test_block_that_cannot_be_decoded() -> None:
    side = Side()
    assert side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xbe")) == [(OVER, COMPRESSION_ERROR)]
    side = Side()
    side.open(1)
    assert side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff")) == [(OVER, COMPRESSION_ERROR)]


# ---- abuse


def calm(side: Side, data: bytes, times: int) -> int:
    """Feed `data` up to `times` times; return how often before the connection was closed for it, or -1."""
    for i in range(times):
        if side.feed(data) and side.log[-1][0] == OVER:
            assert side.log[-1] == (OVER, ENHANCE_YOUR_CALM)
            return i
        side.frames()
    return -1


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS, 0, 0),
        frame(PRIORITY, 0, 1, number(3) + b"\0"),
        frame(99, 0, 0, b"x"),
        frame(WINDOW_UPDATE, 0, 0, number(1)),
        frame(PRIORITY_UPDATE, 0, 0, number(1)),
        frame(WINDOW_UPDATE, 0, 1, number(1)),
        frame(DATA, 0, 1),
        frame(DATA, PADDED, 1, b"\x01\0"),
    ],
    ids=["ping", "settings", "priority", "unknown", "window of connection", "priority update", "window of stream", "empty data", "padding"],
)
def test_floods_of_empty_frames(data: bytes) -> None:
    side = Side()
    side.open(1, POST, False)
    assert 500 < calm(side, data, 20_000) < 5_000


def test_flood_in_time_is_allowed() -> None:
    side = Side()
    for second in range(30):
        side.codec.now_ms = second * 1000
        for _ in range(150):
            side.feed(frame(PING, 0, 0, b"12345678"))
    assert side.log == []


def test_window_updates_of_a_large_download_are_no_flood() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    for _ in range(6_000):
        side.codec.send_data(stream, b"x" * 16_384, False)
        side.frames()
        side.feed(frame(WINDOW_UPDATE, 0, 1, number(16_384)) + frame(WINDOW_UPDATE, 0, 0, number(16_384)))
    assert side.log[1:] == []


def test_rapid_reset() -> None:
    """CVE-2023-44487."""
    side = Side()
    for i in range(3_000):
        if side.feed(side.headers(1 + 2 * i, GET) + frame(RST_STREAM, 0, 1 + 2 * i, number(CANCEL)))[-1][0] == OVER:
            break
    assert side.log[-1] == (OVER, ENHANCE_YOUR_CALM)
    assert 500 < i < 2_000


@pytest.mark.parametrize("how", ["window", "overflow", "data", "headers", "priority", "malformed"])
def test_made_you_reset(how: str) -> None:
    """CVE-2025-8671: the client lets us do the resetting."""
    side = Side()
    for i in range(1_000):
        at = 1 + 2 * i
        data = side.headers(at, [*GET, (b"te", b"x")] if how == "malformed" else GET)
        if how == "window":
            data += frame(WINDOW_UPDATE, 0, at, number(0))
        elif how == "overflow":
            data += frame(WINDOW_UPDATE, 0, at, number(0x7FFF_FFFF))
        elif how == "data":
            data += frame(DATA, 0, at, b"x")
        elif how == "headers":
            data += side.headers(at, [(b"x", b"1")])
        elif how == "priority":
            data += frame(PRIORITY, 0, at, number(at) + b"\0")
        side.feed(data)
        if side.log and side.log[-1][0] == OVER:
            break
    assert side.log[-1] == (OVER, ENHANCE_YOUR_CALM)
    assert i < 500


def test_cancelled_thumbnails_are_no_abuse() -> None:
    """200 requests, 80 % cancelled, again and again."""
    side = Side(options=H2Options(256, STREAM_WINDOW, CONNECTION_WINDOW))
    at = 1
    for _ in range(100):
        ids = list(range(at, at + 400, 2))
        at += 400
        side.feed(b"".join(side.headers(i, GET) for i in ids))
        side.feed(b"".join(frame(RST_STREAM, 0, i, number(CANCEL)) for i in ids if i % 10 != 1))
        for i in ids:
            if i % 10 == 1:
                side.codec.send_head(side.stream(i), 304, OK, True)
        side.frames()
        assert side.codec.streams == {}
    assert side.log[-1][0] == RESET
    assert side.open(at)[0][0] == HEAD
    assert len(side.codec.resets) <= 256


def test_continuation_floods() -> None:
    """CVE-2024-27316: no end of headers, with and without bytes."""
    side = Side()
    side.feed(frame(HEADERS, 0, 1))
    assert 0 <= calm(side, frame(CONTINUATION, 0, 1), 5_000) < 500
    side = Side()
    side.feed(frame(HEADERS, 0, 1))
    assert 0 <= calm(side, frame(CONTINUATION, 0, 1, b"\x82"), 5_000) < 3_000
    side = Side()
    side.feed(frame(HEADERS, 0, 1))
    assert 0 <= calm(side, frame(CONTINUATION, 0, 1, b"\x82" * 16_000), 100) < 20


def test_header_bombs_cost() -> None:
    """Tiny references by the thousand: 431 for some, then the end; never many fields in memory."""
    side = Side()
    bomb = bytes(side.encoder.encode(GET)) + b"\x40\x01a\x01b" + b"\xbe" * 300
    answers = 0
    for i in range(2_000):
        side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, bomb))
        if side.log[-1][0] == OVER:
            break
        assert side.log[-1][0] == REFUSED
        answers += 1
        side.codec.send_head(side.stream(1 + 2 * i), 431, OK, True)
        side.codec.answers = 0  # as if the client had not read them
        side.frames()
    assert 20 < answers < 500


def test_a_header_bomb_far_over_the_limit_ends_the_connection() -> None:
    side = Side()
    side.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes(side.encoder.encode(GET)) + b"\x40\x01a\x01b" + b"\xbe" * 10_000))
    assert side.log[-1][0] == OVER
    assert side.codec.error_code == ENHANCE_YOUR_CALM


def test_stray_frames_cost() -> None:
    side = Side()
    side.open(1)
    side.codec.reset(side.stream(1), CANCEL)
    assert 0 <= calm(side, frame(DATA, 0, 1, b"x"), 20_000) < 5_000


def test_data_after_the_clients_own_reset() -> None:
    side = Side()
    side.open(1, POST, False)
    side.feed(frame(RST_STREAM, 0, 1, number(CANCEL)))
    side.feed(frame(DATA, 0, 1, b"x"))
    assert side.frames() == [reset(1, STREAM_CLOSED)]


# ---- any split, any bytes


def conversation(side: Side) -> bytes:
    return b"".join(
        [
            PREFACE,
            frame(SETTINGS, 0, 0, setting(3, 100)),
            side.headers(1, [*GET, (b"accept", b"*/*")]),
            side.headers(3, [*POST, (b"content-length", b"11")], False),
            frame(DATA, PADDED, 3, b"\x04hello\0\0\0\0"),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, END_STREAM, 3, b", you!"),
            frame(HEADERS, 0, 5, (whole := side.block([*POST, (b"x", b"y" * 50)]))[:7]) + frame(CONTINUATION, END_HEADERS, 5, whole[7:]),
            frame(DATA, 0, 5, b"z" * 300),
            side.headers(5, [(b"x-sum", b"1")]),
            side.headers(7, [*GET, (b"te", b"gzip")]),
            side.headers(9, GET),
            frame(RST_STREAM, 0, 9, number(CANCEL)),
            frame(GOAWAY, 0, 0, number(0) + number(0)),
        ]
    )


def joined(log: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Join neighbouring pieces of one body: where they are cut is no promise."""
    found: list[tuple[object, ...]] = []
    for event in log:
        last = found[-1] if found else (None, None)
        if event[0] == BODY == last[0] and event[1] == last[1] and not last[3]:
            found[-1] = (BODY, event[1], bytes(last[2]) + bytes(event[2]), event[3])  # type: ignore[call-overload]
        else:
            found.append(event)
    return found


def outcome(data: bytes, cuts: list[int]) -> tuple[list[tuple[object, ...]], list[Frame]]:
    side = Side(greet=False)
    frames = side.frames()
    places = [0, *sorted(cuts), len(data)]
    for i in range(len(places) - 1):
        side.feed(data[places[i] : places[i + 1]])
        frames += side.frames()
    return joined(side.log), frames


WHOLE = conversation(Side(greet=False))
EXPECTED = outcome(WHOLE, [])


def test_conversation_is_understood() -> None:
    assert [event[0] for event in EXPECTED[0]] == [HEAD, HEAD, BODY, HEAD, BODY, TRAILERS, HEAD, RESET, LEAVING]
    assert reset(7, PROTOCOL_ERROR) in EXPECTED[1]


def test_every_split_gives_the_same() -> None:
    for cut in range(1, len(WHOLE)):
        assert outcome(WHOLE, [cut]) == EXPECTED
    assert outcome(WHOLE, list(range(1, len(WHOLE)))) == EXPECTED


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=12))
def test_any_splits_give_the_same(cuts: list[int]) -> None:
    assert outcome(WHOLE, cuts) == EXPECTED


FRAMES = st.builds(
    frame,
    st.sampled_from([*range(10), 16, 77]),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x0D, 0x25, 0x2D]),
    st.sampled_from([0, 1, 1, 3, 5, 2]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([number(0), number(1), number(0x7FFF_FFFF), b"\x82\x87\x84\x41\x01a", setting(4, 0) + setting(4, 9), b"\0" * 5]),
    ),
)


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=40), st.booleans())
def test_any_frames_do_no_harm(frames: list[bytes], answer: bool) -> None:
    """No exception, frames that are whole, no more streams than allowed, windows within their bounds."""
    side = Side(options=H2Options(4, 70_000, 100_000))
    for data in frames:
        side.feed(data)
        if answer:
            for stream in list(side.codec.streams.values()):
                side.codec.send_head(stream, 200, OK, False)
                side.codec.send_data(stream, b"x" * 10, True)
        side.frames()
        assert len(side.codec.streams) <= 4
        assert side.codec.send_window <= 0x7FFF_FFFF
        if side.log and side.log[-1][0] == OVER:
            break
    assert side.codec.next() in (NEED, OVER)


def test_a_window_that_would_overflow_is_refused_and_not_raised() -> None:
    """RFC 9113 6.9.1."""
    side = Side(options=H2Options(4, 70_000, 100_000))
    before = side.codec.send_window
    side.feed(frame(8, 0, 0, b"\x7f\xff\x00\x01"))
    assert side.log[-1][0] == OVER
    assert side.codec.send_window == before


def test_a_setting_that_would_overflow_a_window_moves_none() -> None:
    """RFC 9113 6.9.2: an error of the connection."""
    side = Side()
    side.feed(side.headers(1, GET) + frame(WINDOW_UPDATE, 0, 1, number(1)))
    (stream,) = side.codec.streams.values()
    before = stream.send_window
    side.feed(frame(SETTINGS, 0, 0, b"\0\4" + number(0x7FFF_FFFF)))
    assert side.log[-1] == (OVER, FLOW_CONTROL_ERROR)
    assert stream.send_window == before


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_do_no_harm(data: bytes) -> None:
    side = Side()
    side.feed(data)
    side.frames()
    assert len(side.codec.streams) <= 128


# ---- what breaks a connection, and what only a stream


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
        (frame(SETTINGS, ACK, 0, b"x"), FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, b"12345"), FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, setting(4, 1 << 31)), FLOW_CONTROL_ERROR),
        (frame(SETTINGS, 0, 0, setting(5, 16_383)), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, setting(5, 1 << 24)), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, setting(2, 2)), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, setting(8, 2)), PROTOCOL_ERROR),
        (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
        (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 9, bytes(4)), FRAME_SIZE_ERROR),
        (frame(PRIORITY, 0, 9, number(9) + b"\0"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, 0, 1, number(1)), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, 0, 0, b"123"), FRAME_SIZE_ERROR),
        (frame(PRIORITY_UPDATE, 0, 0, number(2)), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, b"123"), FRAME_SIZE_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, number(0)), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, number((1 << 31) - 1)), FLOW_CONTROL_ERROR),
        (frame(WINDOW_UPDATE, 0, 9, number(1)), PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 1, b"123"), FRAME_SIZE_ERROR),
        (frame(RST_STREAM, 0, 0, number(CANCEL)), PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 9, number(CANCEL)), PROTOCOL_ERROR),
        (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        (frame(DATA, 0, 9, b"x"), PROTOCOL_ERROR),
        (frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
        (frame(DATA, PADDED, 1, b"\x02x"), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 2, b"\x82"), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS | PADDED, 3), FRAME_SIZE_ERROR),
        (frame(HEADERS, END_HEADERS | PADDED, 3, b"\x05\x82"), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS | HAS_PRIORITY, 3, b"1234"), FRAME_SIZE_ERROR),
        (frame(CONTINUATION, END_HEADERS, 1, b"\x82"), PROTOCOL_ERROR),
        (frame(HEADERS, 0, 3, b"\x82") + frame(CONTINUATION, 0, 5), PROTOCOL_ERROR),
        (frame(HEADERS, 0, 3, b"\x82") + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
        (frame_header(16_385, DATA, 0, 1), FRAME_SIZE_ERROR),
    ],
)
def test_frames_that_break_the_connection(data: bytes, code: int) -> None:
    side = Side()
    side.open(1, POST, False)
    side.frames()
    assert side.feed(data) == [(OVER, code)]
    assert goaway_code(side.frames()) == code
    assert side.feed(frame(PING, 0, 0, bytes(8))) == [(OVER, code)], "and nothing is read any more"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
        (frame(PRIORITY, 0, 1, number(1) + b"\0"), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 1, number(0)), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 1, number((1 << 31) - 1)), FLOW_CONTROL_ERROR),
    ],
)
def test_frames_that_break_a_stream(data: bytes, code: int) -> None:
    side = Side()
    side.open(1, POST, False)
    side.frames()
    assert side.feed(data) == [(RESET, 1, code)]
    assert side.frames() == [reset(1, code)]


@pytest.mark.parametrize(
    "data",
    [
        frame(PRIORITY, 0, 1, bytes(4)),
        frame(WINDOW_UPDATE, 0, 1, number(1)),
        frame(RST_STREAM, 0, 1, number(CANCEL)),
        frame(SETTINGS, 0, 0, setting(99, 7)),
    ],
)
def test_frames_that_are_late_or_unknown_do_nothing(data: bytes) -> None:
    side = Side()
    side.open(1)
    side.codec.reset(side.stream(1), CANCEL)
    side.frames()
    assert side.feed(data) == []
    assert [each for each in side.frames() if each[0] != SETTINGS] == []


def test_a_window_of_settings_over_the_most_for_a_stream() -> None:
    side = Side()
    side.open(1, POST, False)
    side.feed(frame(WINDOW_UPDATE, 0, 1, number((1 << 31) - 1 - 65_535)))
    assert side.feed(frame(SETTINGS, 0, 0, setting(4, 65_536))) == [(OVER, FLOW_CONTROL_ERROR)]


def test_headers_where_none_may_be() -> None:
    side = Side()
    side.open(1)
    assert side.open(1) == [(RESET, 1, STREAM_CLOSED)]
    side = Side()
    side.open(5)
    assert side.open(3) == [(OVER, PROTOCOL_ERROR)], "an id below one that was used"
    side = Side()
    side.open(1)
    side.codec.send_head(side.stream(1), 200, OK, True)
    assert side.open(1) == [(OVER, STREAM_CLOSED)]


def test_data_after_the_end_of_the_request() -> None:
    side = Side()
    side.open(1)
    assert side.feed(frame(DATA, 0, 1, b"x")) == [(RESET, 1, STREAM_CLOSED)]


def test_padding_whose_length_is_still_to_come() -> None:
    side = Side()
    side.open(1, POST, False)
    data = frame(DATA, PADDED | END_STREAM, 1, b"\x02ab\0\0")
    assert side.feed(data[:9]) == []
    assert side.feed(data[9:]) == [(BODY, 1, b"ab", True)]


def test_a_stream_that_depends_on_itself_never_comes_to_be() -> None:
    side = Side()
    side.frames()
    assert side.feed(frame(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, number(1) + b"\0" + side.block(GET))) == []
    assert side.frames() == [reset(1, PROTOCOL_ERROR)]


def test_what_is_whole_is_known() -> None:
    side = Side(greet=False)
    assert not side.codec.is_greeted() and not side.codec.has_block()
    side.feed(PREFACE + frame(SETTINGS, 0, 0))
    assert side.codec.is_greeted() and not side.codec.has_block()
    block = side.block(GET)
    side.feed(frame(HEADERS, END_STREAM, 1, block[:2]))
    assert side.codec.has_block(), "a header block has begun"
    side.feed(frame(CONTINUATION, END_HEADERS, 1, block[2:]))
    assert not side.codec.has_block()
    side.feed(frame(PING, 0, 0, bytes(8))[:10])
    assert side.codec.has_block(), "half a frame"


def test_an_idle_connection_forgets_what_saves_work() -> None:
    side = Side()
    first = side.open(1, [*GET, (b"accept", b"*/*")])
    side.codec.forget()
    again = side.open(3, [*GET, (b"accept", b"*/*")])
    assert again[0][2:] == first[0][2:]


def waiting(count: int) -> tuple[Schedule, list[H2Stream]]:
    schedule = Schedule()
    streams = [H2Stream(1 + 2 * i, 1, 1) for i in range(count)]
    for stream in streams:
        schedule.add(stream)
    return schedule, streams


def test_a_long_line_is_served_in_order() -> None:
    schedule, streams = waiting(200)
    schedule.add(streams[0])  # it stands there already
    assert [schedule.take() for _ in range(200)] == streams
    assert schedule.take() is None and schedule.is_empty()


def test_who_leaves_a_line_is_not_served() -> None:
    schedule, streams = waiting(3)
    schedule.take()
    schedule.remove(streams[1])
    schedule.remove(streams[1])
    schedule.remove(streams[2])
    assert schedule.is_empty() and schedule.take() is None
    schedule.move(streams[0], 1, False)
    assert schedule.is_empty(), "a priority alone puts nobody in line"
    schedule.add(streams[1])
    assert schedule.take() is streams[1], "the line begins anew"


def test_a_turn_goes_on_in_front() -> None:
    schedule, streams = waiting(2)
    streams[0].incremental = False
    schedule.move(streams[0], 3, False)
    assert schedule.take() is streams[0]
    schedule.again(streams[0], 1000)
    assert schedule.take() is streams[0], "in the place it had"
    schedule, streams = waiting(1)
    streams[0].incremental = False
    assert schedule.take() is streams[0]
    schedule.again(streams[0], 1000)
    assert schedule.take() is streams[0], "alone"
    schedule.again(streams[0], 1 << 20)
    assert schedule.take() is streams[0], "at the end of a line of one"


@pytest.mark.parametrize(("value", "wanted"), [(b"i=?1", True), (b"i, i=?0", False), (b"i=?0", False), (b"i;a=1", True), (b"i=1", False)])
def test_incremental_is_said_in_three_ways(value: bytes, wanted: bool) -> None:
    assert parse_priority(value) == (3, wanted)


def test_an_owner_closes_once() -> None:
    side = Side()
    side.codec.close(NO_ERROR, "idle")
    side.codec.close(CANCEL, "again")
    assert [each[0] for each in side.frames()] == [GOAWAY]


def test_a_small_window_of_the_connection_is_not_widened() -> None:
    side = Side(greet=False, options=H2Options(1, 1000, 65_535))
    assert [each[0] for each in side.frames()] == [SETTINGS]


def test_one_that_dials_greets_as_a_client() -> None:
    codec = H2(HeadLimits(), FieldsTable(UPSTREAM, 100), H2Options(), True)
    assert codec.take_output().startswith(PREFACE + frame_header(24, SETTINGS, 0, 0))


def test_skipped_ids_are_told_from_closed_ones() -> None:
    side = Side()
    side.open(5)
    side.open(11)
    side.codec.send_head(side.stream(11), 200, OK, True)
    assert side.open(11) == [(OVER, STREAM_CLOSED)]
    side = Side()
    side.open(5)
    side.open(11)
    assert side.open(9) == [(OVER, PROTOCOL_ERROR)]


def test_data_on_a_stream_that_ended_in_good_order() -> None:
    side = Side()
    side.open(1)
    side.codec.send_head(side.stream(1), 200, OK, True)
    assert side.feed(frame(DATA, 0, 1, b"x")) == [(OVER, STREAM_CLOSED)]


def test_settings_of_the_peer_are_taken() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(1, 0) + setting(3, 7) + setting(5, 16_384) + setting(4, 65_535) + setting(8, 0)))
    assert side.codec.peer_streams == 7 and not side.codec.peer_tunnels
    side.feed(frame(SETTINGS, 0, 0, setting(8, 1)))
    assert side.codec.peer_tunnels
    assert side.frames() == [(SETTINGS, ACK, 0, b"")] * 2
    side.open(1)
    side.codec.send_head(side.stream(1), 200, OK, True)
    assert side.frames()[0][3].startswith(b"\x20"), "the table is announced to be empty"


def test_answers_to_pings_nobody_sent() -> None:
    side = Side()
    assert side.feed(frame(PING, ACK, 0, bytes(8))) == []
    assert side.frames() == []


def test_priorities_before_their_streams_are_bounded() -> None:
    side = Side()
    for stream in range(1, 401, 2):
        side.feed(frame(PRIORITY_UPDATE, 0, 0, number(stream) + b"u=1"))
    assert len(side.codec.early) == 64
    side.open(401)
    side.feed(frame(PRIORITY_UPDATE, 0, 0, number(399) + b"u=1"))
    assert len(side.codec.early) == 64, "and none is kept for a stream that cannot come"


def test_trailers_over_the_limit() -> None:
    side = Side(limits=HeadLimits(head=1000))
    side.open(1, POST, False)
    assert side.feed(side.headers(1, [(b"x-a", b"v" * 2000)])) == [(RESET, 1, PROTOCOL_ERROR)]


def test_what_a_connection_remembers_of_requests_is_bounded() -> None:
    side = Side()
    for i in range(300):
        number_of = 1 + 2 * i
        pairs = [*GET[:3], (b":authority", b"a%d.example" % i), (b"x-a", b"%d" % i)]
        assert side.feed(frame(HEADERS, END_HEADERS | END_STREAM, number_of, plain_block(pairs)))[0][0] == HEAD
        side.codec.send_head(side.stream(number_of), 200, OK, True)
        side.frames()
    assert len(side.codec._maker._sections) <= 32
    assert len(side.codec._maker._authorities) <= 256


def plain_block(pairs: Pairs) -> bytes:
    """Return a block whose names of pseudo-fields are indexed and that changes no table."""
    index = {b":authority": 1, b":method": 2, b":path": 4, b":scheme": 6}
    out = b""
    for name, value in pairs:
        out += bytes((index[name],)) if name in index else b"\0" + bytes((len(name),)) + name
        out += bytes((len(value),)) + value
    return out


def test_small_pieces_are_gathered() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    side.frames()
    side.codec.send_data(stream, b"a" * 10, False)
    side.codec.send_data(stream, b"b" * 16_380, False)
    side.codec.send_data(stream, b"c" * 10, True)
    bodies = [each[3] for each in side.frames()]
    assert b"".join(bodies) == b"a" * 10 + b"b" * 16_380 + b"c" * 10
    assert len(bodies) == 2, "as few frames as there may be"


def test_a_frame_that_ends_with_a_piece() -> None:
    side = Side()
    side.feed(frame(SETTINGS, 0, 0, setting(4, 30)))
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    side.frames()
    for piece in (b"a" * 10, b"b" * 20, b"c" * 5):
        side.codec.send_data(stream, piece, False)
    assert [each[3] for each in side.frames()] == [b"a" * 10 + b"b" * 20]
    side.feed(frame(WINDOW_UPDATE, 0, 1, number(100)))
    assert [each[3] for each in side.frames()] == [b"c" * 5]


def test_trailers_that_are_all_of_one_hop_are_none() -> None:
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    side.codec.send_trailers(stream, fields_of([(b"Connection", b"close")]))
    assert [each[:2] for each in side.frames()] == [(HEADERS, END_HEADERS), (DATA, END_STREAM)]


def test_nothing_to_resume() -> None:
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    side.codec.pause(stream)
    side.codec.resume(stream)
    assert side.frames() == []


def test_a_window_that_closes_while_a_stream_waits() -> None:
    """A stream stands in line, and then the peer takes its window away."""
    side = Side()
    side.open(1)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, False)
    side.codec.send_data(stream, b"x" * 10, False)
    side.feed(frame(SETTINGS, 0, 0, setting(4, 0)))
    assert [each[0] for each in side.frames()] == [HEADERS, SETTINGS]
    side.feed(frame(WINDOW_UPDATE, 0, 1, number(10)))
    assert [each[3] for each in side.frames()] == [b"x" * 10]


def test_an_answer_whose_client_goes_on_is_reset_when_it_is_released() -> None:
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, True)
    side.frames()
    side.codec.release(stream)
    assert side.frames() == [reset(1, NO_ERROR)]


def test_nothing_follows_on_a_stream_that_ends_after_its_answer() -> None:
    """The rest of the request came before whoever answers let go of the stream."""
    side = Side()
    side.open(1, POST, False)
    stream = side.stream(1)
    side.codec.send_head(stream, 200, OK, True)
    side.frames()
    stream.remote_ended = True
    side.codec.release(stream)
    assert side.frames() == [] and stream.gone and 1 not in side.codec.streams


def test_a_stream_that_has_no_head_yet_takes_no_data() -> None:
    side = Side()
    side.open(1, POST, False)
    side.stream(1).expected = HEADLESS
    assert side.feed(frame(DATA, 0, 1, b"x")) == [(RESET, 1, PROTOCOL_ERROR)]


def test_what_is_counted_is_not_counted_for_ever() -> None:
    side = Side()
    side.open(1, POST, False)
    side.codec.frames_moved = 1_000_000
    side.feed(frame(DATA, 0, 1, b"x"))
    assert side.codec.frames_moved == 1_000_000


def test_te_of_a_request_is_kept() -> None:
    side = Side()
    assert side.open(1, [*GET, (b"te", b"trailers")])[0][5] == b"Host: a.example\r\nte: trailers\r\n"


def test_streams_reset_lately_are_remembered_and_no_more() -> None:
    side = Side()
    for i in range(300):
        side.codec.note_reset(1 + 2 * i, True)
    assert len(side.codec.resets) <= 256 and 599 in side.codec.resets and 1 not in side.codec.resets


def test_a_request_may_say_no_host_where_that_is_allowed() -> None:
    limits = HeadLimits(hostless=True)
    maker = RequestMaker(limits, FieldsTable(CLIENT, 100), own.Decoder(16_384, 100))
    head = maker.make(own.Encoder().request(b"GET", b"https", b"/", b"", EMPTY), True)
    assert (head.target, head.authority, head.fields.host) == (b"/", b"", None)
    with pytest.raises(ProtocolError):
        RequestMaker(HeadLimits(), FieldsTable(CLIENT, 100), own.Decoder(16_384, 100)).make(
            own.Encoder().request(b"GET", b"https", b"/", b"", EMPTY), True
        )
