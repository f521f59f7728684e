"""Any bytes as the fields that select a part of a representation. Permitted exits: the answers of `ranges` and `dates`.

Invariants
  1. Parts lie inside the representation, each has a byte at least, no two overlap, and there are no more than `RANGES_MOST`.
  2. A date that was read is written as a date that reads the same.
"""

from fuzz.drive import main
from vestibule.http.dates import http_date, parse_http_date
from vestibule.http.fields import fields_of
from vestibule.http.ranges import FAILED, GO_ON, NOT_MODIFIED, RANGES_MOST, judge, parse_ranges, wants_parts

SIZES = (0, 1, 10, 1 << 40)
TAG = b'"abc"'
CHANGED = 784_111_777
NAMES = (b"If-Match", b"If-None-Match", b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range")

SEEDS = [
    b"bytes=0-4,6-7",
    b"bytes=-3",
    b"bytes=5-",
    b"bytes=0-0,-1",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b'"abc", W/"d"',
]
WORDS = [
    b"bytes",
    b"=",
    b"-",
    b",",
    b" ",
    b"\t",
    b"0",
    b"9",
    b"18446744073709551616",
    b"GMT",
    b"Nov",
    b"Feb",
    b"29",
    b"30",
    b":",
    b"*",
    TAG,
    b"W/",
]


def target(data: bytes) -> None:
    for size in SIZES:
        parts = parse_ranges(data, size) or []
        assert len(parts) <= RANGES_MOST
        end = 0
        for start, count in sorted(parts):
            assert count > 0 and end <= start and start + count <= size, (size, parts)
            end = start + count
    second = parse_http_date(data)
    if second >= 0:
        assert parse_http_date(http_date(second)) == second
    for name in NAMES:
        try:
            fields = fields_of([(b"Range", b"bytes=0-1"), (name, data)])
        except ValueError:
            return  # no such value comes from a client
        assert judge(fields, TAG, CHANGED) in (GO_ON, NOT_MODIFIED, FAILED)
        wants_parts(fields, TAG, CHANGED)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
