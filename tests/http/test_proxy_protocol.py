"""The PROXY protocol: every header whole and at every split, what is refused, and what we write read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.proxy_protocol import (
    SIGNATURE,
    V1,
    V2,
    ProxyHeader,
    ProxyProtocolError,
    crc32c,
    parse_proxy_header,
    proxy_header,
)

FOUR = bytes([192, 0, 2, 1, 198, 51, 100, 9]) + b"\xdc\x04\x01\xbb"
SIX = bytes.fromhex("20010db8000000000000000000000001") + bytes.fromhex("20010db80001000000000000000000ff") + b"\xdc\x04\x01\xbb"


def v2(body: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_sum(body: bytes) -> bytes:
    """Return a header whose last TLV is its right checksum."""
    empty = v2(body + tlv(3, b"\0\0\0\0"))
    return empty[:-4] + crc32c(empty).to_bytes(4, "big")


def ends(header: ProxyHeader) -> tuple[bytes, int, bytes, int]:
    return header.source, header.source_port, header.destination, header.destination_port


KNOWN = {
    "v1 of IPv4": (b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n", (b"192.0.2.1", 56324, b"198.51.100.9", 443)),
    "v1 of IPv4 within IPv6": (b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n", (b"192.0.2.1", 1, b"2001:db8::1", 2)),
    "v1 of IPv6": (b"PROXY TCP6 2001:DB8::1 2001:db8:1::ff 56324 443\r\n", (b"2001:db8::1", 56324, b"2001:db8:1::ff", 443)),
    "v2 of IPv4": (v2(FOUR), (b"192.0.2.1", 56324, b"198.51.100.9", 443)),
    "v2 of IPv6": (v2(SIX, 0x21), (b"2001:db8::1", 56324, b"2001:db8:1::ff", 443)),
    "v2 of datagrams": (v2(FOUR, 0x12), (b"192.0.2.1", 56324, b"198.51.100.9", 443)),
    "v2 with TLVs": (v2(FOUR + tlv(1, b"h2") + tlv(2, b"a.example") + tlv(4, b"")), (b"192.0.2.1", 56324, b"198.51.100.9", 443)),
    "v2 with its checksum": (with_sum(FOUR + tlv(1, b"h2")), (b"192.0.2.1", 56324, b"198.51.100.9", 443)),
}

UNKNOWN = {
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN and more": b"PROXY UNKNOWN ffff::1 what ever\r\n",
    "v2 LOCAL": v2(b"", 0, 0x20),
    "v2 LOCAL with addresses": v2(FOUR, 0x11, 0x20),
    "v2 without a family": v2(b"junk!", 0),
    "v2 without a family, of a stream": v2(b"", 1),
    "v2 with family 4": v2(FOUR, 0x41),
    "v2 with transport 3": v2(FOUR, 0x13),
    "v2 of unix sockets": v2(b"/a".ljust(108, b"\0") * 2, 0x31),
}

BAD = {
    "another protocol": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x00\xff",
    "v1 in lower case": b"proxy TCP4 192.0.2.1 198.51.100.9 1 2\r\n",
    "v1 of UDP": b"PROXY UDP4 192.0.2.1 198.51.100.9 1 2\r\n",
    "v1 ended by LF": b"PROXY TCP4 192.0.2.1 198.51.100.9 1 2\n",
    "v1 too long": b"PROXY TCP6 " + b"f" * 100,
    "v1 with a word too few": b"PROXY TCP4 192.0.2.1 198.51.100.9 1\r\n",
    "v1 with a word too many": b"PROXY TCP4 192.0.2.1 198.51.100.9 1 2 3\r\n",
    "v1 with two blanks": b"PROXY TCP4  192.0.2.1 198.51.100.9 1 2\r\n",
    "v1 with a leading zero": b"PROXY TCP4 192.0.2.01 198.51.100.9 1 2\r\n",
    "v1 of IPv6 with an IPv4 address": b"PROXY TCP6 192.0.2.1 198.51.100.9 1 2\r\n",
    "v1 with port 65536": b"PROXY TCP4 192.0.2.1 198.51.100.9 65536 2\r\n",
    "v1 with port 01": b"PROXY TCP4 192.0.2.1 198.51.100.9 01 2\r\n",
    "v1 with port -1": b"PROXY TCP4 192.0.2.1 198.51.100.9 -1 2\r\n",
    "v2 with version 1": v2(FOUR, 0x11, 0x11),
    "v2 with command 2": v2(FOUR, 0x11, 0x22),
    "v2 shorter than IPv4": v2(FOUR[:11]),
    "v2 shorter than IPv6": v2(FOUR, 0x21),
    "v2 shorter than unix": v2(b"/a", 0x31),
    "v2 with a TLV cut short": v2(FOUR + b"\x01\x00"),
    "v1 with a bare LF before its end": b"PROXY UNKNOWN a\nb\r\n",
    "v2 with a TLV too long": v2(FOUR + b"\x01\x00\x05h2"),
    "v2 with a wrong checksum": v2(FOUR + tlv(3, b"\0\0\0\0")),
    "v2 with a checksum of three bytes": v2(FOUR + tlv(3, b"\0\0\0")),
    "v2 too long": SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("name", KNOWN)
def test_addresses(name: str) -> None:
    data, expected = KNOWN[name]
    header = parse_proxy_header(data + b"rest")
    assert header is not None and header.known
    assert (header.size, ends(header)) == (len(data), expected)


@pytest.mark.parametrize("name", UNKNOWN)
def test_headers_that_say_nothing(name: str) -> None:
    data = UNKNOWN[name]
    header = parse_proxy_header(data + b"rest")
    assert header is not None and not header.known
    assert header.size == len(data)


@pytest.mark.parametrize("data", [pair[0] for pair in KNOWN.values()] + list(UNKNOWN.values()))
def test_a_header_cut_anywhere_is_not_there_yet(data: bytes) -> None:
    assert [at for at in range(len(data)) if parse_proxy_header(data[:at]) is not None] == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_is_refused(name: str) -> None:
    with pytest.raises(ProxyProtocolError):
        parse_proxy_header(BAD[name])


def test_tlvs_are_kept() -> None:
    header = parse_proxy_header(KNOWN["v2 with TLVs"][0])
    assert header is not None
    assert header.tlvs == {1: b"h2", 2: b"a.example", 4: b""}


def test_checksum_of_the_standard() -> None:
    """RFC 3720 B.4: 32 bytes of zeros."""
    assert crc32c(b"\0" * 32) == 0x8A9136AA


PORTS = st.integers(0, 65_535)
V4 = st.ip_addresses(v=4).map(lambda address: str(address).encode())
V6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(lambda address: str(address).encode())


@given(st.sampled_from((V1, V2)), st.one_of(st.tuples(V4, V4), st.tuples(V6, V6)), PORTS, PORTS)
def test_what_we_write_is_read_again(version: int, pair: tuple[bytes, bytes], port: int, to_port: int) -> None:
    data = proxy_header(version, pair[0], port, pair[1], to_port)
    header = parse_proxy_header(data)
    assert header is not None
    assert (header.size, ends(header)) == (len(data), (pair[0], port, pair[1], to_port))


@given(st.one_of(st.tuples(V4, V4), st.tuples(V6, V6)), PORTS, PORTS)
def test_datagrams_have_a_family_of_their_own(pair: tuple[bytes, bytes], port: int, to_port: int) -> None:
    data = proxy_header(V2, pair[0], port, pair[1], to_port, datagrams=True)
    assert data[13] == (0x22 if b":" in pair[0] else 0x12)
    header = parse_proxy_header(data)
    assert header is not None
    assert (header.size, ends(header)) == (len(data), (pair[0], port, pair[1], to_port))


@pytest.mark.parametrize("version", [V1, V2])
def test_mixed_families_are_both_ipv6(version: int) -> None:
    header = parse_proxy_header(proxy_header(version, b"192.0.2.1", 1, b"2001:db8::1", 2))
    assert header is not None and header.known
    assert header.destination == b"2001:db8::1"
    assert header.source in (b"192.0.2.1", b"::ffff:c000:201")


@pytest.mark.parametrize("version", [V1, V2])
def test_a_unix_socket_says_nothing(version: int) -> None:
    header = parse_proxy_header(proxy_header(version, b"unix:", 0, b"unix:", 0))
    assert header is not None and not header.known


@pytest.mark.parametrize("size", [13, 14, 15])
def test_a_version_that_does_not_exist_is_refused_as_soon_as_it_is_seen(size: int) -> None:
    with pytest.raises(ProxyProtocolError, match="version other than 2"):
        parse_proxy_header((SIGNATURE + b"\x31\x11\x00")[:size])
