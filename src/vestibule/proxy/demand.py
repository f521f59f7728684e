"""A connection whose client may ask for a name that has no certificate yet: its hello is read first, and it waits.

Facts: a client waits for the answer to its hello for as long as a page may take to come, some ten seconds at least. An order takes
about as long. A browser that is shown a certificate it does not trust shows a warning instead.

Rules
  1. Only listeners with hosts on demand begin so; a name that is known goes on at once.
  2. The hello is looked at and handed on whole. While it waits, nothing of the connection is in TLS, so it costs a socket and the
     hello.
  3. It waits until the certificate is here, or is refused, or `timeouts.tls_handshake` is over. An issuer that looks at a challenge
     never waits.

Not here: which names (`net/demand.py`), reading a hello (`http/client_hello.py`).
"""

from typing import Final

from vestibule.contract import Client
from vestibule.http.client_hello import FOUND, HELLO_MOST, NEED, ClientHello
from vestibule.net.demand import Demand, Waiter
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls import ACME_TLS
from vestibule.net.transport import Owner, PlainTransport
from vestibule.proxy.announced import Doorman
from vestibule.proxy.door import Porch

_ACME_TLS: Final = ACME_TLS.encode("ascii")


class Asking(Owner, Waiter, Timed):
    """A connection that has not said yet which name it asks for, or waits for the certificate of that name."""

    def __init__(self, porch: Porch, doorman: Doorman, transport: PlainTransport, client: Client) -> None:
        self.porch = porch
        self._doorman = doorman
        self._transport = transport
        self._client = client
        self._seen = b""
        self._hello = ClientHello()
        self._name = ""  # while it waits
        self._demand: Demand | None = None  # where it waits; a reload may change the door's
        self._deadline = Deadline(self)
        porch.tally.connections += 1
        porch.reactor.timers.arm(self._deadline, porch.reactor.now_ms + porch.door.timeouts.tls_handshake_ms)

    def on_data(self, data: bytes) -> None:
        self._seen += data
        if self._name:
            # Nobody says more than a hello before the answer to it.
            if len(self._seen) > HELLO_MOST:
                self._end()
            return
        hello = self._hello
        found = hello.read(self._seen)
        if found == NEED:
            return
        choice = self.porch.door.tls
        if found != FOUND or choice is None or _ACME_TLS in hello.protocols:
            self._go_on()
            return
        name = hello.name.decode("ascii", "replace").rstrip(".")
        demand = choice.lacking(name)
        if demand is None or not demand.wait(name, self, self.porch.reactor.now_ms):
            self._go_on()
            return
        self._name = name
        self._demand = demand

    def on_answer(self) -> None:
        self._name = ""
        self._go_on()

    def _go_on(self) -> None:
        """Speak TLS. Where there is no certificate, the handshake is refused in its own words."""
        self._leave()
        self._doorman.secure(self._transport, self._client, self._seen)

    def _leave(self) -> None:
        self._deadline.drop()
        self.porch.tally.connections -= 1
        demand = self._demand
        if self._name and demand is not None:
            demand.leave(self._name, self)
        self._name = ""

    def _end(self) -> None:
        self._leave()
        self.porch.tally.handshakes_failed += 1
        self._transport.abort()

    def on_end(self) -> None:
        self._end()

    def on_lost(self, detail: str) -> None:
        self._leave()
        self.porch.tally.handshakes_failed += 1

    def on_drained(self) -> None:
        """Nothing was written."""

    def on_secured(self) -> None:
        """TLS comes afterwards."""

    def on_stopping(self) -> None:
        self._leave()
        self._transport.abort()

    def on_deadline(self) -> None:
        self._end()
