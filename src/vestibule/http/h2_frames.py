"""HTTP/2 frames: the layout of RFC 9113 4 and 6, and one function for each frame that we send.

Facts: nine bytes in front: length (24 bits), type, flags, a reserved bit and the stream (31 bits). What a
frame type means, and when it may come, is the connection's business.

Not here: reading (`h2.py` looks at the nine bytes in place), header blocks (`hpack.py`).
"""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER_BYTES: Final = 9

# Types (RFC 9113 6, RFC 9218 7.1).
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
PRIORITY_UPDATE: Final = 16

# Flags.
END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

# Error codes (RFC 9113 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13

ERROR_NAMES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

# Settings (RFC 9113 6.5.2, RFC 8441 3, RFC 9218 2.1).
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8
NO_RFC7540_PRIORITIES: Final = 9

WINDOW_MOST: Final = 0x7FFF_FFFF  # RFC 9113 6.9.1
WINDOW_DEFAULT: Final = 65_535  # RFC 9113 6.9.2
FRAME_LEAST: Final = 16_384  # the size every peer takes (RFC 9113 4.2)
FRAME_MOST: Final = 16_777_215

_HEADER: Final = struct.Struct(">BHBBL")
_LONG: Final = struct.Struct(">L")
_SETTING: Final = struct.Struct(">HL")
_WINDOW: Final = struct.Struct(">BHBBLL")


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Return the nine bytes in front of a frame's payload (RFC 9113 4.1)."""
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings_frame(settings: list[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame (RFC 9113 6.5)."""
    return frame_header(6 * len(settings), SETTINGS, 0, 0) + b"".join([_SETTING.pack(key, value) for key, value in settings])


SETTINGS_ACK: Final = frame_header(0, SETTINGS, ACK, 0)


def window_frame(stream_id: int, credit: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection (RFC 9113 6.9)."""
    return _WINDOW.pack(0, 4, WINDOW_UPDATE, 0, stream_id, credit)


def reset_frame(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame (RFC 9113 6.4)."""
    return _WINDOW.pack(0, 4, RST_STREAM, 0, stream_id, code)


def ping_frame(payload: bytes, flags: int) -> bytes:
    """Return a PING frame; `payload` has eight bytes (RFC 9113 6.7)."""
    return frame_header(8, PING, flags, 0) + payload


def goaway_frame(last_stream_id: int, code: int, detail: bytes) -> bytes:
    """Return a GOAWAY frame; `detail` is for people (RFC 9113 6.8)."""
    return frame_header(8 + len(detail), GOAWAY, 0, 0) + _LONG.pack(last_stream_id) + _LONG.pack(code) + detail


def headers_frames(stream_id: int, block: bytes, end: bool, frame_most: int) -> bytes:
    """Return HEADERS with the block, and CONTINUATION frames for what one frame cannot hold (RFC 9113 6.2, 6.10)."""
    flags = END_STREAM if end else 0
    if len(block) <= frame_most:
        return frame_header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    out = [frame_header(frame_most, HEADERS, flags, stream_id), block[:frame_most]]
    at = frame_most
    while at < len(block):
        piece = block[at : at + frame_most]
        at += len(piece)
        out.append(frame_header(len(piece), CONTINUATION, END_HEADERS if at == len(block) else 0, stream_id))
        out.append(piece)
    return b"".join(out)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the (key, value) pairs of a SETTINGS payload whose length is a multiple of six."""
    pairs: list[tuple[int, int]] = []
    for key, value in _SETTING.iter_unpack(payload):
        pairs.append((key, value))
    return pairs


def error_name(code: int) -> str:
    """Return the name of an error code, or its number."""
    return ERROR_NAMES[code] if code < len(ERROR_NAMES) else f"error {code}"
