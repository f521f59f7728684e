"""The HTTP/2 frames that carry no message: settings, windows, resets, pings, priorities (RFC 9113 6).

Facts: these frames steer the sender (`h2_send.py`) and cost little each, so a peer can send very many.

Rules: a function returns an event code, or ON where there is nothing to tell; what breaks the connection
is raised as `ConnectionLost`. Every frame here is paid from a budget (`h2_abuse.py`).

Not here: HEADERS, CONTINUATION, DATA and the order of things (`h2.py`).
"""

from typing import Final

from vestibule.fault import CLIENT_BAD_FRAMING, CLIENT_BAD_SYNTAX, CLIENT_STREAM_RESET, FaultKind
from vestibule.http import h2_frames as wire
from vestibule.http.h2_abuse import (
    COST_CANCEL,
    COST_FRAME,
    COST_STREAM_ERROR,
    EARNED_PER_ANSWER,
    EARNED_PER_DATA,
    FRAMES_BURST,
    FRAMES_PER_SECOND,
    RESETS_BURST,
    RESETS_PER_SECOND,
    Budget,
)
from vestibule.http.h2_frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_LEAST,
    FRAME_SIZE_ERROR,
    GOAWAY,
    PROTOCOL_ERROR,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_MOST,
    error_name,
    read_settings,
    reset_frame,
)
from vestibule.http.h2_schedule import URGENCY_DEFAULT, H2Stream, parse_priority
from vestibule.http.h2_send import Sender

# Event codes.
NEED: Final = 0  # feed more bytes
HEAD: Final = 1  # a request: `stream`, `head`; `ended` tells that no body follows
BODY: Final = 2  # `stream`, `data`; `ended` tells that it was the last
TRAILERS: Final = 3  # `stream`, `trailers`; the request is over
RESET: Final = 4  # `stream` is gone; `fault`, `error_code` and `detail` say why
REFUSED: Final = 5  # a request that can only be answered with an error: `stream`, `fault`, `detail`; `head` has its method only
LEAVING: Final = 6  # the peer sent GOAWAY with `error_code`: it will open no more streams
OVER: Final = 7  # the connection broke: `error_code`, `detail`; send what is queued and close

# Priorities sent before their request (RFC 9218 7.1).
_EARLY_PRIORITIES_MOST: Final = 64

# Streams at a time until the peer has said how many; few peers allow less (RFC 9113 6.5.2).
_STREAMS_USUAL: Final = 100

# What a function returns that has no event to tell.
ON: Final = -1


