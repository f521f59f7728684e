"""The sending half of an HTTP/2 connection: heads, bodies within the windows, resets; collected, not sent.

Facts: only DATA is under flow control, by the stream's window and the connection's (RFC 9113 6.9). A
window may become negative when the peer shrinks it (6.9.2); then nothing goes until it is positive again.

Rules
  1. `send_*` only queue. `pump` turns queued bodies into frames as far as windows and the caller's room
     allow; `take_output` gives everything up as one piece of bytes, once per turn.
  2. A stream's queue over `MARK` makes `send_data` return False; the stream is put on `drained` exactly
     once when its queue has fallen under half of that, unless it is reset first.
  3. A stream leaves the table when both directions have ended, or at a reset. After that every call for
     it does nothing, since its owner may learn of it later than we do.

Not here: reading (`h2.py`), whose turn it is (`h2_schedule.py`).
"""

from typing import Final

from vestibule.http.fields import Fields
from vestibule.http.h2_frames import (
    DATA,
    END_STREAM,
    FRAME_LEAST,
    HEADER_BYTES,
    NO_ERROR,
    WINDOW_DEFAULT,
    frame_header,
    goaway_frame,
    headers_frames,
    ping_frame,
    reset_frame,
    window_frame,
)
from vestibule.http.h2_schedule import H2Stream, Schedule
from vestibule.http.hpack import Encoder

# Bytes in a stream's queue at which its writer is told to stop: the same as a transport's mark.
MARK: Final = 65_536
_LOW: Final = MARK // 2

# A full DATA frame with its header is as long as a TLS record, so that four of them are four records and
# not four and a bit.
_DATA_MOST: Final = FRAME_LEAST - HEADER_BYTES

# Streams reset lately: frames that were under way when the reset was sent or came are told from nonsense.
_RESETS_MOST: Final = 256

_LAST_ID: Final = 0x7FFF_FFFF
_DRAIN_PING: Final = b"draining"


