"""The PROXY protocol: who a connection really comes from, said by the proxy in front of us, or by us to the server behind.

Facts (haproxy.org, proxy-protocol.txt)
  Version 1 is one line of at most 107 bytes, `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF. Version 2 begins with
  twelve bytes that can begin nothing else, then version and command, family, and the length of what follows: addresses, then
  TLVs. LOCAL (a health check of the proxy's own) and UNKNOWN say nothing: the connection's own addresses count. So HAProxy and
  nginx read other families, too, although the text would have them refused.
  A TLV of type 3 holds a CRC32C of the whole header, which a receiver must check where it is there.

Rules
  1. A header is whole or it is not there yet; what is not exactly a header is none, and nothing is guessed.
  2. Addresses come out as other addresses here are written: no leading zeros, IPv6 in lower case.
  3. Numbers are digits only.

Not here: who may send such a header (`proxy/entry.py`).
"""

from typing import Final

from vestibule.http.address import format_v4, format_v6, parse_v4, parse_v6
from vestibule.http.number import parse_decimal

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
V1: Final = 1
V2: Final = 2

# The longest line of version 1, CRLF included, and how much a header of version 2 may hold behind its first 16 bytes. Real ones
# with all TLVs stay under a kilobyte.
_LINE_MOST: Final = 107
_CR: Final = 13
_BODY_MOST: Final = 4_096

_LOCAL: Final = 0
_PROXY: Final = 1
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_UDP4: Final = 0x12
_UDP6: Final = 0x22
_UNIX: Final = (0x31, 0x32)
_UNIX_BYTES: Final = 216
TLV_ALPN: Final = 1
TLV_AUTHORITY: Final = 2
_TLV_CRC32C: Final = 3
TLV_UNIQUE_ID: Final = 5
_TLV_TLS: Final = 0x20
_TLS_VERSION: Final = 0x21
_TLS_NAME: Final = 0x22
_TLS_CIPHER: Final = 0x23

# 2.2.6: TLS is spoken; a certificate was shown on this connection; and in this session.
_TLS_SPOKEN: Final = 1
_TLS_SHOWN: Final = 6

# 2.2.5: what identifies a connection has 128 bytes at most.
_IDENTITY_MOST: Final = 128


class ProxyProtocolError(Exception):
    """What came is no PROXY header."""


