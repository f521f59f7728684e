"""A connection to an upstream server that speaks HTTP/1, and at once the stream of its one exchange.

Facts
  A kept connection may be closed by the server at the moment we send on it (RFC 9112 9.3.1). Whether
  the request was lost or done cannot be told, so only what may be repeated is repeated.
  Bytes that belong to no request are the way to poison the next client's answer (response splitting).

Rules
  1. A connection serves again only if its response is over, its request was sent whole, both may
     persist, and not one byte is left over.
  2. A 101 is taken only if the exchange asked for an upgrade, and only to a protocol it named.
  3. `ProtocolError` is caught in `advance` and nowhere else.

Not here: which connection serves which exchange (`pool.py`), retries (`upstream.py`).
"""

from typing import Final

from mypy_extensions import trait

from vestibule.contract import UP, Stream
from vestibule.exchange import Exchange
from vestibule.fault import (
    IF_REUSED,
    NEVER,
    REPEATABLE,
    UPSTREAM_BAD_UPGRADE,
    UPSTREAM_LOST,
    UPSTREAM_SURPLUS,
    UPSTREAM_TIMEOUT_BODY,
    UPSTREAM_TIMEOUT_HEAD,
    UPSTREAM_TIMEOUT_WRITE,
    UPSTREAM_TRUNCATED,
    Fault,
    ProtocolError,
)
from vestibule.http.fields import Fields, FieldsTable
from vestibule.http.h1 import (
    DATA,
    HEAD,
    INTERIM,
    LAST_CHUNK,
    NEED,
    PAUSED,
    HeadLimits,
    ResponseReader,
    chunk_bytes,
    last_chunk,
    request_bytes,
)
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.peer import Secured
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Owner, Transport

# Interim responses before a final one: an upstream that never stops sending them is broken.
_INTERIM_MOST: Final = 100


@trait
class Keeper:
    """Where a connection goes when it is free, and who must know when it has gone."""

    def take_back(self, connection: "H1UpConnection") -> None:
        """The connection is free and may serve again."""
        raise NotImplementedError

    def strike_off(self, connection: "H1UpConnection") -> None:
        """The connection is gone."""
        raise NotImplementedError

    def let_go(self) -> None:
        """A connection that was never kept is gone."""
        raise NotImplementedError


