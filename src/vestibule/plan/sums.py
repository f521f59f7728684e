"""Sums of texts that are no proof of anything: they tell texts apart and share them out.

Facts: djb2 and sdbm are sums modulo 2**32; CRC-32C is that of RFC 3720 B.4; xxHash is that of its specification, version 0.1.1. WT6 is
HAProxy's own, as is the last factor of what is spread. Sums of 64 bits are written with a sign.

Not here: digests (`texts.py`); which there are (`model/vocabulary.py`).
"""

import zlib
from typing import Final

from vestibule.exchange import Exchange
from vestibule.http.proxy_protocol import crc32c
from vestibule.plan.expr import Const, ConstNumber, Node, NumberNode

_SUMS: Final = ("crc32", "crc32c", "djb2", "sdbm", "wt6", "murmur2")
_XXHASHES: Final = ("xxh32", "xxh64", "xxh3")
_WORD: Final = 0xFFFFFFFF
_LONG: Final = 0xFFFFFFFFFFFFFFFF

_P32: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)
_P64: Final = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)

# The secret of XXH3, as its specification has it.
_SECRET: Final = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
    "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb17"
    "0ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def _sum_of(name: str, text: bytes) -> int:
    """Return a sum of 32 bits."""
    if name == "crc32":
        return zlib.crc32(text)
    if name == "crc32c":
        return crc32c(text)
    if name == "murmur2":
        return _murmur2(text)
    if name == "wt6":
        return _wt6(text)
    total = 5381 if name == "djb2" else 0
    factor = 33 if name == "djb2" else 65_599
    for c in text:
        total = (total * factor + c) & _WORD
    return total


def _murmur2(text: bytes) -> int:
    """Return MurmurHash2 of a text, which shares values out evenly."""
    factor = 0x5BD1E995
    total = len(text)
    at = 0
    while at + 4 <= len(text):
        word = int.from_bytes(text[at : at + 4], "little") * factor & _WORD
        word = (word ^ word >> 24) * factor & _WORD
        total = total * factor & _WORD ^ word
        at += 4
    if at < len(text):
        total = (total ^ int.from_bytes(text[at:], "little")) * factor & _WORD
    total = (total ^ total >> 13) * factor & _WORD
    return total ^ total >> 15


def _wt6(text: bytes) -> int:
    """Return WT6 of a text: two words that each byte turns by as much as the bytes before it say."""
    first, second = 0xA53C965A, 0x5CA6953A
    by_first, by_second = 6, 18
    for c in text:
        first = ~(first ^ c) & _WORD
        second = ~(second + c) & _WORD
        first, second = _turned(second, by_first, 32), _turned(first, by_second, 32)
        steps = (first >> 16 ^ second) & 0xFFFF
        by_first, by_second = steps & 31, steps >> 11
    return first ^ second


def _turned(value: int, by: int, bits: int) -> int:
    """Return a value whose bits are turned to the left."""
    return (value << by | value >> (bits - by)) & ((1 << bits) - 1)


def _spread(value: int) -> int:
    """Return a number of 32 bits mixed so that each bit depends on all."""
    value = (value + 0x7ED55D16 + (value << 12)) & _WORD
    value = value ^ 0xC761C23C ^ value >> 19
    value = (value + 0x165667B1 + (value << 5)) & _WORD
    value = (value + 0xD3A2646C ^ value << 9) & _WORD
    value = (value + 0xFD7046C5 + (value << 3)) & _WORD
    value = value ^ 0xB55A4F09 ^ value >> 16
    return value * 0xC0000001 & _WORD


# ---- xxHash


def _xxh32(text: bytes, seed: int) -> int:
    p1, p2, p3, p4, p5 = _P32
    at = 0
    if len(text) >= 16:
        lanes = [seed + p1 + p2 & _WORD, seed + p2 & _WORD, seed & _WORD, seed - p1 & _WORD]
        while at + 16 <= len(text):
            for lane in range(4):
                word = int.from_bytes(text[at : at + 4], "little")
                lanes[lane] = _turned(lanes[lane] + word * p2 & _WORD, 13, 32) * p1 & _WORD
                at += 4
        total = _turned(lanes[0], 1, 32) + _turned(lanes[1], 7, 32) + _turned(lanes[2], 12, 32) + _turned(lanes[3], 18, 32)
    else:
        total = seed + p5
    total = total + len(text) & _WORD
    while at + 4 <= len(text):
        total = _turned(total + int.from_bytes(text[at : at + 4], "little") * p3 & _WORD, 17, 32) * p4 & _WORD
        at += 4
    for c in text[at:]:
        total = _turned(total + c * p5 & _WORD, 11, 32) * p1 & _WORD
    total = (total ^ total >> 15) * p2 & _WORD
    total = (total ^ total >> 13) * p3 & _WORD
    return total ^ total >> 16


