"""Any bytes as a PROXY header. Permitted exits: a header, None, and `ProxyProtocolError`.

Invariants
  1. A header that is whole stays the same with more behind it, and was not there with a byte less.
  2. Addresses that came out are written and read again as the same.
"""

from fuzz.drive import main
from vestibule.http.proxy_protocol import SIGNATURE, V1, V2, ProxyProtocolError, parse_proxy_header, proxy_header

SEEDS = [
    b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    proxy_header(V2, b"192.0.2.1", 1, b"198.51.100.9", 2),
    proxy_header(V2, b"2001:db8::1", 1, b"::1", 2),
    SIGNATURE + b"\x20\x00\x00\x00",
    SIGNATURE + b"\x21\x11\x00\x11" + b"abcdabcd\0\x01\0\x02" + b"\x01\x00\x02h2",
]
WORDS = [
    SIGNATURE,
    b"PROXY ",
    b"TCP4",
    b"TCP6",
    b" ",
    b"\r\n",
    b"1.2.3.4",
    b"::1",
    b"80",
    b"\x21",
    b"\x11",
    b"\x00\x0c",
    b"\x03\x00\x04",
    b"\0",
]


def target(data: bytes) -> None:
    try:
        header = parse_proxy_header(data)
    except ProxyProtocolError:
        return
    if header is None:
        return
    again = parse_proxy_header(data[: header.size] + b"more")
    assert again is not None and (again.size, again.source, again.tlvs) == (header.size, header.source, header.tlvs)
    assert parse_proxy_header(data[: header.size - 1]) is None
    if header.known:
        ends = header.source, header.source_port, header.destination, header.destination_port
        for version in (V1, V2):
            written = parse_proxy_header(proxy_header(version, *ends))
            assert written is not None
            assert (written.source, written.source_port, written.destination, written.destination_port) == ends


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
