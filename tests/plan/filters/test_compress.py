"""Compression: which answers, for whom, and what comes out."""

import gzip
import zlib

import pytest

from tests.plan.fakes import idle
from vestibule.exchange import Exchange
from vestibule.http.fields import fields_of
from vestibule.http.head import ResponseHead
from vestibule.plan.filters.compress import Compress, Gzip, accepts_gzip

BODY = b"<p>hello</p>" * 1000


def answered(status: int = 200, accept: bytes = b"gzip", **fields: bytes) -> Exchange:
    """Return an exchange with an answer that has these fields."""
    ex = idle("/", f"Accept-Encoding: {accept.decode()}")
    pairs = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    ex.response = ResponseHead(status, b"", fields_of(pairs))
    return ex


HTML = {"Content_Type": b"text/html; charset=utf-8"}
FILTER = Compress([b"text/*", b"application/json"], 100, 4)


def test_a_page_is_compressed_and_says_so() -> None:
    ex = answered(**HTML, Content_Length=b"5000", ETag=b'"1"', Accept_Ranges=b"bytes")
    assert FILTER.wants(ex)
    assert ex.response is not None
    fields = ex.response.fields
    assert (fields.get(b"content-encoding"), fields.get(b"vary"), fields.get(b"etag")) == (b"gzip", b"Accept-Encoding", b'W/"1"')
    assert (fields.get(b"content-length"), fields.content_length, fields.get(b"accept-ranges")) == (None, -1, None)


def test_the_answer_depends_on_the_client_even_where_it_is_not_compressed() -> None:
    """RFC 9110 12.5.5."""
    ex = answered(**HTML, accept=b"br")
    assert not FILTER.wants(ex)
    assert ex.response is not None
    assert ex.response.fields.get(b"vary") == b"Accept-Encoding"
    assert ex.response.fields.get(b"content-encoding") is None


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (200, {"Content_Type": b"image/jpeg"}),
        (200, {}),
        (200, HTML | {"Content_Length": b"99"}),
        (200, HTML | {"Content_Encoding": b"br"}),
        (200, HTML | {"Cache_Control": b"private, no-transform"}),
        (206, HTML),
        (200, HTML | {"ETag": b'"unfinished'}),
        (200, HTML | {"ETag": b"bare"}),
        (200, HTML | {"ETag": b'W/"two""'}),
        (500, HTML),
        (304, HTML),
    ],
)
def test_what_stays_as_it_is(status: int, fields: dict[str, bytes]) -> None:
    ex = answered(status, **fields)
    before = ex.response
    assert not FILTER.wants(ex)
    assert ex.response is before


def test_vary_is_said_once() -> None:
    ex = answered(**HTML, Vary=b"Cookie, accept-encoding")
    assert FILTER.wants(ex)
    assert ex.response is not None
    assert ex.response.fields.get_all(b"vary") == [b"Cookie, accept-encoding"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"x-gzip", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"gzip;q=0.001", True),
        (b"*", True),
        (b"*;q=0", False),
        (b"gzip;q=0, *", False),
        (b"identity", False),
    ],
)
def test_who_takes_gzip(value: bytes | None, expected: bool) -> None:
    assert accepts_gzip(value) is expected


def test_any_pieces_give_the_same_body() -> None:
    for size in (1, 7, 1000, len(BODY)):
        stream = Gzip(4)
        pieces = [BODY[at : at + size] for at in range(0, len(BODY), size)]
        out = b"".join([stream.feed(piece, False) for piece in pieces]) + stream.feed(b"", True)
        assert gzip.decompress(out) == BODY


def test_a_short_piece_arrives_at_once() -> None:
    stream = Gzip(4)
    seen = zlib.decompressobj(31)
    assert seen.decompress(stream.feed(b'{"line": 1}\n', False)) == b'{"line": 1}\n'
    assert seen.decompress(stream.feed(b'{"line": 2}\n', False)) == b'{"line": 2}\n'
