"""The first moments of a client connection: whose it is, TLS, the choice of protocol, then its connection object.

Facts: ALPN decides the version of HTTP on TLS (RFC 7301); on a plain socket HTTP/2 is known by its
preface (RFC 9113 3.4), of which the first bytes can be no HTTP/1 request.

Not here: accepting (`net/listen.py`), what is said then (`down_h1.py`, `down_h2.py`).
"""

import socket
import ssl
from typing import Final

from vestibule.contract import Client
from vestibule.http.address import NetworkSet
from vestibule.net.listen import Acceptor
from vestibule.net.peer import Secured, address_text, peer_certificate
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls import ACME_TLS, AskedObject
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Owner, PlainTransport, Transport
from vestibule.proxy.announced import Announcement, Doorman, may_announce
from vestibule.proxy.demand import Asking
from vestibule.proxy.door import NOTE, STRICT, Porch
from vestibule.proxy.down_h1 import H1DownConnection
from vestibule.proxy.down_h2 import H2DownConnection
from vestibule.proxy.raw import Inspection, RawDown

_SECOND_US: Final = 1_000_000
_PREFACE_START: Final = b"PRI * HT"


class Entry(Acceptor, Doorman):
    """Takes the connections of one listener."""

    def __init__(self, porch: Porch) -> None:
        self.porch = porch
        self._even_us = 0  # when what was taken is even with the rate

    def is_full(self) -> bool:
        porch = self.porch
        door = porch.door
        most = door.connections_most
        if 0 <= most <= porch.tally.connections:
            return True
        if door.connections_rate >= 0 and self._even_us - porch.reactor.now_ms * 1000 >= _SECOND_US:
            porch.tally.held_back += 1
            return True
        return False

    def on_accepted(self, sock: socket.socket, peer: tuple[str, int] | None, local: tuple[str, int] | None) -> None:
        porch = self.porch
        door = porch.door
        porch.tally.accepted += 1
        if door.connections_rate >= 0:
            # A second's worth may come at once: clients open several connections together.
            self._even_us = max(self._even_us, porch.reactor.now_ms * 1000) + _SECOND_US // max(1, door.connections_rate)
        client = _client_of(sock, peer, local, b"http" if door.tls is None else b"https")
        client.since_ms = porch.reactor.now_ms
        if door.announcers is not None:
            self._await_header(door.announcers, sock, client)
            return
        if door.tls is not None and door.tls.demand is not None:
            unknown = PlainTransport(porch.reactor, sock, None)
            unknown.owner = Asking(porch, self, unknown, client)
            unknown.start()
            return
        if door.tls is not None:
            secure = TlsTransport(porch.reactor, sock, None, door.tls.base, True, None)
            secure.owner = Greeting(porch, secure, client)
            secure.watches_hello = door.tls.is_validated()
            secure.start()
            return
        transport = PlainTransport(porch.reactor, sock, None)
        if door.raw:
            transport.start()
            self._pass_on(transport, client, b"")
            return
        if door.http2:
            transport.owner = Greeting(porch, transport, client)
        else:
            transport.owner = H1DownConnection(porch, transport, client)
        transport.start()

    def _await_header(self, announcers: NetworkSet, sock: socket.socket, client: Client) -> None:
        """Read a PROXY header first, from those who may send one."""
        porch = self.porch
        mode = porch.door.announcing
        trusted = may_announce(announcers, client.address)
        if not trusted and mode == STRICT:
            porch.tally.refused_headers += 1
            sock.close()
            return
        transport = PlainTransport(porch.reactor, sock, None)
        limit_ms = porch.door.timeouts.request_head_ms
        transport.owner = Announcement(porch.reactor, porch.tally, self, transport, client, limit_ms, trusted and mode != NOTE)
        transport.start()

    def _pass_on(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        """Carry a connection as it is, once its plan can choose."""
        porch = self.porch
        if porch.door.inspects < 0:
            RawDown(porch, transport, client).begin(early)
            return
        inspection = Inspection(porch, transport, client)
        transport.owner = inspection
        if early:
            inspection.on_data(early)

    def admit(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        porch = self.porch
        door = porch.door
        if door.tls is not None:
            client.scheme = b"https"
            if door.tls.demand is None:
                self.secure(transport, client, early)
                return
            asking = Asking(porch, self, transport, client)
            transport.owner = asking
            if early:
                asking.on_data(early)
            return
        client.scheme = b"http"
        if door.raw:
            self._pass_on(transport, client, early)
            return
        owner: Owner
        if door.http2:
            owner = Greeting(porch, transport, client)
        else:
            owner = H1DownConnection(porch, transport, client)
        transport.owner = owner
        if early:
            owner.on_data(early)

    def secure(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        porch = self.porch
        choice = porch.door.tls
        if choice is None:
            transport.abort()  # a reload took TLS away meanwhile
            return
        secure = TlsTransport(porch.reactor, transport.sock, None, choice.base, True, None)
        secure.owner = Greeting(porch, secure, client)
        secure.watches_hello = choice.is_validated()
        secure.take_over(transport, early)


class Greeting(Owner, Timed):
    """A connection whose protocol is not known yet."""

    def __init__(self, porch: Porch, transport: Transport, client: Client) -> None:
        self.porch = porch
        self.transport = transport
        self.client = client
        self.deadline = Deadline(self)
        self._seen = b""
        porch.tally.connections += 1
        timeouts = porch.door.timeouts
        limit = timeouts.tls_handshake_ms if porch.door.tls is not None else timeouts.request_head_ms
        porch.reactor.timers.arm(self.deadline, porch.reactor.now_ms + limit)

    def on_secured(self) -> None:
        transport = self.transport
        assert isinstance(transport, TlsTransport)
        client = self.client
        tls = transport.tls
        if isinstance(tls, AskedObject):
            client.sni = tls.asked_name.encode("ascii", "replace")
            client.rules = tls.rules
        secured = Secured(tls)
        client.secured = secured
        client.tls_version = secured.version()
        client.tls_cipher = secured.cipher()
        if tls.context.verify_mode != ssl.CERT_NONE:
            client.certificate = peer_certificate(tls)
        client.tls_resumed = secured.is_resumed()
        session = tls.session
        client.tls_session = session.id if session is not None else b""
        protocol = secured.protocol()
        client.tls_protocol = protocol
        if protocol == ACME_TLS.encode():
            # The handshake was all the issuer wanted to see (RFC 8737 4).
            self._leave()
            transport.close()
            return
        if self.porch.door.raw:
            client.hello = True
            client.alpn = protocol
            self._leave()
            RawDown(self.porch, transport, client).begin(b"")
            return
        self._start(protocol == b"h2")

    def on_data(self, data: bytes) -> None:
        self._seen += data
        if _PREFACE_START.startswith(self._seen):
            return
        owner = self._start(self._seen.startswith(_PREFACE_START))
        if owner is not None:
            owner.on_data(self._seen)

    def _start(self, is_h2: bool) -> Owner | None:
        """Hand the connection to the object that speaks its protocol; None if that is not spoken here."""
        self._leave()
        owner: Owner
        if is_h2:
            owner = H2DownConnection(self.porch, self.transport, self.client)
        elif self.porch.door.http1:
            owner = H1DownConnection(self.porch, self.transport, self.client)
        else:
            self.transport.abort()
            return None
        self.transport.owner = owner
        return owner

    def _leave(self) -> None:
        self.deadline.drop()
        self.porch.tally.connections -= 1

    def on_end(self) -> None:
        self._leave()
        self.transport.close()

    def on_lost(self, detail: str) -> None:
        self._leave()
        porch = self.porch
        if porch.door.tls is None:
            return
        porch.tally.handshakes_failed += 1
        if "certificate" in detail and porch.door.tls.base.verify_mode != ssl.CERT_NONE:
            client = self.client.address.decode("ascii", "replace")
            porch.refusals.note(porch.reactor.now_ms, {"client": client, "listener": porch.door.name}, detail)

    def on_drained(self) -> None:
        """Nothing was written."""

    def on_stopping(self) -> None:
        self._leave()
        self.transport.abort()

    def on_deadline(self) -> None:
        self._leave()
        self.transport.abort()


def _client_of(sock: socket.socket, peer: tuple[str, int] | None, local: tuple[str, int] | None, scheme: bytes) -> Client:
    """Name both ends of a connection."""
    if peer is None:
        return Client(b"unix:", 0, b"unix:", 0, scheme)
    if local is None:
        asked = sock.getsockname()
        local = (asked[0], asked[1])
    return Client(address_text(peer[0]), peer[1], address_text(local[0]), local[1], scheme)
