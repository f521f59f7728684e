"""IP addresses as they stand in fields and configurations, and networks of them.

Facts: a peer writes an address bare, in brackets, or with a port behind it (RFC 7239 6, and the habit
of X-Forwarded-For). An IPv4 client on a dual-stack socket shows as `::ffff:192.0.2.1` (RFC 4291 2.5.5.2).

Rules: an address is one number of 128 bits, IPv4 within the mapped range, so both spellings of one
client are one client. What is not exactly an address is none: -1, never a guess.

Not here: names and ports to connect to (`model/quantity.py`, `net/`).
"""

from typing import Final

_MAPPED: Final = 0xFFFF << 32
_DIGITS: Final = b"0123456789"
_HEX: Final = b"0123456789abcdefABCDEF"

# Clients whose membership is remembered, for each set of networks.
_KNOWN_MOST: Final = 4096


def parse_v4(text: bytes) -> int:
    """Return the value of a dotted quad without leading zeros (RFC 6943 3.1.1), or -1."""
    parts = text.split(b".")
    if len(parts) != 4:
        return -1
    value = 0
    for part in parts:
        octet = _small(part, 3)
        if octet < 0 or octet > 255:
            return -1
        value = value * 256 + octet
    return value


def _small(text: bytes, longest: int) -> int:
    """Return the value of a short decimal without leading zeros, or -1."""
    if not text or len(text) > longest or text.translate(None, _DIGITS) or (text[0] == 48 and len(text) > 1):
        return -1
    value = 0
    for c in text:
        value = value * 10 + c - 48
    return value


def parse_v6(text: bytes) -> int:
    """Return the value of an IPv6 address without zone (RFC 4291 2.2), or -1."""
    head, gap, tail = text.partition(b"::")
    before = _groups(head) if head else []
    after = _groups(tail) if tail else []
    if before is None or after is None:
        return -1
    count = len(before) + len(after)
    if count > 8 or (gap and count > 7) or (not gap and count != 8):
        return -1
    value = 0
    for group in before:
        value = value << 16 | group
    value <<= 16 * (8 - count)
    for group in after:
        value = value << 16 | group
    return value


def _groups(text: bytes) -> list[int] | None:
    """Read groups between colons; the last may be a dotted quad."""
    groups: list[int] = []
    parts = text.split(b":")
    last = len(parts) - 1
    for i in range(len(parts)):
        part = parts[i]
        if i == last and b"." in part:
            quad = parse_v4(part)
            if quad < 0:
                return None
            groups.append(quad >> 16)
            groups.append(quad & 0xFFFF)
            continue
        if not part or len(part) > 4 or part.translate(None, _HEX):
            return None
        value = 0
        for c in part:
            value = value * 16 + (c - 48 if c < 58 else (c | 32) - 87)
        groups.append(value)
    return groups


def parse_address(text: bytes) -> int:
    """Return an address of either family as one number of 128 bits, or -1. A zone (`%eth0`) is ignored."""
    if b":" not in text:
        value = parse_v4(text)
        return value if value < 0 else _MAPPED | value
    return parse_v6(text.partition(b"%")[0])


def format_v4(value: int) -> bytes:
    """Write an IPv4 address."""
    return b"%d.%d.%d.%d" % (value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255)


def format_v6(value: int) -> bytes:
    """Write an IPv6 address as RFC 5952 section 4 has it."""
    groups = [b"%x" % ((value >> shift) & 0xFFFF) for shift in range(112, -16, -16)]
    longest = 1
    begin = -1
    at = 0
    while at < 8:
        end = at
        while end < 8 and groups[end] == b"0":
            end += 1
        if end - at > longest:
            longest = end - at
            begin = at
        at = end + 1
    if begin < 0:
        return b":".join(groups)
    return b":".join(groups[:begin]) + b"::" + b":".join(groups[begin + longest :])


def bare_address(text: bytes) -> bytes:
    """Return the address in a forwarded node: without blanks, brackets and port; nothing if there is none in it.

    Takes `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
    """
    text = text.strip(b" \t")
    if text[:1] == b"[":
        end = text.find(b"]")
        if end < 0 or not _is_port(text[end + 1 :]):
            return b""
        text = text[1:end]
        return text if parse_v6(text) >= 0 else b""
    if text.count(b":") == 1:
        colon = text.find(b":")
        if not _is_port(text[colon:]):
            return b""
        text = text[:colon]
    return text if parse_address(text) >= 0 else b""


def _is_port(text: bytes) -> bool:
    return not text or (text[:1] == b":" and 0 < _small(text[1:], 5) < 65536)


class Network:
    """All addresses that share their first bits.

    Made from `10.0.0.0/8`, `2001:db8::/32` or a single address. Raises ValueError for anything else.
    """

    def __init__(self, text: bytes) -> None:
        address, slash, bits = text.partition(b"/")
        value = parse_address(address)
        width = 128 if b":" in address else 32
        length = _small(bits, 3) if slash else width
        if value < 0 or length < 0 or length > width:
            raise ValueError(f"not an address or network: {text!r}")
        self.shift = width - length
        self.prefix = value >> self.shift

    def has(self, value: int) -> bool:
        """Tell whether the address of this value (`parse_address`) lies within."""
        return value >> self.shift == self.prefix


class NetworkSet:
    """Several networks. Answers are remembered by the spelling of the address, since clients come again."""

    def __init__(self, networks: list[Network]) -> None:
        self._networks = networks
        self._known: dict[bytes, bool] = {}

    def has(self, address: bytes) -> bool:
        """Tell whether the address lies in one of the networks; what is no address lies in none."""
        known = self._known.get(address)
        if known is not None:
            return known
        value = parse_address(address)
        inside = False
        if value >= 0:
            for network in self._networks:
                if network.has(value):
                    inside = True
                    break
        if len(self._known) >= _KNOWN_MOST:
            self._known.clear()
        self._known[address] = inside
        return inside