class H1UpConnection(Stream, Owner, Timed):
    """One connection to one server."""

    def __init__(self, reactor: Reactor, transport: Transport, keeper: Keeper, limits: HeadLimits, table: FieldsTable) -> None:
        self.reactor = reactor
        self.transport = transport
        self.exchange: Exchange | None = None
        self.reader = ResponseReader(limits, table)
        self.deadline = Deadline(self)
        self.served = 0
        self.key = b""  # which requests it may serve, where not all
        self._keeper = keeper
        self._closed = False
        self._chunked = False
        self._request_ended = False
        self._response_begun = False
        self._upgrade = b""
        self._opaque = False
        self._interims = 0

    def secured(self) -> Secured | None:
        transport = self.transport
        return Secured(transport.tls) if isinstance(transport, TlsTransport) else None

    # ---- serving

    def serve(self, ex: Exchange, name: str) -> None:
        """Carry this exchange."""
        self.exchange = ex
        self._request_ended = False
        self._response_begun = False
        self._interims = 0
        self.reader.expect(ex.request.method)
        ex.connected(self, name)

    def is_usable(self) -> bool:
        """Look once more whether the server has closed: for requests that cannot be repeated."""
        return not self._closed and self.transport.is_quiet()

    def retire(self) -> None:
        """Close an idle connection."""
        self._end()

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        ex = self.exchange
        assert isinstance(head, RequestHead) and ex is not None
        fields = head.fields
        # An upgrade asked for in HTTP/1.0 must be ignored (RFC 9110 7.8).
        self._upgrade = fields.upgrade if head.protocol != b"HTTP/1.0" else b""
        self._chunked = fields.chunked
        if end:
            self._on_request_sent()
        else:
            self._arm_body(ex)
        data = request_bytes(head.method, head.target, fields, self._upgrade)
        # A body that was over before there was a connection: its framing is announced, so its end must be told.
        return self.transport.write(data + LAST_CHUNK if end and self._chunked else data)

    def send_body(self, data: bytes, end: bool) -> bool:
        if self._opaque:
            if data:
                more = self.transport.write(data)
                if not end:
                    return more
            if end:
                self._request_ended = True
                self.transport.end()
            return True
        if end:
            self._on_request_sent()
        if not self._chunked:
            return self.transport.write(data) if data else True
        if not data:
            return self.transport.write(LAST_CHUNK) if end else True
        piece = chunk_bytes(data)
        return self.transport.write(piece + LAST_CHUNK if end else piece)

    def send_trailers(self, fields: Fields) -> bool:
        self._on_request_sent()
        return self.transport.write(last_chunk(fields)) if self._chunked else True

    def _on_request_sent(self) -> None:
        self._request_ended = True
        ex = self.exchange
        if ex is not None and not self._response_begun:
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + ex.timeouts.response_head_ms)

    def _arm_body(self, ex: Exchange) -> None:
        self.reactor.timers.arm(self.deadline, self.reactor.now_ms + ex.timeouts.body_idle_ms)

    def pause(self) -> None:
        self.transport.pause()

    def resume(self) -> None:
        self.transport.resume()

    def abort(self, fault: Fault) -> None:
        self.exchange = None
        transport = self.transport
        self._strike()
        transport.abort()

    def release(self) -> None:
        self.exchange = None
        reader = self.reader
        if self._closed:
            return
        if self._opaque or not reader.is_over() or not reader.persistent or reader.has_rest() or not self._request_ended:
            self._end()
            return
        if self.transport.is_paused():
            self.transport.resume()
        self.served += 1
        self._keeper.take_back(self)

    def relay_port(self) -> Transport | None:
        return self.transport if self.transport.can_relay() and not self._chunked else None

    def relay_left(self) -> int:
        return self.reader.relayable()

    def relayed(self, count: int) -> None:
        self.reader.relayed(count)

    def open_tunnel(self) -> bool:
        self._opaque = True
        self.reader.become_opaque()
        return True

    def takes_rest(self) -> bool:
        return self._opaque or (not self._closed and self.reader.persistent)

    # ---- from the transport

    def on_data(self, data: bytes) -> None:
        if self.exchange is None:
            self._end()  # bytes nobody asked for: an early close message, or poison
            return
        self.reader.feed(data)
        self.advance()

    def on_end(self) -> None:
        ex = self.exchange
        if ex is None:
            self._end()
            return
        if self._opaque:
            ex.on_response_body(b"", True)
            return
        if self._response_begun and self.reader.finish() and not self.reader.is_over():
            self.reader.persistent = False
            ex.on_response_body(b"", True)
            return
        self._fail("closed")

    def on_lost(self, detail: str) -> None:
        self._fail(detail)

    def _fail(self, detail: str) -> None:
        ex = self.exchange
        self.exchange = None
        transport = self.transport
        self._strike()
        transport.abort()
        if ex is None:
            return
        if ex.up is self:
            ex.up = None
        if self._response_begun or self.reader.has_rest():
            ex.on_fault(UP, Fault(UPSTREAM_TRUNCATED, detail))
        else:
            ex.on_fault(UP, Fault(UPSTREAM_LOST, detail, NEVER if self._interims else IF_REUSED if self.served else REPEATABLE))

    def on_drained(self) -> None:
        if self.exchange is not None:
            self.exchange.on_drain(UP)

    def on_secured(self) -> None:
        """The handshake was over before this connection was made."""

    def on_stopping(self) -> None:
        if self.exchange is None:
            self._end()

    # ---- the loop

    def advance(self) -> None:
        """Pull events while there are any."""
        try:
            self._pull()
        except ProtocolError as error:
            ex = self.exchange
            self.exchange = None
            transport = self.transport
            self._strike()
            transport.abort()
            assert ex is not None  # nothing is read for nobody
            if ex.up is self:
                ex.up = None
            ex.on_fault(UP, Fault(error.kind, error.detail))

    def _pull(self) -> None:
        reader = self.reader
        while True:
            ex = self.exchange
            if ex is None:
                return
            event = reader.next()
            if event == HEAD:
                self._on_head(ex)
            elif event == DATA:
                ex.on_response_body(reader.data, reader.ended)
            elif event == NEED:
                return
            elif event == PAUSED:
                if reader.has_rest():
                    # The answer is over and the request is not: the exchange goes on without this upstream.
                    raise ProtocolError(UPSTREAM_SURPLUS, "bytes after the answer")
                return
            elif event == INTERIM:
                self._on_interim(ex)
            else:  # TRAILERS
                ex.on_response_trailers(reader.trailers)

    def _on_head(self, ex: Exchange) -> None:
        reader = self.reader
        head = reader.head
        assert head is not None
        self._response_begun = True
        ex.head_ms = self.reactor.now_ms - ex.began_ms
        if reader.switched:
            self._on_switch(ex, head)
            return
        if self._request_ended:
            self._arm_body(ex)
        ex.on_response(head, reader.ended)

    def _on_switch(self, ex: Exchange, head: ResponseHead) -> None:
        """Take a 101 only for what was asked (RFC 9110 7.8)."""
        asked = [part.strip().lower() for part in self._upgrade.split(b",")]
        got = head.fields.upgrade.strip().lower()
        if not got or got not in asked:
            raise ProtocolError(UPSTREAM_BAD_UPGRADE, f"101 to {got!r}")
        ex.on_switched(head)

    def _on_interim(self, ex: Exchange) -> None:
        head = self.reader.head
        assert head is not None
        self._interims += 1
        if self._interims > _INTERIM_MOST:
            raise self.reader.bad_syntax("interim responses without end")
        if self._request_ended:
            self._on_request_sent()
        ex.on_interim(head)

    # ---- the end

    def _strike(self) -> None:
        if not self._closed:
            self._closed = True
            self.deadline.drop()
            self._keeper.strike_off(self)

    def _end(self) -> None:
        self.exchange = None
        transport = self.transport
        self._strike()
        transport.close()

    # ---- time

    def on_deadline(self) -> None:
        ex = self.exchange
        now = self.reactor.now_ms
        if ex is None:
            self._end()
            return
        timeouts = ex.timeouts
        transport = self.transport
        writes = transport.queued() > 0 or transport.is_sink_blocked()
        if self._opaque:
            limit = timeouts.body_idle_ms  # the client side keeps the time of a tunnel
            self.reactor.timers.arm(self.deadline, now + limit)
            return
        waits_for_head = self._request_ended and not self._response_begun
        limit = timeouts.response_head_ms if waits_for_head and not writes else timeouts.body_idle_ms
        due = transport.active_ms + limit
        reads = self._response_begun and not transport.is_paused()
        if due > now or not (writes or waits_for_head or reads):
            self.reactor.timers.arm(self.deadline, due if due > now else now + limit)
        elif writes:
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_WRITE, f"{limit} ms (timeouts.body_idle)"))
        elif waits_for_head:
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_HEAD, f"{limit} ms (timeouts.response_head)"))
        elif self._request_ended:
            ex.on_fault(UP, Fault(UPSTREAM_TIMEOUT_BODY, f"{limit} ms (timeouts.body_idle)"))
        else:
            self.reactor.timers.arm(self.deadline, now + limit)  # the client side keeps the time of its body
