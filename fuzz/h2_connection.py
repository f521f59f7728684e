"""Fuzz the HTTP/2 codec: any bytes after the preface, in any pieces, with answers in between.

The only exits of `next` are its events; it never raises. Besides: what comes out is whole frames, there are no more
streams than allowed, windows stay within 2^31-1, and cutting the input elsewhere gives the same heads.
"""

from fuzz.drive import main
from vestibule.fault import CLIENT
from vestibule.http.fields import FieldsTable, fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2, H2Options
from vestibule.http.h2_control import HEAD, NEED, OVER, REFUSED
from vestibule.http.h2_frames import PREFACE, SETTINGS, WINDOW_MOST, frame_header

OK = fields_of([(b"Content-Type", b"text/plain"), (b"Server", b"x")])
STREAMS = 5


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_header(len(payload), kind, flags, stream) + payload


GET = b"\x82\x87\x84\x41\x01a"
POST = b"\x83\x87\x84\x41\x01a"
WEBSOCKET = b"\x02\x07CONNECT\x00\x09:protocol\x09websocket\x87\x84\x41\x01a"
SEEDS = [
    frame(1, 5, 1, GET + b"\x53\x03*/*\x60\x03a=1\x60\x03b=2") + frame(1, 5, 3, b"\x82\x87\x84\xc1\xc0"),
    frame(1, 4, 1, POST + b"\x0f\x0d\x015") + frame(0, 8, 1, b"\x03he\0\0\0") + frame(0, 1, 1, b"llo"),
    frame(1, 4, 1, POST) + frame(0, 0, 1, b"x" * 300) + frame(1, 5, 1, b"\x00\x05x-sum\x011"),
    frame(1, 4, 1, WEBSOCKET) + frame(0, 0, 1, b"abc") + frame(0, 1, 1),
    frame(1, 1, 1, GET[:2]) + frame(9, 0, 1, GET[2:4]) + frame(9, 4, 1, GET[4:]),
    frame(4, 0, 0, b"\0\4\0\0\0\x0a\0\1\0\0\0\0") + frame(6, 0, 0, b"12345678") + frame(8, 0, 0, b"\0\0\0\x64") + frame(7, 0, 0, bytes(8)),
    frame(1, 4, 1, POST) + frame(2, 0, 1, b"\0\0\0\3\x10") + frame(16, 0, 0, b"\0\0\0\1u=1, i") + frame(3, 0, 1, b"\0\0\0\x08"),
]
WORDS = [
    frame(1, 5, 1, GET),
    frame(1, 4, 3, POST),
    frame(1, 0, 5, GET),
    frame(9, 4, 5, b"\x00\x01x\x01y"),
    frame(0, 0, 3, b"data"),
    frame(0, 1, 3, b"data"),
    frame(0, 9, 3, b"\x02ab\0\0"),
    frame(3, 0, 3, b"\0\0\0\x08"),
    frame(4, 0, 0, b"\0\4\0\0\0\0"),
    frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff"),
    frame(8, 0, 3, b"\x7f\xff\xff\xff"),
    frame(8, 0, 0, b"\0\0\0\1"),
    frame(6, 0, 0, b"12345678"),
    frame(77, 255, 1, b"?"),
    frame_header(16_384, 0, 0, 3),
    b"\0\0\x05\1\x25\0\0\0\7",
    b"\x82\x87\x84\xbe",
    b"\0\0\0",
]


def check_frames(data: bytes) -> None:
    """What is sent must be whole frames of legal size."""
    while data:
        size = data[0] << 16 | data[1] << 8 | data[2]
        assert size <= 16_384
        assert len(data) >= 9 + size
        data = data[9 + size :]


def heads_of(pieces: list[bytes], answers: bool) -> list[tuple[bytes, bytes, bytes]]:
    """Feed the pieces and return the requests that came out."""
    codec = H2(HeadLimits(2048, 512, 20), FieldsTable(CLIENT, 23), H2Options(STREAMS, 70_000, 100_000))
    heads: list[tuple[bytes, bytes, bytes]] = []
    for piece in [PREFACE + frame_header(0, SETTINGS, 0, 0), *pieces]:
        codec.feed(piece)
        while True:
            event = codec.next()
            if event in (NEED, OVER):
                break
            if event == HEAD:
                head = codec.head
                assert head is not None
                heads.append((head.method, head.target, head.fields.block))
            if answers and event in (HEAD, REFUSED):
                codec.send_head(codec.stream, 200, OK, False)
                codec.send_data(codec.stream, b"x" * 100, True)
                codec.release(codec.stream)
        codec.pump(1 << 20)
        check_frames(codec.take_output())
        assert len(codec.streams) <= STREAMS
        assert codec.send_window <= WINDOW_MOST
        for stream in codec.streams.values():
            assert stream.send_window <= WINDOW_MOST
        if event == OVER:
            break
    return heads


def target(data: bytes) -> None:
    heads_of([data], True)
    middle = len(data) // 2
    assert heads_of([data], False) == heads_of([data[:middle], data[middle:]], False)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
