"""Functions that take texts apart, code them and digest them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.plan.expr import Const, ConstNumber, Node, folded
from vestibule.plan.functions import make_call
from vestibule.plan.texts import coded

Value = bytes | int


def node(value: Value) -> Node:
    return ConstNumber(value) if isinstance(value, int) else Const(value)


def call(name: str, *arguments: Value) -> Value:
    made = make_call(name, [node(each) for each in arguments])
    assert made is not None
    is_number = name in (
        "checksum",
        "spread",
        "hex_number",
        "number",
        "add",
        "subtract",
        "multiply",
        "divide",
        "modulo",
        "bit_and",
        "bit_or",
        "bit_xor",
    )
    found = folded(made, False, is_number)
    if isinstance(found, ConstNumber):
        return found.fixed
    assert isinstance(found, Const)
    return found.value


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("base64", (b"f\xff?",), b"Zv8/"),
        ("base64url", (b"f\xff?f",), b"Zv8_Zg"),
        ("base64_decode", (b"Zv8/",), b"f\xff?"),
        ("base64_decode", (b"Zv8",), b""),
        ("base64url_decode", (b"Zv8_Zg",), b"f\xff?f"),
        ("hex", (b"a\xff",), b"61ff"),
        ("hex_decode", (b"61FF",), b"a\xff"),
        ("hex_decode", (b"6",), b""),
        ("address_bytes", (b"192.0.2.1",), b"\xc0\0\2\1"),
        ("address_bytes", (b"::1",), b"\0" * 15 + b"\1"),
        ("address_bytes", (b"unix:",), b""),
        ("json", (b'a"\\\n\xe0\xc3\xa4',), b'a\\"\\\\\\n\xc3\xa4'),
        # RFC 4231 section 4.3.
        (
            "hmac",
            (b"what do ya want for nothing?", b"sha256", b"Jefe"),
            bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ),
        ("digest", (b"abc", b"sha1"), bytes.fromhex("a9993e364706816aba3e25717850c26c9cd0d89d")),
        ("chunks", (b"0123456789", b"-", 3, b"decimal"), b"3158322-3355701-3553080-57"),
        ("chunks", (b"0123456789", b"::", 3, b"whole-decimal"), b"3158322::3355701::3553080"),
        ("chunks", (b"jklm", b":", 1, b"hex"), b"6a:6b:6c:6d"),
        ("chunks", (b"", b":", 1, b"hex"), b""),
        ("hex_number", (b"fF",), 255),
        ("hex_number", (b"zz",), 0),
        ("hex_number", (b"",), 0),
        ("preferred", (b"fr;q=0.2, en;q=0.8, de", b"es;fr;en", b""), b"en"),
        ("preferred", (b"fr;q=0, en;q=0.1", b"es;fr;en", b""), b"en"),
        ("preferred", (b"es-AR", b"es;fr", b""), b"es"),
        ("preferred", (b"es-AR", b"es;es-AR", b""), b"es-AR"),
        ("preferred", (b"en;level=1;q=0.5, fr; q=0.5", b"fr;en", b""), b"en"),
        ("preferred", (b"en;q=x, fr;q=0.1234, es;q=2", b"fr;en;es", b"none"), b"none"),
        ("preferred", (b"", b"fr", b"none"), b"none"),
        ("field", (b"/a//b", 2, 1, b"/"), b"a"),
        ("field", (b"/a//b", 3, 1, b"/"), b""),
        ("field", (b"/a//b", 2, 0, b"/"), b"a//b"),
        ("field", (b"/a//b", 2, 2, b"/"), b"a/"),
        ("field", (b"/a//b", -1, 1, b"/"), b"b"),
        ("field", (b"/a//b", -1, 2, b"/"), b"/b"),
        ("field", (b"/a//b", 9, 1, b"/"), b""),
        ("word", (b"/a//b", 2, 1, b"/"), b"b"),
        ("word", (b"/a//b;c", 2, 2, b"/;"), b"b;c"),
        ("word", (b"//", 1, 1, b"/"), b""),
        ("slice", (b"abcd", 1, 2), b"bc"),
        ("slice", (b"abcd", 2, -1), b"cd"),
        ("trim_start", (b"//a/", b"/"), b"a/"),
        ("trim_end", (b"//a/", b"/"), b"//a"),
        ("replace", (b"a1b2", rb"\d", b"", b""), b"ab2"),
        ("replace", (b"a1b2", rb"([a-z])(\d)", rb"\2\1\9", b"g"), b"1a2b"),
        ("replace", (b"ABC", b"b", b"x", b"i"), b"AxC"),
        ("mask", (b"192.0.2.77", 28, 64), b"192.0.2.64"),
        ("mask", (b"2001:db8:1:2:3::4", 28, 64), b"2001:db8:1:2::"),
        ("mask", (b"photos", 28, 64), b""),
        ("number", (b"042",), 42),
        ("number", (b"x",), 0),
        ("add", (2, 3), 5),
        ("subtract", (2, 3), 0),
        ("multiply", (1 << 40, 1 << 40), (1 << 62) - 1),
        ("divide", (7, 2), 3),
        ("divide", (7, 0), (1 << 62) - 1),
        ("modulo", (7, 0), 0),
        ("before", (b"a", b"b"), b"true"),
        ("before", (b"ab", b"a"), b"false"),
        ("before", (b"a", b"a"), b"false"),
        ("bit_and", (6, 3), 2),
        ("bit_or", (6, 3), 7),
        ("bit_xor", (6, 3), 5),
    ],
)
def test_functions(name: str, arguments: tuple[Value, ...], expected: Value) -> None:
    assert call(name, *arguments) == expected


@given(st.binary(max_size=40))
def test_what_is_coded_can_be_decoded(text: bytes) -> None:
    for name in ("base64", "base64url", "hex"):
        inside = coded(name, text)
        assert inside is not None and coded(f"{name}_decode", inside) == text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digest", (b"a", b"md4")),
        ("hmac", (b"a", b"x", b"k")),
        ("chunks", (b"a", b"", 0, b"hex")),
        ("chunks", (b"a", b"", 1, b"octal")),
        ("field", (b"a", 1, 1, b"")),
        ("base63", (b"a",)),
        ("add", (1, 2, 3)),
        ("base64", ()),
    ],
)
def test_there_is_no_such_function(name: str, arguments: tuple[Value, ...]) -> None:
    assert make_call(name, [node(each) for each in arguments]) is None


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(re.error):
        call("replace", b"a", b"(", b"", b"")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (b"192.168.1.101", b"192.0.1.0"),
        (b"::ffff:192.168.1.101", b"192.0.1.0"),
        (b"2001:db8::bad:c0f:ffff", b"2001:db8::bad:c0f:fee0"),
        (b"nobody", b""),
        (b"::zz", b""),
    ],
)
def test_an_address_has_the_bits_of_a_mask(text: bytes, masked: bytes) -> None:
    assert call("mask_by", text, b"255.0.255.0", b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fee0") == masked
    assert call("mask_by", b"2001:db8::1", b"255.0.0.0", b"") == b""


@pytest.mark.parametrize(
    ("address", "named", "how", "found"),
    [
        (b"10.0.0.1", b"192.0.2.7", b"last", b"192.0.2.7"),
        (b"10.0.0.1", b"192.0.2.7, 10.0.0.2", b"last", b"10.0.0.2"),
        (b"10.0.0.1", b"192.0.2.7, 10.0.0.2", b"all", b"192.0.2.7"),
        (b"10.0.0.1", b"10.0.0.2", b"all", b"10.0.0.2"),
        (b"10.0.0.1", b"[2001:db8::7]:443, 10.0.0.2:80", b"all", b"2001:db8::7"),
        (b"10.0.0.1", b"nobody, 10.0.0.2", b"all", b"10.0.0.2"),
        (b"10.0.0.1", b"", b"last", b"10.0.0.1"),
        (b"192.0.2.1", b"192.0.2.7", b"last", b"192.0.2.1"),
        (b"nobody", b"192.0.2.7", b"last", b""),
    ],
)
def test_the_address_behind_proxies(address: bytes, named: bytes, how: bytes, found: bytes) -> None:
    assert call("behind_proxies", address, named, b"10.0.0.0/8,2001:db8:1::/48", how) == found