class Sender:
    """What goes out on one connection, and the table of its streams."""

    def __init__(self, stream_window: int, connection_window: int) -> None:
        self.now_ms = 0  # set by the owner before it calls
        self.streams: dict[int, H2Stream] = {}
        self.drained: list[H2Stream] = []  # rule 2; the caller takes and clears it
        self.last_id = 0  # the highest stream the peer opened
        self.goaway_id = _LAST_ID  # streams above this are not served
        self.answers = 0  # streams whose answer went out whole, since the caller last looked
        self.frames_moved = 0  # DATA frames sent and received, likewise
        self.send_window = WINDOW_DEFAULT
        self.peer_window = WINDOW_DEFAULT  # the peer's SETTINGS_INITIAL_WINDOW_SIZE
        self.receive_window = connection_window
        self.stream_window = stream_window
        self._stream_step = stream_window // 4
        self._connection_step = connection_window // 8
        self._credit = 0
        self.out: list[bytes | memoryview] = []
        self.encoder = Encoder()
        self.schedule = Schedule()
        self.resets: dict[int, bool] = {}  # id -> it was us
        self.draining = False

    # Output.

    def has_output(self) -> bool:
        """Tell whether there is anything to take, or to pump."""
        return bool(self.out) or (not self.schedule.is_empty() and self.send_window > 0)

    def take_output(self) -> bytes:
        """Give up all frames made so far."""
        data = b"".join(self.out)
        self.out = []
        return data

    def pump(self, room: int) -> None:
        """Make DATA frames (and ends) of what streams have queued, until about `room` bytes are made."""
        while room > 0:
            stream = self.schedule.take()
            if stream is None:
                return
            if stream.gone or not stream.has_output():
                continue
            if stream.queued == 0:
                self._send_end(stream)
                continue
            if self.send_window <= 0:
                self.schedule.again(stream, 0)
                return
            # While nobody else waits, turns need not be taken for each frame.
            run = self._send_run(stream, room) if self.schedule.is_empty() else 0
            size = run + self._send_frame(stream)
            room -= size + HEADER_BYTES
            if stream.owes and stream.queued < _LOW:
                stream.owes = False
                self.drained.append(stream)
            if not stream.gone and stream.has_output():
                self.schedule.again(stream, size)

    def _send_run(self, stream: H2Stream, room: int) -> int:
        """Send full DATA frames out of one piece, but not the last there is room for; return how many bytes.

        `_send_frame` then sends a frame more, so ends, the rest of a piece and short windows are its alone.
        """
        first = stream.queue[0]
        at = stream.at
        count = (min(len(first) - at, stream.send_window, self.send_window, room) - 1) // _DATA_MOST
        if count <= 0:
            return 0
        header = frame_header(_DATA_MOST, DATA, 0, stream.id)
        view = memoryview(first)
        out = self.out
        for _ in range(count):
            out.append(header)
            out.append(view[at : at + _DATA_MOST])
            at += _DATA_MOST
        size = count * _DATA_MOST
        stream.at = at
        stream.queued -= size
        stream.send_window -= size
        self.send_window -= size
        self.frames_moved += count
        return size

    def _send_frame(self, stream: H2Stream) -> int:
        """Send one DATA frame of a stream that has bytes and window; return its size."""
        size = min(stream.queued, stream.send_window, self.send_window, _DATA_MOST)
        first = stream.queue[0]
        left = len(first) - stream.at
        data: bytes | memoryview
        if left > size:
            # A view, because the bytes are copied once anyway, when all frames are joined.
            data = memoryview(first)[stream.at : stream.at + size]
            stream.at += size
        elif left == size or len(stream.queue) == 1:
            data = memoryview(first)[stream.at :] if stream.at else first
            size = left
            del stream.queue[0]
            stream.at = 0
        else:
            data = self._gather(stream, size)
        stream.moved_ms = self.now_ms
        stream.queued -= size
        stream.send_window -= size
        self.send_window -= size
        self.frames_moved += 1
        ends = stream.end_queued and stream.queued == 0 and stream.trailers is None
        self.out.append(frame_header(size, DATA, END_STREAM if ends else 0, stream.id))
        self.out.append(data)
        if ends:
            self._local_ended(stream)
        return size

    def _gather(self, stream: H2Stream, size: int) -> bytes:
        """Take `size` bytes from the front of a queue of several small pieces."""
        pieces: list[bytes] = []
        left = size
        count = 0
        at = stream.at
        while left:
            piece = stream.queue[count]
            rest = len(piece) - at
            if rest > left:
                pieces.append(piece[at : at + left])
                at += left
                break
            pieces.append(piece[at:] if at else piece)
            left -= rest
            count += 1
            at = 0
        del stream.queue[:count]
        stream.at = at
        return b"".join(pieces)

    def _send_end(self, stream: H2Stream) -> None:
        """Send the end of a stream whose bytes are all out: trailers, or an empty DATA frame."""
        trailers = stream.trailers
        if trailers is not None:
            stream.trailers = None
            self.out.append(headers_frames(stream.id, self.encoder.trailers(trailers), True, FRAME_LEAST))
        else:
            self.out.append(frame_header(0, DATA, END_STREAM, stream.id))
        self._local_ended(stream)

    def _local_ended(self, stream: H2Stream) -> None:
        stream.local_ended = True
        self.answers += 1
        if stream.remote_ended or stream.released:
            self._over(stream)

    def _over(self, stream: H2Stream) -> None:
        """Let go of a stream on which all is sent, and nobody reads what else may come."""
        if stream.remote_ended:
            self.drop(stream)  # it is closed, and no frame may follow (RFC 9113 5.1)
        else:
            self.reset(stream, NO_ERROR)  # RFC 9113 8.1

    # Messages.

    def send_head(self, stream: H2Stream, status: int, fields: Fields, end: bool) -> None:
        """Send a response head, interim (RFC 9113 8.1: any number before the final one) or final."""
        if stream.gone:
            return
        block = self.encoder.head(status, fields)
        if len(block) <= FRAME_LEAST:
            self.out.append(frame_header(len(block), 1, 5 if end else 4, stream.id))
            self.out.append(block)
        else:
            self.out.append(headers_frames(stream.id, block, end, FRAME_LEAST))
        if end:
            self._local_ended(stream)

    def send_data(self, stream: H2Stream, data: bytes, end: bool) -> bool:
        """Queue body bytes. False: enough for now; the stream will be on `drained` once."""
        if stream.gone:
            return True
        if stream.queued == 0:
            stream.moved_ms = self.now_ms
        if data:
            stream.queue.append(data)
            stream.queued += len(data)
        if end:
            stream.end_queued = True
        if stream.has_output():
            self.schedule.add(stream)
        if stream.queued >= MARK:
            stream.owes = True
            return False
        return True

    def send_trailers(self, stream: H2Stream, trailers: Fields) -> bool:
        """Queue trailers behind the body; they end the stream. The result is that of `send_data`."""
        if trailers.end_to_end().block:
            stream.trailers = trailers
        return self.send_data(stream, b"", True)

    def reset(self, stream: H2Stream, code: int) -> None:
        """Send RST_STREAM and forget the stream (RFC 9113 5.4.2)."""
        if not stream.gone:
            self.out.append(reset_frame(stream.id, code))
            self.note_reset(stream.id, True)
            stream.released = True
            self.drop(stream)

    def release(self, stream: H2Stream) -> None:
        """Note that nobody will read or write this stream any more; what is queued still goes out."""
        stream.released = True
        self._return_withheld(stream)
        if stream.local_ended and not stream.gone:
            self._over(stream)

    # Credit.

    def pause(self, stream: H2Stream) -> None:
        """Keep credit for this stream back; the peer may still send what its window holds."""
        stream.paused = True

    def resume(self, stream: H2Stream) -> None:
        """Return the credit that was kept back."""
        stream.paused = False
        if stream.withheld:
            credit = stream.withheld
            stream.withheld = 0
            self.give(stream, credit)

    def give(self, stream: H2Stream, credit: int) -> None:
        """Return credit for bytes that were taken, to the connection and, where the peer needs it, to the stream."""
        self.give_connection(credit)
        if stream.remote_ended or stream.gone:
            return
        stream.credit += credit
        if stream.credit >= self._stream_step and (stream.expected < 0 or stream.expected > stream.receive_window):
            self.out.append(window_frame(stream.id, stream.credit))
            stream.receive_window += stream.credit
            stream.credit = 0

    def give_connection(self, credit: int) -> None:
        self._credit += credit
        if self._credit >= self._connection_step:
            self.out.append(window_frame(0, self._credit))
            self.receive_window += self._credit
            self._credit = 0

    def _return_withheld(self, stream: H2Stream) -> None:
        """Nobody will take these bytes: the connection must not lose the credit."""
        if stream.withheld:
            self.give_connection(stream.withheld)
            stream.withheld = 0
        stream.paused = False

    # Ends.

    def begin_drain(self) -> None:
        """Ask the peer to open no more streams (RFC 9113 6.8); the last stream is named when it has heard us."""
        if not self.draining:
            self.draining = True
            self.out.append(goaway_frame(_LAST_ID, NO_ERROR, b""))
            self.out.append(ping_frame(_DRAIN_PING, 0))

    def finish_drain(self) -> None:
        """Name the last stream that is served: later ones are ignored, for the peer to retry elsewhere."""
        if self.goaway_id == _LAST_ID:
            self.draining = True
            self.goaway_id = self.last_id
            self.out.append(goaway_frame(self.last_id, NO_ERROR, b""))

    def is_drained(self) -> bool:
        """Tell whether the peer was told which stream is the last."""
        return self.goaway_id != _LAST_ID

    def forget(self) -> None:
        """The connection is idle: drop what only saves work."""
        self.encoder.forget()

    def note_reset(self, stream_id: int, by_us: bool) -> None:
        if len(self.resets) >= _RESETS_MOST:
            for old in list(self.resets)[: _RESETS_MOST // 2]:
                del self.resets[old]
        self.resets[stream_id] = by_us

    def drop(self, stream: H2Stream) -> None:
        """Take a stream out of the table and cut what it holds."""
        stream.gone = True
        self.schedule.remove(stream)
        self._return_withheld(stream)
        stream.queue.clear()
        stream.queued = 0
        stream.trailers = None
        stream.owes = False
        self.streams.pop(stream.id, None)
