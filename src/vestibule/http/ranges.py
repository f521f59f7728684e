"""Parts of a representation, and whether a client needs it at all (RFC 9110 13 and 14).

Facts: validators are an entity tag and the moment of the last change, in seconds. Multi-part answers
repeat the whole type for each part.

Rules: a Range that cannot be read is ignored, one that no byte satisfies is 416 (RFC 9110 14.2, 15.5.17).
Ranges that overlap, or more than `RANGES_MOST`, are ignored: they only serve to make much of little.

Not here: files (`plan/sources/files.py`).
"""

from typing import Final

from vestibule.http.dates import parse_http_date
from vestibule.http.fields import Fields
from vestibule.http.number import parse_decimal

RANGES_MOST: Final = 16

# What the conditions of a request come to.
GO_ON: Final = 0
NOT_MODIFIED: Final = 304
FAILED: Final = 412


def judge(fields: Fields, tag: bytes, changed: int) -> int:
    """Return GO_ON, NOT_MODIFIED or FAILED for a GET or HEAD, in the order of RFC 9110 13.2.2.

    `tag` is a strong entity tag with its quotes, `changed` the seconds since 1970.
    """
    wanted = fields.get_all(b"if-match")
    if wanted:
        if not _names(wanted, tag, True):
            return FAILED
    else:
        moment = _moment(fields, b"if-unmodified-since")
        if moment >= 0 and changed > moment:
            return FAILED
    known = fields.get_all(b"if-none-match")
    if known:
        return NOT_MODIFIED if _names(known, tag, False) else GO_ON
    moment = _moment(fields, b"if-modified-since")
    return NOT_MODIFIED if moment >= 0 and changed <= moment else GO_ON


def wants_parts(fields: Fields, tag: bytes, changed: int) -> bool:
    """Tell whether the Range of a request counts: what it has parts of must still be this (RFC 9110 13.1.5)."""
    if fields.get(b"range") is None:
        return False
    condition = fields.get(b"if-range")
    if condition is None:
        return True
    if condition[:1] == b'"':
        return condition == tag
    return parse_http_date(condition) == changed


def parse_ranges(value: bytes, size: int) -> list[tuple[int, int]] | None:
    """Return the parts that a Range asks for, each as first byte and count; [] if none is there, None to ignore it."""
    unit, _, text = value.partition(b"=")
    if unit.strip(b" \t").lower() != b"bytes":
        return None
    parts: list[tuple[int, int]] = []
    specs = text.split(b",")
    if len(specs) > RANGES_MOST:
        return None
    for spec in specs:
        first, dash, last = spec.strip(b" \t").partition(b"-")
        if not dash:
            return None
        start = 0
        end = size - 1
        if not first:
            count = parse_decimal(last)
            if count < 0:
                return None
            start = size - count if count < size else 0
            if count == 0 or size == 0:
                continue
        else:
            start = parse_decimal(first)
            if start < 0:
                return None
            if last:
                end = parse_decimal(last)
                if end < start:
                    return None
                if end >= size:
                    end = size - 1
            if start >= size:
                continue
        parts.append((start, end - start + 1))
    ordered = sorted(parts)
    for i in range(1, len(ordered)):
        if ordered[i][0] < ordered[i - 1][0] + ordered[i - 1][1]:
            return None
    return parts


def _names(values: list[bytes], tag: bytes, strong: bool) -> bool:
    """Tell whether a list of entity tags has this one or `*` (RFC 9110 8.8.3.2). Tags have no comma that we would make."""
    for value in values:
        for each in value.split(b","):
            known = each.strip(b" \t")
            if known == b"*" or known == tag or (not strong and known == b"W/" + tag):
                return True
    return False


def _moment(fields: Fields, name: bytes) -> int:
    """Return the moment that a field names, or -1 without one or where it is none (then it is ignored)."""
    values = fields.get_all(name)
    return parse_http_date(values[0]) if len(values) == 1 else -1
