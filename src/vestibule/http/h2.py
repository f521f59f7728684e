"""HTTP/2: bytes in, events out; messages in, frames out, for a server. No socket (RFC 9113).

Facts
  An error concerns a stream (RST_STREAM, the others go on) or the connection (GOAWAY, then close);
  section 5.4 says which may be which. A header block is never a stream error before it is decoded,
  because the compression state is the connection's.
  The peer may reset or be reset at any moment: frames for a stream that is gone keep coming for a while.

Rules
  1. `feed` only appends. `next` pulls one event; what belongs to it lies in the attributes until the next call.
  2. `next` never raises: a connection error queues GOAWAY, and from then on `next` returns OVER.
  3. DATA is passed on as it comes, without waiting for the frame to be whole. Credit for it is given back
     when the next event is asked for, unless the stream was paused meanwhile: then on resume. So what lies
     beyond this codec is never more than the windows.
  4. Anything that has a cost and no use is paid from a budget (`h2_abuse.py`).
  5. At most one header block is in progress and it is bounded; so is everything else kept here.

Not here: the client's side (`h2_client.py`), sending (`h2_send.py`), what a request must look like (`h2_request.py`), time (it is given).
"""

from typing import Final

from vestibule.fault import CLIENT, CLIENT_HEAD_TOO_LARGE, UPSTREAM, ProtocolError
from vestibule.http import h2_frames as wire
from vestibule.http.fields import EMPTY, FieldsTable
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2_abuse import COST_EMPTY_CONTINUATION, COST_FRAME, COST_REFUSED, COST_STREAM_ERROR, COST_TOO_LARGE
from vestibule.http.h2_control import BODY, HEAD, NEED, ON, OVER, REFUSED, TRAILERS, ConnectionLost, Control, number_at
from vestibule.http.h2_frames import (
    COMPRESSION_ERROR,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_LEAST,
    FRAME_SIZE_ERROR,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_DEFAULT,
    goaway_frame,
    settings_frame,
)
from vestibule.http.h2_request import PROTOCOL, RequestMaker
from vestibule.http.h2_schedule import HEADLESS, H2Stream, parse_priority
from vestibule.http.head import RequestHead
from vestibule.http.hpack import Decoder, HpackError, HpackFlood

# States of the reader.
_PREFACE: Final = 0
_FRAME: Final = 1
_PAYLOAD: Final = 2
_SKIP: Final = 3
_DEAD: Final = 4

# Bytes of one header block on the wire, whatever comes out of it. A list that is merely over the limit
# (16 KiB by default) gets its 431 far below this.
_BLOCK_MOST: Final = 262_144
_SMALL_CONTINUATION: Final = 1024

# Ids the peer skipped over; nobody skips, except tests and attackers.
_SKIPPED_MOST: Final = 64

# No need to count further than any budget reaches.
_MOVED_MOST: Final = 1_000_000


class H2Options:
    """Sizes that the owner chooses."""

    def __init__(self, streams: int = 128, stream_window: int = 1_048_576, connection_window: int = 16_777_216) -> None:
        self.streams = streams
        self.stream_window = stream_window
        self.connection_window = connection_window


