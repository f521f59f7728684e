"""The server of upstream.py over HTTP/2, so that one script serves both: what it says in HTTP/1 is told in frames.

Facts: made of the `h2` package (RFC 9113), which is strict about what comes; without TLS by prior knowledge, with TLS by ALPN.
A connection carries many requests, each with a thread for its script. Windows open when a script reads.

What is different, because HTTP/2 has another word for it:

- the end of an answer is END_STREAM; its framing, its reason phrase and what belongs to the connection are dropped,
- a 101 is a 200 to an extended CONNECT (RFC 8441),
- `close` in the middle of an answer ends the connection; behind one that leaves the request unread it is RST_STREAM with NO_ERROR
  (RFC 9113 8.1); `reset` resets the stream alone,
- bytes behind an answer do not exist: a script that sends some fails, except to HEAD, where they are dropped.
"""

import contextlib
import socket
import threading

import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .frames import Frames
from .message import render
from .upstream import WAIT_S, Field, Gone, Request, Turn, Upstream

_OF_CONNECTIONS = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_HEAD, _LENGTH, _OPEN, _SIZE, _CHUNK, _TRAILERS, _OVER = range(7)


class FrameUpstream(Upstream):
    """The server."""

    version = "h2"
    http = b"HTTP/2"

    def converse(self, sock: socket.socket, number: int) -> None:
        _Server(sock, self, number).wait_for_end()


class _Server(Frames):
    """One connection."""

    def __init__(self, sock: socket.socket, upstream: Upstream, number: int) -> None:
        self.upstream = upstream
        self.number = number
        self.turns: dict[int, FrameTurn] = {}
        super().__init__(sock, is_client=False)

    def begin(self) -> None:
        offered = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=offered)
        super().begin()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            turn = FrameTurn(self, event.stream_id, _request_of(event.headers, self.number))
            self.turns[event.stream_id] = turn
            threading.Thread(target=self._play, args=(turn,), daemon=True).start()
            return
        found = self.turns.get(getattr(event, "stream_id", 0) or 0)
        if found is None:
            return
        if isinstance(event, h2.events.DataReceived):
            self.credit(event.flow_controlled_length - len(event.data), found.id)
            if found.is_done:
                self.credit(len(event.data), found.id)
            else:
                found.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            found.request.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            found.is_ended = True
        elif isinstance(event, h2.events.StreamReset) and event.remote_reset:
            found.is_gone = True

    def _play(self, turn: "FrameTurn") -> None:
        try:
            self.upstream.play(turn, self.number)
        except (Gone, OSError):
            turn.reset()
        except BaseException as failure:  # as in upstream.py
            self.upstream.failures.append(failure)
            turn.reset()
        finally:
            with self.changed:
                turn.is_done = True
                self.credit(len(turn.body), turn.id)  # what nobody reads is drained
                self.push()


