"""Addresses are read exactly or not at all; `ipaddress` is the judge."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.address import Network, NetworkSet, bare_address, format_v4, format_v6, parse_address, parse_v4, parse_v6


@given(st.ip_addresses())
def test_every_address_is_read(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    value = parse_address(str(address).encode())
    wanted = int(address) if address.version == 6 else 0xFFFF << 32 | int(address)
    assert value == wanted


@given(st.ip_addresses(v=6))
def test_exploded_form_is_the_same(address: ipaddress.IPv6Address) -> None:
    assert parse_v6(address.exploded.encode()) == int(address)


@given(st.text(alphabet="0123456789abcf:.", max_size=24))
def test_agrees_with_the_library_on_nonsense(text: str) -> None:
    try:
        wanted = int(ipaddress.IPv6Address(text))
    except ValueError:
        wanted = -1
    assert parse_v6(text.encode()) == wanted


@pytest.mark.parametrize("text", [b"", b"1.2.3", b"1.2.3.4.5", b"01.2.3.4", b"256.1.1.1", b"1.2.3.+4", b"1.2.3.4 ", b"1.2.3.\xb2"])
def test_no_guess_at_a_quad(text: bytes) -> None:
    assert parse_v4(text) == -1


@pytest.mark.parametrize(
    "text", [b"1:2:3:4:5:6:7:8::", b"1:2:3:4::5:6:7:8", b"::1:2:3:4:5:6:7:8", b"1:2:3:4:5:6:7", b":::", b"1::2::3", b"1:", b":1"]
)
def test_no_guess_at_groups(text: bytes) -> None:
    assert parse_v6(text) == -1


def test_mapped_address_is_the_same_client() -> None:
    assert parse_address(b"::ffff:192.0.2.1") == parse_address(b"192.0.2.1")
    assert parse_address(b"fe80::1%eth0") == parse_address(b"fe80::1")


@pytest.mark.parametrize(
    ("node", "address"),
    [
        (b" 192.0.2.1 ", b"192.0.2.1"),
        (b"192.0.2.1:4711", b"192.0.2.1"),
        (b"2001:db8::1", b"2001:db8::1"),
        (b"[2001:db8::1]", b"2001:db8::1"),
        (b"[2001:db8::1]:443", b"2001:db8::1"),
        (b"unknown", b""),
        (b"_hidden", b""),
        (b"", b""),
        (b"192.0.2.1:0", b""),
        (b"192.0.2.1:x", b""),
        (b"192.0.2.1:", b""),
        (b"[2001:db8::1", b""),
        (b"[2001:db8::1]x", b""),
        (b"[192.0.2.1]", b""),
        (b"unix:", b""),
    ],
)
def test_bare_address(node: bytes, address: bytes) -> None:
    assert bare_address(node) == address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_network_holds_what_the_library_says(address: ipaddress.IPv4Address, bits: int) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    ours = Network(str(network).encode())
    for each in (address, network[0], network[-1], ipaddress.IPv4Address(int(address) ^ 1 << 31)):
        assert ours.has(parse_address(str(each).encode())) == (each in network)


def test_set_remembers_and_stays_right() -> None:
    networks = NetworkSet([Network(b"10.0.0.0/8"), Network(b"2001:db8::/32"), Network(b"192.0.2.7")])
    for _ in range(2):
        assert networks.has(b"10.255.0.1")
        assert networks.has(b"::ffff:10.0.0.1")
        assert networks.has(b"2001:db8:1::")
        assert networks.has(b"192.0.2.7")
        assert not networks.has(b"192.0.2.8")
        assert not networks.has(b"unix:")
        assert not networks.has(b"::10.0.0.1")


def test_memory_of_a_set_is_bounded() -> None:
    networks = NetworkSet([Network(b"10.0.0.0/8")])
    answers = [networks.has(b"10.0.%d.%d" % (i // 250, i % 250)) for i in range(5000)]
    assert all(answers)


@pytest.mark.parametrize("text", [b"", b"10.0.0.0/33", b"10.0.0.0/", b"10.0.0/8", b"::/129", b"example.org", b"10.0.0.0/08"])
def test_what_is_no_network_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Network(text)


@given(st.ip_addresses(v=4))
def test_an_address_of_ipv4_is_written_as_everybody_does(address: ipaddress.IPv4Address) -> None:
    assert format_v4(int(address)) == str(address).encode()


@given(st.ip_addresses(v=6))
def test_an_address_is_written_as_everybody_does(address: ipaddress.IPv6Address) -> None:
    assert format_v6(int(address)) == str(ipaddress.IPv6Address(int(address))).encode()


@pytest.mark.parametrize("text", [b"::", b"::1", b"1::", b"1:0:0:2::3", b"1:0:2:3:4:5:6:7", b"1:2:3:4:5:6:7:8", b"2001:db8::1:0:0:1"])
def test_zeros_are_left_out_once(text: bytes) -> None:
    assert format_v6(parse_v6(text)) == text