class H2(Control):
    """One client connection; with `dials`, one to a server, for `h2_client.py` to go on from."""

    def __init__(self, limits: HeadLimits, table: FieldsTable, options: H2Options, dials: bool = False) -> None:
        super().__init__(options.stream_window, options.connection_window)
        self.head: RequestHead | None = None
        self.data = b""
        self.ended = False
        self.trailers = EMPTY
        self._streams_most = options.streams
        self._state = _PREFACE
        self._buffer = b""
        self._at = 0
        self._left = 0  # of the DATA payload, without padding
        self._pad = 0
        self._ends = False  # the DATA frame in hand carries END_STREAM
        self._delivered = 0  # bytes of the last BODY event, for which no credit was given yet
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._block_stream = 0  # a header block is in progress for this stream
        self._block_flags = 0
        self._self_dependent = False
        self._decoder = Decoder(limits.head, limits.fields + 4)
        self._maker = RequestMaker(limits, table, self._decoder, UPSTREAM if dials else CLIENT)
        self._skipped: list[tuple[int, int]] = []
        if dials:
            # A server has no preface but its SETTINGS (RFC 9113 3.4), and opens no streams.
            self._state = _FRAME
            self.goaway_id = 0
            self.out.append(PREFACE)
            settings = [(wire.ENABLE_PUSH, 0)]
        else:
            settings = [(wire.MAX_CONCURRENT_STREAMS, options.streams), (wire.ENABLE_CONNECT_PROTOCOL, 1)]
        settings.append((wire.INITIAL_WINDOW_SIZE, options.stream_window))
        settings.append((wire.MAX_HEADER_LIST_SIZE, limits.head))
        settings.append((wire.NO_RFC7540_PRIORITIES, 1))
        self.out.append(settings_frame(settings))
        self.first_credit = options.connection_window - WINDOW_DEFAULT

    def feed(self, data: bytes) -> None:
        """Append what the peer sent."""
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def has_block(self) -> bool:
        """Tell whether a header block or a frame has begun and is not whole."""
        return self._block_stream != 0 or (self._state != _PAYLOAD and self._at < len(self._buffer))

    def is_greeted(self) -> bool:
        """Tell whether preface and SETTINGS of the peer have come."""
        return self.greeted

    def next(self) -> int:
        """Return the code of the next event."""
        try:
            if self._delivered:
                self._settle_credit()
            while True:
                if self._state == _FRAME:
                    code = self._next_frame()
                elif self._state == _PAYLOAD:
                    code = self._next_body()
                elif self._state == _SKIP:
                    code = self._skip()
                elif self._state == _PREFACE:
                    code = self._read_preface()
                else:
                    return OVER
                if code >= 0:
                    return code
        except ConnectionLost as error:
            self._die(error.code, error.detail)
            return OVER

    def close(self, code: int, detail: str) -> None:
        """End the connection for a reason of the owner's: GOAWAY is queued and `next` returns OVER."""
        if self._state != _DEAD:
            self._die(code, detail)

    def _die(self, code: int, detail: str) -> None:
        self._state = _DEAD
        self.error_code = code
        self.detail = detail
        self._buffer = b""
        self._at = 0
        self._block.clear()
        self._block_stream = 0
        self.out.append(goaway_frame(min(self.last_id, self.goaway_id), code, detail.encode("ascii", "replace")))

    def _settle_credit(self) -> None:
        """Rule 3: the last BODY event was taken, or the stream was paused over it."""
        credit = self._delivered
        self._delivered = 0
        stream = self.stream
        if stream.released:
            self.give_connection(credit)
        elif stream.paused:
            stream.withheld += credit
        else:
            self.give(stream, credit)

    # Reading. Functions return an event code, or ON to go on.

    def _read_preface(self) -> int:
        have = len(self._buffer) - self._at
        if have < len(PREFACE):
            if not PREFACE.startswith(self._buffer[self._at :]):
                raise ConnectionLost(PROTOCOL_ERROR, "not the preface")
            return NEED
        if not self._buffer.startswith(PREFACE, self._at):
            raise ConnectionLost(PROTOCOL_ERROR, "not the preface")
        self._at += len(PREFACE)
        self._state = _FRAME
        return ON

    def _next_frame(self) -> int:
        buffer = self._buffer
        at = self._at
        have = len(buffer) - at
        if have < HEADER_BYTES:
            return NEED
        length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
        kind = buffer[at + 3]
        flags = buffer[at + 4]
        stream_id = (buffer[at + 5] & 0x7F) << 24 | buffer[at + 6] << 16 | buffer[at + 7] << 8 | buffer[at + 8]
        if length > FRAME_LEAST:
            raise ConnectionLost(FRAME_SIZE_ERROR, f"frame of {length} bytes")
        if self._block_stream and (kind != CONTINUATION or stream_id != self._block_stream):
            raise ConnectionLost(PROTOCOL_ERROR, "a header block was interrupted")
        if not self.greeted and (kind != SETTINGS or flags & wire.ACK):
            raise ConnectionLost(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == wire.DATA:
            return self._begin_data(length, flags, stream_id)
        end = at + HEADER_BYTES + length
        if end > len(buffer):
            return NEED
        payload = buffer[at + HEADER_BYTES : end]
        self._at = end
        if kind == HEADERS:
            return self._on_headers(flags, stream_id, payload)
        if kind == CONTINUATION:
            return self._on_continuation(flags, stream_id, payload)
        if kind == wire.WINDOW_UPDATE:
            return self.on_window_update(stream_id, payload)
        if kind == wire.RST_STREAM:
            return self.on_reset(stream_id, payload)
        return self.on_rare_frame(kind, flags, stream_id, payload)

    # DATA (RFC 9113 6.1).

    def _begin_data(self, length: int, flags: int, stream_id: int) -> int:
        pad = 0
        overhead = 0
        at = self._at + HEADER_BYTES
        if flags & PADDED:
            if length == 0:
                raise ConnectionLost(FRAME_SIZE_ERROR, "padded DATA without its length")
            if at >= len(self._buffer):
                return NEED
            pad = self._buffer[at]
            overhead = pad + 1
            if overhead > length:
                raise ConnectionLost(PROTOCOL_ERROR, "padding longer than the frame")
            at += 1
        self._at = at
        self.receive_window -= length
        if self.receive_window < 0:
            raise ConnectionLost(FLOW_CONTROL_ERROR, "DATA over the window of the connection")
        size = length - overhead
        ends = flags & END_STREAM != 0
        self._left = size
        self._pad = pad
        self._ends = ends
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_ended:
            return self._stray_data(stream_id, length)
        stream.receive_window -= length
        stream.moved_ms = self.now_ms
        if overhead:
            self.give(stream, overhead)
        if size == 0 and not ends:
            self.spend_frame(COST_FRAME)
        elif self.frames_moved < _MOVED_MOST:
            self.frames_moved += 1
        self.stream = stream
        if stream.receive_window < 0:
            return self._bad_data(stream, FLOW_CONTROL_ERROR, "DATA over the window of the stream")
        if stream.expected >= 0:
            stream.expected -= size
            if stream.expected < 0 or (ends and stream.expected > 0):
                return self._bad_data(stream, PROTOCOL_ERROR, "content-length and DATA differ")
        elif stream.expected == HEADLESS:
            return self._bad_data(stream, PROTOCOL_ERROR, "DATA before HEADERS")
        if ends:
            stream.remote_ended = True
        elif size == 0:
            self._state = _SKIP
            return ON
        self._state = _PAYLOAD
        return ON

    def _stray_data(self, stream_id: int, length: int) -> int:
        """DATA for a stream that takes none: its bytes are skipped and count for the connection only (RFC 9113 5.1)."""
        if stream_id == 0 or self.is_idle(stream_id):
            raise ConnectionLost(PROTOCOL_ERROR, "DATA on an idle stream")
        self.give_connection(length)
        self._state = _SKIP
        stream = self.streams.get(stream_id)
        if stream is not None:
            return self.fail(stream, STREAM_CLOSED, "DATA after the end of the request")
        self.stray(stream_id, "DATA")
        return ON

    def _bad_data(self, stream: H2Stream, code: int, detail: str) -> int:
        self.give_connection(self._left)
        self._state = _SKIP
        return self.fail(stream, code, detail)

    def _next_body(self) -> int:
        """Pass on what has come of the DATA frame in hand."""
        stream = self.stream
        if stream.released:
            # Reset in the middle of the frame, or nobody wants the rest. (A stream that is merely gone because
            # its answer is out already still owes its owner the end of the request.)
            self.give_connection(self._left)
            self._state = _SKIP
            return ON
        have = len(self._buffer) - self._at
        if have < self._left:
            if have == 0:
                return NEED
            self.data = self._buffer[self._at :] if self._at else self._buffer
            self._left -= have
            self._at = len(self._buffer)
            self.ended = False
        else:
            end = self._at + self._left
            self.data = self._buffer[self._at : end]
            self._at = end
            self._left = 0
            self.ended = self._ends
            self._state = _SKIP if self._pad else _FRAME
        self._delivered = len(self.data)
        return BODY

    def _skip(self) -> int:
        """Drop what is left of a DATA frame: bytes nobody takes, and padding."""
        self._left += self._pad
        self._pad = 0
        have = len(self._buffer) - self._at
        if have < self._left:
            self._left -= have
            self._at = len(self._buffer)
            return NEED
        self._at += self._left
        self._left = 0
        self._state = _FRAME
        return ON

    # HEADERS and CONTINUATION (RFC 9113 6.2, 6.10).

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> int:
        if stream_id & 1 == 0:
            raise ConnectionLost(PROTOCOL_ERROR, "HEADERS on a stream that no client opens")
        self._self_dependent = False
        if flags & (PADDED | wire.HAS_PRIORITY):
            payload = self._strip(flags, stream_id, payload)
        self._block_bytes = len(payload)
        if flags & END_HEADERS:
            return self._on_block(stream_id, flags & END_STREAM != 0, payload)
        self._block_stream = stream_id
        self._block_flags = flags
        self._block.append(payload)
        return ON

    def _strip(self, flags: int, stream_id: int, payload: bytes) -> bytes:
        """Take padding and priority off a HEADERS payload."""
        at = 0
        end = len(payload)
        if flags & PADDED:
            if end == 0:
                raise ConnectionLost(FRAME_SIZE_ERROR, "padded HEADERS without its length")
            at = 1
            end -= payload[0]
        if flags & wire.HAS_PRIORITY:
            if len(payload) < at + 5:
                raise ConnectionLost(FRAME_SIZE_ERROR, "HEADERS without its priority")
            self._self_dependent = number_at(payload, at) & wire.WINDOW_MOST == stream_id
            at += 5
        if end < at:
            raise ConnectionLost(PROTOCOL_ERROR, "padding longer than the frame")
        return payload[at:end]

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> int:
        if self._block_stream == 0:
            raise ConnectionLost(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block_bytes += len(payload)
        if self._block_bytes > _BLOCK_MOST:
            raise ConnectionLost(ENHANCE_YOUR_CALM, "header block too large")
        if not payload:
            self.spend_frame(COST_EMPTY_CONTINUATION)
        elif len(payload) < _SMALL_CONTINUATION:
            self.spend_frame(COST_FRAME)
        self._block.append(payload)
        if not flags & END_HEADERS:
            return ON
        block = b"".join(self._block)
        self._block.clear()
        self._block_stream = 0
        return self._on_block(stream_id, self._block_flags & END_STREAM != 0, block)

    def _on_block(self, stream_id: int, end: bool, block: bytes) -> int:
        try:
            if stream_id > self.last_id:
                return self.on_opened(stream_id, end, block)
            stream = self.streams.get(stream_id)
            if stream is None or stream.remote_ended:
                self._maker.skip(block)
                return self._late_headers(stream_id, stream)
            return self.on_more(stream, end, block)
        except HpackFlood as flood:  # another name than below, because mypyc gives a name one type
            raise ConnectionLost(ENHANCE_YOUR_CALM, str(flood)) from None
        except HpackError as error:
            raise ConnectionLost(COMPRESSION_ERROR, str(error)) from None

    def on_more(self, stream: H2Stream, end: bool, block: bytes) -> int:
        """A header block on a stream that is open."""
        return self.on_trailers(stream, end, block)

    def on_opened(self, stream_id: int, end: bool, block: bytes) -> int:
        """A header block on a stream that was not used before."""
        if stream_id > self.last_id + 2 and len(self._skipped) < _SKIPPED_MOST:
            self._skipped.append((self.last_id, stream_id))
        self.last_id = stream_id
        early = self.early.pop(stream_id, b"") if self.early else b""
        if stream_id > self.goaway_id:
            self._maker.skip(block)
            self.note_reset(stream_id, True)
            return ON
        if len(self.streams) >= self._streams_most:
            self._maker.skip(block)
            self.refuse(stream_id, REFUSED_STREAM, COST_REFUSED)
            return ON
        if self._self_dependent:
            self._maker.skip(block)
            self.refuse(stream_id, PROTOCOL_ERROR, COST_STREAM_ERROR)
            return ON
        stream = H2Stream(stream_id, self.peer_window, self.stream_window)
        stream.remote_ended = end
        stream.moved_ms = self.now_ms
        try:
            head = self._maker.make(block, end)
        except ProtocolError as error:
            return self._on_bad_request(stream, error)
        self.streams[stream_id] = stream
        if self._maker.tunnel:
            stream.tunnel = True
        else:
            stream.expected = head.fields.content_length
        priority = early or self._maker.priority
        if priority:
            stream.urgency, stream.incremental = parse_priority(priority)
        self.stream = stream
        self.head = head
        self.ended = end
        return HEAD

    def _on_bad_request(self, stream: H2Stream, error: ProtocolError) -> int:
        """A request that must not be forwarded: reset it, or let the owner say what is wrong with it."""
        if error.kind.status == 400:
            self.refuse(stream.id, PROTOCOL_ERROR, COST_STREAM_ERROR)
            return ON
        if error.kind is CLIENT_HEAD_TOO_LARGE:
            self.spend_reset(COST_TOO_LARGE + self._block_bytes // FRAME_LEAST)
        self.streams[stream.id] = stream
        self.stream = stream
        self.head = RequestHead(self._maker.method, b"", b"", EMPTY, PROTOCOL)
        self.fault = error.kind
        self.detail = error.detail
        return REFUSED

    def on_trailers(self, stream: H2Stream, end: bool, block: bytes) -> int:
        """A second header block ends the message (RFC 9113 8.1)."""
        try:
            trailers = self._maker.trailers(block)
        except ProtocolError as error:
            return self.fail(stream, PROTOCOL_ERROR, error.detail)
        if self._self_dependent or not end or stream.tunnel:
            return self.fail(stream, PROTOCOL_ERROR, "trailers that do not end the message")
        if stream.expected > 0:
            return self.fail(stream, PROTOCOL_ERROR, "content-length and DATA differ")
        stream.remote_ended = True
        self.stream = stream
        self.trailers = trailers
        return TRAILERS

    def _late_headers(self, stream_id: int, stream: H2Stream | None) -> int:
        """HEADERS on a stream whose request is over, or that is closed (RFC 9113 5.1, 5.1.1)."""
        if stream is not None:
            return self.fail(stream, STREAM_CLOSED, "HEADERS after the end of the request")
        if stream_id in self.resets:
            self.stray(stream_id, "HEADERS")
            return ON
        for low, high in self._skipped:
            if low < stream_id < high:
                raise ConnectionLost(PROTOCOL_ERROR, "a stream id lower than one used before")
        raise ConnectionLost(STREAM_CLOSED, "HEADERS on a closed stream")

    def forget(self) -> None:
        """The connection is idle: drop what only saves work."""
        super().forget()
        self._maker.forget()
