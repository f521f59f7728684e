"""Functions that know what stands in a text: lists, documents, dates, credentials."""

from __future__ import annotations

import re

import pytest

from tests.plan.test_texts import node
from vestibule.plan.expr import ConstTest, Node, folded
from vestibule.plan.functions import make_call
from vestibule.plan.items import pieces_of

ALICE = b"alice:{PLAIN}secret"


def call(name: str, *arguments: bytes | int) -> Node:
    made = make_call(name, [node(each) for each in arguments])
    assert made is not None
    return folded(made, name == "is_user", False)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (b"", [b""]),
        (b"a", [b"a"]),
        (b"a, b ,c", [b"a", b" b ", b"c"]),
        (b"a,,b", [b"a", b"", b"b"]),
        (b'a;x="1,2", b', [b'a;x="1,2"', b" b"]),
        (b'"\\",", b', [b'"\\","', b" b"]),
        (b'"never closed, b', [b'"never closed, b']),
    ],
)
def test_pieces(text: bytes, items: list[bytes]) -> None:
    assert pieces_of(text) == items


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("replace_items", (b"a=1, b=2,c", b"=(.)", b"[\\1]"), b"[1],[2],c"),
        ("replace_items", (b"ab", b"(x)?b", b"<\\1\\0\\7\\\\>"), b"<b\\>"),
        ("normalize", (b"//a///b/", b"merge-slashes"), b"/a/b/"),
        ("normalize", (b"/./a/./b/.", b"strip-dot"), b"/a/b/"),
        ("normalize", (b"/a/b/../c/..", b"strip-dotdot"), b"/a/"),
        ("normalize", (b"/../a//../b", b"strip-dotdot"), b"/../a/b"),
        ("normalize", (b"/../a/../../b", b"strip-dotdot-full"), b"/b"),
        ("normalize", (b"a/../b", b"strip-dotdot"), b"a/../b"),
        ("normalize", (b"/..", b"strip-dotdot-full"), b"/"),
        ("normalize", (b"b=2&a=9&b=1&a", b"sort-by-name"), b"a=9&a&b=2&b=1"),
        ("normalize", (b"/%61%2f%7e%zz%", b"decode-unreserved"), b"/a%2f~%zz%"),
        ("normalize", (b"/%c3%A4%zz", b"to-uppercase"), b"/%C3%A4%zz"),
        ("format_date", (86_400, b"%Y-%m-%d %H", b"utc"), b"1970-01-02 00"),
        ("json_value", (b'{"a":{"b":["x",{"c":1}]}}', b"$.a.b[0]"), b"x"),
        ("json_value", (b'{"a":{"b":["x",{"c":1}]}}', b"$.a.b[1]"), b'{"c":1}'),
        ("json_value", (b'{"a":{"b":["x",{"c":1}]}}', b"$.a.b[2]"), b""),
        ("json_value", (b'{"a":true}', b"$.a"), b"1"),
        ("json_value", (b'{"a":null}', b"$.a"), b""),
        ("json_value", (b'{"a":"1"}', b"$.a.b"), b""),
        ("json_value", (b"{", b"$.a"), b""),
    ],
)
def test_texts(name: str, arguments: tuple[bytes | int, ...], expected: bytes) -> None:
    assert getattr(call(name, *arguments), "value") == expected  # noqa: B009


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (b"Basic YWxpY2U6c2VjcmV0", True),
        (b"basic  YWxpY2U6c2VjcmV0", True),
        (b"Basic YWxpY2U6d3Jvbmc=", False),
        (b"Basic Ym9iOnNlY3JldA==", False),
        (b"Basic YWxpY2U=", False),
        (b"Basic !", False),
        (b"Bearer YWxpY2U6c2VjcmV0", False),
        (b"", False),
    ],
)
def test_users(line: bytes, passes: bool) -> None:
    found = call("is_user", line, b"carol:{PLAIN}x\n" + ALICE)
    assert isinstance(found, ConstTest)
    assert found.value is passes


@pytest.mark.parametrize("place", [b"a b", b"$.", b"$[x]"])
def test_what_is_no_place_of_a_document_is_refused(place: bytes) -> None:
    with pytest.raises(re.error):
        make_call("json_value", [node(b"{}"), node(place)])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("replace_items", (b"a", 1, b"")),
        ("format_date", (1, b"%Y", 1)),
        ("is_user", ()),
        ("normalize", (b"/", b"prettily")),
    ],
)
def test_other_arguments_are_refused(name: str, arguments: tuple[bytes | int, ...]) -> None:
    assert make_call(name, [node(each) for each in arguments]) is None
