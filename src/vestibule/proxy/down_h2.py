"""A client connection that speaks HTTP/2, and the downstream streams of its exchanges.

Facts
  Many exchanges share one socket and one pair of windows. A stream may end on either side at any moment
  while the others go on; only the codec knows which frames are still legal for it.
  A WebSocket is one stream here (RFC 8441), an upgraded connection upstream (RFC 6455): its key and accept
  values belong to the HTTP/1 handshake and are made and dropped here.

Rules
  1. Streams only queue. The connection makes frames once per turn, when the reactor flushes it, and only as
     far as the transport is below its mark; so a slow client holds back its upstreams, not memory.
  2. Back pressure from a client is the stream's queue, towards a client the credit that is kept back.
     The connection itself always reads, except while the client takes none of what is queued for it.
  3. What one read brings is looked at whole before requests begin: one that is cancelled in the same breath
     costs nothing upstream.
  4. One deadline for all: it looks at every stream when it fires, and costs nothing per request.

Not here: frames, windows, what a request may say (`http/h2*.py`), TLS and ALPN (`entry.py`).
"""

import os
from base64 import b64encode
from typing import Final

from vestibule.contract import DOWN, Client, Stream
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT,
    CLIENT_ABUSE,
    CLIENT_GONE,
    CLIENT_TIMEOUT_BODY,
    CLIENT_TIMEOUT_WRITE,
    PROXY_TUNNEL_IDLE,
    Fault,
)
from vestibule.http.fields import Fields, FieldsTable
from vestibule.http.h2 import H2, H2Options
from vestibule.http.h2_control import BODY, HEAD, LEAVING, NEED, REFUSED, RESET, TRAILERS
from vestibule.http.h2_frames import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, SETTINGS_TIMEOUT, error_name
from vestibule.http.h2_schedule import H2Stream
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Later, Pollable
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import MARK, Owner, Transport
from vestibule.proxy.door import Porch
from vestibule.proxy.frames import push

# Output that a client leaves lying while it sends more; then we stop reading until it takes some.
_CLOGGED: Final = 4 * MARK

# An idle connection gives up what only saves work after this.
_FORGET_MS: Final = 5_000

# How long a client may take to hear that the connection is going away (RFC 9113 6.8), and how long a
# broken one is read empty so that GOAWAY is not lost to an RST.
_DRAIN_MS: Final = 1_000
_LINGER_MS: Final = 1_000

# What HTTP/1 framing adds to the client's fields: Host and two lines of framing.
_ADDED_FIELDS: Final = 3

# Streams are looked at this often at least, since one exchange may have shorter time-outs than another.
_LOOK_MS: Final = 30_000

_HANDSHAKE: Final = (b"sec-websocket-accept", b"sec-websocket-key")


class _Tables:
    """Tables of parsed request fields, by the number of fields allowed. One per worker."""

    def __init__(self) -> None:
        self.tables: dict[int, FieldsTable] = {}

    def find(self, fields_most: int) -> FieldsTable:
        table = self.tables.get(fields_most)
        if table is None:
            table = FieldsTable(CLIENT, fields_most + _ADDED_FIELDS)
            self.tables[fields_most] = table
        return table


_TABLES: Final = _Tables()
_OPTIONS: Final = H2Options()


