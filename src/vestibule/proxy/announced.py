"""The PROXY header in front of a connection: the proxy before us says who its client is.

Rules
  1. STRICT: only a header from a network that is trusted for it is read; anybody else's connection is closed without an answer, and
     so is one that begins with anything but a whole header. Both are counted.
  2. What the header says is what the connection is from here on: logs, fields, access rules and hashing know no other address.
     OPEN: it is that for those who are trusted, and known beside the connection's own address for the others. NOTE: for all.
  3. A header that says nothing (LOCAL, UNKNOWN) leaves the connection's own addresses.

Not here: the form of a header (`http/proxy_protocol.py`), what comes after it (`entry.py`).
"""

from mypy_extensions import trait

from vestibule.contract import Client
from vestibule.http.address import NetworkSet
from vestibule.http.proxy_protocol import ProxyProtocolError, parse_proxy_header
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import Owner, PlainTransport
from vestibule.proxy.door import Tally

# Who opened a unix socket was let in by its permissions.
_UNIX = b"unix:"


@trait
class Doorman:
    """Who goes on with a connection once it is known whose it is."""

    def admit(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        """Speak with the client. `early` came behind the header, or is nothing."""
        raise NotImplementedError

    def secure(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        """Speak TLS with the client. `early` is its hello, as far as it came."""
        raise NotImplementedError


class Announcement(Owner, Timed):
    """A connection that has not said yet whose it is; `counts` says that what it says is believed."""

    def __init__(
        self, reactor: Reactor, tally: Tally, doorman: Doorman, transport: PlainTransport, client: Client, limit_ms: int, counts: bool
    ) -> None:
        self._counts = counts
        self._tally = tally
        self._doorman = doorman
        self._transport = transport
        self._client = client
        self._seen = b""
        self._deadline = Deadline(self)
        tally.connections += 1
        reactor.timers.arm(self._deadline, reactor.now_ms + limit_ms)

    def on_data(self, data: bytes) -> None:
        self._seen += data
        try:
            header = parse_proxy_header(self._seen)
        except ProxyProtocolError:
            self.refuse()
            return
        if header is None:
            return
        client = self._client
        if header.known:
            client.announced = header
        if header.known and self._counts:
            client.address = header.source
            client.port = header.source_port
            client.local_address = header.destination
            client.local_port = header.destination_port
        self._leave()
        self._doorman.admit(self._transport, client, self._seen[header.size :])

    def refuse(self) -> None:
        """Close without an answer."""
        self._tally.refused_headers += 1
        self._leave()
        self._transport.abort()

    def _leave(self) -> None:
        self._deadline.drop()
        self._tally.connections -= 1

    def on_end(self) -> None:
        self.refuse()

    def on_lost(self, detail: str) -> None:
        self._leave()

    def on_drained(self) -> None:
        """Nothing was written."""

    def on_secured(self) -> None:
        """TLS comes after the header."""

    def on_stopping(self) -> None:
        self._leave()
        self._transport.abort()

    def on_deadline(self) -> None:
        self.refuse()


def may_announce(trusted: NetworkSet, address: bytes) -> bool:
    """Tell whether a peer of this address may say whose a connection is."""
    return address == _UNIX or trusted.has(address)
