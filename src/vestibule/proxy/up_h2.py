"""A connection to an upstream server that speaks HTTP/2, and the upstream streams of its exchanges.

Facts
  A stream that the server refused, or that lies above the last one of its GOAWAY, was not looked at (RFC 9113 8.7). Of others
  that broke without an answer nobody knows.
  A WebSocket is an extended CONNECT here (RFC 8441), which only a server that said so takes; its key and accept values belong to the
  handshake of HTTP/1 and are dropped and made here.
  A server that froze keeps its connections open, so whoever shares one with a dead server waits for nothing.

Rules
  1. Streams only queue. The connection makes frames once per turn, as far as the transport is below its mark.
  2. A request that was not looked at may be sent again, whatever its method, while all of it is still here: it had no body.
  3. The connection carries no more than the server allows, and none once the server goes away or was silent too long.
  4. A server that is silent while answers are awaited is asked whether it is there (PING), and given up if it does not say.
  5. One deadline for all streams.

Not here: frames and windows (`http/h2*.py`), which connection carries which exchange (`pool.py`), retries (`upstream.py`).
"""

from base64 import b64encode
from hashlib import sha1
from typing import Final

from mypy_extensions import trait

from vestibule.contract import UP, Stream
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT,
    IF_REUSED,
    NEVER,
    REPEATABLE,
    SAFE,
    UPSTREAM_BAD_SYNTAX,
    UPSTREAM_LOST,
    UPSTREAM_NO_TUNNEL,
    UPSTREAM_TIMEOUT_BODY,
    UPSTREAM_TIMEOUT_HEAD,
    UPSTREAM_TIMEOUT_WRITE,
    UPSTREAM_TRUNCATED,
    Fault,
)
from vestibule.http.fields import Fields, FieldsTable, fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2 import H2Options
from vestibule.http.h2_client import H2Client
from vestibule.http.h2_control import BODY, HEAD, LEAVING, NEED, RESET, TRAILERS
from vestibule.http.h2_frames import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, error_name
from vestibule.http.h2_schedule import H2Stream
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.peer import Secured
from vestibule.net.reactor import Later, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Owner, Transport
from vestibule.proxy.frames import push

# Interim responses before a final one: an upstream that never stops sending them is broken.
_INTERIM_MOST: Final = 100

# Silence while something is awaited after which the server is asked whether it is there, and how long it may take to say so. Ten
# seconds cost a waiting connection nothing; five are a lost packet sent again three times.
_PING_MS: Final = 10_000
_PONG_MS: Final = 5_000

_WEBSOCKET: Final = b"websocket"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_HANDSHAKE: Final = (b"sec-websocket-key", b"sec-websocket-accept")
_NOT_OF_TUNNELS: Final = (b"content-length", b"sec-websocket-accept")

# What a server may have under way for a client that stops reading is the window of its stream.
_OPTIONS: Final = H2Options(stream_window=262_144)


@trait
class Sharer:
    """Whose connection it is."""

    def freed(self, connection: "H2UpConnection") -> None:
        """The connection carries one exchange less."""
        raise NotImplementedError

    def strike_off_shared(self, connection: "H2UpConnection") -> None:
        """The connection is gone."""
        raise NotImplementedError


