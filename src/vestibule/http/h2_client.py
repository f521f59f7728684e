"""HTTP/2 for a client: requests in, frames out; bytes in, answers out. No socket (RFC 9113).

Facts: both ends of a connection differ in who opens streams, in the preface, and in what a header block says; all else is
`h2.py`. A server that refuses a stream, or goes away below it, has not looked at the request (RFC 9113 8.7).

Rules: those of `h2.py`. HEAD is an answer here, interim ones too: `stream`, `answer`; `ended` tells that no body follows.

Not here: which connection gets a request, how many it may carry (`proxy/`).
"""

from typing import Final

from vestibule.fault import ProtocolError
from vestibule.http.fields import Fields, FieldsTable
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2, H2Options
from vestibule.http.h2_control import HEAD, ConnectionLost
from vestibule.http.h2_frames import FRAME_LEAST, PROTOCOL_ERROR, headers_frames, ping_frame
from vestibule.http.h2_response import BODILESS, ResponseMaker
from vestibule.http.h2_schedule import HEADLESS, H2Stream
from vestibule.http.head import ResponseHead

# Ids that a connection may use up; then it takes no more requests (RFC 9113 5.1.1).
_ID_MOST: Final = 0x7FFF_0000

_PING: Final = b"are you?"


class H2Client(H2):
    """One connection to a server."""

    def __init__(self, limits: HeadLimits, table: FieldsTable, options: H2Options) -> None:
        super().__init__(limits, table, options, True)
        self.answer: ResponseHead | None = None
        self._answers = ResponseMaker(table, self._decoder)
        self._next_id = 1

    def has_ids(self) -> bool:
        """Tell whether another stream can be opened."""
        return self._next_id < _ID_MOST

    def open(
        self, method: bytes, scheme: bytes, path: bytes, authority: bytes, fields: Fields, end: bool, protocol: bytes = b""
    ) -> H2Stream:
        """Open a stream with the head of a request; with a `protocol` it is an extended CONNECT (RFC 8441)."""
        stream = H2Stream(self._next_id, self.peer_window, self.stream_window)
        self._next_id += 2
        self.last_id = stream.id
        self.streams[stream.id] = stream
        stream.moved_ms = self.now_ms
        stream.expected = HEADLESS
        stream.bodiless = method == b"HEAD"
        stream.tunnel = protocol != b""
        block = self.encoder.request(method, scheme, path, authority, fields, protocol)
        self.out.append(headers_frames(stream.id, block, end, FRAME_LEAST))
        if end:
            stream.local_ended = True
        return stream

    def ask_whether_alive(self) -> None:
        """Queue a PING."""
        self.out.append(ping_frame(_PING, 0))

    def end(self, stream: H2Stream, code: int) -> None:
        """Give a stream up: by a reset, unless it is over."""
        if stream.local_ended and stream.remote_ended:
            stream.released = True
            self.drop(stream)
        else:
            self.reset(stream, code)

    # Reading.

    def on_opened(self, stream_id: int, end: bool, block: bytes) -> int:
        raise ConnectionLost(PROTOCOL_ERROR, "HEADERS on an idle stream")

    def on_more(self, stream: H2Stream, end: bool, block: bytes) -> int:
        if stream.heard:
            return self.on_trailers(stream, end, block)
        try:
            head = self._answers.make(block, end, stream.bodiless)
        except ProtocolError as error:
            code = self.fail(stream, PROTOCOL_ERROR, error.detail)
            self.fault = error.kind
            return code
        stream.moved_ms = self.now_ms
        if head.status >= 200:
            stream.heard = True
            stream.remote_ended = end
            stream.tunnel = stream.tunnel and head.status < 300
            stream.expected = 0 if stream.bodiless or head.status in BODILESS else -1 if stream.tunnel else head.fields.content_length
        self.stream = stream
        self.answer = head
        self.ended = end
        return HEAD