class H2DownConnection(Pollable, Owner, Timed):
    """One client connection. It has no descriptor of its own: it is a `Pollable` to be flushed once per turn."""

    def __init__(self, porch: Porch, transport: Transport, client: Client) -> None:
        super().__init__(-1)
        self.porch = porch
        self.reactor = porch.reactor
        self.transport = transport
        self.client = client
        limits = porch.door.limits
        self.codec = H2(limits, _TABLES.find(limits.fields), _OPTIONS)
        self.streams: dict[int, H2DownStream] = {}
        self._fresh: list[H2DownStream] = []  # requests of this read that have not begun
        self.deadline = Deadline(self)
        self._closed = False
        self._dirty = False
        self._leaving = False  # no more requests will come or be taken
        self._lingering = False
        self._forgot = True
        self._idle_since_ms = self.reactor.now_ms
        self._block_since_ms = 0
        self._drain_until_ms = 0
        porch.tally.connections += 1
        self.reactor.timers.arm(self.deadline, self.reactor.now_ms + porch.door.timeouts.request_head_ms)
        self.soon()

    # ---- from the transport

    def on_data(self, data: bytes) -> None:
        if self._closed or self._lingering:
            return
        codec = self.codec
        codec.now_ms = self.reactor.now_ms
        codec.feed(data)
        self._pull()
        if not self._closed and not self._lingering:
            self._watch_block()
            self.soon()

    def on_end(self) -> None:
        transport = self.transport
        self._fail_streams(Fault(CLIENT_GONE, "closed the connection"))
        self._forget()
        transport.close()

    def on_lost(self, detail: str) -> None:
        self._forget()
        self._fail_streams(Fault(CLIENT_GONE, detail))

    def on_drained(self) -> None:
        if self.transport.is_paused() and not self._lingering:
            self.transport.resume()
        self.soon()

    def on_secured(self) -> None:
        """The handshake was over before this connection was made."""

    def on_stopping(self) -> None:
        if self._closed or self._lingering:
            return
        self._leave()

    # ---- reading

    def _pull(self) -> None:
        """Pull events while there are any, then begin the requests that nobody cancelled meanwhile."""
        codec = self.codec
        while True:
            event = codec.next()
            if event == NEED:
                break
            if event == HEAD:
                self._take_head()
            elif event == BODY:
                self.streams[codec.stream.id].take_body(codec.data, codec.ended)
            elif event == TRAILERS:
                stream = self.streams.get(codec.stream.id)
                if stream is not None:  # its answer is whole, and not all of it has gone
                    stream.take_trailers(codec.trailers)
            elif event == RESET:
                stream = self.streams.get(codec.stream.id)
                if stream is not None:
                    stream.fail(Fault(codec.fault, codec.detail))
            elif event == REFUSED:
                assert codec.head is not None
                stream = self._open(codec.stream, codec.head, False)
                ex = self._new_exchange(stream)
                ex.request = codec.head
                stream.exchange = ex
                stream.fail(Fault(codec.fault, codec.detail))
            elif event == LEAVING:
                self._leaving = True
            else:
                self._fresh.clear()
                self._break()
                return
        if self._fresh:
            fresh = self._fresh
            self._fresh = []
            for stream in fresh:
                stream.begin()

    def _take_head(self) -> None:
        """Take the request just read. It begins when all that came with it is known, be it a cancellation."""
        codec = self.codec
        head = codec.head
        assert head is not None
        self._fresh.append(self._open(codec.stream, head, codec.ended))

    def begin(self, stream: "H2DownStream") -> None:
        """Open the exchange of a request."""
        self.porch.tally.requests += 1
        client = self.client
        client.requests += 1
        most = self.porch.door.requests_most
        if 0 <= most <= client.requests or self.porch.stopping:
            self._leave()
        ex = self._new_exchange(stream)
        stream.exchange = ex
        head = stream.head
        if stream.slot.tunnel:
            head.fields = head.fields.without(_HANDSHAKE).plus([(b"Sec-WebSocket-Key", b64encode(os.urandom(16)))])
            # A handshake has no body; what the client sends early waits until the tunnel is open.
            ex.on_request(head, True)
        else:
            ex.on_request(head, stream.ended)
        self.look_by(self.reactor.now_ms + ex.timeouts.body_idle_ms)

    def _new_exchange(self, stream: "H2DownStream") -> Exchange:
        porch = self.porch
        return Exchange(stream, self.client, porch.door.plan, porch.relays, self.reactor.now_ms)

    def _open(self, slot: H2Stream, head: RequestHead, ended: bool) -> "H2DownStream":
        porch = self.porch
        if not self.streams and self.codec.acknowledged and not self._drain_until_ms and not self._block_since_ms:
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + min(porch.door.timeouts.body_idle_ms, _LOOK_MS))
        stream = H2DownStream(self, slot, head, ended)
        self.streams[slot.id] = stream
        porch.tally.exchanges += 1
        return stream

    def _watch_block(self) -> None:
        """A frame or header block that has begun has until the deadline, however slowly it comes."""
        if not self.codec.has_block():
            self._block_since_ms = 0
        elif self._block_since_ms == 0:
            now = self.reactor.now_ms
            self._block_since_ms = now
            self.reactor.timers.arm(self.deadline, now + self.porch.door.timeouts.request_head_ms)

    # ---- writing

    def soon(self) -> None:
        """Have frames made at the end of this turn."""
        if not self._dirty and not self._closed and (self._leaving or self.codec.has_output()):
            self._dirty = True
            self.reactor.need_flush(self)

    def flush(self) -> None:
        """Make frames of what streams have queued, as far as the transport is below its mark (rule 1)."""
        self._dirty = False
        if self._closed:
            return
        codec = self.codec
        transport = self.transport
        if not push(codec, transport, self.reactor.now_ms) and transport.queued() >= _CLOGGED:
            transport.pause()
        if codec.drained:
            self._pay()
        if self._leaving:
            self._close_if_done()

    def _pay(self) -> None:
        """Tell the writers of streams whose queue has fallen that there is room."""
        drained = self.codec.drained
        self.codec.drained = []
        for slot in drained:
            stream = self.streams.get(slot.id)
            if stream is not None and stream.exchange is not None:
                stream.exchange.on_drain(DOWN)

    # ---- ends

    def let_go(self, stream: "H2DownStream") -> None:
        """The exchange of this stream is over."""
        del self.streams[stream.slot.id]
        porch = self.porch
        porch.tally.exchanges -= 1
        if not self.streams and not self._closed and not self._lingering:
            self._forgot = False
            now = self.reactor.now_ms
            self._idle_since_ms = now
            timeouts = porch.door.timeouts
            wait = min(_FORGET_MS, timeouts.keep_alive_ms, timeouts.body_idle_ms)  # what is queued may still stall
            self.reactor.timers.arm(self.deadline, self._drain_until_ms or now + wait)
        self.soon()

    def _leave(self) -> None:
        """Take no more requests, and close when those in flight are done."""
        if self._drain_until_ms == 0:
            self._leaving = True
            self._drain_until_ms = self.reactor.now_ms + _DRAIN_MS
            self.codec.begin_drain()
            self.reactor.timers.arm(self.deadline, self._drain_until_ms)
            self.soon()

    def _close_if_done(self) -> None:
        codec = self.codec
        if self.streams or codec.streams or codec.has_output():
            return
        if self._drain_until_ms and not codec.is_drained():
            return  # the client may have sent a request before it heard of this
        transport = self.transport
        self._forget()
        transport.close()

    def _break(self) -> None:
        """The client broke the connection's rules, or its time is over: say why and end everything."""
        codec = self.codec
        detail = f"{error_name(codec.error_code)}: {codec.detail}"
        transport = self.transport
        self._lingering = True
        transport.write(codec.take_output())
        kind = CLIENT_ABUSE if codec.error_code == ENHANCE_YOUR_CALM else CLIENT_GONE
        self._fail_streams(Fault(kind, detail))
        codec.take_output()
        transport.end()
        if transport.is_paused():
            transport.resume()
        self.reactor.timers.arm(self.deadline, self.reactor.now_ms + _LINGER_MS)

    def _fail_streams(self, fault: Fault) -> None:
        for stream in list(self.streams.values()):
            stream.fail(fault)

    def _forget(self) -> None:
        """Cut what ties this object to the reactor; once."""
        if not self._closed:
            self._closed = True
            self.deadline.drop()
            self.porch.tally.connections -= 1

    def on_bug(self) -> None:
        transport = self.transport
        self._forget()
        self._fail_streams(Fault(CLIENT_GONE, "a bug of vestibule"))
        transport.abort()

    # ---- time (rule 4)

    def on_deadline(self) -> None:
        now = self.reactor.now_ms
        timeouts = self.porch.door.timeouts
        codec = self.codec
        if self._lingering:
            transport = self.transport
            self._forget()
            transport.close()
        elif self._block_since_ms and now >= self._block_since_ms + timeouts.request_head_ms:
            self._expire(NO_ERROR, f"a frame took over {timeouts.request_head_ms} ms (timeouts.request_head)")
        elif not codec.is_greeted():
            self._expire(NO_ERROR, f"no SETTINGS within {timeouts.request_head_ms} ms (timeouts.request_head)")
        elif self._drain_until_ms and now >= self._drain_until_ms and not codec.is_drained():
            codec.finish_drain()
            self._look_at_streams(now)
            self.soon()
        elif codec.streams or self.streams:
            self._look_at_streams(now)
        elif now < self._idle_since_ms + timeouts.keep_alive_ms:
            if not self._forgot:
                self._forgot = True
                codec.forget()
            self.reactor.timers.arm(self.deadline, self._idle_since_ms + timeouts.keep_alive_ms)
        else:
            self._expire(NO_ERROR, "")

    def look_by(self, at_ms: int) -> None:
        """Look at the streams at this moment at the latest: a site may have less patience than its listener."""
        if at_ms < self.deadline.at_ms:
            self.reactor.timers.arm(self.deadline, at_ms)

    def _expire(self, code: int, detail: str) -> None:
        self.codec.close(code, detail)
        self._break()

    def _look_at_streams(self, now: int) -> None:
        """Fail what made no progress for too long, and look again when the next one might be due."""
        codec = self.codec
        timeouts = self.porch.door.timeouts
        if not codec.acknowledged and now >= self._idle_since_ms + timeouts.request_head_ms:
            self._expire(SETTINGS_TIMEOUT, "SETTINGS not acknowledged")
            return
        next_ms = now + min(timeouts.body_idle_ms, _LOOK_MS)
        if self._block_since_ms:
            next_ms = min(next_ms, self._block_since_ms + timeouts.request_head_ms)
        if self._drain_until_ms and not codec.is_drained():
            next_ms = min(next_ms, self._drain_until_ms)
        if not codec.acknowledged:
            next_ms = min(next_ms, self._idle_since_ms + timeouts.request_head_ms)
        for slot in list(codec.streams.values()):
            stream = self.streams.get(slot.id)
            ex = None if stream is None else stream.exchange
            limits = timeouts if ex is None else ex.timeouts
            tunnel = stream is not None and stream.opened
            limit = limits.tunnel_idle_ms if tunnel and slot.queued == 0 else limits.body_idle_ms
            due = slot.moved_ms + limit
            if due > now:
                next_ms = min(next_ms, due)
            elif slot.queued or slot.end_queued:
                fault = Fault(CLIENT_TIMEOUT_WRITE, f"{limit} ms (timeouts.body_idle)")
                self._fail_stream(slot, ex, fault)
            elif tunnel:
                self._fail_stream(slot, ex, Fault(PROXY_TUNNEL_IDLE, f"{limit} ms (timeouts.tunnel_idle)"))
            elif ex is not None and not slot.remote_ended and not slot.paused and not slot.tunnel:
                self._fail_stream(slot, ex, Fault(CLIENT_TIMEOUT_BODY, f"{limit} ms (timeouts.body_idle)"))
            else:
                next_ms = min(next_ms, now + limit)  # it is not the client's turn now, but may be soon
        self.reactor.timers.arm(self.deadline, next_ms)

    def _fail_stream(self, slot: H2Stream, ex: Exchange | None, fault: Fault) -> None:
        if ex is not None:
            ex.on_fault(DOWN, fault)
        else:
            self.codec.reset(slot, CANCEL)
        self.soon()


