"""Which bodies bypass the streams, and how tunnels begin.

Facts: a relay between plain sockets saves about half the CPU of a large body and costs a pipe and a few calls to set up; under
64 KiB it does not pay. A WebSocket carries a few bytes now and then: two pipes for each would cost
megabytes for nothing, so tunnels pass through the streams as opaque bytes.

Not here: moving (`net/relay.py`), what a stream may lend (`Stream.relay_port`).
"""

from typing import Final

from vestibule.contract import UP, Relays
from vestibule.exchange import Exchange
from vestibule.net.relay import DecryptingRelay, Pipes, Relay, SplicingRelay, Watcher
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import PlainTransport

# Below this the ordinary path is cheaper.
_LEAST: Final = 65_536


class _Carrier(Watcher):
    """The relay of one body, and the exchange it works for."""

    def __init__(self, ex: Exchange, side: int) -> None:
        self.ex = ex
        self.side = side

    def on_moved(self, relay: Relay, count: int) -> None:
        self.ex.on_relayed(self.side, count, relay.left == 0)

    def on_source_end(self, relay: Relay) -> None:
        owner = relay.source.owner
        if owner is not None:
            owner.on_end()


class BodyRelays(Relays):
    """All relays of one worker."""

    def __init__(self) -> None:
        self.pipes = Pipes()
        self._active: dict[Exchange, list[Relay]] = {}

    def try_body(self, ex: Exchange, side: int) -> bool:
        up = ex.up
        down = ex.down
        if up is None or down is None:
            return False
        left = up.relay_left() if side == UP else down.relay_left()
        if left < _LEAST:
            return False
        source = up.relay_port() if side == UP else down.relay_port()
        sink = down.relay_port() if side == UP else up.relay_port()
        if source is None or not isinstance(sink, PlainTransport) or source.source_bypass is not None or sink.sink_bypass is not None:
            return False
        carrier = _Carrier(ex, side)
        relay: Relay
        if isinstance(source, PlainTransport):
            relay = SplicingRelay(source, sink, left, carrier, self.pipes)
        else:
            assert isinstance(source, TlsTransport)  # there is no other
            relay = DecryptingRelay(source, sink, left, carrier)
        self._active.setdefault(ex, []).append(relay)
        relay.begin()
        return True

    def open_tunnel(self, ex: Exchange) -> bool:
        up = ex.up
        down = ex.down
        if up is None or down is None:
            return False
        return up.open_tunnel() and down.open_tunnel()

    def stop(self, ex: Exchange) -> None:
        if not self._active:
            return
        for relay in self._active.pop(ex, []):
            relay.stop()

    def close(self) -> None:
        self.pipes.close()