class H2UpConnection(Pollable, Owner, Timed):
    """One connection to one server. It has no descriptor of its own: it is a `Pollable` to be flushed once per turn."""

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        sharer: Sharer,
        limits: HeadLimits,
        table: FieldsTable,
        scheme: bytes,
        idle_ms: int,
    ) -> None:
        super().__init__(-1)
        self.reactor = reactor
        self.transport = transport
        self.codec = H2Client(limits, table, _OPTIONS)
        self.streams: list[H2UpStream] = []
        self.scheme = scheme
        self.served = 0
        self.deadline = Deadline(self)
        self._by_id: dict[int, H2UpStream] = {}
        self._sharer = sharer
        self._idle_ms = idle_ms
        self._closed = False
        self._dirty = False
        self._leaving = False
        self._heard_ms = reactor.now_ms
        self._asked_ms = 0  # when a PING went out that nothing followed
        self.reactor.timers.arm(self.deadline, reactor.now_ms + idle_ms)
        self.soon()

    # ---- for the pool

    def has_room(self) -> bool:
        """Tell whether it can carry one more exchange (rule 3)."""
        codec = self.codec
        carried = max(len(self.streams), len(codec.streams))
        most = codec.peer_streams if codec.is_greeted() else 1
        return not self._closed and not self._leaving and carried < most and codec.has_ids()

    def is_new(self) -> bool:
        """Tell whether the server has not yet said how many it takes at a time."""
        return not self._closed and not self._leaving and not self.codec.is_greeted()

    def is_usable(self) -> bool:
        """Look once more whether the server has closed: for requests that cannot be repeated."""
        return not self._closed and self.transport.is_quiet()

    def serve(self, ex: Exchange, name: str) -> None:
        """Carry this exchange."""
        stream = H2UpStream(self, ex)
        self.streams.append(stream)
        if len(self.streams) == 1:
            self._heard_ms = self.reactor.now_ms
        self.look_by(self.reactor.now_ms + min(ex.timeouts.response_head_ms, ex.timeouts.body_idle_ms, _PING_MS))
        ex.connected(stream, name)

    def leave(self) -> None:
        """Take no more, and close when those in flight are done."""
        self._leaving = True
        if not self.streams and not self._closed:
            self._end()

    # ---- for streams

    def begin(self, stream: "H2UpStream", head: RequestHead, end: bool) -> H2Stream:
        """Open the stream of a request."""
        codec = self.codec
        codec.now_ms = self.reactor.now_ms
        authority = head.fields.host or head.authority
        if stream.asks:
            fields = head.fields.without(_HANDSHAKE)
            slot = codec.open(b"CONNECT", self.scheme, head.target, authority, fields, False, _WEBSOCKET)
        else:
            slot = codec.open(head.method, self.scheme, head.target, authority, head.fields, end)
        self._by_id[slot.id] = stream
        return slot

    def let_go(self, stream: "H2UpStream") -> None:
        """The exchange of this stream is over."""
        if stream not in self.streams:
            return
        self.streams.remove(stream)
        slot = stream.slot
        if slot is not None:
            self._by_id.pop(slot.id, None)
        self.served += 1
        if self._closed:
            return
        self.soon()
        if not self.streams:
            if self._leaving:
                self._end()
                return
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + self._idle_ms)
        self._sharer.freed(self)

    # ---- from the transport

    def on_data(self, data: bytes) -> None:
        codec = self.codec
        was_new = not codec.is_greeted()
        self._heard_ms = codec.now_ms = self.reactor.now_ms
        self._asked_ms = 0
        codec.feed(data)
        self._pull()
        self.soon()
        if was_new and codec.is_greeted() and not self._closed:
            for stream in list(self.streams):
                stream.greet()
            self._sharer.freed(self)  # there is room for more than one

    def on_end(self) -> None:
        self._fail("closed")

    def on_lost(self, detail: str) -> None:
        self._fail(detail)

    def on_drained(self) -> None:
        self.soon()

    def on_secured(self) -> None:
        """The handshake was over before this connection was made."""

    def on_stopping(self) -> None:
        self.leave()

    def on_bug(self) -> None:
        self._fail("a bug of vestibule")

    def _pull(self) -> None:
        """Pull events while there are any."""
        codec = self.codec
        while not self._closed:
            event = codec.next()
            if event == NEED:
                return
            if event == LEAVING:
                self._on_goaway()
            elif event == HEAD:
                assert codec.answer is not None
                self._by_id[codec.stream.id].take_head(codec.answer, codec.ended)
            elif event == BODY:
                self._by_id[codec.stream.id].take_body(codec.data, codec.ended)
            elif event == TRAILERS:
                self._by_id[codec.stream.id].take_trailers(codec.trailers)
            elif event == RESET:
                stream = self._by_id.get(codec.stream.id)
                if stream is not None:  # its answer was whole, and what is left of the request was on its way
                    self._on_reset(stream)
            else:
                self._on_broken()

    def _on_reset(self, stream: "H2UpStream") -> None:
        """The server reset a stream, or we did because of what came on it."""
        codec = self.codec
        if codec.fault.side != CLIENT:
            stream.fail(Fault(codec.fault, codec.detail))
        elif codec.error_code == REFUSED_STREAM:
            stream.spared("refused")
        else:
            stream.lose(f"reset: {codec.detail}")

    def _on_goaway(self) -> None:
        """Rule 2: what lies above the last stream was not looked at."""
        codec = self.codec
        self._leaving = True
        last = codec.last_taken
        for stream in list(self.streams):
            slot = stream.slot
            if slot is not None and slot.id > last:
                stream.spared(f"the server goes away ({error_name(codec.error_code)})")
        if not self.streams and not self._closed:
            self._end()

    def _on_broken(self) -> None:
        """The server broke the rules of the connection: say so and end everything."""
        codec = self.codec
        detail = f"{error_name(codec.error_code)}: {codec.detail}"
        if not codec.is_greeted():
            detail = f"does not speak HTTP/2 ({detail})"
        transport = self.transport
        transport.write(codec.take_output())
        streams = self._forget()
        transport.close()
        for stream in streams:
            stream.fail(Fault(UPSTREAM_BAD_SYNTAX, detail, NEVER if stream.begun() else REPEATABLE))

    def _fail(self, detail: str) -> None:
        """The connection is gone."""
        transport = self.transport
        streams = self._forget()
        transport.abort()
        for stream in streams:
            stream.lose(detail)

    def _end(self) -> None:
        """Close an idle connection."""
        codec = self.codec
        codec.close(NO_ERROR, "")
        transport = self.transport
        transport.write(codec.take_output())
        self._forget()
        transport.close()

    def _forget(self) -> "list[H2UpStream]":
        """Cut what ties this object to reactor and pool, once; return the streams that were."""
        streams = list(self.streams)
        if not self._closed:
            self._closed = True
            self.deadline.drop()
            self._sharer.strike_off_shared(self)
        return streams

    # ---- writing

    def soon(self) -> None:
        """Have frames made at the end of this turn."""
        if not self._dirty and not self._closed and self.codec.has_output():
            self._dirty = True
            self.reactor.need_flush(self)

    def flush(self) -> None:
        """Make frames of what streams have queued, as far as the transport is below its mark (rule 1)."""
        self._dirty = False
        if self._closed:
            return
        codec = self.codec
        push(codec, self.transport, self.reactor.now_ms)
        drained = codec.drained
        if drained:
            codec.drained = []
            for slot in drained:
                stream = self._by_id.get(slot.id)
                if stream is not None and stream.exchange is not None:
                    stream.exchange.on_drain(UP)

    # ---- time (rules 4 and 5)

    def look_by(self, at_ms: int) -> None:
        """Look at the streams at this moment at the latest."""
        if at_ms < self.deadline.at_ms:
            self.reactor.timers.arm(self.deadline, at_ms)

    def on_deadline(self) -> None:
        now = self.reactor.now_ms
        if not self.streams:
            if self.codec.streams:
                self._fail("a request was never taken whole")
            else:
                self._end()
            return
        if self._asked_ms and now >= self._asked_ms + _PONG_MS:
            self._fail(f"silent for {now - self._heard_ms} ms, and no answer to PING")
            return
        next_ms = now + _PING_MS
        if self._asked_ms:
            next_ms = self._asked_ms + _PONG_MS
        elif now >= self._heard_ms + _PING_MS:
            self._asked_ms = now
            next_ms = now + _PONG_MS
            self.codec.ask_whether_alive()
            self.soon()
        else:
            next_ms = self._heard_ms + _PING_MS
        for stream in list(self.streams):
            next_ms = min(next_ms, stream.look(now))
        if not self._closed and self.streams:
            self.reactor.timers.arm(self.deadline, next_ms)

    def doubt(self) -> None:
        """An answer did not come in time: take no more unless something else came on this connection lately."""
        if self._heard_ms + _PONG_MS <= self.reactor.now_ms or self.served == 0:
            self._leaving = True


