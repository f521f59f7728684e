"""The client's half of HTTP/2 on its own: requests become frames, frames become answers, and what a server may not send is refused."""

import struct

import hpack
import pytest

from vestibule.fault import UPSTREAM, UPSTREAM_BAD_FRAMING, UPSTREAM_BAD_SYNTAX, FaultKind
from vestibule.http.fields import FieldsTable, fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2Options
from vestibule.http.h2_client import _ID_MOST, H2Client
from vestibule.http.h2_control import BODY, HEAD, NEED, OVER, RESET, TRAILERS
from vestibule.http.h2_frames import (
    ACK,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    frame_header,
)
from vestibule.http.h2_schedule import H2Stream

Pairs = list[tuple[bytes, bytes]]
Frame = tuple[int, int, int, bytes]
FIELDS = fields_of([(b"Host", b"a.example"), (b"Accept", b"*/*")])
OK: Pairs = [(b":status", b"200"), (b"content-length", b"5")]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_header(len(payload), kind, flags, stream) + payload


class Far:
    """A server in front of the codec."""

    def __init__(self) -> None:
        self.codec = H2Client(HeadLimits(), FieldsTable(UPSTREAM, 100), H2Options(100, 100_000, 400_000))
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.greeting = self.codec.take_output()
        self.feed(frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
        self.frames()

    def feed(self, data: bytes) -> list[int]:
        """Feed bytes, return the codes they made."""
        self.codec.feed(data)
        codes: list[int] = []
        while True:
            code = self.codec.next()
            if code == NEED:
                return codes
            codes.append(code)
            if code == OVER:
                return codes

    def frames(self) -> list[Frame]:
        self.codec.pump(1 << 20)
        data = self.codec.take_output()
        found: list[Frame] = []
        while data:
            size = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], struct.unpack(">L", data[5:9])[0], data[9 : 9 + size]))
            data = data[9 + size :]
        return found

    def ask(self, method: bytes = b"GET", end: bool = True) -> H2Stream:
        return self.codec.open(method, b"https", b"/", b"a.example", FIELDS, end)

    def head(self, pairs: Pairs, end: bool = False, stream: int = 1) -> list[int]:
        flags = END_HEADERS | (END_STREAM if end else 0)
        return self.feed(frame(HEADERS, flags, stream, bytes(self.encoder.encode(pairs))))

    def data(self, data: bytes, end: bool = False, stream: int = 1) -> list[int]:
        return self.feed(frame(DATA, END_STREAM if end else 0, stream, data))


def reset(stream: int, code: int) -> Frame:
    return (RST_STREAM, 0, stream, struct.pack(">L", code))


def test_it_greets_as_a_client() -> None:
    far = Far()
    assert far.greeting.startswith(PREFACE + frame_header(24, SETTINGS, 0, 0))
    assert far.codec.is_greeted()
    far.codec.ask_whether_alive()
    assert far.frames() == [(PING, 0, 0, b"are you?")]


def test_a_request_and_its_answer() -> None:
    far = Far()
    stream = far.ask()
    ((kind, flags, number, block),) = far.frames()
    assert (kind, flags, number) == (HEADERS, END_HEADERS | END_STREAM, 1)
    assert far.decoder.decode(block, raw=True) == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/"),
        (b":authority", b"a.example"),
        (b"accept", b"*/*"),
    ]
    assert far.head(OK) == [HEAD]
    answer = far.codec.answer
    assert answer is not None and answer.status == 200 and answer.fields.content_length == 5
    assert far.data(b"hello", end=True) == [BODY]
    assert far.codec.data == b"hello" and far.codec.ended and far.codec.stream is stream
    far.codec.release(stream)
    assert far.codec.streams == {} and far.frames() == [], "nothing is left, and nothing is to be said"
    far.codec.end(stream, CANCEL)
    assert far.frames() == []


def test_a_body_goes_out_and_the_answer_ends_first() -> None:
    far = Far()
    stream = far.ask(b"POST", end=False)
    assert far.codec.send_data(stream, b"a" * 10, False)
    assert [each[:2] for each in far.frames()] == [(HEADERS, END_HEADERS), (DATA, 0)]
    assert far.head(OK) == [HEAD] and far.data(b"hello", end=True) == [BODY]
    far.codec.release(stream)
    assert 1 in far.codec.streams, "what is still to be sent goes out"
    assert far.codec.send_data(stream, b"", True)
    assert [each[:2] for each in far.frames()] == [(DATA, END_STREAM)]
    assert far.codec.streams == {}


def test_giving_up_resets() -> None:
    far = Far()
    stream = far.ask()
    far.frames()
    far.codec.end(stream, CANCEL)
    assert far.frames() == [reset(1, CANCEL)]
    assert far.head(OK) == [], "what was under way is ignored"


