"""Texts that take the place of others, wherever the pieces of a body end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.fakes import fields, idle
from vestibule.contract import BodyFilter, FilterMaker
from vestibule.exchange import Exchange
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import Const, ConstTest
from vestibule.plan.filters.substitute import Several, Substitute, Substitution


def fed(made: BodyFilter, pieces: list[bytes]) -> bytes:
    return b"".join([made.feed(piece, False) for piece in pieces]) + made.feed(b"", True)


CASES: list[tuple[dict[bytes, bytes], bool, bytes, bytes]] = [
    ({b"a": b"b"}, False, b"banana", b"bbnbnb"),
    ({b"a": b"b"}, True, b"banana", b"bbnana"),
    ({b"</head>": b"<x></head>"}, True, b"<HEAD></Head></head>", b"<HEAD><x></head></head>"),
    ({b"aab": b"x"}, False, b"aaab aab aa", b"ax x aa"),
    ({b"ab": b"1", b"abc": b"2"}, False, b"abc ab", b"1c 1"),
    ({b"abc": b"2", b"ab": b"1"}, False, b"abc ab", b"2 1"),
    ({b"abcd": b"2", b"bc": b"1"}, False, b"abcd abc", b"2 a1"),
    ({b"b": b"2", b"a": b"1"}, True, b"ab ab", b"12 ab"),
    ({b"a": b"aa"}, False, b"aa", b"aaaa"),
    ({b"a": b""}, False, b"aa", b""),
    ({b"none": b"x"}, False, b"no non", b"no non"),
]


@pytest.mark.parametrize(("texts", "once", "body", "wanted"), CASES)
def test_replaced(texts: dict[bytes, bytes], once: bool, body: bytes, wanted: bytes) -> None:
    def made() -> Substitution:
        return Substitution(list(texts), list(texts.values()), once)

    assert fed(made(), [body]) == wanted
    assert fed(made(), [body[at : at + 1] for at in range(len(body))]) == wanted
    for at in range(len(body)):
        assert fed(made(), [body[:at], body[at:]]) == wanted


@given(
    st.lists(st.text("aAbc", max_size=5), max_size=6),
    st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3),
    st.booleans(),
)
def test_pieces_do_not_matter(pieces: list[str], texts: list[str], once: bool) -> None:
    keys = [text.encode() for text in texts]
    others = [b"%d" % at for at in range(len(keys))]
    body = [piece.encode() for piece in pieces]
    whole = fed(Substitution(keys, others, once), [b"".join(body)])
    assert fed(Substitution(keys, others, once), body) == whole
    assert once or not any(key in whole.lower() for key in keys)


def test_no_more_is_held_back_than_may_begin_a_text() -> None:
    made = Substitution([b"</head>"], [b"x"], True)
    assert made.feed(b"data: 1\n\n", False) == b"data: 1\n\n"
    assert made.feed(b"a </he", False) == b"a "
    assert made.feed(b"b", False) == b"</heb"
    assert made.feed(b"</head>", False) == b"x"
    assert made.feed(b"</he", False) == b"</he", "it was there, and is not looked for any more"


def answered(*lines: str) -> Exchange:
    ex = idle()
    ex.response = ResponseHead(200, b"", fields(*lines))
    return ex


def maker(keep: bool = False, condition: ConstTest | None = None) -> Substitute:
    return Substitute([b"A"], [Const(b"b")], [b"text/html", b"image/*"], True, keep, condition)


PAGE = ("Content-Type: text/html; charset=utf-8", "Content-Length: 5", "Accept-Ranges: bytes", 'ETag: "1"', "Last-Modified: x", "X-A: 1")


def test_what_describes_the_old_body_goes() -> None:
    ex = answered(*PAGE)
    assert maker().wants(ex) and ex.response is not None
    assert ex.response.fields.block == b"Content-Type: text/html; charset=utf-8\r\nX-A: 1\r\n"
    assert ex.response.fields.content_length == -1
    assert fed(maker().make(ex), [b"aa"]) == b"ba"


def test_validators_may_stay() -> None:
    ex = answered(*PAGE)
    assert maker(True).wants(ex) and ex.response is not None
    assert ex.response.fields.get(b"etag") == b'W/"1"'
    assert ex.response.fields.get(b"last-modified") == b"x"
    assert maker(True).wants(ex), "and a weak tag is one already"
    assert ex.response.fields.get(b"etag") == b'W/"1"'
    ex = answered("Content-Type: text/html")
    assert maker(True).wants(ex) and ex.response is not None and ex.response.fields.get(b"etag") is None


@pytest.mark.parametrize(
    "lines",
    [("Content-Type: text/css",), (), ("Content-Type: text/html", "Content-Encoding: gzip")],
)
def test_other_answers_stay(lines: tuple[str, ...]) -> None:
    ex = answered(*lines)
    assert ex.response is not None
    before = ex.response.fields
    assert not maker().wants(ex)
    assert ex.response.fields is before


def test_a_condition_decides() -> None:
    assert maker(condition=ConstTest(True)).wants(answered("Content-Type: image/svg+xml"))
    assert not maker(condition=ConstTest(False)).wants(answered("Content-Type: image/svg+xml"))


def test_without_an_answer_there_is_nothing_to_change() -> None:
    assert not maker().wants(idle())


class Never(FilterMaker):
    def wants(self, ex: Exchange) -> bool:
        return False


@pytest.mark.interpreted_only
def test_several_follow_each_other() -> None:
    first = maker()
    second = Substitute([b"b"], [Const(b"c")], [b"text/html"], False, False)
    both = Several([first, Never(), second])
    ex = answered("Content-Type: text/html")
    assert both.wants(ex)
    assert fed(both.make(ex), [b"aab"]) == b"cac"
    assert not Several([Never()]).wants(ex)


def test_nothing_goes_on_where_the_first_holds_it_back() -> None:
    row = Several([Substitute([b"abc"], [Const(b"")], [b"*"], False, False), maker()])
    ex = answered("Content-Type: text/html")
    assert row.wants(ex)
    made = row.make(ex)
    assert made.feed(b"ab", False) == b""
    assert made.feed(b"c", True) == b""