class H2UpStream(Stream, Later):
    """One request to a server and its answer."""

    def __init__(self, connection: H2UpConnection, ex: Exchange) -> None:
        self.connection = connection
        self.exchange: Exchange | None = ex
        self.slot: H2Stream | None = None
        self.asks = False  # for a WebSocket
        self._key = b""
        self._waits: RequestHead | None = None  # for the server to say whether it takes one
        self._reused = connection.served > 0
        self._begun = False  # the final head came
        self._interims = 0

    def secured(self) -> Secured | None:
        transport = self.connection.transport
        return Secured(transport.tls) if isinstance(transport, TlsTransport) else None

    def begun(self) -> bool:
        """Tell whether anything of an answer came."""
        return self._begun or self._interims > 0

    # ---- from the connection

    def take_head(self, head: ResponseHead, end: bool) -> None:
        """Pass on the head of an answer."""
        ex = self.exchange
        assert ex is not None  # who has none is not listed
        if head.status < 200:
            self._interims += 1
            if self._interims > _INTERIM_MOST:
                self.fail(Fault(UPSTREAM_BAD_SYNTAX, "interim responses without end", NEVER))
                return
            ex.on_interim(head)
            return
        self._begun = True
        connection = self.connection
        now = connection.reactor.now_ms
        ex.head_ms = now - ex.began_ms
        connection.look_by(now + ex.timeouts.body_idle_ms)
        slot = self.slot
        if self.asks and slot is not None:
            if slot.tunnel:
                self._switch(ex, head, end)
                return
            connection.codec.send_data(slot, b"", True)  # there is nothing more to say
            connection.soon()
        ex.on_response(head, end)

    def _switch(self, ex: Exchange, head: ResponseHead, end: bool) -> None:
        """The tunnel is open. The exchange is told as HTTP/1 tells it (RFC 6455 4.2.2)."""
        accept = b64encode(sha1(self._key + _GUID).digest())
        pairs = [(name, value) for name, value in head.fields.end_to_end().pairs() if name.lower() not in _NOT_OF_TUNNELS]
        pairs += [(b"Connection", b"Upgrade"), (b"Upgrade", _WEBSOCKET), (b"Sec-WebSocket-Accept", accept)]
        ex.on_switched(ResponseHead(101, b"", fields_of(pairs)))
        if end:
            ex.on_response_body(b"", True)

    def greet(self) -> None:
        """The server has said what it takes."""
        head = self._waits
        self._waits = None
        if head is None or self.exchange is None:
            return
        connection = self.connection
        if not connection.codec.peer_tunnels:
            self.on_turn()
            return
        self.slot = connection.begin(self, head, False)
        connection.soon()

    def on_turn(self) -> None:
        """The server takes no WebSockets."""
        if self.exchange is not None:
            self.fail(Fault(UPSTREAM_NO_TUNNEL, "no SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)"))

    def take_body(self, data: bytes, end: bool) -> None:
        """Pass on a piece of the body."""
        ex = self.exchange
        assert ex is not None
        ex.on_response_body(data, end)

    def take_trailers(self, fields: Fields) -> None:
        """Pass on the trailers."""
        ex = self.exchange
        assert ex is not None
        ex.on_response_trailers(fields)

    def lose(self, detail: str) -> None:
        """The stream broke."""
        if self._begun:
            self.fail(Fault(UPSTREAM_TRUNCATED, detail))
        else:
            self.fail(Fault(UPSTREAM_LOST, detail, NEVER if self._interims else IF_REUSED if self._reused else REPEATABLE))

    def spared(self, detail: str) -> None:
        """The server did not look at this request (rule 2)."""
        ex = self.exchange
        whole = ex is not None and ex.request_ended and not ex.request_bytes and not ex.own_body and not self.begun()
        self.fail(Fault(UPSTREAM_LOST, detail, SAFE if whole else NEVER))

    def fail(self, fault: Fault) -> None:
        """Tell the exchange, and give the stream up."""
        ex = self.exchange
        self._done(INTERNAL_ERROR)
        if ex is not None:
            if ex.up is self:
                ex.up = None
            ex.on_fault(UP, fault)

    def look(self, now: int) -> int:
        """Fail if nothing moved for too long; return when to look again."""
        ex = self.exchange
        slot = self.slot
        if ex is None or slot is None:
            return now + _PING_MS
        timeouts = ex.timeouts
        writes = slot.queued > 0
        waits_for_head = (slot.local_ended or slot.tunnel) and not self._begun
        limit = timeouts.response_head_ms if waits_for_head else timeouts.body_idle_ms
        due = slot.moved_ms + limit
        if due > now:
            return due
        if writes:
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_WRITE, f"{limit} ms (timeouts.body_idle)"))
        elif waits_for_head:
            self.connection.doubt()
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_HEAD, f"{limit} ms (timeouts.response_head)"))
        elif self._begun and slot.local_ended and not slot.paused:
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_BODY, f"{limit} ms (timeouts.body_idle)"))
        return now + limit  # or the client side keeps the time

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, RequestHead)
        connection = self.connection
        # One with a body is asked as if it did not ask, which a server may do, too (RFC 9110 7.8).
        if end and head.fields.upgrade and head.fields.upgrade.lower() == _WEBSOCKET and head.method == b"GET":
            codec = connection.codec
            self.asks = True
            self._key = (head.fields.get(b"sec-websocket-key") or b"").strip()
            if not codec.is_greeted():
                self._waits = head
                return True
            if not codec.peer_tunnels:
                connection.reactor.call_later(self)
                return True
        self.slot = connection.begin(self, head, end)
        connection.soon()
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        slot = self.slot
        assert slot is not None
        connection = self.connection
        codec = connection.codec
        codec.now_ms = connection.reactor.now_ms
        more = codec.send_data(slot, data, end)
        connection.soon()
        return more

    def send_trailers(self, fields: Fields) -> bool:
        slot = self.slot
        assert slot is not None
        connection = self.connection
        more = connection.codec.send_trailers(slot, fields)
        connection.soon()
        return more

    def pause(self) -> None:
        slot = self.slot
        assert slot is not None
        self.connection.codec.pause(slot)

    def resume(self) -> None:
        slot = self.slot
        if slot is not None and slot.paused:
            connection = self.connection
            slot.moved_ms = connection.reactor.now_ms
            connection.codec.resume(slot)
            connection.soon()

    def abort(self, fault: Fault) -> None:
        self._done(CANCEL)

    def release(self) -> None:
        slot = self.slot
        assert slot is not None
        self.connection.codec.release(slot)
        self._leave()

    def open_tunnel(self) -> bool:
        return self.slot is not None and self.slot.tunnel

    def takes_rest(self) -> bool:
        slot = self.slot
        return slot is not None and not slot.gone

    def _done(self, code: int) -> None:
        slot = self.slot
        if slot is not None:
            self.connection.codec.end(slot, code)
        self._leave()

    def _leave(self) -> None:
        self.exchange = None
        self.connection.let_go(self)
