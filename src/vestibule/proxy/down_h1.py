"""A client connection that speaks HTTP/1, and at once the downstream stream of its one exchange.

Facts
  HTTP/1 carries one message each way at a time, so connection and stream are one object here; what
  they are to others are two interfaces (`Owner` to the transport, `Stream` to the exchange).
  A client that has closed and one that has only finished sending look alike, a FIN; the first answers
  what we send with RST (RFC 9293 3.5.3).
  Closing with unread bytes in the kernel's buffer makes it send RST, and that may destroy an answer
  on its way. So such a connection is closed for writing first and read empty for a while (RFC 9112 9.6).

Rules
  1. `ProtocolError` is caught in `advance` and nowhere else; what follows is an answer and the end.
  2. The next request is not looked at before the exchange of this one is over.
  3. Bytes are read only while somebody wants them.

Not here: syntax (`http/h1.py`), TLS and ALPN (`entry.py`).
"""

from typing import Final

from vestibule.contract import DOWN, Client, Keeping, Stream
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT,
    CLIENT_GONE,
    CLIENT_TIMEOUT_BODY,
    CLIENT_TIMEOUT_HEAD,
    CLIENT_TIMEOUT_WRITE,
    PROXY_TUNNEL_IDLE,
    Fault,
    ProtocolError,
)
from vestibule.http.fields import Fields
from vestibule.http.h1 import (
    DATA,
    HEAD,
    LAST_CHUNK,
    NEED,
    TRAILERS,
    RequestReader,
    chunk_bytes,
    last_chunk,
    status_line,
)
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Later
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import MARK, Owner, Transport
from vestibule.proxy.door import Porch

# How a response body is framed.
_NONE: Final = 0
_AS_IS: Final = 1  # under Content-Length, until close, or opaque
_CHUNKED: Final = 2

# After a FIN from a client that waits for its answer: if nothing moves for so long, it has gone.
_FIN_PATIENCE_MS: Final = 800

# A connection idle for so long gives up what only saves work: most will never be used again.
_FORGET_MS: Final = 5_000

# The rest of a request that is answered already is read, and goes nowhere, up to so much.
_DISCARD_MOST: Final = 65_536

# Reading a closing connection empty: at most so long without a byte, and so long in all.
_LINGER_IDLE_MS: Final = 2_000
_LINGER_MOST_MS: Final = 30_000


