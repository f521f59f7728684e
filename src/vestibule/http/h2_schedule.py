"""Streams of one HTTP/2 connection: what each has queued, and whose turn it is (RFC 9218).

Facts: a client may say how urgent a response is (0 to 7, 3 if it does not say) and whether it can use it
piece by piece (`i`). RFC 9218 10 asks for urgency first; within one urgency incremental responses share,
others go one after another.

Rules
  1. A stream is in a line only while it has something to send and its own window is open; the connection's
     window is looked at by the caller.
  2. A stream that is not incremental keeps its turn for `_RUN` bytes and no longer, because a client that says
     nothing at all must not wait for a whole video before its thumbnails. A client that says nothing is
     served as if it had said `i`: sharing is what RFC 9113 5.3 leaves as the default.

Not here: framing (`h2.py`).
"""

from typing import Final

from vestibule.http.fields import Fields

# What a stream expects before its head came: no DATA at all (RFC 9113 8.1).
HEADLESS: Final = -2

URGENCY_DEFAULT: Final = 3

# Bytes that a non-incremental stream may send before it goes to the end of its line: about what a
# thumbnail or a script has, so those go out whole.
_RUN: Final = 262_144


class H2Stream:
    """What the codec knows of one stream."""

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window
        # Receiving: what the peer may still send, what we owe it, what its content-length leaves.
        self.receive_window = receive_window
        self.credit = 0  # taken by the other side, not yet returned
        self.withheld = 0  # delivered while paused; becomes credit on resume
        self.paused = False
        self.expected = -1  # body bytes still to come under content-length; -1: not said, HEADLESS: nothing yet
        self.remote_ended = False
        # Sending.
        self.queue: list[bytes] = []
        self.at = 0  # how much of the first piece is sent
        self.queued = 0
        self.end_queued = False
        self.trailers: Fields | None = None
        self.local_ended = False
        self.owes = False  # somebody was told "enough" and waits for one drain
        self.tunnel = False
        self.heard = False  # upstream: the final head came
        self.bodiless = False  # upstream: the answer to HEAD
        self.released = False  # the owner is done with it
        self.moved_ms = 0  # when bytes of it last moved, either way
        self.gone = False  # reset by either side, or over: no frame goes out any more
        # Turns.
        self.urgency = URGENCY_DEFAULT
        self.incremental = True
        self.waiting = False  # in a line
        self.run = 0

    def has_output(self) -> bool:
        """Tell whether anything can go out now: bytes within the window, or an end that needs none."""
        if self.queued:
            return self.send_window > 0
        return self.end_queued and not self.local_ended


class Schedule:
    """The lines of waiting streams, one for each urgency."""

    def __init__(self) -> None:
        self._lines: list[list[H2Stream]] = [[], [], [], [], [], [], [], []]
        self._heads = [0, 0, 0, 0, 0, 0, 0, 0]
        self._waiting = 0

    def add(self, stream: H2Stream) -> None:
        """Put a stream that has output at the end of its line, unless it stands in one."""
        if not stream.waiting:
            stream.waiting = True
            self._lines[stream.urgency].append(stream)
            self._waiting += 1

    def is_empty(self) -> bool:
        return self._waiting == 0

    def take(self) -> H2Stream | None:
        """Take the stream whose turn it is out of its line, or return None."""
        if self._waiting == 0:
            return None
        urgency = 0
        while self._heads[urgency] == len(self._lines[urgency]):
            urgency += 1
        line = self._lines[urgency]
        head = self._heads[urgency]
        stream = line[head]
        head += 1
        if head == len(line):
            line.clear()
            head = 0
        elif head > 64:
            del line[:head]
            head = 0
        self._heads[urgency] = head
        self._waiting -= 1
        stream.waiting = False
        return stream

    def again(self, stream: H2Stream, sent: int) -> None:
        """Put back a stream that just sent so much and has more: in front while its run lasts, else at the end."""
        stream.run += sent
        if stream.incremental or stream.run >= _RUN:
            stream.run = 0
            self.add(stream)
            return
        stream.waiting = True
        self._waiting += 1
        line = self._lines[stream.urgency]
        head = self._heads[stream.urgency]
        if head > 0:
            head -= 1
            line[head] = stream
            self._heads[stream.urgency] = head
        else:
            line.insert(0, stream)

    def move(self, stream: H2Stream, urgency: int, incremental: bool) -> None:
        """Change the priority of a stream, in line or not (RFC 9218 7)."""
        stream.incremental = incremental
        if urgency == stream.urgency:
            return
        was_waiting = stream.waiting
        self.remove(stream)
        stream.urgency = urgency
        if was_waiting:
            self.add(stream)

    def remove(self, stream: H2Stream) -> None:
        """Take a stream out of its line if it stands in one."""
        if not stream.waiting:
            return
        stream.waiting = False
        self._waiting -= 1
        line = self._lines[stream.urgency]
        head = self._heads[stream.urgency]
        del line[line.index(stream, head)]
        if head == len(line):
            line.clear()
            self._heads[stream.urgency] = 0


def parse_priority(value: bytes) -> tuple[int, bool]:
    """Return urgency and incremental of a priority field (RFC 9218 4).

    What is missing or cannot be parsed has its default, as RFC 9218 4 asks: the field is a hint. `i` is
    True only where it was said.
    """
    urgency = URGENCY_DEFAULT
    incremental = False
    for part in value.split(b","):
        # Parameters of members mean nothing here (RFC 8941 3.1.2).
        member = part.partition(b";")[0].strip(b" \t")
        if len(member) == 3 and member[:2] == b"u=" and b"0" <= member[2:] <= b"7":
            urgency = member[2] - 48
        elif member in (b"i", b"i=?1"):
            incremental = True
        elif member == b"i=?0":
            incremental = False
    return urgency, incremental
