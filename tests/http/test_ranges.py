"""Conditions and ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.fault import CLIENT
from vestibule.http.fields import Fields, parse_fields
from vestibule.http.ranges import FAILED, GO_ON, NOT_MODIFIED, judge, parse_ranges, wants_parts

TAG = b'"a1-5"'
CHANGED = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT


def fields(*lines: str) -> Fields:
    return parse_fields("".join(f"{line}\r\n" for line in lines).encode(), CLIENT, 20)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], GO_ON),
        (['If-None-Match: "a1-5"'], NOT_MODIFIED),
        (['If-None-Match: W/"a1-5"'], NOT_MODIFIED),
        (['If-None-Match: "x", "a1-5"'], NOT_MODIFIED),
        (["If-None-Match: *"], NOT_MODIFIED),
        (['If-None-Match: "x"', "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], GO_ON),
        (["If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], NOT_MODIFIED),
        (["If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT"], GO_ON),
        (["If-Modified-Since: yesterday"], GO_ON),
        (['If-Match: "a1-5"'], GO_ON),
        (["If-Match: *"], GO_ON),
        (['If-Match: W/"a1-5"'], FAILED),
        (['If-Match: "x"'], FAILED),
        (["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], GO_ON),
        (["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT"], FAILED),
        (['If-Match: "a1-5"', "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT"], GO_ON),
        (['If-Match: "a1-5"', 'If-None-Match: "a1-5"'], NOT_MODIFIED),
    ],
)
def test_conditions(lines: list[str], wanted: int) -> None:
    assert judge(fields(*lines), TAG, CHANGED) == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], False),
        (["Range: bytes=0-1"], True),
        (["Range: bytes=0-1", 'If-Range: "a1-5"'], True),
        (["Range: bytes=0-1", 'If-Range: W/"a1-5"'], False),
        (["Range: bytes=0-1", 'If-Range: "x"'], False),
        (["Range: bytes=0-1", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT"], True),
        (["Range: bytes=0-1", "If-Range: Sun, 06 Nov 1994 08:49:38 GMT"], False),
    ],
)
def test_whether_a_range_counts(lines: list[str], wanted: bool) -> None:
    assert wants_parts(fields(*lines), TAG, CHANGED) is wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-99", [(0, 10)]),
        (b"bytes=3-", [(3, 7)]),
        (b"bytes=-3", [(7, 3)]),
        (b"bytes=-99", [(0, 10)]),
        (b"bytes=0-1, 8-9", [(0, 2), (8, 2)]),
        (b"bytes=8-9,0-1", [(8, 2), (0, 2)]),
        (b"bytes=10-", []),
        (b"bytes=-0", []),
        (b"bytes=0-1,99-", [(0, 2)]),
        (b"bytes=2-1", None),
        (b"bytes=a-1", None),
        (b"bytes=1", None),
        (b"bytes=", None),
        (b"items=0-1", None),
        (b"bytes=0-5,3-8", None),
        (b"bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(17)), None),
        (b"bytes=0-1_0", None),
        (b"bytes=-x", None),
    ],
)
def test_ranges(value: bytes, wanted: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(value, 10) == wanted


@given(st.binary(max_size=40), st.integers(0, 100))
def test_parts_lie_within_and_apart(text: bytes, size: int) -> None:
    parts = parse_ranges(b"bytes=" + text, size) or []
    seen: set[int] = set()
    for start, count in parts:
        assert count > 0
        assert 0 <= start <= start + count <= size
        here = set(range(start, start + count))
        assert not here & seen
        seen |= here
