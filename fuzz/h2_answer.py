"""Fuzz the HTTP/2 codec on the side that asks: any bytes from a server, in any pieces, with requests on their way.

The only exits of `next` are its events; it never raises. Besides: each stream is told as head, body, end and nothing after it,
what is sent is whole frames, no stream appears that was not opened, windows stay within 2^31-1, and cutting the input elsewhere
gives the same answers.
"""

from fuzz.drive import main
from fuzz.h2_connection import check_frames, frame
from vestibule.fault import UPSTREAM
from vestibule.http.fields import FieldsTable, fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2Options
from vestibule.http.h2_client import H2Client
from vestibule.http.h2_control import BODY, HEAD, LEAVING, NEED, OVER, RESET, TRAILERS
from vestibule.http.h2_frames import PREFACE, SETTINGS, WINDOW_MOST, frame_header
from vestibule.http.h2_schedule import H2Stream

FIELDS = fields_of([(b"Accept", b"*/*")])
EVENTS_MOST = 2_000

OK = b"\x88"
LENGTH_5 = b"\x0f\x0d\x015"
INTERIM = b"\x08\x03103\x00\x04link\x01a"
SEEDS = [
    frame(1, 4, 1, OK) + frame(0, 0, 1, b"hel") + frame(0, 1, 1, b"lo") + frame(1, 5, 3, OK + LENGTH_5),
    frame(1, 4, 1, INTERIM) + frame(1, 4, 1, OK + LENGTH_5) + frame(0, 9, 1, b"\x02hello\0\0"),
    frame(1, 4, 5, OK) + frame(0, 0, 5, b"x" * 300) + frame(1, 5, 5, b"\x00\x05x-sum\x011") + frame(3, 0, 5, bytes(4)),
    frame(4, 0, 0, b"\0\x08\0\0\0\1") + frame(1, 4, 7, OK) + frame(0, 0, 7, b"\x81\x01a") + frame(0, 1, 7),
    frame(1, 0, 1, OK) + frame(9, 0, 1, b"\x00\x01x") + frame(9, 4, 1, b"\x01y") + frame(0, 1, 1),
    frame(7, 0, 0, b"\0\0\0\3\0\0\0\0") + frame(3, 0, 5, b"\0\0\0\7") + frame(1, 5, 1, b"\x8d"),
    frame(4, 0, 0, b"\0\3\0\0\0\1\0\4\0\0\0\x0a") + frame(6, 0, 0, b"12345678") + frame(8, 0, 5, b"\0\0\0\x64") + frame(1, 5, 1, b"\x8b"),
]
WORDS = [
    frame(1, 4, 1, OK),
    frame(1, 5, 1, OK),
    frame(1, 4, 3, OK + LENGTH_5),
    frame(1, 4, 5, INTERIM),
    frame(1, 4, 5, b"\x08\x03101"),
    frame(1, 4, 7, OK),
    frame(1, 5, 9, OK),
    frame(1, 4, 2, OK),
    frame(5, 4, 1, b"\0\0\0\2" + OK),
    frame(0, 0, 1, b"data!"),
    frame(0, 1, 1, b"data!"),
    frame(0, 9, 5, b"\x02ab\0\0"),
    frame(0, 1, 1),
    frame(3, 0, 1, bytes(4)),
    frame(3, 0, 5, b"\0\0\0\7"),
    frame(4, 0, 0, b"\0\4\0\0\0\0"),
    frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff"),
    frame(4, 0, 0, b"\0\1\0\0\0\0"),
    frame(4, 1, 0),
    frame(7, 0, 0, b"\0\0\0\1\0\0\0\2"),
    frame(8, 0, 5, b"\x7f\xff\xff\xff"),
    frame(8, 0, 0, b"\0\0\0\1"),
    frame(9, 4, 1, b"\x00\x01x\x01y"),
    frame_header(16_384, 0, 0, 1),
    b"\x00\x01X\x01y",
    b"\0\0\0",
]


def asking() -> tuple[H2Client, list[H2Stream]]:
    """Return a codec with four requests on their way: one of each kind, as far as answers differ."""
    codec = H2Client(HeadLimits(2048, 0, 20), FieldsTable(UPSTREAM, 23), H2Options(stream_window=70_000, connection_window=100_000))
    streams = [
        codec.open(b"GET", b"https", b"/a", b"a", FIELDS, True),
        codec.open(b"HEAD", b"https", b"/a", b"a", FIELDS, True),
        codec.open(b"POST", b"https", b"/a", b"a", FIELDS, False),
        codec.open(b"CONNECT", b"https", b"/a", b"a", FIELDS, False, b"websocket"),
    ]
    codec.send_data(streams[2], b"x" * 100, False)
    codec.pump(1 << 20)
    sent = codec.take_output()
    assert sent.startswith(PREFACE)
    check_frames(sent[len(PREFACE) :])
    return codec, streams


def answers_of(pieces: list[bytes], goes_on: bool) -> list[tuple[int, str, bytes]]:
    """Feed the pieces and return what came on each stream, bodies in one; `goes_on` sends the rest of requests meanwhile."""
    codec, streams = asking()
    told: list[tuple[int, str, bytes]] = []
    bodies = {stream.id: b"" for stream in streams}
    state = {stream.id: "asked" for stream in streams}
    over = False
    for piece in [frame_header(0, SETTINGS, 0, 0), *pieces]:
        codec.feed(piece)
        for _ in range(EVENTS_MOST):
            event = codec.next()
            if event in (NEED, OVER):
                over = event == OVER
                break
            if event == LEAVING:
                told.append((0, "leaving", b""))
                continue
            stream = codec.stream
            # A server that has answered may reset what is left of the request (RFC 9113 8.1).
            assert state[stream.id] not in ("gone", "over" if event != RESET else ""), f"event {event} on a stream that is over"
            if event == HEAD:
                head = codec.answer
                assert head is not None and state[stream.id] == "asked"
                assert 100 <= head.status <= 599 and head.status != 101 and not (head.status < 200 and codec.ended)
                told.append((stream.id, "head", b"%d " % head.status + head.fields.block))
                state[stream.id] = "over" if codec.ended else "asked" if head.status < 200 else "answered"
            elif event == BODY:
                assert state[stream.id] == "answered"
                bodies[stream.id] += codec.data
                state[stream.id] = "over" if codec.ended else "answered"
            elif event == TRAILERS:
                assert state[stream.id] == "answered"
                told.append((stream.id, "trailers", codec.trailers.block))
                state[stream.id] = "over"
            else:
                assert event == RESET, event
                told.append((stream.id, "reset", codec.fault.name.encode()))
                state[stream.id] = "gone"
            if goes_on and state[stream.id] == "over" and event != RESET:
                codec.release(stream)
            elif goes_on and event == HEAD and not stream.local_ended:
                codec.send_data(stream, b"y" * 50, stream is streams[2])
        else:
            raise AssertionError("events without end")
        codec.pump(1 << 20)
        check_frames(codec.take_output())
        assert set(codec.streams) <= set(state)
        assert codec.send_window <= WINDOW_MOST
        for each in codec.streams.values():
            assert each.send_window <= WINDOW_MOST
        if over:
            told.append((0, "over", b"%d" % codec.error_code))
            break
    return told + [(number, "body", body) for number, body in bodies.items()]


def target(data: bytes) -> None:
    answers_of([data], True)
    middle = len(data) // 2
    assert answers_of([data], False) == answers_of([data[:middle], data[middle:]], False)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
