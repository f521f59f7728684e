"""Which bodies go past an exchange: large ones between plain ends, and nothing else.

Not here: that they arrive (`tests/plays/test_bodies.py`), what a relay does at its ends (`tests/net/test_relay.py`).
"""

from collections.abc import Iterator

import pytest

from tests.cast import Down, Slow, Up, answer_head, request
from tests.conformance.pair import Pair, plain
from vestibule.contract import DOWN, UP, Client, Plan
from vestibule.exchange import Exchange
from vestibule.net.transport import Transport
from vestibule.proxy.relays import BodyRelays

pytestmark = pytest.mark.interpreted_only  # who is told by a transport is a trait, and those cannot be derived from

SIZE = 200_000


class PlainDown(Down):
    """A client on a plain connection, which sends so many bytes without framing."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.port: Transport | None = pair.transport
        self.left = SIZE
        self.opens = True

    def relay_port(self) -> Transport | None:
        return self.port

    def relay_left(self) -> int:
        return self.left

    def relayed(self, count: int) -> None:
        self.left -= count

    def open_tunnel(self) -> bool:
        self._note("tunnel")
        return self.opens


class PlainUp(Up):
    """A server on a plain connection."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.port: Transport | None = pair.transport
        self.left = SIZE
        self.opens = True

    def relay_port(self) -> Transport | None:
        return self.port

    def relay_left(self) -> int:
        return self.left

    def open_tunnel(self) -> bool:
        self._note("tunnel")
        return self.opens


class Bridge:
    """An exchange between two plain connections, both heads sent."""

    def __init__(self) -> None:
        self.near, self.far = plain(), plain()
        self.relays = BodyRelays()
        self.down, self.up = PlainDown(self.near), PlainUp(self.far)
        client = Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http")
        self.ex = Exchange(self.down, client, Plan("p", Slow()), self.relays, 1000)

    def serve(self, up: bool = True) -> None:
        self.ex.on_request(request(b"POST", SIZE), False)
        if up:
            self.ex.connected(self.up, "u")
            self.ex.on_response(answer_head(), False)

    def turn(self) -> None:
        for _ in range(20):
            self.near.turn()
            self.far.turn()

    def is_relayed(self) -> bool:
        return self.near.transport.source_bypass is not None or self.near.transport.sink_bypass is not None

    def close(self) -> None:
        self.relays.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    made = Bridge()
    yield made
    made.close()


def test_a_large_body_goes_past_and_is_counted(bridge: Bridge) -> None:
    bridge.serve()
    assert bridge.relays.try_body(bridge.ex, DOWN) and bridge.is_relayed()
    bridge.near.far.send(bytes(SIZE))
    bridge.turn()
    assert bytes(bridge.far.far.got) == bytes(SIZE) and bridge.up.got == b""
    assert bridge.ex.request_bytes == SIZE and bridge.ex.request_ended and not bridge.is_relayed()


def test_a_small_rest_does_not(bridge: Bridge) -> None:
    bridge.serve()
    bridge.up.left = bridge.down.left = 65_535
    assert not bridge.relays.try_body(bridge.ex, DOWN) and not bridge.relays.try_body(bridge.ex, UP) and not bridge.is_relayed()


@pytest.mark.parametrize("side", [DOWN, UP])
@pytest.mark.parametrize("wrapped", [DOWN, UP])
def test_a_body_that_one_end_frames_or_encrypts_does_not(bridge: Bridge, side: int, wrapped: int) -> None:
    bridge.serve()
    if wrapped == DOWN:
        bridge.down.port = None
    else:
        bridge.up.port = None
    assert not bridge.relays.try_body(bridge.ex, side) and not bridge.is_relayed()


def test_one_end_is_in_one_relay_per_direction(bridge: Bridge) -> None:
    bridge.serve()
    assert bridge.relays.try_body(bridge.ex, DOWN)
    assert not bridge.relays.try_body(bridge.ex, DOWN)
    assert bridge.relays.try_body(bridge.ex, UP), "the other direction is free"
    bridge.relays.stop(bridge.ex)
    assert not bridge.is_relayed()
    bridge.relays.stop(bridge.ex)


def test_nothing_goes_past_before_there_are_two_sides(bridge: Bridge) -> None:
    bridge.serve(up=False)
    assert not bridge.relays.try_body(bridge.ex, DOWN) and not bridge.relays.open_tunnel(bridge.ex)
    assert not bridge.is_relayed() and "tunnel" not in bridge.down.calls


@pytest.mark.parametrize(("up_opens", "down_opens"), [(True, True), (True, False), (False, True)])
def test_a_tunnel_is_open_when_both_sides_are(bridge: Bridge, up_opens: bool, down_opens: bool) -> None:
    bridge.serve()
    bridge.up.opens, bridge.down.opens = up_opens, down_opens
    assert bridge.relays.open_tunnel(bridge.ex) is (up_opens and down_opens)
    assert ("tunnel" in bridge.down.calls) is up_opens


@pytest.mark.parametrize("owned", [True, False])
def test_a_source_that_ends_early_is_told_to_whom_it_belongs(bridge: Bridge, owned: bool) -> None:
    bridge.serve()
    bridge.relays.try_body(bridge.ex, DOWN)
    if not owned:
        bridge.near.transport.owner = None  # it has left
    bridge.near.far.send(b"some")
    bridge.near.far.finish()
    bridge.turn()
    assert bytes(bridge.far.far.got) == b"some" and not bridge.is_relayed()
    assert bridge.near.owner.count("end") == (1 if owned else 0)


def test_the_end_of_an_exchange_stops_what_goes_past_it(bridge: Bridge) -> None:
    bridge.serve()
    bridge.relays.try_body(bridge.ex, UP)
    bridge.ex.on_response_body(b"", True)
    assert bridge.is_relayed()
    bridge.ex.on_request_body(b"", True)
    assert bridge.ex.over and not bridge.is_relayed()