def test_interim_answers_come_before_the_final_one() -> None:
    far = Far()
    far.ask()
    assert far.head([(b":status", b"103"), (b"link", b"</a>")]) == [HEAD]
    assert far.codec.answer is not None and far.codec.answer.status == 103
    assert far.head(OK) == [HEAD]
    assert far.data(b"hello") == [BODY]
    assert far.head([(b"x-sum", b"1")], end=True) == [TRAILERS]
    assert far.codec.trailers.pairs() == [(b"x-sum", b"1")]


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
def test_answers_without_a_body(method: bytes, status: bytes) -> None:
    far = Far()
    far.ask(method)
    assert far.head([(b":status", status), (b"etag", b'"1"')], end=True) == [HEAD]
    answer = far.codec.answer
    assert answer is not None and far.codec.ended and answer.fields.content_length == -1
    far = Far()
    far.ask(method)
    assert far.head([(b":status", status)]) == [HEAD]
    assert far.data(b"no", end=True) == [RESET], "a body where none may be"


def test_an_answer_that_is_only_a_head_has_a_length() -> None:
    far = Far()
    far.ask()
    assert far.head([(b":status", b"404")], end=True) == [HEAD]
    assert far.codec.answer is not None and far.codec.answer.fields.content_length == 0
    far = Far()
    far.ask()
    assert far.head([(b":status", b"200"), (b"content-length", b"0")], end=True) == [HEAD]
    assert far.codec.answer is not None and far.codec.answer.fields.block == b"content-length: 0\r\n"


@pytest.mark.parametrize(
    ("pairs", "end", "fault"),
    [
        ([(b"x-a", b"1")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"200"), (b":status", b"200")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":path", b"/")], False, UPSTREAM_BAD_SYNTAX),
        ([(b"x-a", b"1"), (b":status", b"200")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"20")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"abc")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"099")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"101")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"600")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"103")], True, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"200"), (b"connection", b"close")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"200"), (b"X-A", b"1")], False, UPSTREAM_BAD_SYNTAX),
        ([(b":status", b"200"), (b"content-length", b"5")], True, UPSTREAM_BAD_FRAMING),
        ([(b":status", b"200"), (b"content-length", b"5"), (b"content-length", b"6")], False, UPSTREAM_BAD_FRAMING),
    ],
)
def test_malformed_answers_are_faults_of_the_upstream(pairs: Pairs, end: bool, fault: FaultKind) -> None:
    far = Far()
    stream = far.ask()
    far.frames()
    assert far.head(pairs, end) == [RESET]
    assert far.codec.fault is fault and far.codec.stream is stream
    assert far.frames() == [reset(1, PROTOCOL_ERROR)]


def test_a_head_over_the_limit() -> None:
    far = Far()
    far.ask()
    assert far.head([(b":status", b"200"), *[(b"x-a", b"v" * 600)] * 60]) == [RESET]
    assert far.codec.fault.name == "upstream.head_too_large"


@pytest.mark.parametrize(("data", "end"), [(b"hello", False), (b"hello", True), (b"", False), (b"", True)])
@pytest.mark.parametrize("interim", [False, True])
def test_a_body_before_its_head_is_malformed(data: bytes, end: bool, interim: bool) -> None:
    far = Far()
    far.ask()
    if interim:
        far.head([(b":status", b"103")])
    assert far.data(data, end) == [RESET]
    assert far.codec.error_code == PROTOCOL_ERROR


def test_a_server_opens_no_streams() -> None:
    far = Far()
    assert far.head(OK) == [OVER]
    assert far.codec.error_code == PROTOCOL_ERROR
    far = Far()
    far.ask()
    assert far.feed(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4))) == [OVER]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
        (frame(DATA, PADDED, 1, b"\x05ab"), PROTOCOL_ERROR),
        (frame(DATA, 0, 3, b"a"), PROTOCOL_ERROR),
        (frame(GOAWAY, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    ],
)
def test_frames_that_end_the_connection(data: bytes, code: int) -> None:
    far = Far()
    far.ask()
    far.head(OK)
    assert far.feed(data) == [OVER]
    assert far.codec.error_code == code


def test_more_after_the_end() -> None:
    far = Far()
    far.ask(b"POST", end=False)
    far.head(OK)
    far.data(b"hello", end=True)
    assert far.head([(b"x-a", b"1")], end=True) == [RESET]
    assert far.codec.error_code == STREAM_CLOSED


def test_ids_are_used_up() -> None:
    far = Far()
    far.codec._next_id = _ID_MOST - 2 | 1
    assert far.codec.has_ids()
    far.ask()
    assert not far.codec.has_ids()


def test_the_owner_ends_it() -> None:
    far = Far()
    far.codec.close(NO_ERROR, "done")
    assert far.frames() == [(GOAWAY, 0, 0, bytes(8) + b"done")]
    assert far.feed(b"x") == [OVER]
