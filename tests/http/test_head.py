"""Heads: what they tell of their target."""

import pytest

from vestibule.http.fields import EMPTY
from vestibule.http.head import RequestHead, ResponseHead


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"/", b"/", b""), (b"/a?b", b"/a", b"b"), (b"/a?", b"/a", b""), (b"/a?b?c", b"/a", b"b?c"), (b"*", b"*", b""), (b"/?a", b"/", b"a")],
)
def test_path_and_query(target: bytes, path: bytes, query: bytes) -> None:
    head = RequestHead(b"GET", target, b"a", EMPTY, b"HTTP/1.1")
    assert (head.path(), head.query()) == (path, query)


def test_a_response_head_keeps_what_it_was_given() -> None:
    head = ResponseHead(299, b"Odd", EMPTY)
    assert (head.status, head.reason, head.fields.block) == (299, b"Odd", b"")
