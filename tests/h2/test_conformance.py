"""One test for each thing RFC 9113 (sections 3 to 8), RFC 7541, RFC 8441 and RFC 9218 ask of a server.

Facts: the list in docs/internals/http2.md is rendered from the docstrings here; each begins with its section.
Rules: raw frames against a connection of the proxy, with an upstream behind it that answers every request.
A connection error is GOAWAY with the code and then the end; a stream error is RST_STREAM and life goes on.
"""

import struct
from pathlib import Path

import pytest

from vestibule.http.h2_frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
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
)

from .house import BODY, GET, POST, WEBSOCKET, House, Pairs, Wire, frame, number, setting

MOST = 0x7FFF_FFFF


def open_stream(wire: Wire, stream: int = 1) -> None:
    """Leave a stream open: the request has begun and its body has not ended."""
    wire.request(stream, POST, end=False)


def half_closed(wire: Wire, stream: int = 1) -> None:
    """Leave a stream half closed by us: no answer comes yet, since its window is shut."""
    wire.house.answers = False
    wire.request(stream)


# ---- 3: starting


def test_3_4_preface_starts_with_settings(house: House) -> None:
    """RFC 9113 3.4: the server's first frame is SETTINGS."""
    wire = house.connect(greet=False)
    row = wire.next_frame()
    assert row is not None
    assert row[:3] == (SETTINGS, 0, 0)


def test_3_4_settings_may_be_empty(house: House) -> None:
    """RFC 9113 3.4: a client preface with empty SETTINGS is complete."""
    assert house.connect().is_alive()


def test_3_4_bad_preface(house: House) -> None:
    """RFC 9113 3.4: an invalid preface is a connection error PROTOCOL_ERROR."""
    wire = house.connect(greet=False)
    wire.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
    assert wire.dies_of(PROTOCOL_ERROR)


def test_3_4_first_frame_must_be_settings(house: House) -> None:
    """RFC 9113 3.4: the client's first frame must be SETTINGS."""
    wire = house.connect(greet=False)
    wire.send(PREFACE + wire.headers(1, GET))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_3_4_requests_may_come_at_once(house: House) -> None:
    """RFC 9113 3.4: a client may send requests right after its preface, before it has seen our SETTINGS."""
    wire = house.connect(greet=False)
    wire.send(PREFACE + frame(SETTINGS, 0, 0) + wire.headers(1, GET))
    assert wire.answer(1)[1] == BODY


# ---- 4.1, 4.2: frames


@pytest.mark.parametrize("stream", [0, 1])
def test_4_1_unknown_frames_are_ignored(wire: Wire, stream: int) -> None:
    """RFC 9113 4.1, 5.5: frames of unknown type are ignored and discarded."""
    open_stream(wire)
    wire.send(frame(0xBB, 0xFF, stream, b"whatever"))
    assert wire.is_alive()


def test_4_1_undefined_flags_are_ignored(wire: Wire) -> None:
    """RFC 9113 4.1: flags without meaning for a type are ignored."""
    wire.send(frame(PING, 0xFE, 0, b"12345678"))
    assert wire.wait_for(PING, flags=ACK)[3] == b"12345678"


def test_4_1_reserved_bit_is_ignored(wire: Wire) -> None:
    """RFC 9113 4.1: the reserved bit before the stream identifier is ignored."""
    data = bytearray(frame(PING, 0, 0, b"12345678"))
    data[5] |= 0x80
    wire.send(bytes(data))
    assert wire.wait_for(PING, flags=ACK)[3] == b"12345678"


def test_4_2_largest_frame_is_taken(wire: Wire) -> None:
    """RFC 9113 4.2: a frame of 16,384 bytes is taken."""
    open_stream(wire)
    wire.send(frame(DATA, END_STREAM, 1, b"x" * 16_384))
    assert wire.answer(1)[1] == BODY


def test_4_2_data_over_the_maximum(wire: Wire) -> None:
    """RFC 9113 4.2: DATA over SETTINGS_MAX_FRAME_SIZE is FRAME_SIZE_ERROR."""
    open_stream(wire)
    wire.send(frame(DATA, END_STREAM, 1, b"x" * 16_385))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_4_2_headers_over_the_maximum(wire: Wire) -> None:
    """RFC 9113 4.2: a frame with a field block over the maximum is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes(wire.encoder.encode(GET)).ljust(16_385, b"\x82")))
    assert wire.dies_of(FRAME_SIZE_ERROR)


# ---- 4.3: field blocks


def test_4_3_invalid_block(wire: Wire) -> None:
    """RFC 9113 4.3: a decoding error is a connection error COMPRESSION_ERROR."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff"))
    assert wire.dies_of(COMPRESSION_ERROR)