class FrameTurn(Turn):
    """One request and its stream."""

    def __init__(self, server: _Server, stream_id: int, request: Request) -> None:
        super().__init__(server.sock, request, b"")
        self.server = server
        self.id = stream_id
        self.body = bytearray()
        self.is_ended = False  # the request is whole
        self.is_gone = False  # the other side gave it up
        self.is_done = False  # the script has returned
        self._state = _HEAD
        self._said = bytearray()
        self._left = 0

    def is_unwanted(self) -> bool:
        """Whether nothing more can be sent."""
        return self.is_gone or not self.server.is_open

    @property
    def is_tunnel(self) -> bool:
        """Whether it asks for one."""
        return self.request.find(":protocol") is not None

    def _is_for_head(self) -> bool:
        return self.request.line.startswith(b"HEAD ")

    # ---- reading

    def recv(self) -> bytes:
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        data = self._take(WAIT_S)
        if not data:
            raise Gone
        return data

    def read_body(self) -> bytes:
        while not self.is_tunnel and (data := self._take(WAIT_S)):
            self.request.body += data
        if not self.is_tunnel and not self.is_ended:
            raise Gone
        self.request.is_whole = True
        return self.request.body

    def is_left(self, within_s: float = WAIT_S) -> bool:
        try:
            while self._take(within_s, not self.is_tunnel):
                pass
        except TimeoutError:
            return False
        return True

    def _take(self, within_s: float, after_end: bool = False) -> bytes:
        """Return what has come of the body; nothing at its end, or at that of the stream, or if `after_end` at that of the stream only."""

        def is_over() -> bool:
            return self.is_unwanted() or (self.is_ended and not after_end)

        server = self.server
        with server.changed:
            if not server.changed.wait_for(lambda: self.body or is_over() or server.failure, within_s):
                raise TimeoutError
            data = bytes(self.body)
            self.body.clear()
            server.credit(len(data), self.id)
            server.push()
        return data

    # ---- writing

    def send(self, data: bytes) -> None:
        self._said += data
        while self._go_on():
            pass

    def finish(self) -> None:
        self._put(b"", True)

    def close(self) -> None:
        self.is_closed = True
        if self._state == _OPEN:
            self._put(b"", True)
        elif self._state != _OVER:
            self.server.leave("close")
        elif not self.is_ended:
            self._break(h2.errors.ErrorCodes.NO_ERROR)

    def reset(self) -> None:
        self.is_closed = True
        self._break(h2.errors.ErrorCodes.INTERNAL_ERROR)

    def _break(self, code: h2.errors.ErrorCodes) -> None:
        server = self.server
        with server.changed, contextlib.suppress(h2.exceptions.ProtocolError):
            if not self.is_unwanted():
                server.h2.reset_stream(self.id, code)
                server.push()

    def _go_on(self) -> bool:
        """Tell what there is of the next part of the answer; return whether there may be more of it."""
        if self._state == _LENGTH or self._state == _CHUNK:
            return self._go_on_with_body()
        if self._state == _OPEN:
            if self._said:  # else there is nothing to say, and nobody need be there any more to hear it
                self._put(self._cut(len(self._said)), False)
            return False
        if self._state == _OVER:
            assert self._is_for_head() or not self._said, "HTTP/2 has no bytes behind an answer"
            return False
        end = b"\r\n\r\n" if self._state == _HEAD or (self._state == _TRAILERS and not self._said.startswith(b"\r\n")) else b"\r\n"
        if end not in self._said:
            return False
        text = self._cut(self._said.index(end))
        self._cut(len(end))
        if self._state == _HEAD:
            self._begin(text)
        elif self._state == _TRAILERS:
            self._end(_fields_of(text.split(b"\r\n")) if text else [])
        elif text:  # and not the line behind a chunk
            self._left = int(text.partition(b";")[0], 16)
            self._state = _CHUNK if self._left else _TRAILERS
        return True

    def _cut(self, size: int) -> bytes:
        """Take so many bytes off what the script has said, or as many as there are."""
        data = bytes(self._said[:size])
        del self._said[:size]
        return data

    def _go_on_with_body(self) -> bool:
        data = self._cut(self._left)
        self._left -= len(data)
        ends = not self._left and self._state == _LENGTH
        if data:
            self._put(data, ends)
        if self._left:
            return False
        self._state = _OVER if ends else _SIZE
        return True

    def _begin(self, text: bytes) -> None:
        """Send a head."""
        line, *rest = text.split(b"\r\n")
        status = int(line.split(b" ")[1])
        fields = _fields_of(rest)
        names = dict(fields)
        kept = [(name, value) for name, value in fields if name not in _OF_CONNECTIONS]
        if status == 101:
            assert self.is_tunnel
            status = 200
            kept = [(name, value) for name, value in kept if name != b"sec-websocket-accept"]
            self._state = _OPEN
        elif status < 200:
            pass
        elif status in (204, 304) or self._is_for_head() or names.get(b"content-length") == b"0":
            self._state = _OVER
        elif b"transfer-encoding" in names:
            self._state = _SIZE
        elif b"content-length" in names:
            self._state = _LENGTH
            self._left = int(names[b"content-length"])
        else:
            self._state = _OPEN
        self._put_fields([(b":status", b"%d" % status), *kept], self._state == _OVER)

    def _end(self, trailers: list[Field]) -> None:
        self._state = _OVER
        if trailers:
            self._put_fields(trailers, True)
        else:
            self._put(b"", True)

    def _put_fields(self, fields: list[Field], ends: bool) -> None:
        server = self.server
        with server.changed:
            if self.is_unwanted():
                raise Gone
            server.h2.send_headers(self.id, fields, end_stream=ends)
            server.push()

    def _put(self, data: bytes, ends: bool) -> None:
        """Send DATA as the windows allow it. Raises Gone."""
        server = self.server
        left = memoryview(data)
        while True:
            with server.changed:
                if left and not server.changed.wait_for(lambda: self.is_unwanted() or server.window(self.id) > 0, WAIT_S):
                    raise TimeoutError("no window was opened")
                if self.is_unwanted():
                    raise Gone
                piece = left[: server.window(self.id)] if left else left
                left = left[len(piece) :]
                server.h2.send_data(self.id, bytes(piece), end_stream=ends and not left)
                server.push()
            if not left:
                return


def _fields_of(lines: list[bytes]) -> list[Field]:
    pairs = [line.partition(b":") for line in lines]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]


def _request_of(headers: list[tuple[bytes, bytes]], number: int) -> Request:
    """Return a request as HTTP/1 would have it, with the name of its protocol if it asks for a tunnel."""
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    pseudo = {name: value for name, value in pairs if name[:1] == b":"}
    line = b"%b %b HTTP/2" % (pseudo[b":method"], pseudo[b":path"])
    fields = [(b"Host", pseudo[b":authority"]), *[pair for pair in pairs if pair[0][:1] != b":"]]
    if b":protocol" in pseudo:
        fields.append((b":protocol", pseudo[b":protocol"]))
    return Request(line, fields, line + b"\r\n" + render(fields), number)
