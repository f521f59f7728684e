"""Connections whose bytes are nobody's business: layer 4.

Facts
  A TCP connection through a proxy is an exchange that is a tunnel from its first byte: the same plan, the same choice of a
  server, the same back pressure and the same log line as a WebSocket's. Each direction ends by itself (RFC 9293 3.6),
  unless the plan says that both end with one.
  A TLS client says which host it wants before anything is encrypted, so a connection can be routed without being opened.

Rules
  1. The plan sees a request without fields, of the method TCP; its target is the name the client asks for, if it does.
  2. Nothing is answered: a connection that cannot be served is closed, and the log says why.
  3. Once enough has moved in a direction, the kernel moves the rest where both ends are plain (`net/relay.py`).
  4. A connection may be handed to a listener of HTTP with all its bytes, as if it had been accepted there.

Not here: which server (`upstream.py`), reading the name (`http/client_hello.py`).
"""

from typing import Final

from vestibule.contract import DOWN as DOWN_SIDE
from vestibule.contract import UP as UP_SIDE
from vestibule.contract import Client, ErrorPage, Source, Stream
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, CLIENT_TIMEOUT_IDLE, PROXY_NO_ROUTE, UPSTREAM_LOST, Fault
from vestibule.http.client_hello import FOUND, NEED, ClientHello
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import Owner, PlainTransport, Transport
from vestibule.proxy.announced import Doorman
from vestibule.proxy.door import Porch
from vestibule.proxy.up_h1 import Keeper

# Bytes in one direction before the kernel is asked to move the rest: setting that up does not pay for less.
_RELAY_FROM: Final = 131_072
_ENDLESS: Final = 1 << 60

_METHOD: Final = b"TCP"
_OPENED: Final = ResponseHead(200, b"", EMPTY)


class RawDown(Stream, Owner, Timed):
    """The client's side."""

    def __init__(self, porch: Porch, transport: Transport, client: Client) -> None:
        self.porch = porch
        self.transport = transport
        self.client = client
        self.deadline = Deadline(self)
        self.exchange: Exchange | None = None
        self._moved = 0
        self._began = b""  # what came before there was an exchange, kept for a listener that may take over
        self._open = False
        porch.tally.connections += 1

    def begin(self, early: bytes) -> None:
        """Start the exchange; `early` are the client's first bytes, or nothing."""
        porch = self.porch
        porch.tally.exchanges += 1
        porch.tally.tunnels += 1
        self._began = early
        self.transport.owner = self
        plan = porch.door.plan
        ex = Exchange(self, self.client, plan, porch.relays, porch.reactor.now_ms)
        self.exchange = ex
        porch.reactor.timers.arm(self.deadline, porch.reactor.now_ms + ex.timeouts.tunnel_idle_ms)
        ex.on_request(RequestHead(_METHOD, self.client.sni or b"-", b"", EMPTY, _METHOD), False)
        if self._began and not ex.over:
            self._began = b""
            ex.on_request_body(early, False)

    def hand_over(self, doorman: Doorman) -> None:
        """Give the connection to somebody else, who begins where the client began."""
        transport = self.transport
        early = self._began
        self._carried().withdraw()
        self.exchange = None
        self._leave()
        assert isinstance(transport, PlainTransport)
        doorman.admit(transport, self.client, early)

    def can_hand_over(self) -> bool:
        """Tell whether nothing of the connection has gone anywhere yet."""
        return not self._open and isinstance(self.transport, PlainTransport) and not self.transport.closed

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        self._open = True
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        self._moved += len(data)
        more = self.transport.write(data) if data else True
        if end:
            self.transport.end()
            return True
        return more

    def send_trailers(self, fields: Fields) -> bool:
        return self.send_body(b"", True)

    def pause(self) -> None:
        self.transport.pause()

    def resume(self) -> None:
        self.transport.resume()

    def abort(self, fault: Fault) -> None:
        self.exchange = None
        self._leave()
        if self._open and fault.kind is not CLIENT_TIMEOUT_IDLE:
            self.transport.reset()  # an orderly end would say that all had come
        else:
            self.transport.abort()

    def release(self) -> None:
        self.exchange = None
        self._leave()
        self.transport.close()

    def relay_port(self) -> Transport | None:
        return self.transport if self.transport.can_relay() else None

    def relay_left(self) -> int:
        ex = self.exchange
        return _ENDLESS if ex is not None and ex.request_bytes >= _RELAY_FROM else 0

    def open_tunnel(self) -> bool:
        return True

    def _leave(self) -> None:
        self.deadline.drop()
        self.porch.tally.connections -= 1
        self.porch.tally.tunnels -= 1
        self.porch.tally.exchanges -= 1

    # ---- from the transport

    def _carried(self) -> Exchange:
        ex = self.exchange
        assert ex is not None  # once it is over, the transport tells us nothing more
        return ex

    def on_data(self, data: bytes) -> None:
        self._carried().on_request_body(data, False)

    def on_end(self) -> None:
        self._carried().on_request_body(b"", True)

    def on_lost(self, detail: str) -> None:
        self._carried().on_fault(DOWN_SIDE, Fault(CLIENT_GONE, detail))

    def on_drained(self) -> None:
        self._carried().on_drain(DOWN_SIDE)

    def on_secured(self) -> None:
        """The handshake was over before."""

    def on_stopping(self) -> None:
        """A connection goes on until it ends, or until the time for stopping is over."""

    def on_deadline(self) -> None:
        ex = self._carried()
        now = self.porch.reactor.now_ms
        due = self.transport.active_ms + ex.timeouts.tunnel_idle_ms
        if due > now:
            self.porch.reactor.timers.arm(self.deadline, due)
        else:
            ex.on_fault(DOWN_SIDE, Fault(CLIENT_TIMEOUT_IDLE, f"{ex.timeouts.tunnel_idle_ms} ms (timeouts.tunnel_idle)"))