@pytest.mark.parametrize("between", [frame(PRIORITY, 0, 1, number(3) + b"\0"), frame(PING, 0, 0, b"12345678"), frame(99, 0, 1)])
def test_4_3_block_is_not_interrupted(wire: Wire, between: bytes) -> None:
    """RFC 9113 4.3: no frame of any type or stream may come within a field block."""
    block = bytes(wire.encoder.encode(GET))
    wire.send(frame(HEADERS, END_STREAM, 1, block[:3]) + between + frame(CONTINUATION, END_HEADERS, 1, block[3:]))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_4_3_block_of_another_stream(wire: Wire) -> None:
    """RFC 9113 4.3: nor HEADERS of another stream."""
    block = bytes(wire.encoder.encode(GET))
    wire.send(frame(HEADERS, END_STREAM, 1, block[:3]) + wire.headers(3, GET))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_4_3_block_for_a_closed_stream_is_decoded(wire: Wire) -> None:
    """RFC 9113 4.3: field blocks are processed to keep the compression state, even when they are discarded."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    wire.send(wire.headers(1, [(b"x-trailer", b"kept in the table")]))
    assert wire.loses(1, STREAM_CLOSED)
    wire.request(3, [*GET, (b"x-trailer", b"kept in the table")])
    assert wire.answer(3)[1] == BODY
    assert b"x-trailer: kept in the table\r\n" in wire.house.calls[-1].requests[-1]


# ---- 5.1: stream states


@pytest.mark.parametrize("kind", [DATA, RST_STREAM, WINDOW_UPDATE])
def test_5_1_idle(wire: Wire, kind: int) -> None:
    """RFC 9113 5.1 idle: anything but HEADERS and PRIORITY is a connection error PROTOCOL_ERROR."""
    wire.send(frame(kind, 0, 1, number(1)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_5_1_idle_continuation(wire: Wire) -> None:
    """RFC 9113 5.1 idle, 6.10: CONTINUATION without HEADERS is a connection error PROTOCOL_ERROR."""
    wire.send(frame(CONTINUATION, END_HEADERS, 1, bytes(wire.encoder.encode(GET))))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_5_1_half_closed_data(wire: Wire) -> None:
    """RFC 9113 5.1 half-closed (remote): DATA is a stream error STREAM_CLOSED."""
    half_closed(wire)
    wire.send(frame(DATA, END_STREAM, 1, b"x"))
    assert wire.loses(1, STREAM_CLOSED)


def test_5_1_half_closed_headers(wire: Wire) -> None:
    """RFC 9113 5.1 half-closed (remote): HEADERS is a stream error STREAM_CLOSED."""
    half_closed(wire)
    wire.request(1)
    assert wire.loses(1, STREAM_CLOSED)


def test_5_1_half_closed_continuation(wire: Wire) -> None:
    """RFC 9113 5.1 half-closed (remote): CONTINUATION without HEADERS is a connection error."""
    half_closed(wire)
    wire.send(frame(CONTINUATION, END_HEADERS, 1, b"\x82"))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize("kind", [WINDOW_UPDATE, PRIORITY, RST_STREAM])
def test_5_1_half_closed_takes_control_frames(wire: Wire, kind: int) -> None:
    """RFC 9113 5.1 half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are taken."""
    half_closed(wire)
    wire.send(frame(kind, 0, 1, number(3) + (b"\0" if kind == PRIORITY else b"")))
    assert wire.is_alive()


def test_5_1_data_after_their_reset(wire: Wire) -> None:
    """RFC 9113 5.1 closed: DATA after the peer's RST_STREAM is a stream error STREAM_CLOSED."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)) + frame(DATA, END_STREAM, 1, b"x"))
    assert wire.loses(1, STREAM_CLOSED)


def test_5_1_headers_after_their_reset(wire: Wire) -> None:
    """RFC 9113 5.1 closed: HEADERS after the peer's RST_STREAM is a stream error STREAM_CLOSED."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    wire.request(1)
    assert wire.loses(1, STREAM_CLOSED)


def test_5_1_continuation_after_their_reset(wire: Wire) -> None:
    """RFC 9113 5.1 closed: CONTINUATION without HEADERS is a connection error."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)) + frame(CONTINUATION, END_HEADERS, 1, b"\x82"))
    assert wire.dies_of(PROTOCOL_ERROR, STREAM_CLOSED)


def test_5_1_data_after_both_ends(wire: Wire) -> None:
    """RFC 9113 5.1 closed: DATA after END_STREAM both ways is STREAM_CLOSED."""
    wire.request(1)
    wire.answer(1)
    wire.send(frame(DATA, END_STREAM, 1, b"x"))
    assert wire.dies_of(STREAM_CLOSED)


def test_5_1_headers_after_both_ends(wire: Wire) -> None:
    """RFC 9113 5.1 closed: HEADERS after END_STREAM both ways is a connection error STREAM_CLOSED."""
    wire.request(1)
    wire.answer(1)
    wire.request(1)
    assert wire.dies_of(STREAM_CLOSED)


@pytest.mark.parametrize("kind", [WINDOW_UPDATE, PRIORITY, RST_STREAM])
def test_5_1_closed_takes_late_control_frames(wire: Wire, kind: int) -> None:
    """RFC 9113 5.1 closed: WINDOW_UPDATE, RST_STREAM and PRIORITY may still come after the end."""
    wire.request(1)
    wire.answer(1)
    wire.send(frame(kind, 0, 1, number(3) + (b"\0" if kind == PRIORITY else b"")))
    assert wire.is_alive()


def test_5_1_frames_after_our_reset_are_ignored(wire: Wire) -> None:
    """RFC 9113 5.1 closed: what was under way when we sent RST_STREAM is ignored, and counts for the connection's window."""
    wire.request(1, [*POST, (b"te", b"gzip")], end=False)
    assert wire.loses(1, PROTOCOL_ERROR)
    wire.send(frame(DATA, 0, 1, b"x" * 1000) + wire.headers(1, [(b"x", b"1")]) + frame(WINDOW_UPDATE, 0, 1, number(1)))
    assert wire.is_alive()
    assert wire.connection.codec.receive_window == 16_777_216 - 1000


# ---- 5.1.1, 5.1.2: identifiers, concurrency


def test_5_1_1_even_identifier(wire: Wire) -> None:
    """RFC 9113 5.1.1: a client opens odd streams only."""
    wire.request(2)
    assert wire.dies_of(PROTOCOL_ERROR)


def test_5_1_1_identifiers_increase(wire: Wire) -> None:
    """RFC 9113 5.1.1: a new stream's identifier is higher than all before."""
    wire.request(5)
    wire.answer(5)
    wire.request(3)
    assert wire.dies_of(PROTOCOL_ERROR)


def test_5_1_1_skipped_streams_are_closed(wire: Wire) -> None:
    """RFC 9113 5.1.1: opening a stream closes all idle ones below it."""
    wire.request(5)
    wire.answer(5)
    wire.send(frame(DATA, 0, 3, b"x"))
    assert wire.dies_of(STREAM_CLOSED, PROTOCOL_ERROR)


def test_5_1_2_limit_of_concurrent_streams(wire: Wire) -> None:
    """RFC 9113 5.1.2: a stream over SETTINGS_MAX_CONCURRENT_STREAMS is refused, the others go on."""
    wire.house.answers = False
    for i in range(128):
        wire.request(1 + 2 * i)
    wire.request(257)
    assert wire.loses(257, REFUSED_STREAM)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    wire.house.answers = True
    wire.request(259)
    assert wire.answer(259)[1] == BODY


# ---- 5.2 to 5.5