class ProxyHeader:
    """A whole header: `size` bytes of what came. With `known` False it says nothing about addresses."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known = False
        self.source = b""
        self.source_port = 0
        self.destination = b""
        self.destination_port = 0
        self.tlvs: dict[int, bytes] = {}


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that `data` begins with, or None while it is not whole. Raises `ProxyProtocolError`."""
    if data.startswith(SIGNATURE):
        return _parse_v2(data)
    if data.startswith(b"PROXY "):
        return _parse_v1(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise ProxyProtocolError("neither version 1 nor 2")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    # The first LF, so that what is refused does not depend on the pieces it comes in.
    end = data.find(b"\n", 0, _LINE_MOST) - 1
    if end < 0 and len(data) < _LINE_MOST:
        return None
    if end < 0 or data[end] != _CR:
        raise ProxyProtocolError("a line without its end")
    header = ProxyHeader(end + 2)
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return header  # whatever follows must be ignored
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyProtocolError("not `PROXY TCP4|TCP6 source destination port port`")
    for at in (2, 3):
        value = parse_v4(words[at]) if words[1] == b"TCP4" else parse_v6(words[at])
        if value < 0:
            raise ProxyProtocolError("an address that is none")
        text = words[at] if words[1] == b"TCP4" else _v6_or_v4_text(value)
        if at == 2:
            header.source = text
        else:
            header.destination = text
    header.source_port = _port(words[4])
    header.destination_port = _port(words[5])
    header.known = True
    return header


def _port(text: bytes) -> int:
    value = parse_decimal(text)
    if not 0 <= value < 65_536:
        raise ProxyProtocolError("a port that is none")
    return value


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        if len(data) > 12 and data[12] >> 4 != 2:
            raise ProxyProtocolError("a version other than 2 behind the signature of version 2")
        return None
    command = data[12] & 15
    length = data[14] << 8 | data[15]
    if data[12] >> 4 != 2 or command > _PROXY:
        raise ProxyProtocolError("a version or command that does not exist")
    if length > _BODY_MOST:
        raise ProxyProtocolError(f"over {_BODY_MOST} bytes")
    if len(data) < 16 + length:
        return None
    header = ProxyHeader(16 + length)
    family = data[13]
    body = data[16 : header.size]
    if command == _LOCAL or family == 0:
        return header  # whatever follows must be ignored
    if family in _UNIX:
        _tlvs(header, data[: header.size], 16 + _UNIX_BYTES)
    elif family in (_TCP4, _UDP4, _TCP6, _UDP6):
        at = _addresses(header, body, 4 if family in (_TCP4, _UDP4) else 16)
        _tlvs(header, data[: header.size], 16 + at)
    return header


def _addresses(header: ProxyHeader, body: bytes, width: int) -> int:
    """Read both addresses and ports; return where they end."""
    end = 2 * width + 4
    if len(body) < end:
        raise ProxyProtocolError("shorter than its addresses")
    header.source = _address_text(body[:width])
    header.destination = _address_text(body[width : 2 * width])
    header.source_port = body[2 * width] << 8 | body[2 * width + 1]
    header.destination_port = body[2 * width + 2] << 8 | body[2 * width + 3]
    header.known = True
    return end


def _tlvs(header: ProxyHeader, whole: bytes, at: int) -> None:
    """Read what stands behind the addresses, to the last byte."""
    if at > len(whole):
        raise ProxyProtocolError("shorter than its addresses")
    while at < len(whole):
        if at + 3 > len(whole):
            raise ProxyProtocolError("a TLV cut short")
        kind = whole[at]
        length = whole[at + 1] << 8 | whole[at + 2]
        value = whole[at + 3 : at + 3 + length]
        if len(value) < length:
            raise ProxyProtocolError("a TLV longer than the header")
        if kind == _TLV_CRC32C:
            _check_crc(whole, at + 3, value)
        header.tlvs[kind] = value
        at += 3 + length


def _check_crc(whole: bytes, at: int, said: bytes) -> None:
    """The sum is of the whole header with the sum's own four bytes as zeros."""
    if len(said) != 4:
        raise ProxyProtocolError("a checksum that is not four bytes")
    value = said[0] << 24 | said[1] << 16 | said[2] << 8 | said[3]
    if crc32c(whole[:at] + b"\0\0\0\0" + whole[at + 4 :]) != value:
        raise ProxyProtocolError("the checksum does not hold")


def _crc_table() -> list[int]:
    table: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 if value & 1 else value >> 1
        table.append(value)
    return table


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum of bytes (RFC 3720 B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC_TABLE[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


# ---------------------------------------------------------------- addresses as text and bytes


def _address_text(raw: bytes) -> bytes:
    value = 0
    for byte in raw:
        value = value << 8 | byte
    return format_v4(value) if len(raw) == 4 else _v6_or_v4_text(value)


def _v6_or_v4_text(value: int) -> bytes:
    """Write an IPv6 address, and one that stands for an address of IPv4 as that."""
    return format_v4(value & 0xFFFFFFFF) if value >> 32 == 0xFFFF else format_v6(value)


# ---------------------------------------------------------------- writing


def proxy_header(
    version: int,
    source: bytes,
    source_port: int,
    destination: bytes,
    destination_port: int,
    datagrams: bool = False,
    more: bytes = b"",
    checked: bool = False,
) -> bytes:
    """Write the header that tells a server who is connected, or, of version 2 alone, who sends `datagrams`, TLVs (`tlv`) and a checksum.

    Addresses are as `Client` has them; where one of the two is none (a unix socket), the header says that nothing is known.
    """
    four = parse_v4(source)
    to_four = parse_v4(destination)
    if four >= 0 and to_four >= 0:
        if version == V1:
            return b"PROXY TCP4 %b %b %d %d\r\n" % (source, destination, source_port, destination_port)
        addresses = _raw(four, 4) + _raw(to_four, 4) + _raw(source_port, 2) + _raw(destination_port, 2)
        return _v2_bytes(_UDP4 if datagrams else _TCP4, addresses, more, checked)
    six = _as_v6(source, four)
    to_six = _as_v6(destination, to_four)
    if six < 0 or to_six < 0:
        return b"PROXY UNKNOWN\r\n" if version == V1 else SIGNATURE + b"\x20\0\0\0"
    if version == V1:
        return b"PROXY TCP6 %b %b %d %d\r\n" % (format_v6(six), format_v6(to_six), source_port, destination_port)
    addresses = _raw(six, 16) + _raw(to_six, 16) + _raw(source_port, 2) + _raw(destination_port, 2)
    return _v2_bytes(_UDP6 if datagrams else _TCP6, addresses, more, checked)


def tlv(kind: int, value: bytes) -> bytes:
    """Write what is told beside addresses (2.2); nothing where there is nothing to tell. What identifies has 128 bytes at most."""
    if kind == TLV_UNIQUE_ID:
        value = value[:_IDENTITY_MOST]
    return bytes([kind]) + _raw(len(value), 2) + value if value else b""


def tls_tlv(version: bytes, shown: bool, verified: int, name: bytes, cipher: bytes) -> bytes:
    """Write what is told of a client's TLS (2.2.6): its version, empty without TLS; whether a certificate was shown and what OpenSSL
    said of it, 0 being well; the common name in it and the cipher suite, empty where neither is told.
    """
    client = (_TLS_SPOKEN if version else 0) | (_TLS_SHOWN if shown else 0)
    value = bytes([client]) + _raw(verified, 4) + tlv(_TLS_VERSION, version) + tlv(_TLS_NAME, name) + tlv(_TLS_CIPHER, cipher)
    return tlv(_TLV_TLS, value)


def _as_v6(text: bytes, four: int) -> int:
    """Return an address as IPv6: one of IPv4 where the other end is not."""
    return 0xFFFF << 32 | four if four >= 0 else parse_v6(text)


def _v2_bytes(family: int, addresses: bytes, more: bytes, checked: bool) -> bytes:
    size = len(addresses) + len(more) + (7 if checked else 0)
    head = SIGNATURE + bytes([0x21, family]) + _raw(size, 2) + addresses
    if not checked:
        return head + more
    head += bytes([_TLV_CRC32C, 0, 4])
    return head + _raw(crc32c(head + b"\0\0\0\0" + more), 4) + more


def _raw(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")
