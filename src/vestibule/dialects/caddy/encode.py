"""``encode``: which answers are compressed.

Facts (Caddy's documentation, "encode"): without formats gzip and zstd are meant; answers from 512 bytes on are compressed, of
types that are worth it unless ``match`` says otherwise; gzip's level is 5.

Rules: gzip is what is built. Other formats are left out, and alone compress nothing: an answer that is not compressed is as good.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

import re
from dataclasses import replace

from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Compression

_STATUS = re.compile("[1-5](?:xx|[0-9][0-9])?")

# Answers with any other status are never compressed here.
_COMPRESSED = ("200", "403", "404")

_OTHER_FORMATS = ("zstd", "br", "brotli")
_LINES = ("gzip", *_OTHER_FORMATS, "match", "minimum_length", "prefer")

_APPLICATION = (
    "atom+xml eot font geo+json graphql+json javascript json ld+json manifest+json opentype otf rss+xml truetype ttf vnd.api+json"
    " vnd.ms-fontobject wasm x-httpd-cgi x-javascript x-opentype x-otf x-perl x-protobuf x-ttf xhtml+xml xml"
)

USUAL = Compression(
    (
        *("text/*", "font/*", "image/svg+xml", "image/vnd.microsoft.icon", "image/x-icon", "multipart/bag", "multipart/mixed"),
        *[f"application/{name}" for name in _APPLICATION.split()],
    ),
    512,
    5,
)
"""What Caddy compresses unless told otherwise."""

NONE = Compression(types=())


def read_encode(segment: Segment, first: int, report: Report) -> Compression:
    """Read ``encode [MATCHER] [FORMAT…] { … }``, whose formats begin at the token ``first``."""
    found = USUAL
    formats = [(token.text, token) for token in segment.tokens[first:]]
    types: list[str] = []
    for line in segment.inside():
        if line.name not in _LINES:
            report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `encode`", near(line.name, _LINES))
        elif line.name == "minimum_length":
            found = replace(found, min_bytes=_number(line, found.min_bytes, 2**31, report))
        elif line.name == "match":
            types += _types(line, report)
        elif line.name != "prefer":
            formats.append((line.name, line.head))
            if line.name == "gzip" and len(line.tokens) > 1:
                found = replace(found, level=_number(line, found.level, 9, report))
    for name, token in formats:
        if name in _OTHER_FORMATS:
            report.left_out(token, f"`{name}`", "answers are compressed with gzip, if at all")
        elif name != "gzip":
            report.error(token, "bad-value", f"`{name}` is no format", "write `gzip`")
    if types:
        found = replace(found, types=("*",) if "*" in types else tuple(dict.fromkeys(types)))
    return found if not formats or any(name == "gzip" for name, _ in formats) else NONE


def _number(line: Segment, otherwise: int, most: int, report: Report) -> int:
    text = "".join(line.texts())
    if text.isdecimal() and 0 <= int(text) <= most and (line.name != "gzip" or int(text) > 0):
        return int(text)
    report.error(line.token(1), "bad-value", f"`{text}` is nothing for `{line.name}`", "write `gzip 5`, `minimum_length 512`")
    return otherwise


def _types(match: Segment, report: Report) -> list[str]:
    """Return the media types of a ``match``; what cannot be said is noted, and nothing is compressed for its sake."""
    found: list[str] = []
    lines = match.inside() if len(match.tokens) == 1 else (Segment(match.tokens[1:]),)
    for line in lines:
        words = line.texts()
        if line.name == "status" and words and all(_STATUS.fullmatch(word) for word in words):
            if not all(any(word in (status, status[0], f"{status[0]}xx") for word in words) for status in _COMPRESSED):
                report.left_out(line.head, "`status`", "of the types that are named, answers of 200, 403 and 404 are compressed")
            continue
        if line.name != "header" or words[:1] != ["Content-Type"] or len(words) != 2:
            report.not_built(line.head, f"`{line.name}` of `match` in `encode`", "write `header Content-Type text/*`")
            continue
        kind = words[1].lower()
        # `text/html*` also means what has a charset behind it.
        if kind != "*" and not kind.endswith("/*"):
            kind = kind.removesuffix("*").removesuffix(";")
        if "*" in kind.removesuffix("*"):
            report.not_built(line.token(2), f"the pattern `{words[1]}`", "write `text/*` or `text/html*`")
            continue
        found.append(kind)
    return found