def test_5_2_data_of_one_stream_does_not_block_another(wire: Wire) -> None:
    """RFC 9113 5.2: streams have windows of their own."""
    wire.send(frame(SETTINGS, 0, 0, setting(4, 0)))
    wire.request(1)
    wire.request(3)
    wire.wait_for(HEADERS, 1)
    wire.send(frame(WINDOW_UPDATE, 0, 3, number(100)))
    assert wire.wait_for(DATA)[2:] == (3, BODY)


def test_5_3_priority_may_come_on_any_stream(wire: Wire) -> None:
    """RFC 9113 5.3.2, 6.3: PRIORITY is taken in every state and means nothing."""
    wire.send(frame(PRIORITY, 0, 77, number(1) + b"\x10"))
    wire.request(1)
    wire.answer(1)
    wire.send(frame(PRIORITY, 0, 1, number(77) + b"\x10"))
    assert wire.is_alive()


def test_5_3_1_self_dependency_in_headers(wire: Wire) -> None:
    """RFC 7540 5.3.1: a stream cannot depend on itself: a stream error PROTOCOL_ERROR."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, number(1) + b"\xff" + bytes(wire.encoder.encode(GET))))
    assert wire.loses(1, PROTOCOL_ERROR)


def test_5_3_1_self_dependency_in_priority(wire: Wire) -> None:
    """RFC 7540 5.3.1: the same for PRIORITY."""
    open_stream(wire)
    wire.send(frame(PRIORITY, 0, 1, number(1) + b"\xff"))
    assert wire.loses(1, PROTOCOL_ERROR)


def test_5_3_1_self_dependency_of_an_idle_stream(wire: Wire) -> None:
    """RFC 7540 5.3.1 with RFC 9113 6.4: RST_STREAM must not name an idle stream, so the connection ends."""
    wire.send(frame(PRIORITY, 0, 9, number(9) + b"\xff"))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_5_4_1_goaway_then_close(wire: Wire) -> None:
    """RFC 9113 5.4.1: a connection error sends GOAWAY with the last stream and closes the connection."""
    wire.request(1)
    wire.answer(1)
    wire.send(frame(PING, 0, 0, b"short"))
    row = wire.wait_for_goaway()
    assert row[3][:8] == number(1) + number(FRAME_SIZE_ERROR)
    assert wire.next_frame() is None


def test_5_4_2_no_reset_in_answer_to_a_reset(wire: Wire) -> None:
    """RFC 9113 5.4.2: RST_STREAM is not answered with RST_STREAM."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert wire.is_alive()
    assert not any(row[0] == RST_STREAM for row in wire.frames)


def test_5_5_unknown_setting_is_ignored(wire: Wire) -> None:
    """RFC 9113 5.5, 6.5.2: settings nobody knows are ignored."""
    wire.send(frame(SETTINGS, 0, 0, setting(0xFF, 1)))
    wire.wait_for(SETTINGS, flags=ACK)
    assert wire.is_alive()


# ---- 6.1: DATA


def test_6_1_data_on_stream_0(wire: Wire) -> None:
    """RFC 9113 6.1: DATA on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(DATA, 0, 0, b"x"))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_1_padding(wire: Wire) -> None:
    """RFC 9113 6.1: padding is not part of the body."""
    open_stream(wire)
    wire.send(frame(DATA, PADDED | END_STREAM, 1, b"\x05abc" + bytes(5)))
    assert wire.answer(1)[1] == BODY
    assert wire.house.calls[0].requests[0].endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("payload", [b"\x06abcde", b"\xff", b"\x01"])
def test_6_1_padding_longer_than_the_frame(wire: Wire, payload: bytes) -> None:
    """RFC 9113 6.1: padding as long as the payload or longer is a connection error PROTOCOL_ERROR."""
    open_stream(wire)
    wire.send(frame(DATA, PADDED | END_STREAM, 1, payload))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_1_padded_without_a_length(wire: Wire) -> None:
    """RFC 9113 4.2, 6.1: a frame too short for what its flags say is FRAME_SIZE_ERROR."""
    open_stream(wire)
    wire.send(frame(DATA, PADDED, 1))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_1_padding_counts_for_the_windows(wire: Wire) -> None:
    """RFC 9113 6.1: the whole payload, padding too, is under flow control."""
    open_stream(wire)
    wire.send(frame(DATA, PADDED, 1, b"\x05abc" + bytes(5)))
    assert wire.is_alive()
    assert wire.connection.codec.receive_window == 16_777_216 - 9
    assert wire.connection.codec.streams[1].receive_window == 1_048_576 - 9


# ---- 6.2: HEADERS


def test_6_2_headers_on_stream_0(wire: Wire) -> None:
    """RFC 9113 6.2: HEADERS on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.request(0)
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_2_padding_and_priority(wire: Wire) -> None:
    """RFC 9113 6.2: padding and the old priority are taken off."""
    payload = b"\x03" + number(0x8000_0000 | 77) + b"\xff" + bytes(wire.encoder.encode(GET)) + b"\0\0\0"
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED | HAS_PRIORITY, 1, payload))
    assert wire.answer(1)[1] == BODY


def test_6_2_padding_too_long(wire: Wire) -> None:
    """RFC 9113 6.2: padding longer than what is left is a connection error PROTOCOL_ERROR."""
    block = bytes(wire.encoder.encode(GET))
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes((len(block) + 1,)) + block))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize(("flags", "payload"), [(PADDED, b""), (HAS_PRIORITY, b"\0\0\0\1"), (PADDED | HAS_PRIORITY, b"\0\0\0\0\0")])
def test_6_2_too_short(wire: Wire, flags: int, payload: bytes) -> None:
    """RFC 9113 4.2, 6.2: HEADERS too short for its flags is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, payload))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_2_end_stream_on_headers_with_continuation(wire: Wire) -> None:
    """RFC 9113 6.2: END_STREAM on HEADERS holds although CONTINUATION follows."""
    block = bytes(wire.encoder.encode(GET))
    wire.send(
        frame(HEADERS, END_STREAM, 1, block[:5]) + frame(CONTINUATION, 0, 1, block[5:8]) + frame(CONTINUATION, END_HEADERS, 1, block[8:])
    )
    assert wire.answer(1)[1] == BODY


# ---- 6.3: PRIORITY


def test_6_3_priority_on_stream_0(wire: Wire) -> None:
    """RFC 9113 6.3: PRIORITY on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(PRIORITY, 0, 0, number(1) + b"\0"))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_3_priority_of_another_length(wire: Wire) -> None:
    """RFC 9113 6.3: PRIORITY that has not five bytes is a stream error FRAME_SIZE_ERROR."""
    open_stream(wire)
    wire.send(frame(PRIORITY, 0, 1, number(3)))
    assert wire.loses(1, FRAME_SIZE_ERROR)