class H1DownConnection(Stream, Owner, Timed, Later):
    """One client connection."""

    def __init__(self, porch: Porch, transport: Transport, client: Client) -> None:
        self.porch = porch
        self.reactor = porch.reactor
        self.transport = transport
        self.client = client
        self.exchange: Exchange | None = None
        self.reader = RequestReader(porch.door.limits, porch.request_table)
        self.deadline = Deadline(self)
        self._framing = _NONE
        self._counted = False  # the response under way has a Content-Length
        self._keep = True
        self._closed = False
        self._advancing = False
        self._rest_unwanted = False
        self._discarding = False  # the rest of a request that is answered already is read, and goes nowhere
        self._keeping: Keeping | None = None  # by which it is kept after this answer, if not as its listener has it
        self._head_begun = False
        self._opaque = False
        self._fin_mark = -1  # bytes sent when the client's FIN was last looked at
        self._linger_until = 0
        self._idle_until = 0  # when an idle connection is closed
        porch.tally.connections += 1
        self.reactor.timers.arm(self.deadline, self.reactor.now_ms + porch.door.timeouts.request_head_ms)

    # ---- from the transport

    def on_data(self, data: bytes) -> None:
        if self._linger_until:
            self._linger_on()
            return
        reader = self.reader
        if self.exchange is None and reader.limits is not self.porch.door.limits:
            reader.obey(self.porch.door.limits, self.porch.request_table)
        reader.feed(data)
        self.advance()

    def on_end(self) -> None:
        ex = self.exchange
        if ex is None or self._linger_until:
            self._close()
        elif self._opaque:
            ex.on_request_body(b"", True)
        elif not ex.request_ended:
            ex.on_fault(DOWN, Fault(CLIENT_GONE, "closed in the middle of the request"))
        else:
            self._fin_mark = self.transport.bytes_out
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + _FIN_PATIENCE_MS)

    def on_lost(self, detail: str) -> None:
        ex = self.exchange
        self._forget()
        if ex is not None:
            ex.on_fault(DOWN, Fault(CLIENT_GONE, detail))

    def on_drained(self) -> None:
        if self.exchange is not None:
            self.exchange.on_drain(DOWN)
        elif not self._closed and not self._linger_until:
            # Pipelined requests waited for the answers before them to be read.
            self.transport.resume()
            self.reactor.call_later(self)

    def on_secured(self) -> None:
        """The handshake was over before this connection was made."""

    def on_turn(self) -> None:
        if not self._closed:
            self.advance()

    # ---- the loop

    def advance(self) -> None:
        """Pull events while there are any and somebody wants them."""
        self._advancing = True
        try:
            self._pull()
        except ProtocolError as error:
            self._refuse(error)
        self._advancing = False

    def _pull(self) -> None:
        reader = self.reader
        while not self._closed and not self._linger_until:
            event = reader.next()
            if event == HEAD:
                self._begin()
            elif event == DATA:
                ex = self.exchange
                if ex is not None:  # the rest of a request that is answered goes nowhere
                    ex.on_request_body(reader.data, reader.ended)
            elif event == TRAILERS:
                ex = self.exchange
                assert ex is not None
                ex.on_request_trailers(reader.trailers)
            elif event == NEED:
                self._on_need()
                return
            else:  # PAUSED
                if self.exchange is not None or self._closed:
                    if reader.has_rest():
                        self.transport.pause()  # a pipelined request waits in the kernel
                    return
                if self._is_full():
                    return
                reader.restart()

    def _is_full(self) -> bool:
        """Look at no further request while the client does not read the answers it has; `on_drained` goes on."""
        if self.transport.queued() < MARK:
            return False
        self.transport.pause()
        return True

    def _begin(self) -> None:
        """Open the exchange of the request just read."""
        head = self.reader.head
        assert head is not None
        porch = self.porch
        porch.tally.requests += 1
        self.client.requests += 1
        self._head_begun = False
        self._rest_unwanted = False
        self._discarding = False
        self._keep = True
        self._keeping = None
        self._framing = _NONE  # that of the last response must not keep this request's body from being relayed
        ex = Exchange(self, self.client, porch.door.plan, porch.relays, self.reactor.now_ms)
        self.exchange = ex
        porch.tally.exchanges += 1
        ended = self.reader.ended
        if ended and porch.door.wordy and head.fields.expects_continue and head.protocol != b"HTTP/1.0":
            self.transport.write(status_line(100, b"") + b"\r\n")
        ex.on_request(head, ended)
        if not ended and not ex.over:
            self._watch(ex)

    def _watch(self, ex: Exchange) -> None:
        """See to it that a body that stops is noticed in time; usually the deadline of the head comes first anyway."""
        due = self.reactor.now_ms + ex.timeouts.body_idle_ms
        if due < self.deadline.at_ms and self._fin_mark < 0:
            self.reactor.timers.arm(self.deadline, due)

    def _on_need(self) -> None:
        """A head that has begun has until the deadline; nothing else restarts it."""
        if self.exchange is None and not self._head_begun and self.reader.has_rest():
            self._head_begun = True
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + self.porch.door.timeouts.request_head_ms)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that is no HTTP and end the connection."""
        self._rest_unwanted = True
        self._keep = False
        if self.exchange is None:
            porch = self.porch
            self.exchange = Exchange(self, self.client, porch.door.plan, porch.relays, self.reactor.now_ms)
            porch.tally.exchanges += 1
        self.exchange.on_fault(DOWN, Fault(error.kind, error.detail))

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, ResponseHead)
        status = head.status
        fields = head.fields
        if fields.has_hop_by_hop:
            fields = fields.end_to_end()
        if status < 200:
            return self._send_interim(head, fields)
        reader = self.reader
        request = reader.head
        modern = request is None or request.protocol != b"HTTP/1.0"
        most = self.porch.door.requests_most
        keep = self._keep and reader.persistent and not self.porch.stopping and (most < 0 or self.client.requests < most)
        keeping = self._keeping
        if keeping is not None:
            keep = self._keep and reader.persistent and not self.porch.stopping
            keep = keep and not keeping.ends(self.client.requests, self.reactor.now_ms - self.client.since_ms)
            if keeping.requests < 0:
                keep = keep and (most < 0 or self.client.requests < most)
        extra = b""
        self._framing = _NONE
        self._counted = fields.content_length >= 0
        if not end:
            self._framing = _AS_IS
            ex = self.exchange
            if ex is not None and ex.timeouts.body_idle_ms < self.porch.door.timeouts.keep_alive_ms:
                self._watch(ex)
            if fields.content_length < 0:
                if modern:
                    self._framing = _CHUNKED
                    extra = b"Transfer-Encoding: chunked\r\n"
                else:
                    keep = False
        if not keep:
            extra += b"Connection: close\r\n"
        elif not modern or self.porch.door.wordy:
            extra += b"Connection: keep-alive\r\n"
        if keep and keeping is not None and keeping.told_s:
            extra += b"Keep-Alive: timeout=%d\r\n" % keeping.told_s
        self._keep = keep
        reason = head.reason or self.porch.door.reasons.get(status, b"")
        data = b"".join((status_line(status, reason), fields.block, extra, b"\r\n"))
        ex = self.exchange
        assert ex is not None  # as long as heads are sent
        ex.head_bytes = len(data)
        return self.transport.write(data)

    def _send_interim(self, head: ResponseHead, fields: Fields) -> bool:
        request = self.reader.head
        if request is not None and request.protocol == b"HTTP/1.0":
            return True  # HTTP/1.0 knows no interim responses (RFC 9110 15.2)
        extra = b""
        if head.status == 101:
            self._framing = _AS_IS
            self._keep = False
            extra = b"Connection: Upgrade\r\nUpgrade: " + head.fields.upgrade + b"\r\n"
        return self.transport.write(b"".join((status_line(head.status, head.reason), fields.block, extra, b"\r\n")))

    def send_body(self, data: bytes, end: bool) -> bool:
        if self._framing == _AS_IS:
            if end and self._opaque:
                if data:
                    self.transport.write(data)
                self.transport.end()
                return True
            return self.transport.write(data) if data else True
        if self._framing == _CHUNKED:
            if not data:
                return self.transport.write(LAST_CHUNK) if end else True
            piece = chunk_bytes(data)
            return self.transport.write(piece + LAST_CHUNK if end else piece)
        return True  # no body goes with this head (RFC 9110 6.4.1)

    def send_trailers(self, fields: Fields) -> bool:
        if self._framing == _CHUNKED:
            return self.transport.write(last_chunk(fields))
        return True  # nowhere to put them; they are optional by nature (RFC 9110 6.5.1)

    def pause(self) -> None:
        self.transport.pause()

    def resume(self) -> None:
        if self._fin_mark < 0:
            self.transport.resume()

    def abort(self, fault: Fault) -> None:
        """End so that a response under way is seen to be cut: RST where its framing would not tell."""
        self._done()
        transport = self.transport
        self._forget()
        tells = self._counted or self._framing == _CHUNKED
        if fault.kind.side == CLIENT and (tells or self._framing == _NONE):
            transport.abort()
        elif tells:
            transport.close()
        else:
            transport.reset()

    def release(self) -> None:
        self._done()
        if self._closed:
            return
        if self._opaque:
            self._close()
        elif not self._keep or self._fin_mark >= 0 or (not self.reader.is_over() and not self._discarding):
            self._close_gently()
        else:
            self._next()

    def refuse_rest(self) -> None:
        self._discarding = self._may_discard()
        if not self._discarding:
            self._rest_unwanted = True
            self._keep = False

    def keep(self, keeping: Keeping) -> None:
        self._keeping = keeping

    def _may_discard(self) -> bool:
        """Tell whether the rest of the request is so little that reading it costs less than another connection would.

        Who waits to be told to go on may send it or not, so where it would end is not known then. What failed with the client ends
        here, and so does what an upstream answered that wants no more of it.
        """
        head = self.reader.head
        ex = self.exchange
        if ex is None or ex.up is not None or head is None or head.fields.expects_continue or self._rest_unwanted:
            return False
        failed = ex.fault is not None and ex.fault.kind.side == CLIENT
        return not failed and 0 < self.reader.awaited() <= _DISCARD_MOST

    def relay_port(self) -> Transport | None:
        return self.transport if self.transport.can_relay() and self._framing != _CHUNKED else None

    def relay_left(self) -> int:
        return self.reader.relayable()

    def relayed(self, count: int) -> None:
        self.reader.relayed(count)

    def open_tunnel(self) -> bool:
        self._opaque = True
        self.reader.become_opaque()
        self.transport.resume()
        self.porch.tally.tunnels += 1
        ex = self.exchange
        assert ex is not None
        self.reactor.timers.arm(self.deadline, self.reactor.now_ms + ex.timeouts.tunnel_idle_ms)
        if self.reader.has_rest():
            self.reactor.call_later(self)
        return True

    # ---- the end of an exchange, and of the connection

    def _done(self) -> None:
        self.exchange = None
        self.porch.tally.exchanges -= 1
        if self._opaque:
            self.porch.tally.tunnels -= 1

    def _next(self) -> None:
        """Wait for the next request."""
        reader = self.reader
        now = self.reactor.now_ms
        keep_alive_ms = self.porch.door.timeouts.keep_alive_ms
        if self._keeping is not None and self._keeping.idle_ms >= 0:
            keep_alive_ms = self._keeping.idle_ms
        self._idle_until = now + keep_alive_ms
        self.reactor.timers.arm(self.deadline, now + min(keep_alive_ms, _FORGET_MS))
        if self._advancing:
            if self.transport.is_paused():
                self.transport.resume()
            return  # `_pull` is on the stack and sees that the exchange is over
        if self.transport.queued() >= MARK:
            self.transport.pause()  # as in `_is_full`
            return
        if self.transport.is_paused():
            self.transport.resume()
        if not self._discarding or reader.is_over():
            reader.restart()
        if reader.has_rest():
            self.reactor.call_later(self)

    def _close_gently(self) -> None:
        """Close once the answer is sent; first read what the client may still be sending."""
        if self.reader.is_over() and not self.reader.has_rest() and not self._rest_unwanted:
            self._close()
            return
        now = self.reactor.now_ms
        self._linger_until = now + _LINGER_MOST_MS
        self.reader.take_rest()
        self.transport.end()
        self.transport.resume()
        self.reactor.timers.arm(self.deadline, now + _LINGER_IDLE_MS)

    def _linger_on(self) -> None:
        now = self.reactor.now_ms
        if now < self._linger_until:
            self.deadline.at_ms = now + _LINGER_IDLE_MS
        else:
            self._close()

    def _close(self) -> None:
        transport = self.transport
        self._forget()
        transport.close()

    def _forget(self) -> None:
        """Cut what ties this object to the reactor; once."""
        if not self._closed:
            self._closed = True
            self.deadline.drop()
            self.porch.tally.connections -= 1

    def on_stopping(self) -> None:
        self._keep = False
        if self.exchange is None and not self._closed and not self._linger_until:
            self._close()

    # ---- time

    def on_deadline(self) -> None:
        ex = self.exchange
        if self._linger_until:
            self._close()
        elif ex is None:
            self._on_head_deadline()
        else:
            self._on_exchange_deadline(ex)

    def _on_head_deadline(self) -> None:
        if self._head_begun:
            self._refuse(ProtocolError(CLIENT_TIMEOUT_HEAD, f"{self.porch.door.timeouts.request_head_ms} ms (timeouts.request_head)"))
        elif self.reactor.now_ms < self._idle_until:
            self.client.forget()
            self.reader.forget()
            self.reactor.timers.arm(self.deadline, self._idle_until)
        else:
            self._close()

    def _on_exchange_deadline(self, ex: Exchange) -> None:
        now = self.reactor.now_ms
        transport = self.transport
        if self._fin_mark >= 0 and not self._opaque:
            if transport.bytes_out == self._fin_mark:
                ex.on_fault(DOWN, Fault(CLIENT_GONE, "closed while it waited for the answer"))
                return
            self._fin_mark = transport.bytes_out
            self.reactor.timers.arm(self.deadline, now + _FIN_PATIENCE_MS)
            return
        half_open = ex.request_ended or ex.response_ended
        limit = ex.timeouts.tunnel_idle_ms if self._opaque and not half_open else ex.timeouts.body_idle_ms
        due = transport.active_ms + limit
        reads = not ex.request_ended and not transport.is_paused()
        waits = self._opaque or reads or transport.queued() > 0 or transport.is_sink_blocked()
        if not waits or due > now:
            self.reactor.timers.arm(self.deadline, due if due > now else now + limit)
        elif self._opaque:
            ex.on_fault(DOWN, Fault(PROXY_TUNNEL_IDLE, f"{limit} ms (timeouts.tunnel_idle)"))
        elif reads:
            self._rest_unwanted = True
            ex.on_fault(DOWN, Fault(CLIENT_TIMEOUT_BODY, f"{limit} ms (timeouts.body_idle)"))
        else:
            ex.on_fault(DOWN, Fault(CLIENT_TIMEOUT_WRITE, f"{limit} ms (timeouts.body_idle)"))