class ConnectionLost(Exception):
    """A connection error (RFC 9113 5.4.1): raised while reading, caught in `H2.next` only."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{error_name(code)}: {detail}")
        self.code = code
        self.detail = detail


class Control(Sender):
    """The sending half and the frames that carry no message."""

    def __init__(self, stream_window: int, connection_window: int) -> None:
        super().__init__(stream_window, connection_window)
        self.stream = NOBODY
        self.fault: FaultKind = CLIENT_STREAM_RESET
        self.error_code = 0
        self.detail = ""
        self.acknowledged = False  # the peer has taken our SETTINGS
        self.greeted = False  # the peer's first SETTINGS came
        self.first_credit = 0  # of the connection, beyond what both begin with; given once the peer's SETTINGS came
        self.peer_tunnels = False  # the peer takes extended CONNECT (RFC 8441 3)
        self.peer_streams = _STREAMS_USUAL  # streams that the peer allows at a time
        self.last_taken = 0  # of a GOAWAY that came: streams above it were not looked at
        self.early: dict[int, bytes] = {}
        self._resets_left = Budget(RESETS_BURST, RESETS_PER_SECOND)
        self._frames_left = Budget(FRAMES_BURST, FRAMES_PER_SECOND)

    def on_rare_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> int:
        """Frames that come a few times per connection; each costs a little."""
        self.spend_frame(COST_FRAME)
        if kind == SETTINGS:
            return self._on_settings(flags, stream_id, payload)
        if kind == wire.PING:
            return self._on_ping(flags, stream_id, payload)
        if kind == GOAWAY:
            if stream_id or len(payload) < 8:
                raise ConnectionLost(PROTOCOL_ERROR if stream_id else FRAME_SIZE_ERROR, "GOAWAY")
            self.last_taken = number_at(payload, 0) & WINDOW_MOST
            self.error_code = number_at(payload, 4)
            return LEAVING
        if kind == wire.PRIORITY:
            return self._on_priority(stream_id, payload)
        if kind == wire.PRIORITY_UPDATE:
            return self._on_priority_update(stream_id, payload)
        if kind == wire.PUSH_PROMISE:
            raise ConnectionLost(PROTOCOL_ERROR, "PUSH_PROMISE that nobody allowed")
        return ON  # unknown frames are ignored (RFC 9113 5.5)

    # The other frames.

    def on_window_update(self, stream_id: int, payload: bytes) -> int:
        """RFC 9113 6.9."""
        if len(payload) != 4:
            raise ConnectionLost(FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        credit = number_at(payload, 0) & WINDOW_MOST
        self.spend_frame(COST_FRAME)
        if stream_id == 0:
            if credit == 0:
                raise ConnectionLost(PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if self.send_window + credit > WINDOW_MOST:
                raise ConnectionLost(FLOW_CONTROL_ERROR, "window of the connection over the most")
            self.send_window += credit
            return ON
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionLost(PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return ON  # a closed stream may still be given credit (RFC 9113 5.1)
        if credit == 0:
            return self.fail(stream, PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        if stream.send_window + credit > WINDOW_MOST:
            return self.fail(stream, FLOW_CONTROL_ERROR, "window of the stream over the most")
        stream.send_window += credit
        if stream.has_output():
            self.schedule.add(stream)
        return ON

    def on_reset(self, stream_id: int, payload: bytes) -> int:
        """RFC 9113 6.4."""
        if len(payload) != 4:
            raise ConnectionLost(FRAME_SIZE_ERROR, "RST_STREAM")
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id == 0 or self.is_idle(stream_id):
                raise ConnectionLost(PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            self.spend_frame(COST_FRAME)
            return ON
        self.spend_reset(COST_CANCEL)
        self.note_reset(stream_id, False)
        stream.released = True
        self.drop(stream)
        self.stream = stream
        self.error_code = number_at(payload, 0)
        self.fault = CLIENT_STREAM_RESET
        self.detail = error_name(self.error_code)
        return RESET

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> int:
        """RFC 9113 6.5."""
        if stream_id:
            raise ConnectionLost(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & wire.ACK:
            if payload:
                raise ConnectionLost(FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            self.acknowledged = True
            return ON
        if len(payload) % 6:
            raise ConnectionLost(FRAME_SIZE_ERROR, "SETTINGS")
        self.greeted = True
        pairs = read_settings(payload)
        self.spend_frame(len(pairs) // 16)
        window = self.peer_window
        for key, value in pairs:
            if key == wire.INITIAL_WINDOW_SIZE:
                if value > WINDOW_MOST:
                    raise ConnectionLost(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE")
                window = value
            elif key == wire.MAX_FRAME_SIZE:
                if not FRAME_LEAST <= value <= wire.FRAME_MOST:
                    raise ConnectionLost(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE")
            elif key == wire.MAX_CONCURRENT_STREAMS:
                self.peer_streams = value
            elif key == wire.HEADER_TABLE_SIZE:
                self.encoder.limit_table(value)
            elif key == wire.ENABLE_CONNECT_PROTOCOL and value == 1:
                self.peer_tunnels = True
            elif key in (wire.ENABLE_PUSH, wire.ENABLE_CONNECT_PROTOCOL, wire.NO_RFC7540_PRIORITIES) and value > 1:
                raise ConnectionLost(PROTOCOL_ERROR, f"setting {key} is {value}")
        if window != self.peer_window:
            self._move_windows(window - self.peer_window)
            self.peer_window = window
        self.out.append(wire.SETTINGS_ACK)
        if self.first_credit > 0:
            # Behind the acknowledgement, which some peers want next after our SETTINGS.
            self.out.append(wire.window_frame(0, self.first_credit))
            self.first_credit = 0
        return ON

    def _move_windows(self, by: int) -> None:
        """A new initial window moves all streams' windows, below zero if need be (RFC 9113 6.9.2)."""
        for stream in self.streams.values():
            if stream.send_window + by > WINDOW_MOST:
                raise ConnectionLost(FLOW_CONTROL_ERROR, "window of a stream over the most")
            stream.send_window += by
            if stream.has_output():
                self.schedule.add(stream)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> int:
        """RFC 9113 6.7."""
        if stream_id:
            raise ConnectionLost(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionLost(FRAME_SIZE_ERROR, "PING")
        if not flags & wire.ACK:
            self.out.append(wire.ping_frame(payload, wire.ACK))
        elif self.draining:
            self.finish_drain()
        return ON

    def _on_priority(self, stream_id: int, payload: bytes) -> int:
        """RFC 9113 6.3: the scheme is gone, the rules of form are not."""
        if stream_id == 0:
            raise ConnectionLost(PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            code = FRAME_SIZE_ERROR
        elif number_at(payload, 0) & WINDOW_MOST == stream_id:
            code = PROTOCOL_ERROR
        else:
            return ON
        stream = self.streams.get(stream_id)
        if stream is not None:
            return self.fail(stream, code, "PRIORITY")
        if self.is_idle(stream_id):
            # RST_STREAM must not name an idle stream (RFC 9113 6.4).
            raise ConnectionLost(code, "PRIORITY on an idle stream")
        return ON

    def _on_priority_update(self, stream_id: int, payload: bytes) -> int:
        """RFC 9218 7.1."""
        if stream_id:
            raise ConnectionLost(PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream")
        if len(payload) < 4:
            raise ConnectionLost(FRAME_SIZE_ERROR, "PRIORITY_UPDATE")
        target = number_at(payload, 0) & WINDOW_MOST
        if target & 1 == 0:
            raise ConnectionLost(PROTOCOL_ERROR, "PRIORITY_UPDATE for a stream a client cannot open")
        stream = self.streams.get(target)
        if stream is not None:
            urgency, incremental = parse_priority(payload[4:])
            self.schedule.move(stream, urgency, incremental)
        elif target > self.last_id and len(self.early) < _EARLY_PRIORITIES_MOST:
            self.early[target] = payload[4:68] or b"u=%d" % URGENCY_DEFAULT
        return ON

    # Errors of a stream, and what they cost.

    def is_idle(self, stream_id: int) -> bool:
        return stream_id > self.last_id or stream_id & 1 == 0

    def fail(self, stream: H2Stream, code: int, detail: str) -> int:
        """Reset a stream for what the peer did, and tell the owner."""
        self.spend_reset(COST_STREAM_ERROR)
        self.reset(stream, code)
        self.stream = stream
        self.error_code = code
        self.fault = CLIENT_BAD_FRAMING if code == PROTOCOL_ERROR else CLIENT_BAD_SYNTAX
        self.detail = detail
        return RESET

    def refuse(self, stream_id: int, code: int, cost: int) -> None:
        """Reset a stream that never came to be."""
        self.spend_reset(cost)
        self.out.append(reset_frame(stream_id, code))
        self.note_reset(stream_id, True)

    def stray(self, stream_id: int, what: str) -> None:
        """A frame for a closed stream: ignored after our reset, STREAM_CLOSED otherwise (RFC 9113 5.1)."""
        by_us = self.resets.get(stream_id)
        self.spend_frame(COST_FRAME)
        if by_us is None:
            raise ConnectionLost(STREAM_CLOSED, f"{what} on a closed stream")
        if not by_us:
            self.refuse(stream_id, STREAM_CLOSED, COST_STREAM_ERROR)

    def spend_reset(self, cost: int) -> None:
        if self.answers:
            self._resets_left.earn(self.answers * EARNED_PER_ANSWER)
            self.answers = 0
        if not self._resets_left.spend(cost, self.now_ms):
            raise ConnectionLost(ENHANCE_YOUR_CALM, "too many streams were cancelled or broken")

    def spend_frame(self, cost: int) -> None:
        if self.frames_moved:
            self._frames_left.earn(self.frames_moved * EARNED_PER_DATA)
            self.frames_moved = 0
        if not self._frames_left.spend(cost, self.now_ms):
            raise ConnectionLost(ENHANCE_YOUR_CALM, "too many frames that carry nothing")


NOBODY: Final = H2Stream(0, 0, 0)


def number_at(data: bytes, at: int) -> int:
    """Return the four bytes at `at` as a number."""
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