# ---- 6.4: RST_STREAM


def test_6_4_reset_on_stream_0(wire: Wire) -> None:
    """RFC 9113 6.4: RST_STREAM on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(RST_STREAM, 0, 0, number(CANCEL)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_4_reset_of_an_idle_stream(wire: Wire) -> None:
    """RFC 9113 6.4: RST_STREAM for an idle stream is a connection error PROTOCOL_ERROR."""
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", number(CANCEL) + b"\0"])
def test_6_4_reset_of_another_length(wire: Wire, payload: bytes) -> None:
    """RFC 9113 6.4: RST_STREAM that has not four bytes is a connection error FRAME_SIZE_ERROR."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, payload))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_4_nothing_follows_a_reset(wire: Wire) -> None:
    """RFC 9113 6.4: after RST_STREAM from the peer nothing is sent on the stream."""
    half_closed(wire)
    wire.house.call()
    wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    wire.house.settle()
    assert wire.is_alive()
    assert not any(row[2] == 1 for row in wire.frames)


def test_6_4_unknown_error_codes_mean_nothing_special(wire: Wire) -> None:
    """RFC 9113 7: an unknown error code has no special effect."""
    open_stream(wire)
    wire.send(frame(RST_STREAM, 0, 1, number(0xFF)) + frame(GOAWAY, 0, 0, number(0) + number(0xFF)))
    wire.house.settle()
    assert wire.next_frame() is None  # the client said that it leaves, and nothing was left to do


# ---- 6.5: SETTINGS


def test_6_5_settings_are_acknowledged(wire: Wire) -> None:
    """RFC 9113 6.5.3: each SETTINGS is acknowledged, in order, as soon as it is applied."""
    wire.send(frame(SETTINGS, 0, 0, setting(1, 100)) + frame(SETTINGS, 0, 0))
    assert wire.wait_for(SETTINGS)[1] == ACK
    assert wire.wait_for(SETTINGS)[1] == ACK


def test_6_5_acknowledgement_with_a_payload(wire: Wire) -> None:
    """RFC 9113 6.5: an acknowledgement with a payload is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(SETTINGS, ACK, 0, setting(1, 1)))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_5_settings_on_a_stream(wire: Wire) -> None:
    """RFC 9113 6.5: SETTINGS on a stream is a connection error PROTOCOL_ERROR."""
    open_stream(wire)
    wire.send(frame(SETTINGS, 0, 1, setting(1, 1)))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 13])
def test_6_5_settings_of_another_length(wire: Wire, size: int) -> None:
    """RFC 9113 6.5: a length that is no multiple of six is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(SETTINGS, 0, 0, bytes(size)))
    assert wire.dies_of(FRAME_SIZE_ERROR)