class RawUp(Stream, Owner):
    """The server's side."""

    def __init__(self, reactor: Reactor, transport: Transport, keeper: Keeper) -> None:
        self.reactor = reactor
        self.transport = transport
        self.exchange: Exchange | None = None
        self._keeper = keeper
        self._closed = False
        self._ended = False  # the client's side is over and the server was told

    def serve(self, ex: Exchange, name: str) -> None:
        """Carry this exchange."""
        self.exchange = ex
        ex.connected(self, name)
        ex.on_switched(_OPENED)
        if self._ended:
            ex.request_ended = True
            ex.on_half_closed()

    # ---- from the exchange

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        if end:
            self._end_request()
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        more = self.transport.write(data) if data else True
        if end:
            self._end_request()
            return True
        return more

    def send_trailers(self, fields: Fields) -> bool:
        self._end_request()
        return True

    def _end_request(self) -> None:
        self._ended = True
        self.transport.end()

    def pause(self) -> None:
        self.transport.pause()

    def resume(self) -> None:
        self.transport.resume()

    def abort(self, fault: Fault) -> None:
        self.exchange = None
        transport = self.transport
        self._strike()
        transport.reset()

    def release(self) -> None:
        self.exchange = None
        transport = self.transport
        self._strike()
        transport.close()

    def relay_port(self) -> Transport | None:
        return self.transport if self.transport.can_relay() else None

    def relay_left(self) -> int:
        ex = self.exchange
        return _ENDLESS if ex is not None and ex.response_bytes >= _RELAY_FROM else 0

    def open_tunnel(self) -> bool:
        return True

    def takes_rest(self) -> bool:
        return not self._closed

    def _strike(self) -> None:
        if not self._closed:
            self._closed = True
            self._keeper.let_go()

    # ---- from the transport

    def _carried(self) -> Exchange:
        ex = self.exchange
        assert ex is not None  # as above
        return ex

    def on_data(self, data: bytes) -> None:
        ex = self._carried()
        if ex.head_ms < 0:
            ex.head_ms = self.reactor.now_ms - ex.began_ms
        ex.on_response_body(data, False)

    def on_end(self) -> None:
        self._carried().on_response_body(b"", True)

    def on_lost(self, detail: str) -> None:
        ex = self._carried()
        self.exchange = None
        self._strike()
        if ex.up is self:
            ex.up = None
        ex.on_fault(UP_SIDE, Fault(UPSTREAM_LOST, detail))

    def on_drained(self) -> None:
        self._carried().on_drain(UP_SIDE)

    def on_secured(self) -> None:
        """The handshake was over before this connection was made."""

    def on_stopping(self) -> None:
        """As long as the client's side goes on."""


class Inspection(Owner, Timed):
    """A connection whose first bytes are awaited, for the plan to know what it asks for: its ClientHello, and as many as are looked at."""

    def __init__(self, porch: Porch, transport: PlainTransport, client: Client) -> None:
        self._porch = porch
        self._transport = transport
        self._client = client
        self._seen = b""
        self._hello = ClientHello()
        self._said = NEED
        self._deadline = Deadline(self)
        porch.tally.connections += 1
        porch.reactor.timers.arm(self._deadline, porch.reactor.now_ms + porch.door.timeouts.tls_handshake_ms)

    def on_data(self, data: bytes) -> None:
        self._seen += data
        if self._said == NEED:
            self._read_hello()
        if self._said != NEED and len(self._seen) >= self._porch.door.inspects:
            self._begin()

    def _read_hello(self) -> None:
        hello = self._hello
        self._said = hello.read(self._seen)
        if self._said == FOUND:
            self._client.hello = True
            self._client.sni = hello.name
            self._client.alpn = b",".join(hello.protocols)

    def _begin(self) -> None:
        self._leave()
        if self._porch.door.inspects > 0:
            self._client.first = self._seen
        RawDown(self._porch, self._transport, self._client).begin(self._seen)

    def _leave(self) -> None:
        self._deadline.drop()
        self._porch.tally.connections -= 1

    def on_end(self) -> None:
        self._leave()
        self._transport.abort()

    def on_lost(self, detail: str) -> None:
        self._leave()

    def on_drained(self) -> None:
        """Nothing was written."""

    def on_secured(self) -> None:
        """TLS is not ours here."""

    def on_stopping(self) -> None:
        self._leave()
        self._transport.abort()

    def on_deadline(self) -> None:
        """Not every protocol lets the client speak first: go on with what there is."""
        self._begin()


class Porches:
    """The porches of a worker by the name of their listener. Outlives reloads."""

    def __init__(self) -> None:
        self.doormen: dict[str, Doorman] = {}


class Handover(Source):
    """Another listener of this configuration answers, as if the connection had come to it."""

    def __init__(self, porches: Porches, listener: str) -> None:
        self._porches = porches
        self._listener = listener

    def start(self, ex: Exchange) -> None:
        ex.waiting = False
        down = ex.down
        doorman = self._porches.doormen.get(self._listener)
        if doorman is None or not isinstance(down, RawDown) or not down.can_hand_over():
            ex.fail(Fault(PROXY_NO_ROUTE, self._listener))
            return
        down.hand_over(doorman)


class HangUp(ErrorPage):
    """There is nobody who could read a page."""

    def answer(self, ex: Exchange, fault: Fault) -> None:
        ex.hang_up(fault)
