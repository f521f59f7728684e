"""PROXY headers: whose a connection is from then on, and who is closed without an answer."""

import pytest

from tests.proxy.gate import REQUEST, gate
from vestibule.http.address import Network, NetworkSet
from vestibule.http.proxy_protocol import V1, V2, proxy_header
from vestibule.proxy.announced import may_announce

ANYBODY = NetworkSet([Network(b"127.0.0.0/8")])
KNOWN = proxy_header(V1, b"198.51.100.7", 4711, b"198.51.100.1", 443)


@pytest.mark.parametrize("version", [V1, V2])
def test_the_header_says_whose_a_connection_is_however_it_comes(version: int) -> None:
    header = proxy_header(version, b"198.51.100.7", 4711, b"198.51.100.1", 443)
    for at in range(1, len(header), 7):
        with gate(announcers=ANYBODY) as one:
            far = one.connect()
            far.send(header[:at])
            one.turn(2)
            assert not one.says.asked and one.tally.connections == 1
            far.send(header[at:] + REQUEST)
            one.turn(6)
            client = one.says.asked[0].client
            assert (client.address, client.port, client.local_address, client.local_port) == (b"198.51.100.7", 4711, b"198.51.100.1", 443)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", proxy_header(V2, b"unix:", 0, b"unix:", 0)])
def test_a_header_that_says_nothing_leaves_the_addresses(header: bytes) -> None:
    with gate(announcers=ANYBODY) as one:
        far = one.connect()
        far.send(header + REQUEST)
        one.turn(6)
        client = one.says.asked[0].client
        assert (client.address, client.port) == (b"127.0.0.1", far.sock.getsockname()[1])


@pytest.mark.parametrize("how", ["request", "ends", "waits"])
def test_what_begins_otherwise_is_closed_without_an_answer_and_counted(how: str) -> None:
    with gate(announcers=ANYBODY, request_head_ms=2_000) as one:
        far = one.connect()
        if how == "request":
            far.send(REQUEST)
        else:
            far.send(KNOWN[:9])
        if how == "ends":
            far.finish()
        if how == "waits":
            one.pass_time(2)
        one.turn(6)
        assert (far.ended or far.broken) and not far.got and not one.says.asked
        assert one.tally.refused_headers == 1 and one.tally.connections == 0


@pytest.mark.parametrize("how", ["resets", "stops"])
def test_a_connection_that_goes_before_it_has_said_anything_is_no_refusal(how: str) -> None:
    with gate(announcers=ANYBODY) as one:
        far = one.connect()
        one.turn()
        if how == "resets":
            far.reset()
            one.turn()
        else:
            one.stop()
        assert one.tally.connections == 0 and one.tally.refused_headers == 0


@pytest.mark.parametrize(("address", "may"), [(b"127.0.0.9", True), (b"192.0.2.1", False), (b"unix:", True)])
def test_who_may_say_whose_a_connection_is(address: bytes, may: bool) -> None:
    assert may_announce(ANYBODY, address) is may