@pytest.mark.parametrize("key", [2, 8])
def test_6_5_2_flags_are_0_or_1(wire: Wire, key: int) -> None:
    """RFC 9113 6.5.2, RFC 8441 3: ENABLE_PUSH and ENABLE_CONNECT_PROTOCOL are 0 or 1."""
    wire.send(frame(SETTINGS, 0, 0, setting(key, 2)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_5_2_initial_window_over_the_most(wire: Wire) -> None:
    """RFC 9113 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    wire.send(frame(SETTINGS, 0, 0, setting(4, 0x8000_0000)))
    assert wire.dies_of(FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("value", [0, 16_383, 16_777_216])
def test_6_5_2_maximum_frame_size_out_of_range(wire: Wire, value: int) -> None:
    """RFC 9113 6.5.2: SETTINGS_MAX_FRAME_SIZE below 2^14 or over 2^24-1 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(SETTINGS, 0, 0, setting(5, value)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_5_2_header_table_of_the_client(wire: Wire) -> None:
    """RFC 9113 6.5.2, RFC 7541 4.2: a smaller table of the client is respected, and said so in the next block."""
    wire.request(1)
    wire.answer(1)
    wire.send(frame(SETTINGS, 0, 0, setting(1, 0)))
    wire.wait_for(SETTINGS, flags=ACK)
    wire.request(3)
    row = wire.wait_for(HEADERS, 3)
    assert row[3][0] == 0x20
    wire.decoder.max_allowed_table_size = 0
    assert dict(wire.decoder.decode(row[3]))[":status"] == "200"


def test_6_5_3_values_in_order(wire: Wire) -> None:
    """RFC 9113 6.5.3: the values of one frame are applied in order; the last of two initial windows counts."""
    wire.send(frame(SETTINGS, 0, 0, setting(4, 100) + setting(4, 1)))
    wire.wait_for(SETTINGS, flags=ACK)
    wire.request(1)
    assert len(wire.wait_for(DATA, 1)[3]) == 1


# ---- 6.6: PUSH_PROMISE


@pytest.mark.parametrize("stream", [0, 1])
def test_6_6_push_promise_from_a_client(wire: Wire, stream: int) -> None:
    """RFC 9113 6.6, 8.4: PUSH_PROMISE from a client is a connection error PROTOCOL_ERROR."""
    open_stream(wire)
    wire.send(frame(PUSH_PROMISE, END_HEADERS, stream, number(2) + bytes(wire.encoder.encode(GET))))
    assert wire.dies_of(PROTOCOL_ERROR)


# ---- 6.7: PING


def test_6_7_ping_is_answered(wire: Wire) -> None:
    """RFC 9113 6.7: PING is answered with its own payload."""
    wire.send(frame(PING, 0, 0, b"abcdefgh"))
    assert wire.wait_for(PING) == (PING, ACK, 0, b"abcdefgh")


def test_6_7_acknowledged_ping_is_not_answered(wire: Wire) -> None:
    """RFC 9113 6.7: a PING with ACK is not answered."""
    wire.send(frame(PING, ACK, 0, b"abcdefgh") + frame(PING, 0, 0, b"12345678"))
    assert wire.wait_for(PING)[3] == b"12345678"


def test_6_7_ping_on_a_stream(wire: Wire) -> None:
    """RFC 9113 6.7: PING on a stream is a connection error PROTOCOL_ERROR."""
    wire.send(frame(PING, 0, 1, b"12345678"))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [0, 6, 7, 9])
def test_6_7_ping_of_another_length(wire: Wire, size: int) -> None:
    """RFC 9113 6.7: PING that has not eight bytes is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(PING, 0, 0, bytes(size)))
    assert wire.dies_of(FRAME_SIZE_ERROR)


# ---- 6.8: GOAWAY


def test_6_8_goaway_on_a_stream(wire: Wire) -> None:
    """RFC 9113 6.8: GOAWAY on a stream is a connection error PROTOCOL_ERROR."""
    wire.send(frame(GOAWAY, 0, 1, number(0) + number(0)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_8_goaway_too_short(wire: Wire) -> None:
    """RFC 9113 4.2, 6.8: GOAWAY of less than eight bytes is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(GOAWAY, 0, 0, number(0)))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_8_streams_end_after_their_goaway(wire: Wire) -> None:
    """RFC 9113 6.8: streams in flight are finished after the client's GOAWAY, then the connection ends."""
    half_closed(wire)
    call = wire.house.call()
    wire.send(frame(GOAWAY, 0, 0, number(0) + number(NO_ERROR)))
    wire.house.settle()
    call.answer()
    assert wire.answer(1)[1] == BODY
    assert wire.next_frame() is None


def test_6_8_goaway_of_ours_names_the_last_stream(wire: Wire) -> None:
    """RFC 9113 6.8: a graceful end says 2^31-1 first, then the last stream; later streams are ignored."""
    half_closed(wire)
    call = wire.house.call()
    wire.connection.on_stopping()
    assert wire.wait_for_goaway()[3] == number(MOST) + number(NO_ERROR)
    wire.send(frame(PING, ACK, 0, wire.wait_for(PING)[3]))
    assert wire.wait_for_goaway()[3] == number(1) + number(NO_ERROR)
    wire.request(3)
    call.answer()
    assert wire.answer(1)[1] == BODY
    assert wire.next_frame() is None
    assert len(wire.house.calls) == 1


# ---- 6.9: WINDOW_UPDATE and flow control


@pytest.mark.parametrize("size", [0, 3, 5])
def test_6_9_window_update_of_another_length(wire: Wire, size: int) -> None:
    """RFC 9113 6.9: WINDOW_UPDATE that has not four bytes is a connection error FRAME_SIZE_ERROR."""
    wire.send(frame(WINDOW_UPDATE, 0, 0, bytes(size)))
    assert wire.dies_of(FRAME_SIZE_ERROR)


def test_6_9_increment_0_for_the_connection(wire: Wire) -> None:
    """RFC 9113 6.9: an increment of 0 on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(0)))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_9_increment_0_for_a_stream(wire: Wire) -> None:
    """RFC 9113 6.9: an increment of 0 on a stream is a stream error PROTOCOL_ERROR."""
    open_stream(wire)
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(0)))
    assert wire.loses(1, PROTOCOL_ERROR)


def test_6_9_reserved_bit(wire: Wire) -> None:
    """RFC 9113 6.9: the reserved bit of the increment is ignored."""
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(0x8000_0001)))
    assert wire.is_alive()


def test_6_9_1_connection_window_over_the_most(wire: Wire) -> None:
    """RFC 9113 6.9.1: a connection window over 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    wire.send(frame(WINDOW_UPDATE, 0, 0, number(MOST)) * 2)
    assert wire.dies_of(FLOW_CONTROL_ERROR)


def test_6_9_1_stream_window_over_the_most(wire: Wire) -> None:
    """RFC 9113 6.9.1: a stream window over 2^31-1 is a stream error FLOW_CONTROL_ERROR."""
    open_stream(wire)
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(MOST)) * 2)
    assert wire.loses(1, FLOW_CONTROL_ERROR)


def test_6_9_1_no_data_beyond_the_window(house: House) -> None:
    """RFC 9113 6.9.1: no more DATA is sent than the windows allow."""
    wire = house.connect(settings=setting(4, 1))
    wire.request(1)
    assert wire.wait_for(DATA, 1)[3] == BODY[:1]
    assert wire.is_alive()
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(4)))
    assert wire.wait_for(DATA, 1)[3] == BODY[1:5]


def test_6_9_2_new_initial_window_moves_open_streams(house: House) -> None:
    """RFC 9113 6.9.2: a changed initial window changes the windows of open streams."""
    wire = house.connect(settings=setting(4, 0))
    wire.request(1)
    wire.wait_for(HEADERS, 1)
    assert wire.is_alive()
    wire.send(frame(SETTINGS, 0, 0, setting(4, 1)))
    assert wire.wait_for(DATA, 1)[3] == BODY[:1]


def test_6_9_2_window_may_become_negative(house: House) -> None:
    """RFC 9113 6.9.2: after a reduction nothing is sent until the window is positive again."""
    wire = house.connect(settings=setting(4, 3))
    wire.request(1)
    assert wire.wait_for(DATA, 1)[3] == BODY[:3]
    wire.send(frame(SETTINGS, 0, 0, setting(4, 2)) + frame(WINDOW_UPDATE, 0, 1, number(2)))
    assert wire.wait_for(DATA, 1)[3] == BODY[3:4]


def test_6_9_2_initial_window_that_overflows_a_stream(wire: Wire) -> None:
    """RFC 9113 6.9.2: a change that takes any window over 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    open_stream(wire)
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(MOST - 65_535)) + frame(SETTINGS, 0, 0, setting(4, 65_536)))
    assert wire.dies_of(FLOW_CONTROL_ERROR)


def test_6_9_2_settings_do_not_move_the_connection_window(house: House) -> None:
    """RFC 9113 6.9.2: the connection's window is changed by WINDOW_UPDATE only."""
    wire = house.connect(settings=setting(4, 1_000_000))
    assert wire.connection.codec.send_window == 65_535


