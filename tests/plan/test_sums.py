"""Sums of texts that are no proof of anything. What no specification says is what HAProxy 2.6 makes of these texts."""

from __future__ import annotations

import zlib

import pytest

from vestibule.plan.functions import make_call

from .test_texts import Value, call, node

LETTERS = b"abcdefghijklmnopqrstuvwxyz"
BYTES = bytes(range(256))
SIZES = [
    (1, -2566126185475933851, -7001539911779966828),
    (3, -7028621457359472937, 5260018501835528466),
    (4, 8890298321993331881, -8672176517404499649),
    (8, 1540715919929048689, 8108161944026564643),
    (9, -8531369265512031662, 6662795941300720244),
    (16, -8658478131264688543, -7507800134974496823),
    (17, -7785451606248500124, -2501834558103429444),
    (33, -5140707305550441002, -768793267991226587),
    (129, 164444109682214677, 7880853150624843025),
    (240, 945139517653018956, 8471992434905614944),
    (241, 193850913490658274, -6134210000325557325),
    (1025, -3979783587421101517, 1822165059186122346),
    (2100, -1764920002743907394, 709756409826545490),
]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("checksum", (b"123456789", b"crc32"), 0xCBF43926),
        ("checksum", (b"a", b"djb2"), 5381 * 33 + 97),
        ("checksum", (b"ab", b"sdbm"), 97 * 65599 + 98),
        ("checksum", (b"", b"murmur2"), 0),
        ("checksum", (b"a", b"murmur2"), 0x92685F5E),
        ("checksum", (b"192.0.2.7", b"murmur2"), 0x96777744),
        ("checksum", (b"123456789", b"crc32c"), 0xE3069283),
        ("checksum", (LETTERS, b"wt6"), 3554310958),
        ("spread", (2665934629,), 2147731580),
        ("spread", (zlib.crc32(b"0123456789"),), 2460890697),
        ("xxhash", (LETTERS, b"xxh32", 0), b"1671515487"),
        ("xxhash", (LETTERS, b"xxh32", 7), b"3494231850"),
        ("xxhash", (LETTERS, b"xxh64", 0), b"-3467223636685257892"),
        ("xxhash", (LETTERS, b"xxh64", 7), b"4313702695374267187"),
        ("xxhash", (BYTES, b"xxh64", 0), b"2282408585429094475"),
        ("xxhash", (BYTES, b"xxh64", 1), b"-4689339368900765961"),
        ("xxhash", (LETTERS, b"xxh3", 0), b"-9146920105412937460"),
        ("xxhash", (LETTERS, b"xxh3", 7), b"-9169291879550555537"),
        ("xxhash", (BYTES, b"xxh3", 0), b"-7779787747613135503"),
        ("xxhash", (BYTES, b"xxh3", 1), b"5930632130106562027"),
    ],
)
def test_sums(name: str, arguments: tuple[Value, ...], expected: Value) -> None:
    assert call(name, *arguments) == expected


@pytest.mark.parametrize(("size", "sum64", "sum3"), SIZES)
def test_every_size_of_xxhash(size: int, sum64: int, sum3: int) -> None:
    text = (b"abcdefghij0123456789klmnopqrstuvwxyz+" * 60)[:size]
    assert call("xxhash", text, b"xxh64", 7) == b"%d" % sum64
    assert call("xxhash", text, b"xxh3", 7) == b"%d" % sum3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("checksum", (b"a", b"x")),
        ("spread", (1, 2)),
        ("xxhash", (b"a", b"xxh128", 0)),
    ],
)
def test_there_is_no_such_sum(name: str, arguments: tuple[Value, ...]) -> None:
    assert make_call(name, [node(each) for each in arguments]) is None
