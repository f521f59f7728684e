"""gzip for answers that nobody has compressed yet (RFC 9110 8.4.1.3, RFC 1952).

Facts: photos, videos and archives are compressed already, and Immich compresses its API by itself; what gains are pages, scripts and
JSON of other applications. A cache between us and the client must know that the answer depends on Accept-Encoding (RFC 9110 12.5.5),
also where it was not compressed for this client. A strong validator names exact bytes, so it becomes weak (RFC 9110 8.8.1).

Rules
  1. `no-transform`, a content coding, a part of a representation (206), an `ETag` that is none and an answer that says nothing of its
     type stay as they are.
  2. A piece that is shorter than a full read is passed on at once: who sends a line now and then means it to arrive.
  3. Only 200, 403 and 404 are compressed; answers to HEAD have no body and keep their fields.

Not here: when a filter is asked (`exchange.py`).
"""

import zlib
from typing import Final

from vestibule.contract import BodyFilter, FilterMaker
from vestibule.exchange import Exchange
from vestibule.http.fields import Fields
from vestibule.http.head import ResponseHead
from vestibule.http.number import parse_decimal
from vestibule.plan.sent import came_fields

_STATUSES: Final = (200, 403, 404)

# 16 asks zlib for the gzip wrapper; 15 is its largest window.
_GZIP: Final = 31

# Shorter pieces than this are flushed at once (rule 2): a read that fills half the buffer has more behind it.
_FLUSH_UNDER: Final = 16_384


class Gzip(BodyFilter):
    """One body on its way through zlib."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def feed(self, data: bytes, end: bool) -> bytes:
        out = self._stream.compress(data) if data else b""
        if end:
            return out + self._stream.flush()
        if data and len(data) < _FLUSH_UNDER:
            return out + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return out


class Compress(FilterMaker):
    """Compresses answers of these media types, from a size on. Types are in lower case; `*` is any, `text/*` any text."""

    def __init__(self, types: list[bytes], least: int, level: int) -> None:
        self._exact = frozenset(types)
        self._least = least
        self._level = level

    def wants(self, ex: Exchange) -> bool:
        head = ex.response
        if head is None or head.status not in _STATUSES:
            return False
        fields = head.fields
        if 0 <= fields.content_length < self._least or not is_of_type(fields.get(b"content-type"), self._exact):
            return False
        if fields.get(b"content-encoding") is not None or _has_token(joined(fields, b"cache-control"), b"no-transform"):
            return False
        tag = fields.get(b"etag")
        if tag is not None and not _is_tag(tag):
            return False
        accepted = accepts_gzip(joined(came_fields(ex.request), b"accept-encoding"))
        lines: list[tuple[bytes, bytes]] = []
        if not _has_token(joined(fields, b"vary"), b"accept-encoding"):
            lines.append((b"Vary", b"Accept-Encoding"))
        if accepted:
            lines.append((b"Content-Encoding", b"gzip"))
            if tag is not None and tag.startswith(b'"'):
                lines.append((b"ETag", b"W/" + tag))
                fields = fields.without((b"etag",))
            fields = fields.without((b"content-length", b"accept-ranges"))
            if fields is not head.fields:
                fields.content_length = -1
        if lines:
            ex.response = ResponseHead(head.status, head.reason, fields.plus(lines))
        return accepted

    def make(self, ex: Exchange) -> BodyFilter:
        return Gzip(self._level)


def _is_tag(value: bytes) -> bool:
    """Tell whether a validator is one (RFC 9110 8.8.3); what is none cannot be made weak."""
    tag = value.removeprefix(b"W/")
    return len(tag) >= 2 and tag[:1] == b'"' and tag.find(b'"', 1) == len(tag) - 1


def is_of_type(value: bytes | None, types: frozenset[bytes]) -> bool:
    """Tell whether a Content-Type is one of these media types; `*` is any, `text/*` any text."""
    if value is None:
        return False
    kind = value.partition(b";")[0].strip(b" \t").lower()
    return kind in types or kind.partition(b"/")[0] + b"/*" in types or b"*" in types


def accepts_gzip(value: bytes | None) -> bool:
    """Tell whether an Accept-Encoding takes gzip, as `accepts_coding` does."""
    return accepts_coding(value, b"gzip")


def accepts_coding(value: bytes | None, wanted: bytes) -> bool:
    """Tell whether an Accept-Encoding takes a coding (RFC 9110 12.5.3); one that is missing might, and many such clients cannot."""
    if value is None:
        return False
    named = False
    anything = False
    for part in value.split(b","):
        coding, _, parameters = part.partition(b";")
        coding = coding.strip(b" \t").lower()
        taken = not _is_zero(parameters)
        if coding == wanted or coding == b"x-" + wanted:
            if taken:
                return True
            named = True
        elif coding == b"*":
            anything = taken
    return anything and not named


def _is_zero(parameters: bytes) -> bool:
    """Tell whether a weight is 0, `0.0` and the like included."""
    name, _, value = parameters.strip(b" \t").partition(b"=")
    if name.strip(b" \t").lower() != b"q":
        return False
    whole, _, rest = value.strip(b" \t").partition(b".")
    return parse_decimal(whole) == 0 and not rest.strip(b"0")


def _has_token(value: bytes | None, token: bytes) -> bool:
    """Tell whether a list has a member of this name."""
    if value is None:
        return False
    names = [part.partition(b"=")[0].strip(b" \t").lower() for part in value.split(b",")]
    return token in names or b"*" in names


def joined(fields: Fields, name: bytes) -> bytes | None:
    """Return all values of a field as one list; None where there is no such field."""
    values = fields.get_all(name)
    return b",".join(values) if values else None