def test_6_9_empty_data_needs_no_window(house: House) -> None:
    """RFC 9113 6.9.1: a frame of length 0 with END_STREAM may go out with no window."""
    wire = house.connect(settings=setting(4, 0))
    wire.house.answers = False
    wire.request(1)
    wire.house.call().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert wire.wait_for(DATA, 1)[1:] == (END_STREAM, 1, b"")


def test_6_9_window_of_the_stream_is_kept(wire: Wire) -> None:
    """RFC 9113 6.9.1: DATA over a stream's window is FLOW_CONTROL_ERROR."""
    wire.house.answers = False
    wire.request(1, WEBSOCKET, end=False)  # what is sent before the answer waits, and no credit is given for it
    wire.send(frame(DATA, 0, 1, b"x" * 16_384) * 64)
    assert wire.is_alive()
    wire.send(frame(DATA, 0, 1, b"x"))
    assert wire.loses(1, FLOW_CONTROL_ERROR)


# ---- 6.10: CONTINUATION


def test_6_10_several(wire: Wire) -> None:
    """RFC 9113 6.10: any number of CONTINUATION frames may follow."""
    block = bytes(wire.encoder.encode([*GET, (b"x", b"y" * 100)]))
    pieces = [block[at : at + 7] for at in range(0, len(block), 7)]
    wire.send(
        frame(HEADERS, END_STREAM, 1) + b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces) + frame(CONTINUATION, END_HEADERS, 1)
    )
    assert wire.answer(1)[1] == BODY


def test_6_10_continuation_on_stream_0(wire: Wire) -> None:
    """RFC 9113 6.10: CONTINUATION on stream 0 is a connection error PROTOCOL_ERROR."""
    wire.send(frame(CONTINUATION, END_HEADERS, 0, b"\x82"))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_10_continuation_after_the_end_of_headers(wire: Wire) -> None:
    """RFC 9113 6.10: CONTINUATION after END_HEADERS is a connection error PROTOCOL_ERROR."""
    wire.request(1, POST, end=False)
    wire.send(frame(CONTINUATION, END_HEADERS, 1, b"\x82"))
    assert wire.dies_of(PROTOCOL_ERROR)


def test_6_10_continuation_after_data(wire: Wire) -> None:
    """RFC 9113 6.10: CONTINUATION after DATA is a connection error PROTOCOL_ERROR."""
    open_stream(wire)
    wire.send(frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1, b"\x82"))
    assert wire.dies_of(PROTOCOL_ERROR)


# ---- 8: HTTP semantics


def malformed(wire: Wire, pairs: Pairs, end: bool = True) -> bool:
    """Tell whether the request is reset, nothing of it goes upstream, and the connection serves on."""
    wire.request(1, pairs, end)
    assert wire.loses(1, PROTOCOL_ERROR)
    assert wire.house.calls == []
    wire.request(3)
    return wire.answer(3)[1] == BODY


def test_8_1_trailers_must_end_the_stream(wire: Wire) -> None:
    """RFC 9113 8.1: a second HEADERS without END_STREAM is malformed."""
    open_stream(wire)
    wire.request(1, [(b"x", b"1")], end=False)
    assert wire.loses(1, PROTOCOL_ERROR)


def test_8_1_trailers_without_pseudo_fields(wire: Wire) -> None:
    """RFC 9113 8.1: pseudo-fields in trailers are malformed."""
    open_stream(wire)
    wire.request(1, [(b":method", b"POST")])
    assert wire.loses(1, PROTOCOL_ERROR)


def test_8_1_data_after_trailers(wire: Wire) -> None:
    """RFC 9113 8.1: nothing follows trailers."""
    wire.house.answers = False
    open_stream(wire)
    wire.request(1, [(b"x", b"1")])
    wire.send(frame(DATA, END_STREAM, 1, b"x"))
    assert wire.loses(1, STREAM_CLOSED)


@pytest.mark.parametrize("frames", [[b"x"], [b"x" * 4], [b"xx", b"xx"], [b"x", b""], [b""]])
def test_8_1_1_content_length_differs(wire: Wire, frames: list[bytes]) -> None:
    """RFC 9113 8.1.1: a content-length that is not the sum of DATA is malformed; the upstream sees no whole request."""
    wire.request(1, [*POST, (b"content-length", b"3")], end=False)
    for at, data in enumerate(frames):
        wire.send(frame(DATA, END_STREAM if at + 1 == len(frames) else 0, 1, data))
    assert wire.loses(1, PROTOCOL_ERROR)
    assert not any(call.requests for call in wire.house.calls)


def test_8_1_1_content_length_without_a_body(wire: Wire) -> None:
    """RFC 9113 8.1.1: a content-length over 0 with END_STREAM on HEADERS is malformed."""
    assert malformed(wire, [*POST, (b"content-length", b"1")])


@pytest.mark.parametrize("values", [[b"3", b"3"], [b"3", b"4"], [b"3, 3"], [b"+3"], [b"0x3"], [b""], [b"-1"], [b"3_0"]])
def test_8_1_1_invalid_content_length(wire: Wire, values: list[bytes]) -> None:
    """RFC 9113 8.1.1, RFC 9110 8.6: content-length said twice or not in digits is malformed."""
    assert malformed(wire, [*POST, *[(b"content-length", value) for value in values]], end=False)


@pytest.mark.parametrize("name", [b"X-A", b"x a", b"x:a", b"", b"x\0", b"x\x7f", b"x\xe4", b"x\r\na", b"x(", b"host:x"])
def test_8_2_1_field_names(wire: Wire, name: bytes) -> None:
    """RFC 9113 8.2, 8.2.1: upper case and anything that is no token in a name is malformed."""
    assert malformed(wire, [*GET, (name, b"1")])