class H2DownStream(Stream, Later):
    """One request of a client connection and its answer."""

    def __init__(self, connection: H2DownConnection, slot: H2Stream, head: RequestHead, ended: bool) -> None:
        self.connection = connection
        self.slot = slot
        self.head = head
        self.ended = ended  # the request has no body
        self.exchange: Exchange | None = None
        self.opened = False  # a tunnel: bytes are opaque in both directions
        self._over = False
        self._early: list[bytes] = []  # of a tunnel that is not open yet
        self._early_end = False

    # ---- from the connection

    def begin(self) -> None:
        """Begin the exchange, unless it has begun or was cancelled before."""
        if self.exchange is None and not self._over:
            self.connection.begin(self)

    def take_body(self, data: bytes, end: bool) -> None:
        """Pass on a piece of the request body."""
        self.begin()
        ex = self.exchange
        if ex is None:
            return
        if self.slot.tunnel and (not self.opened or self._early):
            # Bounded by the stream's window: no credit is given for what waits here.
            self._early.append(data)
            self._early_end = end
            self.connection.codec.pause(self.slot)
            return
        ex.on_request_body(data, end)

    def take_trailers(self, fields: Fields) -> None:
        """Pass on the trailers of the request."""
        self.begin()
        ex = self.exchange
        if ex is not None:
            ex.on_request_trailers(fields)

    def fail(self, fault: Fault) -> None:
        """The client's side failed."""
        ex = self.exchange
        if ex is not None:
            ex.on_fault(DOWN, fault)
        else:
            self._done()

    def on_turn(self) -> None:
        """The tunnel is open: pass on what came too early."""
        early = self._early
        self._early = []
        connection = self.connection
        connection.codec.resume(self.slot)
        for i in range(len(early)):
            ex = self.exchange
            assert ex is not None  # nothing is kept for one that is over
            ex.on_request_body(early[i], self._early_end and i == len(early) - 1)
        connection.soon()

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, ResponseHead)
        connection = self.connection
        status = head.status
        fields = head.fields
        if status == 101:
            # A tunnel begins with 2xx here, and without the handshake of HTTP/1 (RFC 8441 5).
            status = 200
            fields = fields.without(_HANDSHAKE)
        connection.codec.send_head(self.slot, status, fields, end)
        connection.soon()
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        connection = self.connection
        codec = connection.codec
        codec.now_ms = connection.reactor.now_ms
        more = codec.send_data(self.slot, data, end)
        connection.soon()
        return more

    def send_trailers(self, fields: Fields) -> bool:
        connection = self.connection
        more = connection.codec.send_trailers(self.slot, fields)
        connection.soon()
        return more

    def pause(self) -> None:
        self.connection.codec.pause(self.slot)

    def resume(self) -> None:
        slot = self.slot
        if slot.paused and not self._early:
            slot.moved_ms = self.connection.reactor.now_ms
            self.connection.codec.resume(slot)
            self.connection.soon()

    def abort(self, fault: Fault) -> None:
        """Reset the stream: what the client has of the answer is not the whole."""
        connection = self.connection
        connection.codec.reset(self.slot, CANCEL if fault.kind.side == CLIENT else INTERNAL_ERROR)
        self._done()

    def release(self) -> None:
        self.connection.codec.release(self.slot)
        self._done()

    def open_tunnel(self) -> bool:
        if not self.slot.tunnel:
            return False
        self.opened = True
        connection = self.connection
        connection.porch.tally.tunnels += 1
        ex = self.exchange
        assert ex is not None
        connection.look_by(connection.reactor.now_ms + ex.timeouts.tunnel_idle_ms)
        if self._early:
            connection.reactor.call_later(self)
        return True

    def _done(self) -> None:
        self.exchange = None
        self._over = True
        self._early = []
        if self.opened:
            self.opened = False
            self.connection.porch.tally.tunnels -= 1
        self.connection.let_go(self)
