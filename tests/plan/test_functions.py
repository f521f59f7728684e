"""Functions of expressions, where one case is not enough."""

from __future__ import annotations

import time

import pytest

from vestibule.http.dates import http_date
from vestibule.http.target import normal_path
from vestibule.plan.expr import CONST, Const, ConstNumber, folded
from vestibule.plan.functions import HttpDate, encode_path, make_call

from .fakes import idle


def call(name: str, *arguments: bytes) -> bytes:
    node = make_call(name, [Const(each) for each in arguments])
    assert node is not None
    assert node.scope == CONST
    made = folded(node, False, False)
    assert isinstance(made, Const)
    return made.value


@pytest.mark.parametrize("path", [b"/a b", b"/100%25", b"/a%2Fb", b"/%C3%A4", b"/a?b", b"/~x/(1)", b'/"<>'])
def test_a_path_survives_decoding_and_encoding(path: bytes) -> None:
    target = encode_path(normal_path(path.replace(b" ", b"%20").replace(b"?", b"%3F")))
    assert not set(target) & set(b' ?#"<>')
    assert normal_path(target) == normal_path(path.replace(b" ", b"%20").replace(b"?", b"%3F"))


@pytest.mark.parametrize(
    ("text", "prefix", "replacement", "expected"),
    [(b"/a/b", b"/a/", b"/", b"/b"), (b"/ab", b"/a/", b"/", b"/ab"), (b"", b"", b"x", b"x"), (b"/a", b"/a", b"", b"")],
)
def test_replace_prefix(text: bytes, prefix: bytes, replacement: bytes, expected: bytes) -> None:
    assert call("replace_prefix", text, prefix, replacement) == expected


@pytest.mark.parametrize(
    ("text", "wanted", "replacement", "expected"),
    [(b"/a.b/a.b", b"a.b", b"c", b"/c/c"), (b"/axb", b"a.b", b"c", b"/axb"), (b"/a", b"", b"x", b"/a"), (b"/a", b"a", b"\\1", b"/\\1")],
)
def test_replace_text(text: bytes, wanted: bytes, replacement: bytes, expected: bytes) -> None:
    assert call("replace_text", text, wanted, replacement) == expected


@pytest.mark.parametrize(
    ("pattern", "group", "expected"),
    [
        (b"^/u/([0-9]+)", b"1", b"12"),
        (b"^/u/([0-9]+)", b"0", b"/u/12"),
        (b"(?P<id>[0-9]+)", b"id", b"12"),
        (b"^/x(.*)", b"1", b""),
        (b"(a)?12", b"1", b""),
        (b"12", b"1", b""),
        (b"12", b"name", b""),
    ],
)
def test_capture(pattern: bytes, group: bytes, expected: bytes) -> None:
    assert call("capture", b"/u/12/x", pattern, group) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, b"0.000"), (7, b"0.007"), (61_250, b"61.250")])
def test_seconds(value: int, expected: bytes) -> None:
    node = make_call("seconds", [ConstNumber(value)])
    assert node is not None
    made = folded(node, False, False)
    assert isinstance(made, Const)
    assert made.value == expected


def test_a_pattern_is_a_fixed_text() -> None:
    assert make_call("capture", [Const(b"a"), ConstNumber(1), Const(b"1")]) is None
    assert make_call("replace_prefix", [Const(b"a")]) is None
    assert make_call("replace_text", [Const(b"a")]) is None
    assert make_call("lower", [Const(b"a"), Const(b"b"), Const(b"c")]) is None


def test_a_moment_from_now_on() -> None:
    before = int(time.time())
    made = HttpDate(ConstNumber(3600)).text(idle())
    assert made in [http_date(second + 3600) for second in range(before, before + 10)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lower", b"Ab\xc4", b"ab\xc4"),
        ("upper", b"Ab\xe4", b"AB\xe4"),
        ("length", b"abc\xff", b"4"),
        ("bytes_meant", b"40k", b"40960"),
        ("bytes_meant", b"k", b"0"),
        ("url_encode", b"a-b_c.~", b"a-b_c.~"),
        ("url_encode", b"a b/\xff%", b"a%20b%2F%FF%25"),
        ("url_decode", b"plain", b"plain"),
        ("url_decode", b"a%20b%2f%FF", b"a b/\xff"),
        ("url_decode", b"100%", b"100%"),
        ("url_decode", b"%zz%4", b"%zz%4"),
        ("encode_path", b"/a b", b"/a%20b"),
        ("encode_path", b"/a%2Fb%25 c", b"/a%2Fb%25%20c"),
    ],
)
def test_functions_of_one_text(name: str, text: bytes, expected: bytes) -> None:
    node = make_call(name, [Const(text)])
    assert node is not None
    assert node.text(idle()) == expected


@pytest.mark.parametrize(
    ("pattern", "replacement", "flags", "expected"),
    [
        (b"a", b"x", b"", b"xbAab"),
        (b"a", b"x", b"g", b"xbAxb"),
        (b"a", b"x", b"gi", b"xbxxb"),
        (b"(a)(b)", b"\\2\\1", b"g", b"baAba"),
        (b"(a)(z)?", b"<\\0\\1\\2\\9>", b"", b"<aa>bAab"),
        (b"z", b"x", b"g", b"abAab"),
        (b"", b"-", b"g", b"-a-b-A-a-b-"),
    ],
)
def test_replace(pattern: bytes, replacement: bytes, flags: bytes, expected: bytes) -> None:
    assert call("replace", b"abAab", pattern, replacement, flags) == expected


@pytest.mark.parametrize(
    ("name", "count"), [("nothing", 1), ("nothing", 2), ("nothing", 3), ("lower", 2), ("lower", 3), ("capture", 1), ("replace", 3)]
)
def test_functions_that_are_none(name: str, count: int) -> None:
    assert make_call(name, [Const(b"x")] * count) is None


def test_a_replacement_is_a_fixed_text() -> None:
    fixed = Const(b"x")
    assert make_call("replace", [fixed, HttpDate(ConstNumber(0)), fixed, fixed]) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"a=1", b"1"),
        (b"a=1&b=2&a=3", b"1,3"),
        (b"%61=x+y%2Bz&b", b"x y+z"),
        (b"a", b""),
        (b"a=%zz&a=2", b"2"),
        (b"%zz=1", b""),
        (b"", b""),
    ],
)
def test_form_texts(query: bytes, expected: bytes) -> None:
    assert call("form_texts", query, b"a") == expected