@pytest.mark.parametrize("value", [b"a\0b", b"a\nb", b"a\rb", b"a\r\nx: y", b" a", b"a ", b"\ta", b"a\t", b"\n", b" "])
def test_8_2_1_field_values(wire: Wire, value: bytes) -> None:
    """RFC 9113 8.2.1: NUL, CR, LF, and blanks at either end of a value are malformed."""
    assert malformed(wire, [*GET, (b"x-a", value)])


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\0", b" a"])
def test_8_2_1_values_of_pseudo_fields(wire: Wire, value: bytes) -> None:
    """RFC 9113 8.2.1: the same in pseudo-fields."""
    assert malformed(wire, [*GET[:2], (b":path", b"/" + value), GET[3]])


@pytest.mark.parametrize(
    "pair",
    [
        (b"connection", b"keep-alive"),
        (b"proxy-connection", b"keep-alive"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
    ],
)
def test_8_2_2_connection_specific_fields(wire: Wire, pair: tuple[bytes, bytes]) -> None:
    """RFC 9113 8.2.2: fields of an HTTP/1 connection are malformed."""
    assert malformed(wire, [*GET, pair])


@pytest.mark.parametrize("value", [b"gzip", b"trailers, deflate", b"trailers;q=0.5"])
def test_8_2_2_te(wire: Wire, value: bytes) -> None:
    """RFC 9113 8.2.2: `te` other than `trailers` is malformed."""
    assert malformed(wire, [*GET, (b"te", value)])


def test_8_2_2_te_trailers(wire: Wire) -> None:
    """RFC 9113 8.2.2: `te: trailers` is taken."""
    wire.request(1, [*GET, (b"te", b"trailers")])
    assert wire.answer(1)[1] == BODY


def test_8_2_3_cookie_crumbs_are_joined(wire: Wire) -> None:
    """RFC 9113 8.2.3: cookie crumbs are joined with `; ` before they go to HTTP/1."""
    wire.request(1, [*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3")])
    wire.answer(1)
    assert wire.house.calls[0].requests[0].endswith(b"\r\ncookie: a=1; b=2; c=3\r\nx: y\r\n\r\n")


def test_8_3_pseudo_fields_come_first(wire: Wire) -> None:
    """RFC 9113 8.3: a pseudo-field after a regular field is malformed."""
    assert malformed(wire, [*GET[:3], (b"x", b"1"), GET[3]])


@pytest.mark.parametrize("at", range(4))
def test_8_3_pseudo_fields_come_once(wire: Wire, at: int) -> None:
    """RFC 9113 8.3: a pseudo-field twice is malformed."""
    assert malformed(wire, [*GET, GET[at]])


@pytest.mark.parametrize("name", [b":test", b":status", b":Path", b":"])
def test_8_3_unknown_pseudo_fields(wire: Wire, name: bytes) -> None:
    """RFC 9113 8.3: pseudo-fields that are not of a request are malformed."""
    assert malformed(wire, [(name, b"200"), *GET])


@pytest.mark.parametrize("at", range(3))
def test_8_3_1_pseudo_fields_that_are_needed(wire: Wire, at: int) -> None:
    """RFC 9113 8.3.1: a request without :method, :scheme or :path is malformed."""
    assert malformed(wire, GET[:at] + GET[at + 1 :])


@pytest.mark.parametrize("path", [b"", b"index.html", b"*", b"http://evil.example/", b"/a b", b"/a#b"])
def test_8_3_1_paths(wire: Wire, path: bytes) -> None:
    """RFC 9113 8.3.1: :path is not empty and begins with a slash (`*` is for OPTIONS)."""
    assert malformed(wire, [*GET[:2], (b":path", path), GET[3]])


def test_8_3_1_options_star(wire: Wire) -> None:
    """RFC 9113 8.3.1: OPTIONS for the whole server has the path `*`."""
    wire.request(1, [(b":method", b"OPTIONS"), GET[1], (b":path", b"*"), GET[3]])
    wire.answer(1)
    assert wire.house.calls[0].requests[0].startswith(b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n")


@pytest.mark.parametrize("authority", [b"", b"user@a.example", b"a.example/x", b"a.example:port", b"a b"])
def test_8_3_1_authorities(wire: Wire, authority: bytes) -> None:
    """RFC 9113 8.3.1: :authority has a host, and no user."""
    assert malformed(wire, [*GET[:3], (b":authority", authority)])


def test_8_3_1_authority_becomes_host(wire: Wire) -> None:
    """RFC 9113 8.3.1: :authority, with its port, becomes Host."""
    wire.request(1, [*GET[:3], (b":authority", b"a.example:8443")])
    wire.answer(1)
    assert wire.house.calls[0].requests[0].startswith(b"GET / HTTP/1.1\r\nHost: a.example:8443\r\n")


def test_8_3_1_authority_and_host(wire: Wire) -> None:
    """RFC 9113 8.3.1: a Host that differs from :authority is malformed."""
    assert malformed(wire, [*GET, (b"host", b"b.example")])


def test_8_3_1_host_alone(wire: Wire) -> None:
    """RFC 9113 8.3.1: without :authority the Host counts."""
    wire.request(1, [*GET[:3], (b"host", b"b.example")])
    wire.answer(1)
    assert wire.house.calls[0].requests[0] == b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n"


def test_8_5_connect(wire: Wire) -> None:
    """RFC 9113 8.5: CONNECT has no :scheme and no :path; we refuse to tunnel anywhere, with an answer."""
    wire.request(1, [(b":method", b"CONNECT"), (b":authority", b"a.example:22")])
    assert wire.answer(1)[0][":status"] == "405"
    wire.request(3, [(b":method", b"CONNECT"), *GET[1:]])
    assert wire.loses(3, PROTOCOL_ERROR)
    assert wire.house.calls == []


def test_8_7_refused_streams_were_not_processed(house: House) -> None:
    """RFC 9113 8.7: REFUSED_STREAM promises that nothing of the request was done."""
    wire = house.connect()
    house.answers = False
    for i in range(128):
        wire.request(1 + 2 * i)
    house.until(lambda: len(house.calls) == 128, "all are upstream")
    wire.request(301, POST)
    assert wire.loses(301, REFUSED_STREAM)
    assert len(house.calls) == 128


# ---- RFC 7541


def raw_request(wire: Wire, extra: bytes) -> None:
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x86\x84\x41\x01a" + extra))


@pytest.mark.parametrize("index", [b"\x80", b"\xc6", b"\xff\x00", b"\x7f\x80\x80\x01\x01a"])
def test_7541_2_3_3_invalid_index(wire: Wire, index: bytes) -> None:
    """RFC 7541 2.3.3, 6.1: an index of 0 or past both tables is a decoding error."""
    raw_request(wire, index)
    assert wire.dies_of(COMPRESSION_ERROR)


def test_7541_4_2_size_update_at_the_end(wire: Wire) -> None:
    """RFC 7541 4.2: a table size update after a field is a decoding error."""
    raw_request(wire, b"\x20")
    assert wire.dies_of(COMPRESSION_ERROR)


def test_7541_4_2_size_updates_at_the_start(wire: Wire) -> None:
    """RFC 7541 4.2: two table size updates may start a block."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20\x3f\xe1\x1f\x82\x86\x84\x41\x01a"))
    assert wire.answer(1)[1] == BODY


def test_7541_6_3_size_update_over_the_limit(wire: Wire) -> None:
    """RFC 7541 6.3: a table size over SETTINGS_HEADER_TABLE_SIZE is a decoding error."""
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe2\x1f\x82\x86\x84\x41\x01a"))
    assert wire.dies_of(COMPRESSION_ERROR)


@pytest.mark.parametrize(
    "coded",
    [b"\x84\xff\xff\xff\xff", b"\x82\x1f\xff", b"\x81\x18", b"\x85\xff\xff\xff\xfc\x07"],
    ids=["EOS", "padding over seven bits", "padding of zeros", "EOS inside"],
)
def test_7541_5_2_huffman_padding(wire: Wire, coded: bytes) -> None:
    """RFC 7541 5.2: EOS in a string, padding over seven bits or not of ones is a decoding error."""
    raw_request(wire, b"\x00\x01x" + coded)
    assert wire.dies_of(COMPRESSION_ERROR)


@pytest.mark.parametrize("extra", [b"\x00\x05x", b"\x00\x01x\x05y", b"\x00", b"\x7f", b"\x00\x01x\x7f\xff\xff\xff\xff\xff\xff\x01"])
def test_7541_5_cut_short(wire: Wire, extra: bytes) -> None:
    """RFC 7541 5.1, 5.2: integers and strings that are cut or too large are decoding errors."""
    raw_request(wire, extra)
    assert wire.dies_of(COMPRESSION_ERROR)


def test_7541_4_4_entry_larger_than_the_table(wire: Wire) -> None:
    """RFC 7541 4.4: an entry larger than the table empties it and is no error."""
    raw_request(wire, b"\x40\x01x\x7f\x89\x26" + b"y" * 5000)
    assert wire.answer(1)[1] == BODY
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xbe"))
    assert wire.dies_of(COMPRESSION_ERROR)


# ---- RFC 8441, RFC 9218


def test_8441_3_setting(house: House) -> None:
    """RFC 8441 3: SETTINGS_ENABLE_CONNECT_PROTOCOL is 1."""
    row = house.connect(greet=False).next_frame()
    assert row is not None
    assert dict(struct.iter_unpack(">HL", row[3]))[8] == 1


@pytest.mark.parametrize("missing", [b":scheme", b":path", b":authority"])
def test_8441_4_needs_all(wire: Wire, missing: bytes) -> None:
    """RFC 8441 4: extended CONNECT has :scheme, :path and :authority."""
    assert malformed(wire, [pair for pair in WEBSOCKET if pair[0] != missing], end=False)


def test_8441_4_protocol_is_for_connect(wire: Wire) -> None:
    """RFC 8441 4: :protocol with another method is malformed."""
    assert malformed(wire, [*GET, (b":protocol", b"websocket")])


def test_8441_unknown_protocol(wire: Wire) -> None:
    """RFC 8441 4: a protocol we do not tunnel is refused with an answer."""
    wire.request(1, [(b":protocol", b"connect-udp") if pair[0] == b":protocol" else pair for pair in WEBSOCKET], end=False)
    row = wire.wait_for(HEADERS, 1)
    assert wire.decoder.decode(row[3])[0] == (":status", "405")
    assert wire.house.calls == []


def test_9218_2_1_setting(house: House) -> None:
    """RFC 9218 2.1: SETTINGS_NO_RFC7540_PRIORITIES is 1 in our first SETTINGS; the client's is 0 or 1."""
    wire = house.connect(greet=False)
    row = wire.next_frame()
    assert row is not None
    assert dict(struct.iter_unpack(">HL", row[3]))[9] == 1
    wire.send(PREFACE + frame(SETTINGS, 0, 0, setting(9, 2)))
    assert wire.dies_of(PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("stream", "payload", "code"),
    [
        (1, number(1) + b"u=1", PROTOCOL_ERROR),
        (0, number(0) + b"u=1", PROTOCOL_ERROR),
        (0, number(2) + b"u=1", PROTOCOL_ERROR),
        (0, b"\0\0\1", FRAME_SIZE_ERROR),
    ],
)
def test_9218_7_1_priority_update(wire: Wire, stream: int, payload: bytes, code: int) -> None:
    """RFC 9218 7.1: PRIORITY_UPDATE is on stream 0, has four bytes or more and names a request stream."""
    wire.send(frame(PRIORITY_UPDATE, 0, stream, payload))
    assert wire.dies_of(code)


def test_9218_7_1_priority_update_is_taken_any_time(wire: Wire) -> None:
    """RFC 9218 7.1: for idle, open and closed streams alike; a value that cannot be parsed is ignored."""
    for stream in (1, 3, 99):
        wire.send(frame(PRIORITY_UPDATE, 0, 0, number(stream) + b"u=1, i"))
    wire.request(1)
    wire.answer(1)
    wire.send(frame(PRIORITY_UPDATE, 0, 0, number(1) + b"\xff\xff"))
    assert wire.is_alive()


# ---- the list


def test_docs_list_every_test() -> None:
    """The table in the docs is the list of these tests."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "internals" / "http2.md").read_text()
    missing = [
        name for name, made in globals().items() if name.startswith("test_") and made.__doc__.startswith("RFC") and made.__doc__ not in page
    ]
    assert missing == []
