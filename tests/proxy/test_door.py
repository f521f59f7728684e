"""What all connections of a listener share, besides plans, which plays are about."""

import pytest

from tests.conformance.pair import Far, tcp_pair
from tests.proxy.yard import Yard
from vestibule.contract import Client, Plan, Relays, Timeouts
from vestibule.fault import UPSTREAM, ProtocolError
from vestibule.http.h1 import HeadLimits
from vestibule.net.transport import PlainTransport
from vestibule.plan.sources.fixed import Respond
from vestibule.proxy.door import Door, Porch, Refusals, SessionLimits, Tally, response_table
from vestibule.proxy.down_h1 import H1DownConnection


class Heard(Refusals):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, str]]] = []

    def tell(self, text: str, details: dict[str, str]) -> None:
        self.lines.append((text, details))


def test_refused_clients_are_told_once_a_second() -> None:
    heard = Heard()
    for now in (0, 1, 999, 1000, 1500):
        heard.note(now, {"client": str(now)}, "certificate revoked")
    assert heard.lines == [
        ("a client was refused at its TLS handshake: certificate revoked", {"client": "0"}),
        ("a client was refused at its TLS handshake: certificate revoked", {"client": "1000", "held_back": "2"}),
    ]


def test_nobody_need_listen() -> None:
    Refusals().note(0, {}, "certificate revoked")


def door(fields: int) -> Door:
    return Door("d", Plan("p", Respond(204, [], [], None)), HeadLimits(fields=fields), Timeouts())


def block(count: int) -> bytes:
    return b"Host: a\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(count - 1))


def test_another_door_serves_from_the_next_request_on_and_its_limits_hold() -> None:
    yard = Yard()
    porch = Porch(yard.reactor, door(10), Relays(), Tally())
    known = porch.request_table
    known.find(block(10))
    same, fewer = door(10), door(5)
    porch.change_door(same)
    assert porch.door is same and porch.request_table is known, "what was parsed stays known"
    porch.change_door(fewer)
    assert porch.door is fewer
    with pytest.raises(ProtocolError):
        porch.request_table.find(block(10))
    yard.close()


def test_a_connection_that_waits_reads_its_next_request_by_the_limits_of_now() -> None:
    yard = Yard()
    near, far = tcp_pair(False)
    transport = PlainTransport(yard.reactor, near, None)
    porch = Porch(yard.reactor, door(10), Relays(), Tally())
    transport.owner = H1DownConnection(porch, transport, Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"))
    transport.start()
    client = Far(far)
    for most, status in ((10, b"204"), (5, b"431")):
        porch.change_door(door(most))
        client.send(b"GET / HTTP/1.1\r\n" + block(10) + b"\r\n")
        client.got.clear()
        for _ in range(20):
            yard.reactor.turn(1)
            client.work()
        assert client.got[9:12] == status
    transport.abort()
    client.close()
    yard.reactor.turn(1)
    yard.close()


def test_a_door_for_datagrams_says_what_holds_for_their_sessions() -> None:
    limits = SessionLimits(idle_ms=1_000)
    assert (limits.idle_ms, limits.most, limits.requests, limits.responses) == (1_000, 4_096, -1, -1)
    assert door(10).sessions is None


def test_the_heads_of_answers_may_have_two_hundred_lines() -> None:
    table = response_table()
    table.find(block(200))
    with pytest.raises(ProtocolError) as caught:
        table.find(block(201))
    assert caught.value.kind.side == UPSTREAM