def _round(lane: int, word: int) -> int:
    return _turned(lane + word * _P64[1] & _LONG, 31, 64) * _P64[0] & _LONG


def _avalanche64(total: int) -> int:
    total = (total ^ total >> 33) * _P64[1] & _LONG
    total = (total ^ total >> 29) * _P64[2] & _LONG
    return total ^ total >> 32


def _xxh64(text: bytes, seed: int) -> int:
    p1, p2, p3, p4, p5 = _P64
    at = 0
    if len(text) >= 32:
        lanes = [seed + p1 + p2 & _LONG, seed + p2 & _LONG, seed & _LONG, seed - p1 & _LONG]
        while at + 32 <= len(text):
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _long(text, at))
                at += 8
        total = _turned(lanes[0], 1, 64) + _turned(lanes[1], 7, 64) + _turned(lanes[2], 12, 64) + _turned(lanes[3], 18, 64)
        for value in lanes:
            total = ((total & _LONG) ^ _round(0, value)) * p1 + p4 & _LONG
    else:
        total = seed + p5
    total = total + len(text) & _LONG
    while at + 8 <= len(text):
        total = _turned(total ^ _round(0, _long(text, at)), 27, 64) * p1 + p4 & _LONG
        at += 8
    if at + 4 <= len(text):
        total = _turned(total ^ int.from_bytes(text[at : at + 4], "little") * p1 & _LONG, 23, 64) * p2 + p3 & _LONG
        at += 4
    for c in text[at:]:
        total = _turned(total ^ c * p5 & _LONG, 11, 64) * p1 & _LONG
    return _avalanche64(total)


def _long(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 8], "little")


def _folded(left: int, right: int) -> int:
    """Return a product of 128 bits, its halves in one."""
    product = left * right
    return product & _LONG ^ product >> 64


def _avalanche3(total: int) -> int:
    total = (total ^ total >> 37) * 0x165667919E3779F9 & _LONG
    return total ^ total >> 32


def _mixed(text: bytes, at: int, secret_at: int, seed: int) -> int:
    left = _long(text, at) ^ (_long(_SECRET, secret_at) + seed & _LONG)
    return _folded(left, _long(text, at + 8) ^ (_long(_SECRET, secret_at + 8) - seed & _LONG))


def _xxh3(text: bytes, seed: int) -> int:
    size = len(text)
    if size <= 16:
        return _xxh3_short(text, seed)
    if size > 240:
        return _xxh3_long(text, seed)
    total = size * _P64[0] & _LONG
    if size <= 128:
        for i in range((size - 1) // 32, -1, -1):
            total += _mixed(text, 16 * i, 32 * i, seed) + _mixed(text, size - 16 * (i + 1), 32 * i + 16, seed)
        return _avalanche3(total & _LONG)
    for i in range(8):
        total += _mixed(text, 16 * i, 16 * i, seed)
    total = _avalanche3(total & _LONG)
    for i in range(8, size // 16):
        total += _mixed(text, 16 * i, 16 * (i - 8) + 3, seed)
    return _avalanche3(total + _mixed(text, size - 16, 136 - 17, seed) & _LONG)


def _xxh3_short(text: bytes, seed: int) -> int:
    size = len(text)
    if size > 8:
        low = _long(text, 0) ^ ((_long(_SECRET, 24) ^ _long(_SECRET, 32)) + seed & _LONG)
        high = _long(text, size - 8) ^ ((_long(_SECRET, 40) ^ _long(_SECRET, 48)) - seed & _LONG)
        return _avalanche3(size + int.from_bytes(low.to_bytes(8, "little"), "big") + high + _folded(low, high) & _LONG)
    if size >= 4:
        seed ^= int.from_bytes((seed & _WORD).to_bytes(4, "little"), "big") << 32
        word = int.from_bytes(text[size - 4 :], "little") + (int.from_bytes(text[:4], "little") << 32)
        total = word ^ ((_long(_SECRET, 8) ^ _long(_SECRET, 16)) - seed & _LONG)
        total = (total ^ _turned(total, 49, 64) ^ _turned(total, 24, 64)) * 0x9FB21C651E98DF25 & _LONG
        total = (total ^ (total >> 35) + size) * 0x9FB21C651E98DF25 & _LONG
        return total ^ total >> 28
    if size:
        word = text[0] << 16 | text[size >> 1] << 24 | text[size - 1] | size << 8
        flip = int.from_bytes(_SECRET[:4], "little") ^ int.from_bytes(_SECRET[4:8], "little")
        return _avalanche64(word ^ (flip + seed & _LONG))
    return _avalanche64(seed ^ _long(_SECRET, 56) ^ _long(_SECRET, 64))


def _xxh3_long(text: bytes, seed: int) -> int:
    secret = _SECRET
    if seed:
        parts = []
        for i in range(0, 192, 16):
            parts.append((_long(_SECRET, i) + seed & _LONG).to_bytes(8, "little"))
            parts.append((_long(_SECRET, i + 8) - seed & _LONG).to_bytes(8, "little"))
        secret = b"".join(parts)
    lanes = [_P32[2], _P64[0], _P64[1], _P64[2], _P64[3], _P32[1], _P64[4], _P32[0]]
    blocks = (len(text) - 1) // 1024
    for i in range(blocks):
        for stripe in range(16):
            _accumulate(lanes, text, i * 1024 + stripe * 64, secret, stripe * 8)
        for lane in range(8):
            value = lanes[lane]
            lanes[lane] = (value ^ value >> 47 ^ _long(secret, 128 + 8 * lane)) * _P32[0] & _LONG
    for stripe in range((len(text) - 1 - blocks * 1024) // 64):
        _accumulate(lanes, text, blocks * 1024 + stripe * 64, secret, stripe * 8)
    _accumulate(lanes, text, len(text) - 64, secret, 192 - 64 - 7)
    total = len(text) * _P64[0] & _LONG
    for i in range(0, 8, 2):
        total += _folded(lanes[i] ^ _long(secret, 11 + 8 * i), lanes[i + 1] ^ _long(secret, 19 + 8 * i))
    return _avalanche3(total & _LONG)


def _accumulate(lanes: list[int], text: bytes, at: int, secret: bytes, secret_at: int) -> None:
    for lane in range(8):
        word = _long(text, at + 8 * lane)
        key = word ^ _long(secret, secret_at + 8 * lane)
        lanes[lane ^ 1] = lanes[lane ^ 1] + word & _LONG
        lanes[lane] = lanes[lane] + (key & _WORD) * (key >> 32) & _LONG


# ---- nodes


class Checksum(NumberNode):
    """A sum of 32 bits of a text."""

    def __init__(self, inner: Node, name: str) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._name = name

    def value(self, ex: Exchange) -> int:
        return _sum_of(self._name, self._inner.text(ex))


class Spread(NumberNode):
    """A number of 32 bits mixed so that each bit depends on all."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def value(self, ex: Exchange) -> int:
        return _spread(self._inner.number(ex) & _WORD)


class XxHash(Node):
    """xxHash of a text, as a number with a sign."""

    def __init__(self, inner: Node, name: str, seed: int) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._name = name
        self._seed = seed & (_WORD if name == "xxh32" else _LONG)

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        if self._name == "xxh32":
            return b"%d" % _xxh32(text, self._seed)
        total = _xxh64(text, self._seed) if self._name == "xxh64" else _xxh3(text, self._seed)
        return b"%d" % (total - (1 << 64) if total >> 63 else total)


def make_sum_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of one of these functions, or None."""
    if not arguments:
        return None
    inner = arguments[0]
    if len(arguments) == 1:
        return Spread(inner) if name == "spread" else None
    second = arguments[1]
    if not isinstance(second, Const):
        return None
    word = second.value.decode("latin-1")
    if name == "checksum" and len(arguments) == 2 and word in _SUMS:
        return Checksum(inner, word)
    if name == "xxhash" and len(arguments) == 3 and word in _XXHASHES:
        seed = arguments[2]
        return XxHash(inner, word, seed.fixed) if isinstance(seed, ConstNumber) else None
    return None
